package claims_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/claims"
)

var addresses = []struct {
	in, want string // want is empty where in is no address
}{
	{"alice@example.com", "alice@example.com"},
	{"alice@EXAMPLE.com", "alice@example.com"},
	{"ALICE@example.com", "alice@example.com"},
	{"ALICE@EXAMPLE.COM", "alice@example.com"},
	{"alice+agent@example.com", "alice+agent@example.com"},
	{"a.lice@example.com", "a.lice@example.com"},
	{"Az.!#$%&'*+/=?^_`{|}~-09@a-b.C0", "az.!#$%&'*+/=?^_`{|}~-09@a-b.c0"},
	{"a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
	{strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com"},

	// ID-7: nothing there.
	{"", ""}, {" ", ""}, {"\t", ""}, {"@", ""},

	// ID-8: other scripts, in the local part and in the domain.
	{"\u0430lice@example.com", ""}, {"\uff41lice@example.com", ""}, {"jos\u00e9@example.com", ""}, {"jose\u0301@example.com", ""},
	{"alice@\u0435xample.com", ""}, {"alice@example\u3002com", ""}, {"alice\uff20example.com", ""}, {"alice@\u212aite.example", ""}, {"alice@b\u00fccher.example", ""},

	// ID-8: more than one address, or parts around it.
	{"attacker@evil.example@example.com", ""},
	{`"alice@example.com"@evil.example`, ""},
	{"alice@example.com,x@evil.example", ""}, {"alice@example.com;x@evil.example", ""},
	{"Alice <alice@example.com>", ""}, {"<alice@example.com>", ""}, {"=?utf-8?q?a?= <alice@example.com>", ""},
	{"alice(c)@example.com", ""}, {"alice@(c)example.com", ""}, {"mailto:alice@example.com", ""}, {`al\ice@example.com`, ""},

	// ID-8: white space and invisible characters.
	{" alice@example.com", ""}, {"alice@example.com ", ""}, {"alice@example.com\n", ""}, {"alice\r\n@example.com", ""},
	{"alice\u200b@example.com", ""}, {"alice@example.com\u0000.evil.example", ""}, {"alice\x7f@example.com", ""}, {"alice\xff@example.com", ""},

	// ID-8: shape and length.
	{"alice@example.com.", ""}, {"alice@[127.0.0.1]", ""}, {"alice@[IPv6:::1]", ""}, {"alice@example", ""}, {"alice", ""}, {"@example.com", ""}, {"alice@", ""},
	{"alice@.com", ""}, {"alice@example..com", ""}, {"alice@-example.com", ""}, {"alice@example-.com", ""}, {"alice@exam_ple.com", ""}, {"alice@example.com:25", ""},
	{strings.Repeat("a", 65) + "@example.com", ""},
	{"a@" + strings.Repeat("b", 64) + ".com", ""},
	{"a@" + strings.Repeat("b", 63) + ".com", "a@" + strings.Repeat("b", 63) + ".com"},
	{"a@" + strings.Repeat("b.", 125) + "cc", "a@" + strings.Repeat("b.", 125) + "cc"}, // 254 bytes
	{"a@" + strings.Repeat("b.", 125) + "ccc", ""},                                     // 255 bytes
	{strings.Repeat("a", 1<<20) + "@example.com", ""},
}

func TestEmail_ID7_ID8(t *testing.T) {
	for _, r := range addresses {
		got, ok := claims.Email(r.in)
		if got != r.want || ok != (r.want != "") {
			t.Errorf("ID-7, ID-8: Email(%.80q) = %q, %v, want %q", r.in, got, ok, r.want)
		}
	}
}

// TestLowerASCII: no letter but A to Z changes, and a text without them is returned as it is.
func TestLowerASCII(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "A": "a", "Z": "z", "AZ": "az", "@[": "@[", "`{": "`{", "aB-9": "ab-9", "\u212a": "\u212a", "\u0130\u00c0": "\u0130\u00c0", "A\xff": "a\xff",
	} {
		if got := claims.LowerASCII(in); got != want {
			t.Errorf("LowerASCII(%q) = %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("alice@example.com[`{9", 9)
	if n := testing.AllocsPerRun(10, func() { claims.LowerASCII(long) }); n != 0 {
		t.Errorf("%v allocations for a text that stays as it is", n)
	}
}

// Addresses that a mail provider may deliver to one mailbox are two people here.
func TestEmailDoesNotFold_ID8(t *testing.T) {
	alice, _ := claims.Email("alice@example.com")
	for _, other := range []string{"alice+agent@example.com", "a.lice@example.com", "alice@example.com.evil.example", "alice@mail.example.com"} {
		if got, ok := claims.Email(other); !ok || got == alice {
			t.Errorf("ID-8: Email(%q) = %q, %v, want another address than %q", other, got, ok, alice)
		}
	}
}

// oracle is Email's rule, written the other way.
var oracle = regexp.MustCompile("^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@" +
	"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")

func FuzzEmail(f *testing.F) {
	for _, r := range addresses {
		f.Add(r.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := claims.Email(s)
		if want := len(s) <= 254 && oracle.MatchString(s); ok != want {
			t.Fatalf("Email(%q) = %q, %v, want %v", s, got, ok, want)
		}
		if !ok {
			if got != "" {
				t.Errorf("Email(%q) = %q with ok false", s, got)
			}
			return
		}
		if got != strings.ToLower(s) { // the same for ASCII, which s is
			t.Errorf("Email(%q) = %q", s, got)
		}
		if again, ok := claims.Email(got); !ok || again != got {
			t.Errorf("Email(%q) = %q, %v, want it unchanged", got, again, ok)
		}
	})
}

func TestSubject_ID2(t *testing.T) {
	rows := []struct {
		name, in string
		ok       bool
	}{
		{"agent id", "agent_0b7f", true},
		{"one byte", "a", true},
		{"255 bytes", strings.Repeat("a", 255), true},
		{"inner space", "a b", true},
		{"other script", "агент", true},
		{"URL", "https://as.example/agents/1", true},
		{"empty", "", false},
		{"256 bytes", strings.Repeat("a", 256), false},
		{"256 bytes in 128 runes", strings.Repeat("é", 128), false},
		{"NUL", "a\x00b", false},
		{"line feed", "a\nb", false},
		{"carriage return", "a\rb", false},
		{"escape", "a\x1bb", false},
		{"DEL", "a\x7fb", false},
		{"C1", "a\u0085b", false},
		{"last C1", "a\u009fb", false},
		{"invalid UTF-8", "a\xffb", false},
		{"encoded surrogate", "a\xed\xa0\x80b", false},
		{"replacement character", "a\ufffdb", false},
		{"leading space", " a", false},
		{"trailing space", "agent_a ", false},
		{"trailing line feed", "a\n", false},
		{"leading no-break space", "\u00a0a", false},
		{"trailing line separator", "a\u2028", false},
		{"only space", " ", false},
	}
	for _, r := range rows {
		t.Run("ID-2 "+r.name, func(t *testing.T) {
			err := claims.Subject(r.in)
			if (err == nil) != r.ok {
				t.Fatalf("Subject(%q) = %v, want ok %v", r.in, err, r.ok)
			}
			if err != nil && len(r.in) > 2 && strings.Contains(err.Error(), r.in) {
				t.Errorf("the error echoes the subject: %v", err)
			}
		})
	}
}

func TestText_ID10(t *testing.T) {
	rows := []struct{ name, in, want string }{
		{"plain", "Alice Example", "Alice Example"},
		{"empty", "", ""},
		{"other scripts", "東京 é агент", "東京 é агент"},
		{"symbols", "a<b>&\"c\" €", "a<b>&\"c\" €"},
		{"bidi override", "\u202egnp.exe", "gnp.exe"},
		{"bidi isolate", "a\u2066b\u2069c", "abc"},
		{"zero width", "a\u200bb\u200dc\ufeffd\u2060e\u00adf", "abcdef"},
		{"tags", "a\U000e0049\U000e0067b", "ab"},
		{"variation selectors", "a\U000e0101\ufe0fb", "ab"},
		{"fillers", "\u3164\u115fa\uffa0", "a"},
		{"header injection", "a\r\nSet-Cookie: x=1", "a Set-Cookie: x=1"},
		{"white space", " \t a \v\f\n b\u00a0\u3000c \n", "a b c"},
		{"separators", "a\u2028b\u2029c\u0085d", "a b c d"},
		{"controls", "a\x00b\x1b[31mc\x7fd\u009be", "ab[31mcde"},
		{"invisible between spaces", "a \u200b b", "a b"},
		{"only invisible", "\u200b \u202e", ""},
		{"invalid UTF-8", "a\xff\xc0\xafb\xed\xa0\x80c\ufffdd", "abcd"},
		{"private use", "a\ue000b\uffffc", "abc"},
		{"256 runes", strings.Repeat("é", 256), strings.Repeat("é", 256)},
		{"1 MB", strings.Repeat("é", 1<<19), strings.Repeat("é", 256)},
		{"cut before a space", strings.Repeat("a", 255) + " b", strings.Repeat("a", 255)},
		{"cut at a space", strings.Repeat("a", 256) + " b", strings.Repeat("a", 256)},
		{"cut after a space", strings.Repeat("a", 254) + " bc", strings.Repeat("a", 254) + " b"},
	}
	for _, r := range rows {
		t.Run("ID-10 "+r.name, func(t *testing.T) {
			if got := claims.Text(r.in); got != r.want {
				t.Errorf("Text(%.80q) = %q, want %q", r.in, got, r.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"Alice Example", "\u202egnp.exe", "a\r\nSet-Cookie: x=1", " \u2028 ", "a\xff b", "\U000e0049", strings.Repeat("a ", 200), strings.Repeat("é", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := claims.Text(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 256 {
			t.Fatalf("Text(%q) = %q: not valid, or too long", s, got)
		}
		if strings.Join(strings.Fields(got), " ") != got {
			t.Errorf("Text(%q) = %q: white space left", s, got)
		}
		for _, r := range got {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
				t.Errorf("Text(%q) = %q: contains %U", s, got, r)
			}
		}
		if again := claims.Text(got); again != got {
			t.Errorf("Text(%q) = %q, want it unchanged", got, again)
		}
	})
}

func TestShow(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "agent_1", "agent_1"},
		{"other scripts", "Zoë 東京 😀", "Zoë 東京 😀"},
		{"lines of a form", "a\r\nb\n\tc", "a\nb\n\tc"},
		{"reversed", "\u202egnp.exe", "‹U+202E›gnp.exe"},
		{"hidden", "a\u200bb\u00adc\ufe0fd", "a‹U+200B›b‹U+00AD›c‹U+FE0F›d"},
		{"tags", "a\U000e0041", "a‹U+E0041›"},
		{"control", "a\x00b\x1b[2Jc\rd", "a‹U+0000›b‹U+001B›[2Jc‹U+000D›d"},
		{"separator", "a\u2028b", "a‹U+2028›b"},
		{"no UTF-8", "a\xffb", "a‹U+FFFD›b"},
	} {
		if got := claims.Show(test.in); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestBlank_ID_11 is ID-11: what has nothing to be seen is no name, and none of it is left
// in one that has.
func TestBlank_ID_11(t *testing.T) {
	for _, r := range []rune{
		' ', '\u00a0', '\u2003', '\u3000', '\u2028', '\u2029', '\u200b', '\u200e', '\u202e', '\u2060', '\ufeff', '\u0000', '\u001b', '\u007f',
		'\u0085', '\u00ad', '\ue000', '\U00100000', '\u0378', '\u2800', '\u3164', '\u115f', '\u1160', '\uffa0', '\u034f', '\u180e', '\u180b',
		'\u17b4', '\ufe0f', '\U000e0100', '\U000e0041', '\U00016fe4', '\U0001d159', '\U0001d173', '\U0001bca0', '\ufff9', '\u0301', '\u20dd',
	} {
		if got := claims.Text(string([]rune{r, r, ' ', r})); got != "" {
			t.Errorf("ID-11 %U alone is the name %q", r, got)
		}
		if got := claims.Text("a" + string(r) + "b"); strings.ContainsRune(got, r) && r != ' ' && r != '\u0301' && r != '\u20dd' {
			t.Errorf("ID-11 %U stays in %q", r, got)
		}
	}
	for _, name := range []string{"e\u0301", "अनिता", "ก็", "👍🏽", "\u28ff"} {
		if got := claims.Text(name); got != name {
			t.Errorf("ID-11 %q becomes %q", name, got)
		}
	}
}

// TestEscape is LOG-6: nothing hidden is left, and no two texts become one.
func TestEscape(t *testing.T) {
	seen := make(map[string]string)
	for in, want := range map[string]string{
		"agent_1": "agent_1", "a b": "a b", `DOMAIN\agent`: `DOMAIN\agent`, "ü👍": "ü👍", "": "", `a\`: `a\`,
		"a\u202eb": `a\u202eb`, `a\u202eb`: `a\\u202eb`, "a\\\u202e": `a\\\u202e`, `\\u`: `\\\\u`, `\\`: `\\\`,
		"a\nb": `a\u000ab`, "\u2800": `\u2800`, "\U000e0041": `\U000e0041`, "a\xffb": `a\xffb`, "a\ufffdb": `a\ufffdb`, "\xff": `\xff`, "\xef": `\xef`,
		`a\xffb`: `a\\xffb`, "\\\xff": `\\\xff`,
	} {
		got := claims.Escape(in)
		if got != want {
			t.Errorf("LOG-6 Escape(%q) is %s, want %s", in, got, want)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("LOG-6 %q and %q both become %s", in, other, got)
		}
		seen[got] = in
	}
}

// TestSpell: whatever could pass for something else is written out, and nothing else is.
func TestSpell(t *testing.T) {
	for in, want := range map[string]string{
		"agent_1": "agent_1", "a b": "a b", " a": " a", "a  b": `a \u0020b`, "": "", `a\`: `a\\`, "\u0430": `\u0430`, "👍": `\U0001f44d`,
		"a\u202eb": `a\u202eb`, "a\tb": `a\u0009b`, "a\x7f": `a\u007f`, "a\xffb": `a\xffb`, "a\ufffdb": `a\ufffdb`, "\xef": `\xef`,
	} {
		if got := claims.Spell(in); got != want {
			t.Errorf("Spell(%q) is %s, want %s", in, got, want)
		}
	}
}
