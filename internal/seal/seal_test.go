package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/seal"
)

func key() []byte {
	k := make([]byte, 32)
	rand.Read(k)
	return k
}

func box(t *testing.T, keys [][]byte, purpose ...string) *seal.Box {
	t.Helper()
	b, err := seal.NewBox(keys, purpose...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	b := box(t, [][]byte{key()}, "test")
	for _, value := range [][]byte{nil, {}, {0}, []byte("value"), bytes.Repeat([]byte{0xff}, 5000)} {
		sealed := b.Seal(value, "name")
		got, err := b.Open(sealed, "name")
		if err != nil || got != string(value) {
			t.Errorf("%q: %q, %v", value, got, err)
		}
		if strings.Trim(sealed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%q is not safe in a cookie", sealed)
		}
		if again := b.Seal(value, "name"); again == sealed {
			t.Error("two seals of one value are equal: the nonce repeats")
		}
	}
}

// TestSealCookie: however much room a value has behind its end, the cookie has
// what Seal would return, and nothing behind that room is written to.
func TestSealCookie(t *testing.T) {
	b := box(t, [][]byte{key()}, "test")
	for _, value := range [][]byte{nil, []byte("value"), bytes.Repeat([]byte{0xff}, 5000)} {
		for _, room := range []int{0, 1, seal.Overhead, seal.Overhead + len("name") - 1, seal.Overhead + len("name"), 20_000} {
			whole := make([]byte, len(value)+room+1)
			copy(whole, value)
			line := b.SealCookie(whole[:len(value):len(value)+room], "name", "; Path=/")
			sealed, named := strings.CutPrefix(line, "name=")
			sealed, ended := strings.CutSuffix(sealed, "; Path=/")
			got, err := b.Open(sealed, "name")
			if !named || !ended || err != nil || got != string(value) || whole[len(whole)-1] != 0 {
				t.Errorf("%d bytes with room for %d: %q, %v", len(value), room, line, err)
			}
		}
	}
}

// TestTamper_TXN_6 is TXN-6: every changed bit, character and length is noticed.
func TestTamper_TXN_6(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := box(t, [][]byte{key()}, "test")
	for _, value := range []string{"v", "va", "val"} { // each number of spare bits at the end
		sealed := b.Seal([]byte(value), "name")
		for i := range sealed {
			for _, c := range alphabet + "=+/ \n\x00" {
				if altered := sealed[:i] + string(c) + sealed[i+1:]; altered != sealed {
					refused(t, b, altered, "name")
				}
			}
			refused(t, b, sealed[:i], "name")
			refused(t, b, sealed[i+1:], "name")
			refused(t, b, sealed[:i]+"\n"+sealed[i:], "name")
			refused(t, b, sealed[:i]+"\r"+sealed[i:], "name")
		}
		for _, altered := range []string{"", sealed + "A", sealed + "=", sealed + "\n", " " + sealed, sealed + sealed} {
			refused(t, b, altered, "name")
		}
		refused(t, b, sealed, "")
		refused(t, b, sealed, "Name")
		refused(t, b, sealed, "name2")
	}
}

func refused(t *testing.T, b *seal.Box, sealed, name string) {
	t.Helper()
	if value, err := b.Open(sealed, name); !errors.Is(err, seal.ErrOpen) || value != "" {
		t.Errorf("TXN-6: Open(%q, %q): %q, %v", sealed, name, value, err)
	}
}

// TestRotation is SES-7.
func TestRotation(t *testing.T) {
	k1, k2 := key(), key()
	first, both, second := box(t, [][]byte{k1}, "p"), box(t, [][]byte{k2, k1}, "p"), box(t, [][]byte{k2}, "p")
	for _, test := range []struct {
		name         string
		sealed, open *seal.Box
		want         bool
	}{
		{"SES-7 old key still opens", first, both, true},
		{"SES-7 new key seals", both, second, true},
		{"SES-7 not with the old key", both, first, false},
		{"SES-7 removed key", first, second, false},
		{"SES-7 same", both, both, true},
	} {
		if _, err := test.open.Open(test.sealed.Seal([]byte("v"), "n"), "n"); (err == nil) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestPurposes: a value never opens for another purpose.
func TestPurposes(t *testing.T) {
	k := [][]byte{key()}
	purposes := [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"a", "b", "c"}, {"abc", ""}, {"", "abc"}, {}, {"1:a"}, {"a"}, {"1:a1:b"}, {"a", "b"}}
	for i, one := range purposes {
		sealed := box(t, k, one...).Seal([]byte("v"), "n")
		for j, other := range purposes {
			if _, err := box(t, k, other...).Open(sealed, "n"); (err == nil) != (i == j) {
				t.Errorf("sealed for %q, opened for %q: %v", one, other, err)
			}
		}
	}
}

// TestNothingAfterBad: after what does not fit, nothing more is read, and a number that is
// longer than any is none.
func TestNothingAfterBad(t *testing.T) {
	r := seal.NewReader("\x05a")
	if s, n := r.String(), r.Int(); s != "" || n != 0 || r.Err() == nil {
		t.Errorf("read %q and %d, %v", s, n, r.Err())
	}
	long := strings.Repeat("\x80", 10) + "\x00a"
	if r := seal.NewReader(long); r.Int() != 0 || r.Err() == nil {
		t.Error("a number of 11 bytes is read")
	}
	if r := seal.NewReader(long); r.String() != "" || r.Err() == nil {
		t.Error("a length of 11 bytes is read")
	}
}

// TestCodes: a code is of its key, its purpose and its words, in letters that nobody takes for others.
func TestCodes(t *testing.T) {
	keys := [][]byte{key(), key()}
	codes := func(keys [][]byte, purpose string, words ...string) []string {
		c, err := seal.NewCodes(keys, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return c.Of(words...)
	}
	both := codes(keys, "p", "a", "b")
	if again := codes(keys, "p", "a", "b"); !slices.Equal(again, both) || len(both) != 2 || both[0] == both[1] {
		t.Errorf("%q, then %q", both, again)
	}
	if second := codes(keys[1:], "p", "a", "b"); !slices.Equal(second, both[1:]) {
		t.Errorf("%q of the second key, want %q", second, both[1:])
	}
	if none := codes(nil, "p", "a"); len(none) != 0 {
		t.Errorf("%q without a key", none)
	}
	seen := make(map[string]bool)
	for n := range 1000 {
		for _, code := range codes(keys[:1], "p", strconv.Itoa(n)) {
			if seen[code] = true; !regexp.MustCompile(`^[2-9B-DF-HJKMNP-TV-XZ]{3}-[2-9B-DF-HJKMNP-TV-XZ]{3}$`).MatchString(code) {
				t.Errorf("code %q", code)
			}
		}
	}
	if len(seen) < 990 {
		t.Errorf("%d codes of 1000 requests", len(seen))
	}
	for _, other := range [][]string{codes(keys, "q", "a", "b"), codes(keys, "p", "ab"), codes(keys, "p", "ab", ""), codes(keys, "p", "b", "a")} {
		if slices.Equal(other, both) {
			t.Errorf("%q is the code of something else too", other)
		}
	}
}

// A fielded is a value with a field of each kind.
type fielded struct {
	at, second  time.Time
	a, b        string
	words, none []string
	number      int64
	small       int8
	later, rest string
}

// list lists the fields; an older version does not know of what is later.
func (v *fielded) list(f *seal.Fields, older bool) {
	f.Times(&v.at)
	f.Seconds(&v.second)
	f.Texts(&v.a, &v.b)
	f.Words(&v.words)
	f.Words(&v.none)
	seal.Int(f, &v.number)
	seal.Int(f, &v.small)
	if !older && f.More() {
		f.Texts(&v.later)
	}
	f.Rest(&v.rest)
}

// TestFields: a value comes back as it was written, also by way of a version that does not know all of
// it, and from one that has not written all of it.
func TestFields(t *testing.T) {
	value := fielded{
		at: time.Unix(5, 7), second: time.Unix(-3, 0), a: "a", b: " ", words: []string{"x", "y"}, number: math.MinInt64, small: -128, later: "new",
	}
	write := func(v fielded, older bool) []byte {
		f := seal.WriteTo([]byte("prefix"))
		v.list(f, older)
		written, found := bytes.CutPrefix(f.Written(), []byte("prefix"))
		if !found || f.Err() != nil {
			t.Errorf("written %q, %v", f.Written(), f.Err())
		}
		return written
	}
	read := func(written []byte, older bool) (v fielded) {
		f := seal.ReadFrom(string(written))
		if v.list(f, older); f.Err() != nil {
			t.Errorf("read %q: %v", written, f.Err())
		}
		return v
	}
	equal := cmp.AllowUnexported(fielded{})
	whole := write(value, false)
	if diff := cmp.Diff(value, read(whole, false), equal); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(value, read(write(read(whole, true), true), false), equal); diff != "" {
		t.Errorf("by way of an older version (-want +got):\n%s", diff)
	}
	old := value
	old.later = ""
	if diff := cmp.Diff(old, read(write(old, true), false), equal); diff != "" {
		t.Errorf("from an older version (-want +got):\n%s", diff)
	}
	for n := range len(write(old, true)) {
		f := seal.ReadFrom(string(whole[:n]))
		if new(fielded).list(f, false); f.Err() == nil {
			t.Errorf("%d bytes of %d are read", n, len(whole))
		}
	}
}

func TestNoKey(t *testing.T) {
	if _, err := seal.NewBox(nil, "p"); err == nil {
		t.Error("a box without a key")
	}
}

func TestReader(t *testing.T) {
	numbers := []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt64, math.MinInt64}
	texts := []string{"", "a", "\x00\xff", strings.Repeat("long", 1000)}
	var value []byte
	for _, n := range numbers {
		value = seal.AppendInt(value, n)
	}
	for _, s := range texts {
		value = seal.AppendString(value, s)
	}
	r := seal.NewReader(string(value))
	for _, n := range numbers {
		if got := r.Int(); got != n {
			t.Errorf("%d, want %d", got, n)
		}
	}
	for _, s := range texts {
		if got := r.String(); got != s {
			t.Errorf("%q, want %q", got, s)
		}
	}
	if r.Err() != nil || r.Rest() != "" {
		t.Errorf("%v, rest %q", r.Err(), r.Rest())
	}
	r = seal.NewReader(string(append(seal.AppendInt(nil, 300), "later"...)))
	if got := r.Int(); got != 300 || r.Err() != nil || r.Rest() != "later" {
		t.Errorf("CMP-1: %d, %v, rest %q", got, r.Err(), r.Rest())
	}
}

func TestReaderRefuses(t *testing.T) {
	good := seal.AppendString(seal.AppendInt(nil, 300), "text")
	for _, test := range []struct {
		name  string
		value []byte
	}{
		{"empty", nil},
		{"cut in the number", good[:1]},
		{"cut after the number", good[:2]},
		{"cut in the text", good[:len(good)-1]},
		{"huge length", append(bytes.Clone(good[:2]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)},
		{"overflow", bytes.Repeat([]byte{0xff}, 11)},
		{"overflow in the last byte", append(bytes.Repeat([]byte{0x80}, 9), 0x02, 0x00)},
	} {
		r := seal.NewReader(string(test.value))
		r.Int()
		_ = r.String()
		if r.Err() == nil {
			t.Errorf("%s: accepted", test.name)
		}
		if r.Int() != 0 && r.String() != "" {
			t.Errorf("%s: something comes after the end", test.name)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add(seal.AppendString(seal.AppendInt(nil, -5), "text"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r := seal.NewReader(string(value))
		n, s := r.Int(), r.String()
		if r.Err() != nil {
			return
		}
		// What is accepted says what it says, however the number was written.
		again := seal.NewReader(string(seal.AppendString(seal.AppendInt(nil, n), s)))
		if again.Int() != n || again.String() != s || again.Err() != nil {
			t.Errorf("%d %q does not come back", n, s)
		}
	})
}
