// Package storetest checks implementations of package authagent's stores, and of
// its Sessions, as testing/slogtest does for handlers of log/slog.
//
//	func TestProfiles(t *testing.T) {
//		storetest.Profiles(t, func() authagent.ProfileStore { return newProfiles(t) })
//	}
//
// Each function runs subtests, and gets a store for each from its second
// argument, which may return the same one every time, and one that is in use: the
// tests use names that are random. For [Sessions] it has to be over the same store
// every time. A subtest that stands for a requirement of authagent's has its ID in
// its name.
//
// [Grants] is for the store of package grants: it gets one that is empty each time.
//
// What a store does with text that a database may not take, such as invalid
// UTF-8, is its own affair, as long as it does not take it for another text.
package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
)

// atOnce is how many calls the tests make at once.
const atOnce = 100

// together calls f that often at once and returns what it returned.
func together[T any](f func(i int) T) []T {
	results := make([]T, atOnce)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return results
}

// alike are pairs of names that are different, and that databases and careless
// code take for the same. %s is a random part.
var alike = []struct{ what, one, other string }{
	{"letter case", "Agent_%sA", "agent_%sa"},
	{"trailing space", "agent_%s", "agent_%s "},
	{"leading space", "agent_%s", " agent_%s"},
	{"same last eight characters", "aaaa%s12345678", "bbbb%s12345678"},
	{"same first 254 bytes", "%[1]s" + strings.Repeat("x", 254-26) + "y", "%[1]s" + strings.Repeat("x", 254-26) + "z"},
	{"accent", "%s\u00e9", "%se"},
	{"composition", "%s\u00e9", "%se\u0301"},
	{"sharp s", "%s\u00df", "%sss"},
	{"wildcard", "%s_", "%sx"},
	{"number", "%s1", "%s01"},
	{"backslash", `%s\\`, `%s\`},
	{"quote", `%s''`, `%s'`},
}

// agents returns pairs of different agents. All issuers and IDs are as long as
// they can be or shorter.
func agents() map[string][2]authagent.Agent {
	issuer := "https://" + strings.ToLower(rand.Text()) + ".example"
	pairs := map[string][2]authagent.Agent{
		"same ID at two issuers": {{Issuer: issuer, ID: "a"}, {Issuer: issuer + "2", ID: "a"}},
		"slash at the issuer":    {{Issuer: issuer, ID: "a"}, {Issuer: issuer + "/", ID: "a"}},
		"same text together":     {{Issuer: issuer + "/x", ID: "y"}, {Issuer: issuer + "/", ID: "xy"}},
		"same text with a space": {{Issuer: issuer, ID: "x y"}, {Issuer: issuer + " x", ID: "y"}},
		"issuers of 2048 bytes": {
			{Issuer: issuer + "/" + strings.Repeat("x", 2047-len(issuer)), ID: "a"},
			{Issuer: issuer + "/" + strings.Repeat("x", 2046-len(issuer)) + "y", ID: "a"},
		},
	}
	for _, a := range alike {
		random := rand.Text()
		pairs[a.what] = [2]authagent.Agent{{Issuer: issuer, ID: fmt.Sprintf(a.one, random)}, {Issuer: issuer, ID: fmt.Sprintf(a.other, random)}}
	}
	return pairs
}

func newAgent() authagent.Agent {
	return authagent.Agent{Issuer: "https://as.example", ID: "agent_" + rand.Text()}
}

// Profiles checks a ProfileStore.
func Profiles(t *testing.T, open func() authagent.ProfileStore) {
	get := func(t *testing.T, s authagent.ProfileStore, p authagent.Profile) authagent.Profile {
		t.Helper()
		got, err := s.FindOrCreateProfile(t.Context(), p)
		if err != nil {
			t.Errorf("FindOrCreateProfile(%+v): %v", p, err)
		}
		if got.ID == "" {
			t.Errorf("FindOrCreateProfile(%+v) returned no ID", p)
		}
		return got
	}
	t.Run("created as asked for", func(t *testing.T) {
		s := open()
		for _, p := range []authagent.Profile{
			{Agent: newAgent(), Scenario: "FreshProfile"},
			{Agent: newAgent(), Scenario: "ContextualProfile", UserID: "user 1", Model: "model-1", Name: "Alice"},
			{Agent: newAgent(), Scenario: "'); DROP TABLE x; --", UserID: `"\'%_?$1`, Model: "\U0001F916 \u00e9 ", Name: "<b>\t</b>"},
			{Agent: newAgent(), Scenario: strings.Repeat("s", 255), UserID: strings.Repeat("u", 255), Model: strings.Repeat("\u00e9", 256), Name: strings.Repeat("\U0001F916", 256)},
		} {
			got := get(t, s, p)
			p.ID = got.ID
			if got != p {
				t.Errorf("created %+v, want %+v", got, p)
			}
		}
	})
	t.Run("the ID is the store's choice", func(t *testing.T) {
		s := open()
		if got := get(t, s, authagent.Profile{ID: "mine", Agent: newAgent(), Scenario: "S"}); got.ID == "mine" {
			t.Error("the store took the ID that it was given")
		}
	})
	t.Run("found as it is", func(t *testing.T) {
		s := open()
		first := get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: "user", Model: "m", Name: "n"})
		if got := get(t, s, authagent.Profile{ID: "mine", Agent: first.Agent, Scenario: "S", UserID: "other", Model: "m2", Name: "n2"}); got != first {
			t.Errorf("an existing profile came back as %+v, want %+v", got, first)
		}
	})
	t.Run("one for each scenario", func(t *testing.T) {
		s, agent := open(), newAgent()
		if get(t, s, authagent.Profile{Agent: agent, Scenario: "S"}).ID == get(t, s, authagent.Profile{Agent: agent, Scenario: "s"}).ID {
			t.Error("two scenarios share a profile")
		}
	})
	for what, pair := range agents() {
		t.Run("ID-3 LNK-12 "+what, func(t *testing.T) {
			s := open()
			for range 2 { // created, then found
				one := get(t, s, authagent.Profile{Agent: pair[0], Scenario: "S"})
				other := get(t, s, authagent.Profile{Agent: pair[1], Scenario: "S"})
				if one.ID == other.ID || one.Agent != pair[0] || other.Agent != pair[1] {
					t.Errorf("%+v and %+v got profiles %+v and %+v", pair[0], pair[1], one, other)
				}
			}
		})
	}
	t.Run("LNK-31 LNK-34 forgotten", func(t *testing.T) { forgottenProfiles(t, open(), get) })
	t.Run("LNK-13 many first sign-ins at once", func(t *testing.T) {
		s, agent := open(), newAgent()
		all := together(func(i int) authagent.Profile {
			return get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: fmt.Sprint("user_", i)})
		})
		for _, p := range all {
			if p != all[0] {
				t.Fatalf("answers differ: %+v and %+v", all[0], p)
			}
		}
	})
}

// forgetAgent and forgetUser call a Forgetter, twice: the second time there is nothing
// to forget.
func forgetAgent(t *testing.T, f authagent.Forgetter, agent authagent.Agent) {
	t.Helper()
	for range 2 {
		if err := f.ForgetAgent(t.Context(), "operator", agent); err != nil {
			t.Errorf("ForgetAgent(%+v): %v", agent, err)
		}
	}
}

func forgetUser(t *testing.T, f authagent.Forgetter, userID string) {
	t.Helper()
	for range 2 {
		if err := f.ForgetUser(t.Context(), "", userID); err != nil {
			t.Errorf("ForgetUser(%q): %v", userID, err)
		}
	}
	if f.ForgetUser(t.Context(), "", "") == nil {
		t.Error(`ForgetUser("") returned no error`)
	}
}

// forgottenProfiles checks a ProfileStore that is a Forgetter.
func forgottenProfiles(t *testing.T, s authagent.ProfileStore, get func(*testing.T, authagent.ProfileStore, authagent.Profile) authagent.Profile) {
	f, ok := s.(authagent.Forgetter)
	if !ok {
		t.Skip("the store is no Forgetter")
	}
	for name, forget := range map[string]func(agent authagent.Agent, userID string){
		"agent": func(agent authagent.Agent, _ string) { forgetAgent(t, f, agent) },
		"user":  func(_ authagent.Agent, userID string) { forgetUser(t, f, userID) },
	} {
		agent, user := newAgent(), "User_"+rand.Text()
		linked := get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: user})
		stay := []authagent.Profile{
			get(t, s, authagent.Profile{Agent: agent, Scenario: "FreshProfile"}),
			get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: strings.ToLower(user)}),
			get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: user + " "}),
			get(t, s, authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer + "/", ID: agent.ID}, Scenario: "S", UserID: "other"}),
			get(t, s, authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}, Scenario: "S", UserID: "other"}),
		}
		forget(agent, user)
		if again := get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: "next"}); again.ID == linked.ID || again.UserID != "next" {
			t.Errorf("after forgetting the %s: %+v, before it %+v", name, again, linked)
		}
		for _, p := range stay {
			if got := get(t, s, authagent.Profile{Agent: p.Agent, Scenario: p.Scenario}); got != p {
				t.Errorf("forgetting the %s changed %+v to %+v", name, p, got)
			}
		}
	}
}

// Links checks an AgentLinker.
func Links(t *testing.T, open func() authagent.AgentLinker) {
	link := func(t *testing.T, s authagent.AgentLinker, agent authagent.Agent, userID string) string {
		t.Helper()
		linked, err := s.LinkAgent(t.Context(), agent, userID)
		if err != nil {
			t.Errorf("LinkAgent(%+v, %q): %v", agent, userID, err)
		}
		return linked
	}
	t.Run("the first account stays", func(t *testing.T) {
		s, agent := open(), newAgent()
		for _, userID := range []string{"user 1", "user 2", "User 1"} {
			if got := link(t, s, agent, userID); got != "user 1" {
				t.Errorf("LinkAgent with %q returned %q", userID, got)
			}
		}
	})
	for what, pair := range agents() {
		t.Run("ID-3 "+what, func(t *testing.T) {
			s := open()
			for i, agent := range pair {
				if got, want := link(t, s, agent, fmt.Sprint("user_", i)), fmt.Sprint("user_", i); got != want {
					t.Errorf("LinkAgent(%+v) = %q, want %q", agent, got, want)
				}
			}
		})
	}
	t.Run("LNK-30 looked up, and not recorded", func(t *testing.T) {
		s, agent := open(), newAgent()
		for _, want := range []string{"", "", "user 1", "user 1"} {
			if want != "" {
				link(t, s, agent, "user 1")
			}
			got, err := s.LinkedUser(t.Context(), agent)
			if got != want || want == "" && !errors.Is(err, authagent.ErrNotFound) || want != "" && err != nil {
				t.Errorf("LinkedUser: %q, %v; want %q", got, err, want)
			}
		}
		other := authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}
		if got, err := s.LinkedUser(t.Context(), other); !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("LinkedUser of another agent: %q, %v", got, err)
		}
	})
	t.Run("LNK-31 LNK-34 forgotten", func(t *testing.T) {
		s := open()
		f, ok := s.(authagent.Forgetter)
		if !ok {
			t.Skip("the store is no Forgetter")
		}
		user := "User_" + rand.Text()
		agents := [4]authagent.Agent{newAgent(), newAgent(), newAgent(), newAgent()}
		users := [4]string{user, user, strings.ToLower(user), user + " "}
		for i, agent := range agents {
			link(t, s, agent, users[i])
		}
		forgetAgent(t, f, agents[0])
		if got := link(t, s, agents[0], "next"); got != "next" {
			t.Errorf("after forgetting the agent it is linked to %q", got)
		}
		forgetUser(t, f, user)
		for i, want := range [4]string{"next", "new", users[2], users[3]} {
			if got := link(t, s, agents[i], "new"); got != want {
				t.Errorf("after forgetting %q, the agent of %q is linked to %q, want %q", user, users[i], got, want)
			}
		}
	})
	t.Run("LNK-13 many at once", func(t *testing.T) {
		s, agent := open(), newAgent()
		all := together(func(i int) string { return link(t, s, agent, fmt.Sprint("user_", i)) })
		for _, userID := range all {
			if userID == "" || userID != all[0] {
				t.Fatalf("answers differ: %q", all)
			}
		}
	})
}

// States checks a StateStore.
func States(t *testing.T, open func() authagent.StateStore) {
	until := time.Now().Add(time.Hour)
	use := func(t *testing.T, s authagent.StateStore, id string) bool {
		t.Helper()
		first, err := s.UseState(t.Context(), id, until)
		if err != nil {
			t.Errorf("UseState(%q): %v", id, err)
		}
		return first
	}
	t.Run("TXN-4 once", func(t *testing.T) {
		s, id := open(), rand.Text()
		if got := [3]bool{use(t, s, id), use(t, s, id), use(t, s, id)}; got != [3]bool{true, false, false} {
			t.Errorf("UseState three times: %v", got)
		}
	})
	for _, a := range alike {
		t.Run("TXN-4 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			for _, id := range []string{fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)} {
				if !use(t, s, id) {
					t.Errorf("%q is used already", id)
				}
			}
		})
	}
	t.Run("TXN-4 many at once", func(t *testing.T) {
		s, id := open(), rand.Text()
		n := 0
		for _, first := range together(func(int) bool { return use(t, s, id) }) {
			if first {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of %d calls at once were the first", n, atOnce)
		}
	})
	t.Run("many states at once", func(t *testing.T) {
		s := open()
		for i, first := range together(func(int) bool { return use(t, s, rand.Text()) }) {
			if !first {
				t.Errorf("state %d is used already", i)
			}
		}
	})
}

// Revocations checks a RevocationStore.
func Revocations(t *testing.T, open func() authagent.RevocationStore) {
	revoke := func(t *testing.T, s authagent.RevocationStore, key string, lasts time.Duration) {
		t.Helper()
		if err := s.Revoke(t.Context(), key, rand.Text(), time.Now().Add(lasts)); err != nil {
			t.Errorf("Revoke(%q): %v", key, err)
		}
	}
	marks := func(t *testing.T, s authagent.RevocationStore, keys ...string) []string {
		t.Helper()
		got, err := s.Marks(t.Context(), keys)
		if err != nil || len(got) != len(keys) {
			t.Fatalf("Marks(%q) = %q, %v", keys, got, err)
		}
		return got
	}
	t.Run("SES-11 nothing revoked", func(t *testing.T) {
		s := open()
		marks(t, s)
		for _, mark := range marks(t, s, rand.Text(), rand.Text(), rand.Text(), rand.Text()) {
			if mark != "" {
				t.Errorf("the mark %q", mark)
			}
		}
	})
	t.Run("SES-15 a mark changes with each Revoke and with nothing else", func(t *testing.T) {
		s, key := open(), rand.Text()
		seen := map[string]bool{"": true}
		for range 3 {
			revoke(t, s, key, time.Hour)
			revoke(t, s, rand.Text(), time.Hour)
			mark := marks(t, s, key)[0]
			if seen[mark] || marks(t, s, key)[0] != mark {
				t.Errorf("the mark %q, and then %q", mark, marks(t, s, key))
			}
			seen[mark] = true
		}
	})
	t.Run("SES-15 each key's own", func(t *testing.T) {
		s, a, b := open(), rand.Text(), rand.Text()
		revoke(t, s, a, time.Hour)
		revoke(t, s, b, time.Hour)
		of := func(key string) string { return marks(t, s, key)[0] }
		want := []string{"", of(b), of(a), of(a), ""}
		if got := marks(t, s, rand.Text(), b, a, a, rand.Text()); !slices.Equal(got, want) || of(a) == of(b) {
			t.Errorf("marks %q, want %q", got, want)
		}
	})
	t.Run("SES-16 the latest until counts", func(t *testing.T) {
		s, key := open(), rand.Text()
		revoke(t, s, key, time.Hour)
		first := marks(t, s, key)[0]
		revoke(t, s, key, -time.Hour)
		revoke(t, s, rand.Text(), time.Hour) // which may clean up
		if got := marks(t, s, key)[0]; got == "" || got == first {
			t.Errorf("the mark %q, after %q", got, first)
		}
	})
	t.Run("SES-15 many at once", func(t *testing.T) {
		s, key := open(), rand.Text()
		revoke(t, s, key, time.Hour)
		began := marks(t, s, key)[0]
		together(func(int) error { revoke(t, s, key, time.Hour); return nil })
		if got := marks(t, s, key)[0]; got == "" || got == began {
			t.Errorf("the mark %q, after %q", got, began)
		}
	})
	for _, a := range alike {
		t.Run("SES-11 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			revoke(t, s, "user:"+fmt.Sprintf(a.one, random), time.Hour)
			if got := marks(t, s, "user:"+fmt.Sprintf(a.other, random)); got[0] != "" {
				t.Errorf("the mark %q", got)
			}
		})
	}
	t.Run("SES-11 long keys", func(t *testing.T) {
		s, key := open(), "agent:https://"+rand.Text()+strings.Repeat("x", 2048)
		revoke(t, s, key+"y", time.Hour)
		if got := marks(t, s, key+"y", key+"z"); got[0] == "" || got[1] != "" {
			t.Errorf("marks %q", got)
		}
	})
}

// Tokens checks a TokenStore. That tokens are encrypted and bound to their
// session (REF-10) is authagent's work; the store's is to give back what it was
// given, and to let one of several replace it.
func Tokens(t *testing.T, open func() authagent.TokenStore) {
	expires := time.Now().Add(time.Hour)
	save := func(t *testing.T, s authagent.TokenStore, id, old, sealed string, want error) {
		t.Helper()
		if err := s.SaveTokens(t.Context(), id, []byte(old), []byte(sealed), expires); !errors.Is(err, want) {
			t.Errorf("SaveTokens(%q, %.20q, %.20q): %v, want %v", id, old, sealed, err, want)
		}
	}
	expect := func(t *testing.T, s authagent.TokenStore, id, want string) {
		t.Helper()
		got, err := s.LoadTokens(t.Context(), id)
		switch {
		case want == "" && !errors.Is(err, authagent.ErrNotFound):
			t.Errorf("LoadTokens(%q) = %q, %v; want ErrNotFound", id, got, err)
		case want != "" && (err != nil || string(got) != want):
			t.Errorf("LoadTokens(%q) = %.20q (%d bytes), %v; want %.20q (%d bytes)", id, got, len(got), err, want, len(want))
		}
	}
	t.Run("REF-10 as they are", func(t *testing.T) {
		s := open()
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for _, sealed := range []string{"sealed", string(every), strings.Repeat(string(every), 256), " ", "\x00"} {
			id := rand.Text()
			save(t, s, id, "", sealed, nil)
			expect(t, s, id, sealed)
			save(t, s, id, sealed, sealed+sealed, nil)
			expect(t, s, id, sealed+sealed)
		}
	})
	for _, a := range alike {
		t.Run("REF-10 not another's: "+a.what, func(t *testing.T) {
			s, random := open(), rand.Text()
			one, other := fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)
			save(t, s, one, "", "one", nil)
			expect(t, s, other, "")
			save(t, s, other, "", "other", nil)
			expect(t, s, one, "one")
		})
		t.Run("REF-2 the value is compared exactly: "+a.what, func(t *testing.T) {
			s, id, random := open(), rand.Text(), rand.Text()
			one, other := fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)
			save(t, s, id, "", one, nil)
			save(t, s, id, other, "new", authagent.ErrConflict)
			expect(t, s, id, one)
		})
	}
	t.Run("REF-2 REF-3 compared and replaced", func(t *testing.T) {
		s, id := open(), rand.Text()
		save(t, s, id, "a", "b", authagent.ErrConflict) // there is none
		expect(t, s, id, "")
		save(t, s, id, "", "a", nil)
		save(t, s, id, "", "b", authagent.ErrConflict) // there is one
		expect(t, s, id, "a")
		save(t, s, id, "a", "b", nil)
		save(t, s, id, "a", "c", authagent.ErrConflict) // it is another by now
		expect(t, s, id, "b")
	})
	t.Run("REF-2 one of many at once", func(t *testing.T) {
		s, id := open(), rand.Text()
		for _, old := range []string{"", "first"} {
			won := -1
			for i, err := range together(func(i int) error {
				return s.SaveTokens(t.Context(), id, []byte(old), fmt.Append(nil, old, i), expires)
			}) {
				switch {
				case err == nil && won < 0:
					won = i
				case !errors.Is(err, authagent.ErrConflict):
					t.Errorf("in the place of %q, after %d had won: %v", old, won, err)
				}
			}
			expect(t, s, id, fmt.Sprint(old, won))
			save(t, s, id, fmt.Sprint(old, won), "first", nil)
		}
	})
	t.Run("REF-8 deleted", func(t *testing.T) {
		s, id := open(), rand.Text()
		save(t, s, id, "", "a", nil)
		for range 2 { // the second time there is nothing to delete
			if err := s.DeleteTokens(t.Context(), id); err != nil {
				t.Error(err)
			}
			expect(t, s, id, "")
		}
		save(t, s, id, "a", "b", authagent.ErrConflict)
		expect(t, s, id, "")
	})
	t.Run("not found", func(t *testing.T) { expect(t, open(), rand.Text(), "") })
	t.Run("kept apart from the caller's", func(t *testing.T) {
		s, id, value := open(), rand.Text(), []byte("sealed")
		if err := s.SaveTokens(t.Context(), id, nil, value, expires); err != nil {
			t.Error(err)
		}
		copy(value, "XXXXXX")
		got, _ := s.LoadTokens(t.Context(), id)
		copy(got, "YYYYYY")
		expect(t, s, id, "sealed")
	})
	t.Run("many sessions at once", func(t *testing.T) {
		s := open()
		together(func(int) error {
			id := rand.Text()
			save(t, s, id, "", id, nil)
			expect(t, s, id, id)
			return s.DeleteTokens(t.Context(), id)
		})
	})
}
