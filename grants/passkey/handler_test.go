package passkey_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

const (
	page     = "/account/passkeys/"
	agents   = "/account/agents/"
	htmlOnly = "text/html"
)

// A site is one whose owners confirm with passkeys, https://shop.example. It has to be in a bubble
// of testing/synctest.
type site struct {
	*testsite.Site
	owners *grants.Policy
}

func newSite(t testing.TB, p *passkey.Passkeys, change func(*authagent.Config)) *site {
	t.Helper()
	s := &site{}
	s.Site = testsite.NewCluster(t, func(shared *testsite.Site, c *authagent.Config) {
		s.owners = grants.OwnerApproval(&memstore.Grants{})
		s.owners.Confirm = p
		s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
		c.Human, c.Revocations = testsite.Human, &memstore.Revocations{}
		c.Scenario = authagent.FullAccount(shared.Users, s.owners)
		c.Languages = []*messages.Language{messages.English(), messages.German()}
		if change != nil {
			change(c)
		}
	})
	mux := http.NewServeMux()
	s.Mount(mux, s.RP)
	mux.Handle(agents, grants.Handler(s.owners, s.RP))
	mux.Handle(page, p.Handler(s.RP))
	s.SetMux("", mux)
	return s
}

func (s *site) human(id string) *http.Client {
	c := s.Browser()
	s.SignInPerson(c, id)
	return c
}

// post sends a form to a path of the page.
func (s *site) post(c *http.Client, path string, pairs ...string) *testsite.Response {
	s.T.Helper()
	return s.send(c, page+path, pairs)
}

func (s *site) send(c *http.Client, path string, pairs []string, header ...string) *testsite.Response {
	s.T.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return s.Send(c, "POST", path, v.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

// A listed is the page as a program gets it.
type listed struct {
	Passkeys  []struct{ ID string }
	Fresh     bool
	PublicKey *options
}

func (s *site) list(c *http.Client) (l listed) {
	s.T.Helper()
	resp := s.Get(c, page)
	if err := json.Unmarshal([]byte(resp.Text), &l); err != nil || resp.StatusCode != 200 {
		s.T.Fatalf("%d %v %s", resp.StatusCode, err, resp.Text)
	}
	return l
}

// creation are the options for a new passkey of an account.
func (s *site) creation(user string) options {
	s.T.Helper()
	l := s.list(s.human(user))
	if l.PublicKey == nil {
		s.T.Fatal("no options")
	}
	return *l.PublicKey
}

// TestEnrolmentNeedsFresh_CONF_6: without the site's own proof of the person, nobody adds a passkey
// or removes one, not with options that were had before either.
func TestEnrolmentNeedsFresh_CONF_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := true
		p, c := newPasskeys(t, func(c *passkey.Config) {
			c.FreshPath = "/password-again"
			c.Fresh = func(r *http.Request) error {
				if !fresh {
					return errors.New("the password was entered an hour ago")
				}
				return nil
			}
		})
		s := newSite(t, p, nil)
		alice := s.human("alice")
		had := s.creation("alice")
		fresh = false
		if resp := s.post(alice, "add", "proof", newDevice(t).create(had)); resp.StatusCode != 403 || resp.Reason() != "confirmation_needed" {
			t.Errorf("add: %d %s", resp.StatusCode, resp.Text)
		}
		if l := s.list(alice); l.PublicKey != nil || l.Fresh || len(l.Passkeys) != 0 {
			t.Errorf("%+v", l)
		}
		resp := s.Get(alice, page, "Accept", htmlOnly)
		if strings.Contains(resp.Text, "<form") || strings.Contains(resp.Text, "<script") || !strings.Contains(resp.Text, `href="/password-again?return_to=%2Faccount%2Fpasskeys%2F"`) {
			t.Errorf("page: %s", resp.Text)
		}
		fresh = true
		d := newDevice(t)
		if resp := s.post(alice, "add", "proof", d.create(s.creation("alice"))); resp.StatusCode != 200 {
			t.Fatalf("add: %d %s", resp.StatusCode, resp.Text)
		}
		fresh = false
		if resp := s.post(alice, "remove", "id", encode(d.id)); resp.StatusCode != 403 || resp.Reason() != "confirmation_needed" {
			t.Errorf("remove: %d %s", resp.StatusCode, resp.Text)
		}
		if all, _ := c.Store.Passkeys(t.Context(), "alice"); len(all) != 1 {
			t.Errorf("%d passkeys", len(all))
		}
		fresh = true
		if resp := s.post(s.human("bob"), "remove", "id", encode(d.id)); resp.StatusCode != 404 {
			t.Errorf("remove as bob: %d", resp.StatusCode)
		}
		if resp := s.send(alice, page+"remove", []string{"id", encode(d.id)}, "Accept", htmlOnly); resp.StatusCode != 303 || resp.Header.Get("Location") != page+"?done=remove" {
			t.Errorf("remove: %d %v", resp.StatusCode, resp.Header)
		}
	})
}

// TestEnrolment_CONF_6: which passkeys are taken.
func TestEnrolment_CONF_6(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		reason problem.Reason
		proof  func(s *site, d *device) string
	}{
		"right":             {200, "", func(s *site, d *device) string { return d.create(s.creation("alice")) }},
		"malformed":         {400, problem.InvalidRequest, func(*site, *device) string { return "{}" }},
		"user not verified": {403, "confirmation_failed", func(s *site, d *device) string { d.flags = present; return d.create(s.creation("alice")) }},
		"another origin": {403, "confirmation_failed", func(s *site, d *device) string {
			d.origin = "https://evil.example"
			return d.create(s.creation("alice"))
		}},
		"another RP ID":   {403, "confirmation_failed", func(s *site, d *device) string { d.rpID = "evil.example"; return d.create(s.creation("alice")) }},
		"bob's challenge": {403, "confirmation_failed", func(s *site, d *device) string { return d.create(s.creation("bob")) }},
		"a decision's challenge": {403, "confirmation_failed", func(s *site, d *device) string {
			enrolledAt(s, "alice")
			o := prompt(s.T, s.owners.Confirm.(*passkey.Passkeys), decision("alice", ""))
			return d.create(o)
		}},
		"too old": {403, "confirmation_failed", func(s *site, d *device) string {
			o := s.creation("alice")
			time.Sleep(6 * time.Minute)
			return d.create(o)
		}},
		"used challenge": {403, "confirmation_failed", func(s *site, d *device) string {
			o := s.creation("alice")
			s.post(s.human("alice"), "add", "proof", newDevice(s.T).create(o))
			return d.create(o)
		}},
		"bob's passkey": {409, problem.Conflict, func(s *site, d *device) string {
			d.id = enrolledAt(s, "bob").id
			return d.create(s.creation("alice"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, c := newPasskeys(t)
				s := newSite(t, p, nil)
				d := newDevice(t)
				proof := test.proof(s, d)
				before, _ := c.Store.Passkeys(t.Context(), "alice")
				resp := s.post(s.human("alice"), "add", "proof", proof)
				if resp.StatusCode != test.status || resp.Reason() != test.reason {
					t.Errorf("%d %q: %s", resp.StatusCode, resp.Reason(), resp.Text)
				}
				after, _ := c.Store.Passkeys(t.Context(), "alice")
				if added := len(after) - len(before); (added == 1) != (test.status == 200) || added > 1 {
					t.Errorf("%d added", added)
				}
			})
		})
	}
}

func enrolledAt(s *site, user string) *device {
	s.T.Helper()
	d := newDevice(s.T)
	if resp := s.post(s.human(user), "add", "proof", d.create(s.creation(user))); resp.StatusCode != 200 {
		s.T.Fatalf("add: %d %s", resp.StatusCode, resp.Text)
	}
	return d
}

// TestWho_CONF_6: who gets to the page.
func TestWho_CONF_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPasskeys(t)
		s := newSite(t, p, func(c *authagent.Config) { c.Scenario = authagent.FreshProfile(&memstore.Profiles{}) })
		agent := s.Browser()
		s.MustSignIn(agent, s.AS.AddAgent(authagenttest.Agent{ID: "agent_1"}))
		both := s.Browser()
		s.MustSignIn(both, s.AS.AddAgent(authagenttest.Agent{ID: "agent_2"}))
		s.SignInPerson(both, "alice")
		for name, test := range map[string]struct {
			c      *http.Client
			status int
		}{"nobody": {s.Browser(), 401}, "agent": {agent, 403}, "agent in the owner's browser": {both, 403}} {
			if resp := s.Get(test.c, page); resp.StatusCode != test.status {
				t.Errorf("%s: GET %d", name, resp.StatusCode)
			}
			if resp := s.post(test.c, "add", "proof", "{}"); resp.StatusCode != test.status {
				t.Errorf("%s: add %d", name, resp.StatusCode)
			}
		}
		alice := s.human("alice")
		if resp := s.send(alice, page+"add", []string{"proof", "{}"}, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || resp.Reason() != "cross_origin" {
			t.Errorf("cross-site: %d %s", resp.StatusCode, resp.Text)
		}
		for method, path := range map[string]string{"PUT": "", "GET": "add", "HEAD": "remove"} {
			if resp := s.Do(alice, method, page+path); resp.StatusCode != 405 {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
		if resp := s.Get(alice, page+"other"); resp.StatusCode != 404 {
			t.Errorf("other: %d", resp.StatusCode)
		}
		for range 19 {
			enrolledAt(s, "alice")
		}
		early := s.creation("alice") // in another tab
		enrolledAt(s, "alice")
		if resp := s.post(alice, "add", "proof", newDevice(t).create(early)); resp.StatusCode != 429 {
			t.Errorf("21st: %d %s", resp.StatusCode, resp.Text)
		}
		if l := s.list(alice); l.PublicKey != nil || len(l.Passkeys) != 20 {
			t.Errorf("full: %+v", l)
		}
	})
}

// TestPage_CONF_6 is what the page has, and what it may load.
func TestPage_CONF_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPasskeys(t)
		s := newSite(t, p, nil)
		d := enrolledAt(s, "alice")
		resp := s.Get(s.human("alice"), page+"?done=add", "Accept", htmlOnly, "Accept-Language", "de")
		for _, want := range []string{`<html lang="de">`, "Ihre Passkeys", "Der Passkey ist hinzugefügt.", `value="` + encode(d.id) + `"`, "data-passkey=", "Noch nie benutzt", `<script>(() => {`} {
			if !strings.Contains(resp.Text, want) {
				t.Errorf("the page lacks %s:\n%s", want, resp.Text)
			}
		}
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Count(policy, "script-src 'sha256-") != 1 || strings.Contains(policy, "unsafe") || strings.Contains(policy, "'self';") && !strings.Contains(policy, "form-action 'self';") {
			t.Errorf("policy %q", policy)
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Content-Language") != "de" {
			t.Errorf("%v", resp.Header)
		}
	})
}

// TestOwnerConfirms_CONF_7 is the whole way without a browser: an agent that has the owner's
// cookies, and no finger, gets nothing; the owner lets the agent in by a passkey.
func TestOwnerConfirms_CONF_7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		password := true // was just entered
		p, _ := newPasskeys(t, func(c *passkey.Config) {
			c.Fresh = func(*http.Request) error {
				if password {
					return nil
				}
				return errors.New("not now")
			}
		})
		s := newSite(t, p, nil)
		alice := s.human(s.AliceID)
		d := newDevice(t)
		if resp := s.post(alice, "add", "proof", d.create(s.creation(s.AliceID))); resp.StatusCode != 200 {
			t.Fatalf("add: %d %s", resp.StatusCode, resp.Text)
		}
		password = false
		s.RefusedSignIn(s.Browser(), s.Agent)
		s.owners.Wait()
		o, err := s.owners.Overview(t.Context(), s.AliceID)
		if err != nil || len(o.Grants) != 1 {
			t.Fatal(o, err)
		}
		form := []string{"id", o.Grants[0].ID, "version", "1"}
		ask := func(form ...string) (c struct{ Confirm struct{ PublicKey options } }) {
			t.Helper()
			resp := s.send(alice, agents+"approve", form)
			if err := json.Unmarshal([]byte(resp.Text), &c); err != nil || resp.Reason() != "confirmation_needed" {
				t.Fatalf("%d %s", resp.StatusCode, resp.Text)
			}
			return c
		}
		try := func(name, proof string, form ...string) {
			t.Helper()
			if resp := s.send(alice, agents+"approve", append(form, "proof", proof)); resp.StatusCode != 403 || resp.Reason() != "confirmation_failed" {
				t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
			}
		}
		own := newDevice(t) // the agent's
		if resp := s.post(alice, "add", "proof", own.create(ask(form...).Confirm.PublicKey)); resp.StatusCode != 403 {
			t.Errorf("the agent adds a passkey: %d", resp.StatusCode)
		}
		try("a passkey of the agent's own", own.get(ask(form...).Confirm.PublicKey), form...)
		pressed := *d
		pressed.flags = present
		try("a button without a finger", pressed.get(ask(form...).Confirm.PublicKey), form...)
		try("what confirms less", d.get(ask(form...).Confirm.PublicKey), append(form, "access", "full")...)
		proof := d.get(ask(form...).Confirm.PublicKey)
		if resp := s.send(alice, agents+"approve", append(form, "proof", proof)); resp.StatusCode != 200 {
			t.Fatalf("the owner: %d %s", resp.StatusCode, resp.Text)
		}
		s.MustSignIn(s.Browser(), s.Agent)
		if resp := s.send(alice, agents+"approve", append(form, "proof", proof)); resp.StatusCode != 409 {
			t.Errorf("replay: %d %s", resp.StatusCode, resp.Text)
		}
	})
}
