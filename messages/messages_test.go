package messages_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/messages"
)

// TestGermanIsWhole_TXT_1 is TXT-1: German has each text that English has, with the same placeholders.
func TestGermanIsWhole_TXT_1(t *testing.T) {
	english, german := messages.Table(t, "en"), messages.Table(t, "de")
	want, have := slices.Sorted(maps.Keys(english)), slices.Sorted(maps.Keys(german))
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("keys (-English +German):\n%s", diff)
	}
	for _, key := range want {
		in, out := messages.Placeholders(english[key]), messages.Placeholders(german[key])
		slices.Sort(in)
		slices.Sort(out)
		if diff := cmp.Diff(slices.Compact(in), slices.Compact(out)); diff != "" {
			t.Errorf("%s: placeholders (-English +German):\n%s", key, diff)
		}
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ tag, table, wantErr string }{
		{"fr", "", ""},
		{"fr", "# a comment\n\nago.yesterday = hier\n", ""},
		{"pl", "ago.hours.few = {n} godziny temu", ""},
		{"en", "action.orders:create = Place orders", ""},
		{"fr", "ago.tomorrow = demain", "ago.tomorrow: there is no such text"},
		{"fr", "ago.yesterday = hier {n}", "the placeholder {n} is not in the English text"},
		{"fr", "ago.yesterday", "line 1: it is not a key"},
		{"fr", "ago.yesterday =", "line 1: it is not a key"},
		{"fr", "\nago.now = x\nago.now = y", "line 3: ago.now is there twice"},
		{"", "", "is not a language tag"},
		{`de" onload="`, "", "is not a language tag"},
	} {
		l, err := messages.Parse(test.tag, test.table)
		switch {
		case test.wantErr == "" && (err != nil || l.Tag() != test.tag):
			t.Errorf("%s, %q: %v", test.tag, test.table, err)
		case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
			t.Errorf("%s, %q: error %v, want %q", test.tag, test.table, err, test.wantErr)
		}
	}
}

// TestMissing: a text that a language does not have is the package's own in it, or English.
func TestMissing(t *testing.T) {
	swiss, err := messages.Parse("de-CH", "ago.now = jetzt")
	if err != nil {
		t.Fatal(err)
	}
	french, err := messages.Parse("fr", "ago.now = à l'instant")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		l         *messages.Language
		key, want string
	}{
		{swiss, "ago.now", "jetzt"}, {swiss, "ago.yesterday", "gestern"},
		{french, "ago.now", "à l'instant"}, {french, "ago.yesterday", "yesterday"}, {french, "no.such", "no.such"},
		{messages.English(), "ago.now", "just now"},
	} {
		if got := test.l.Text(test.key); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.l.Tag(), test.key, got, test.want)
		}
	}
}

// TestHTML: values are escaped and isolated, and texts cannot become markup.
func TestHTML(t *testing.T) {
	l, err := messages.Parse("en", "time.moment = <i> **{date}** at {time}")
	if err != nil {
		t.Fatal(err)
	}
	got := string(l.HTML("time.moment", "date", `<b>"x"`, "time", "{date}**"))
	want := `&lt;i&gt; <strong><bdi>&lt;b&gt;&#34;x&#34;</bdi></strong> at <bdi>{date}**</bdi>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := l.Text("time.moment", "date", "<b>", "time", 5), "<i> <b> at 5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCount(t *testing.T) {
	polish, err := messages.Parse("pl", "ago.hours.one = {n} godzinę temu\nago.hours.few = {n} godziny temu\nago.hours.many = {n} godzin temu")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		l    *messages.Language
		n    int
		want string
	}{
		{messages.English(), 1, "1 hour ago"}, {messages.English(), 0, "0 hours ago"}, {messages.German(), 5, "vor 5 Stunden"},
		{polish, 1, "1 godzinę temu"}, {polish, 3, "3 godziny temu"}, {polish, 12, "12 godzin temu"}, {polish, 22, "22 godziny temu"},
	} {
		if got := test.l.Count("ago.hours", test.n); got != test.want {
			t.Errorf("%s %d: %q, want %q", test.l.Tag(), test.n, got, test.want)
		}
	}
}

func TestChoose(t *testing.T) {
	british, err := messages.Parse("en-GB", "")
	if err != nil {
		t.Fatal(err)
	}
	all := []*messages.Language{messages.English(), messages.German(), british}
	for accept, want := range map[string]string{
		"": "en", "fr": "en", "de": "de", "de-AT": "de", "DE": "de", "en-GB, de": "en-GB", "en-US;q=0.5, de;q=0.6": "de",
		"fr, de;q=0.5, en;q=0.4": "de", "de;q=0, en": "en", "*": "en", "de;q=x": "en", "de;q=2": "en", "de;q=NaN": "en",
		strings.Repeat("fr,", 40) + "de": "en", // nobody names so many
	} {
		if got := messages.Choose([]string{accept}, all).Tag(); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", accept, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 29, 0, 30, 0, 0, berlin)
	for _, test := range []struct {
		t        time.Time
		en, de   string
		moment   string
		momentDe string
	}{
		{now.Add(-30 * time.Second), "just now", "gerade eben", "29 November 2026, 00:29", "29. November 2026, 00:29 Uhr"},
		{now.Add(time.Minute), "just now", "gerade eben", "29 November 2026, 00:31", "29. November 2026, 00:31 Uhr"},
		{now.Add(-90 * time.Second), "1 minute ago", "vor 1 Minute", "29 November 2026, 00:28", "29. November 2026, 00:28 Uhr"},
		{now.Add(-23 * time.Hour), "23 hours ago", "vor 23 Stunden", "28 November 2026, 01:30", "28. November 2026, 01:30 Uhr"},
		{now.Add(-24 * time.Hour), "yesterday", "gestern", "28 November 2026, 00:30", "28. November 2026, 00:30 Uhr"},
		{now.Add(-48 * time.Hour), "27 November", "27. November", "27 November 2026, 00:30", "27. November 2026, 00:30 Uhr"},
		{now.AddDate(-1, 0, 0), "29 November 2025", "29. November 2025", "29 November 2025, 00:30", "29. November 2025, 00:30 Uhr"},
	} {
		got := []string{
			messages.English().Ago(test.t.UTC(), now), messages.German().Ago(test.t.UTC(), now),
			messages.English().Moment(test.t), messages.German().Moment(test.t),
		}
		if diff := cmp.Diff([]string{test.en, test.de, test.moment, test.momentDe}, got); diff != "" {
			t.Errorf("%v:\n%s", test.t, diff)
		}
	}
	if got, want := messages.English().Moment(now.UTC()), "28 November 2026, 23:30 UTC"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	en, de := messages.English(), messages.German()
	for got, want := range map[string]string{
		en.List(nil): "", en.List([]string{"a"}): "a", en.List([]string{"a", "b", "c"}): "a, b and c", de.List([]string{"a", "b"}): "a und b",
		en.Inside("Place orders"): "place orders", en.Inside("PDF export"): "PDF export", de.Inside("Bestellungen aufgeben"): "Bestellungen aufgeben",
		en.Beginning("see it"): "See it", en.Beginning(""): "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestReasons_TXT_1 is TXT-1: each reason has a title and a detail of its own in both
// languages, and one of the site's own making has those of all such reasons.
func TestReasons_TXT_1(t *testing.T) {
	german := messages.German()
	other, _ := german.Reason("made_up")
	for _, row := range reasons.All() {
		title, detail := messages.English().Reason(row.Code)
		if title != row.Title || detail != row.Detail {
			t.Errorf("%s in English: %q, %q", row.Code, title, detail)
		}
		inGerman, detailInGerman := german.Reason(row.Code)
		if inGerman == title || detailInGerman == detail || row.Code != "action_denied" && inGerman == other {
			t.Errorf("%s in German: %q, %q", row.Code, inGerman, detailInGerman)
		}
	}
	if other != "Abgelehnt" {
		t.Errorf("a reason of the site's own: %q", other)
	}
}
