package passkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/messages"
)

// config has what New requires.
func config() passkey.Config {
	return passkey.Config{
		RPID: "shop.example", Name: "Shop", Origins: []string{"https://shop.example"}, Store: &passkey.Memory{},
		Keys: [][]byte{testsite.NewKey()}, Fresh: func(*http.Request) error { return nil },
	}
}

func newPasskeys(t testing.TB, change ...func(*passkey.Config)) (*passkey.Passkeys, passkey.Config) {
	t.Helper()
	c := config()
	for _, f := range change {
		f(&c)
	}
	p, err := passkey.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

// TestSettings_CONF_6: what New refuses, and which setting it names.
func TestSettings_CONF_6(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*passkey.Config)
		want   string
	}{
		"fresh":        {func(c *passkey.Config) { c.Fresh = nil }, "Fresh"},
		"store":        {func(c *passkey.Config) { c.Store = nil }, "Store"},
		"keys":         {func(c *passkey.Config) { c.Keys = nil }, "Keys"},
		"short key":    {func(c *passkey.Config) { c.Keys = [][]byte{make([]byte, 31)} }, "Keys"},
		"weak key":     {func(c *passkey.Config) { c.Keys = append(c.Keys, make([]byte, 32)) }, "Keys"},
		"id":           {func(c *passkey.Config) { c.RPID = "" }, "RPID"},
		"address":      {func(c *passkey.Config) { c.RPID, c.Origins = "127.0.0.1", []string{"https://127.0.0.1:8080"} }, "RPID: \"127.0.0.1\" is an IP address"},
		"http address": {func(c *passkey.Config) { c.Origins = []string{"http://127.0.0.1:8080"} }, "not https"},
		"name":         {func(c *passkey.Config) { c.Name = "" }, "Name"},
		"no origin":    {func(c *passkey.Config) { c.Origins = nil }, "Origins"},
		"http":         {func(c *passkey.Config) { c.Origins = []string{"http://shop.example"} }, "not https"},
		"path":         {func(c *passkey.Config) { c.Origins = []string{"https://shop.example/"} }, "not an origin"},
		"other domain": {func(c *passkey.Config) { c.Origins = []string{"https://evilshop.example"} }, "not of the domain"},
		"page":         {func(c *passkey.Config) { c.Path = "/passkeys" }, "Path"},
		"fresh path":   {func(c *passkey.Config) { c.FreshPath = "//evil.example" }, "FreshPath"},
	} {
		c := config()
		test.change(&c)
		if _, err := passkey.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	newPasskeys(t, func(c *passkey.Config) {
		c.Origins = append(c.Origins, "https://www.shop.example", "https://shop.example:8443")
	})
	newPasskeys(t, func(c *passkey.Config) { c.RPID, c.Origins = "localhost", []string{"http://localhost:8080"} })
}

func decision(user, digest string) grants.Confirmation {
	return grants.Confirmation{UserID: user, Digest: digest, Text: "Let it", Language: messages.English()}
}

// prompt returns the options that the page has for a decision.
func prompt(t testing.TB, p *passkey.Passkeys, c grants.Confirmation) options {
	t.Helper()
	got, err := p.Prompt(httptest.NewRequest("POST", "/", nil), c)
	if err != nil || got.Unable {
		t.Fatal(err, got)
	}
	var o struct{ PublicKey options }
	text, _ := json.Marshal(got.JSON)
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o.PublicKey
}

func verify(p *passkey.Passkeys, c grants.Confirmation, proofs ...string) error {
	r := httptest.NewRequest("POST", "/", nil)
	r.PostForm = url.Values{grants.ProofField: proofs}
	return p.Verify(r, c)
}

// enrolled puts a passkey of an account into the store.
func enrolled(t testing.TB, p *passkey.Passkeys, c passkey.Config, user string) *device {
	t.Helper()
	s := newSite(t, p, nil)
	d := newDevice(t)
	resp := s.post(s.human(user), "add", "proof", d.create(s.creation(user)))
	if resp.StatusCode != 200 {
		t.Fatalf("add: %d %s", resp.StatusCode, resp.Text)
	}
	all, err := c.Store.Passkeys(context.Background(), user)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return d
}

// TestProof_CONF_5: what is accepted, and each way in which a proof is not.
func TestProof_CONF_5(t *testing.T) {
	alice, other := decision("alice", "d1"), decision("alice", "d2")
	for _, test := range []struct {
		name string
		want error // nil, or ErrProof
		post func(p *passkey.Passkeys, d, bobs *device) []string
	}{
		{"right", nil, func(p *passkey.Passkeys, d, _ *device) []string { return []string{d.get(prompt(d.t, p, alice))} }},
		{"almost too old", nil, func(p *passkey.Passkeys, d, _ *device) []string {
			o := prompt(d.t, p, alice)
			time.Sleep(5*time.Minute - time.Second)
			return []string{d.get(o)}
		}},
		{"none", grants.ErrNoProof, func(*passkey.Passkeys, *device, *device) []string { return nil }},
		{"empty", grants.ErrNoProof, func(*passkey.Passkeys, *device, *device) []string { return []string{""} }},
		{"two", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			return []string{d.get(prompt(d.t, p, alice)), d.get(prompt(d.t, p, alice))}
		}},
		{"no JSON", grants.ErrProof, func(*passkey.Passkeys, *device, *device) []string { return []string{"{"} }},
		{"another decision's challenge", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string { return []string{d.get(prompt(d.t, p, other))} }},
		{"a challenge to add a passkey", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			s := newSite(d.t, p, nil)
			return []string{d.get(s.creation("alice"))}
		}},
		{"another account's challenge", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			return []string{d.get(prompt(d.t, p, decision("bob", "d1")))}
		}},
		{"a challenge of its own", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			return []string{d.get(options{Challenge: encode(make([]byte, 56))})}
		}},
		{"a later time in the challenge", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			o := prompt(d.t, p, alice)
			time.Sleep(6 * time.Minute)
			c := decode(d.t, o.Challenge)
			copy(c[:8], decode(d.t, prompt(d.t, p, alice).Challenge)[:8])
			return []string{d.get(options{Challenge: encode(c)})}
		}},
		{"too old", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			o := prompt(d.t, p, alice)
			time.Sleep(5*time.Minute + 2*time.Second)
			return []string{d.get(o)}
		}},
		{"user not verified", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.flags = present
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"user not present", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.flags = verified
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"another origin", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.origin = "https://evil.example"
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"an origin below", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.origin = "https://blog.shop.example"
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"in a frame of another site", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.frame = true
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"another RP ID", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.rpID = "evil.example"
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"another ceremony", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.ceremony = "webauthn.create"
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"another account's passkey", grants.ErrProof, func(p *passkey.Passkeys, d, bobs *device) []string {
			return []string{bobs.get(prompt(d.t, p, alice))}
		}},
		{"another account's passkey under this one's ID", grants.ErrProof, func(p *passkey.Passkeys, d, bobs *device) []string {
			bobs.id, bobs.handle = d.id, d.handle
			return []string{bobs.get(prompt(d.t, p, alice))}
		}},
		{"another user handle", grants.ErrProof, func(p *passkey.Passkeys, d, bobs *device) []string {
			d.handle = bobs.handle
			return []string{d.get(prompt(d.t, p, alice))}
		}},
		{"a passkey that nobody added", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			return []string{newDevice(d.t).get(prompt(d.t, p, alice))}
		}},
		{"a copy", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			d.counter = 7
			if err := verify(p, alice, d.get(prompt(d.t, p, alice))); err != nil {
				d.t.Error(err)
			}
			return []string{d.get(prompt(d.t, p, alice))} // with a counter that has not grown
		}},
		{"used before", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			proof := d.get(prompt(d.t, p, alice))
			if err := verify(p, alice, proof); err != nil {
				d.t.Error(err)
			}
			return []string{proof}
		}},
		{"used before, signed anew", grants.ErrProof, func(p *passkey.Passkeys, d, _ *device) []string {
			o := prompt(d.t, p, alice)
			if err := verify(p, alice, d.get(o)); err != nil {
				d.t.Error(err)
			}
			return []string{d.get(o)}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, c := newPasskeys(t)
				d, bobs := enrolled(t, p, c, "alice"), enrolled(t, p, c, "bob")
				proofs := test.post(p, d, bobs)
				before, _ := c.Store.Passkeys(t.Context(), "alice")
				if err := verify(p, alice, proofs...); !errors.Is(err, test.want) || test.want == nil && err != nil {
					t.Errorf("%v, want %v", err, test.want)
				}
				after, _ := c.Store.Passkeys(t.Context(), "alice")
				if used := !after[0].UsedAt.Equal(before[0].UsedAt); used != (test.want == nil) {
					t.Errorf("it counts as used: %v", used)
				}
			})
		})
	}
}

// TestOptions_CONF_5: what the browser is asked for.
func TestOptions_CONF_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPasskeys(t)
		d := enrolled(t, p, c, "alice")
		o := prompt(t, p, decision("alice", "d1"))
		if o.UserVerification != "required" || len(o.AllowCredentials) != 1 || o.AllowCredentials[0].ID != encode(d.id) || len(decode(t, o.Challenge)) < 32 {
			t.Errorf("%+v", o)
		}
		if again := prompt(t, p, decision("alice", "d1")); again.Challenge == o.Challenge {
			t.Error("a challenge comes twice")
		}
		got, err := p.Prompt(httptest.NewRequest("POST", "/", nil), decision("nobody", "d1"))
		if err != nil || !got.Unable || got.Script != "" || !strings.Contains(string(got.HTML), `href="/account/passkeys/"`) {
			t.Errorf("without a passkey: %+v %v", got, err)
		}
	})
}

// TestKeyRotation_CONF_5: a challenge is good at instances that have its key in whatever place,
// and nowhere else.
func TestKeyRotation_CONF_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPasskeys(t)
		d := enrolled(t, p, c, "alice")
		alice := decision("alice", "d1")
		with := func(keys ...[]byte) *passkey.Passkeys {
			q, _ := newPasskeys(t, func(other *passkey.Config) { other.Keys, other.Store = keys, c.Store })
			return q
		}
		old, next := c.Keys[0], testsite.NewKey()
		if err := verify(with(next, old), alice, d.get(prompt(t, p, alice))); err != nil {
			t.Error(err)
		}
		if err := verify(with(next), alice, d.get(prompt(t, p, alice))); !errors.Is(err, grants.ErrProof) {
			t.Error(err)
		}
	})
}

// failing is a store and StateStore that is away.
type failing struct{ passkey.Store }

var errAway = errors.New("the database is away")

func (failing) Passkeys(context.Context, string) ([]passkey.Passkey, error) { return nil, errAway }
func (failing) UseState(context.Context, string, time.Time) (bool, error)   { return false, errAway }

// notUpdating is a store that does not keep what has changed.
type notUpdating struct{ passkey.Store }

func (notUpdating) UpdatePasskey(context.Context, passkey.Passkey) error { return errAway }

// TestStoreFails_CONF_5: nothing is confirmed that a store could not tell or keep, and that is no
// wrong proof.
func TestStoreFails_CONF_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPasskeys(t)
		d := enrolled(t, p, c, "alice")
		alice := decision("alice", "d1")
		for name, change := range map[string]func(*passkey.Config){
			"store":  func(c *passkey.Config) { c.Store = failing{} },
			"used":   func(c *passkey.Config) { c.Used = failing{} },
			"update": func(c *passkey.Config) { c.Store = notUpdating{c.Store} },
		} {
			q, _ := newPasskeys(t, func(other *passkey.Config) { *other = c; change(other) })
			if err := verify(q, alice, d.get(prompt(t, p, alice))); !errors.Is(err, errAway) || errors.Is(err, grants.ErrProof) {
				t.Errorf("%s: %v", name, err)
			}
		}
		q, _ := newPasskeys(t, func(other *passkey.Config) { *other = c; other.Store = failing{} })
		if _, err := q.Prompt(httptest.NewRequest("POST", "/", nil), alice); !errors.Is(err, errAway) {
			t.Error(err)
		}
	})
}

// A leaking store returns the passkeys of everybody.
type leaking struct{ *passkey.Memory }

func (l leaking) Passkeys(ctx context.Context, _ string) ([]passkey.Passkey, error) {
	alices, err := l.Memory.Passkeys(ctx, "alice")
	bobs, _ := l.Memory.Passkeys(ctx, "bob")
	return append(bobs, alices...), err
}

// TestStoreLeaks_CONF_5: a passkey of another account confirms nothing, whatever the store returns.
func TestStoreLeaks_CONF_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPasskeys(t)
		enrolled(t, p, c, "alice")
		bobs := enrolled(t, p, c, "bob")
		q, _ := newPasskeys(t, func(other *passkey.Config) { *other = c; other.Store = leaking{c.Store.(*passkey.Memory)} })
		alice := decision("alice", "d1")
		if err := verify(q, alice, bobs.get(prompt(t, q, alice))); !errors.Is(err, grants.ErrProof) {
			t.Error(err)
		}
	})
}

// TestMemory holds the store to what Store says.
func TestMemory(t *testing.T) {
	m, ctx := &passkey.Memory{}, t.Context()
	one := passkey.Passkey{UserID: "alice"}
	one.Credential.ID = []byte("1")
	if err := m.AddPasskey(ctx, one); err != nil {
		t.Error(err)
	}
	stolen := one
	stolen.UserID = "bob"
	for name, err := range map[string]error{"same": m.AddPasskey(ctx, one), "of another account": m.AddPasskey(ctx, stolen)} {
		if !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"update": m.UpdatePasskey(ctx, stolen), "remove": m.RemovePasskey(ctx, "bob", one.Credential.ID), "remove another": m.RemovePasskey(ctx, "alice", []byte("2")),
	} {
		if !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := m.Passkeys(ctx, "alice"); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	if err := m.RemovePasskey(ctx, "alice", one.Credential.ID); err != nil {
		t.Error(err)
	}
	if all, _ := m.Passkeys(ctx, "alice"); len(all) != 0 {
		t.Error(all)
	}
}

// TestTexts: every text of passkeys is there and is used.
func TestTexts(t *testing.T) {
	var sources strings.Builder
	for _, file := range []string{"passkey.go", "handler.go", "passkeys.html"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(source)
	}
	table, err := os.ReadFile("../../messages/en/passkey.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`"(passkey\.[\w.]*\w)"`).FindAllStringSubmatch(sources.String(), -1)
	for _, key := range used {
		if _, ok := messages.English().Lookup(key[1]); !ok {
			t.Errorf("there is no text %s", key[1])
		}
	}
	for line := range strings.Lines(string(table)) {
		key, _, ok := strings.Cut(line, " = ")
		if ok && !strings.HasPrefix(key, "passkey.done.") && !strings.Contains(sources.String(), `"`+key+`"`) {
			t.Errorf("nothing uses the text %s", key)
		}
	}
	if len(used) < 10 {
		t.Errorf("%d texts are used", len(used))
	}
}
