package grants_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

const (
	agents   = "/account/agents/"
	htmlOnly = "text/html,application/xhtml+xml" // what a browser accepts
)

// answered is a response whose body has been read.
type answered struct {
	*http.Response
	body string
}

// reason returns the code of a refusal that was answered as JSON, and the field
// that it names.
func (a *answered) reason() (problem.Reason, string) {
	var p struct {
		Error problem.Reason
		Field string
	}
	json.Unmarshal([]byte(a.body), &p)
	return p.Error, p.Field
}

// human returns the browser of a human who is signed in to the site; "" for nobody.
func (s *site) human(id string) *http.Client {
	c := s.shared.Browser()
	if id != "" {
		s.signInHuman(c, id)
	}
	return c
}

func (s *site) signInHuman(c *http.Client, id string) { s.shared.SignInPerson(c, id) }

// do sends a request; a body is a form, and header is key, value, key, value.
func (s *site) do(c *http.Client, method, path, body string, header ...string) *answered {
	s.t.Helper()
	return (*answered)(send(s.shared, c, method, path, body, header...))
}

// page returns the page as a human sees it.
func (s *site) page(c *http.Client) string {
	s.t.Helper()
	resp := s.do(c, "GET", agents, "", "Accept", htmlOnly)
	if resp.StatusCode != 200 {
		s.t.Fatalf("page: %d %s", resp.StatusCode, resp.body)
	}
	return resp.body
}

// at returns a page below the list as a human sees it.
func (s *site) at(c *http.Client, below string) string {
	s.t.Helper()
	resp := s.do(c, "GET", agents+below, "", "Accept", htmlOnly)
	if resp.StatusCode != 200 {
		s.t.Fatalf("%s: %d %s", below, resp.StatusCode, resp.body)
	}
	return resp.body
}

// everything returns all views of the list, and the page of each agent in them.
func (s *site) everything(c *http.Client) string {
	s.t.Helper()
	var all, pages strings.Builder
	for _, view := range []string{"", "?waiting=1", "?past=1", "?past=1&hidden=1", "?actions=1"} {
		all.WriteString(s.at(c, view))
	}
	for _, link := range regexp.MustCompile(`href="`+agents+`(agents/[^"]+)"`).FindAllStringSubmatch(all.String(), -1) {
		pages.WriteString(s.at(c, link[1]))
	}
	return all.String() + pages.String()
}

// grant puts a grant into the store, as change has it: alice's, of agent_1,
// approved for reading.
func (s *site) grant(change func(*grants.Grant)) grants.Grant {
	s.t.Helper()
	now := time.Now()
	g := grants.Grant{
		ID: "g1", Version: 1, Agent: authagent.Agent{Issuer: s.as.URL, ID: "agent_1"}, Scenario: "FullAccount", UserID: s.alice,
		State: grants.Approved, Access: authagent.AccessRead, Email: "alice@example.com",
		RequestedAt: now.Add(-2 * time.Hour), RequestedFrom: "203.0.113.7", DecidedAt: now.Add(-time.Hour), ExpiresAt: now.Add(30 * 24 * time.Hour),
	}
	if change != nil {
		change(&g)
	}
	if _, created, err := s.store.CreateGrant(context.Background(), g); err != nil || !created {
		s.t.Fatal(created, err)
	}
	return g
}

func pending(g *grants.Grant) { g.State, g.DecidedAt = grants.Pending, time.Time{} }

// now returns a grant as the store has it.
func (s *site) now(id string) grants.Grant {
	s.t.Helper()
	g, err := s.store.Grant(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// signedInAgent returns agent_1 or another in a browser in which it is signed in.
func (s *site) signedInAgent(id string) *http.Client {
	s.t.Helper()
	c := s.as.NewBrowser()
	s.signInAgent(c, id)
	return c
}

func (s *site) signInAgent(c *http.Client, id string) {
	s.t.Helper()
	agent := s.as.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com"})
	if got := s.signIn(agent, c); got != 200 {
		s.t.Fatalf("sign-in: %d", got)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

// payout has an agent ask for a single action, and returns it.
func (s *site) payout(c *http.Client, body string) grants.Approval {
	s.t.Helper()
	resp := s.do(c, "POST", "/payouts", body)
	if resp.StatusCode != 202 {
		s.t.Fatalf("payout: %d %s", resp.StatusCode, resp.body)
	}
	a, err := s.store.Approval(context.Background(), strings.TrimPrefix(resp.Header.Get("Location"), agents+"approvals/"))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func versionOf(g grants.Grant) []string {
	return []string{"id", g.ID, "version", strconv.FormatInt(g.Version, 10)}
}

// TestOnlyTheOwnerDecides is LNK-3, for every change there is.
func TestOnlyTheOwnerDecides(t *testing.T) {
	type who = func(s *site) *http.Client
	var (
		nobody who = func(s *site) *http.Client { return s.human("") }
		alice  who = func(s *site) *http.Client { return s.human(s.alice) }
		bob    who = func(s *site) *http.Client { return s.human(s.bob) }
		reader who = func(s *site) *http.Client { return s.signedInAgent("agent_reader") }
		full   who = func(s *site) *http.Client { return s.signedInAgent("agent_full") }
		both   who = func(s *site) *http.Client {
			c := s.signedInAgent("agent_full")
			s.signInHuman(c, s.alice)
			return c
		}
	)
	crossSite := []string{"Sec-Fetch-Site", "cross-site"}
	for _, actor := range []struct {
		name   string
		client who
		method string
		header []string
		want   int // where the thing is somebody else's; revoke-all is nobody else's
		all    int // for revoke-all
	}{
		{"anonymous", nobody, "POST", nil, 401, 401},
		{"another human", bob, "POST", nil, 404, 303},
		{"the agent itself", reader, "POST", nil, 403, 403},
		{"agent with full access", full, "POST", nil, 403, 403},
		{"agent in the owner's browser", both, "POST", nil, 403, 403},
		{"cross-site", alice, "POST", crossSite, 403, 403},
		{"same-site", alice, "POST", []string{"Sec-Fetch-Site", "same-site"}, 403, 403},
		{"foreign Origin", alice, "POST", []string{"Origin", "https://evil.example"}, 403, 403},
		{"null Origin", alice, "POST", []string{"Origin", "null"}, 403, 403},
		{"GET", alice, "GET", nil, 405, 405},
		{"HEAD", alice, "HEAD", nil, 405, 405},
		{"PUT", alice, "PUT", nil, 405, 405},
		{"owner", alice, "POST", nil, 303, 303},
		{"owner from own page", alice, "POST", []string{"Sec-Fetch-Site", "same-origin"}, 303, 303},
	} {
		for _, change := range []struct {
			path string
			form func(s *site) string
			want grants.State // after it was done
		}{
			{"approve", func(s *site) string { return form("id", "asks", "version", "1", "access", "full") }, grants.Approved},
			{"deny", func(s *site) string { return form("id", "asks", "version", "1") }, grants.Denied},
			{"change", func(s *site) string { return form("id", "reader", "version", "1", "access", "full") }, grants.Approved},
			{"suspend", func(s *site) string { return form("id", "reader", "version", "1") }, grants.Suspended},
			{"revoke", func(s *site) string { return form("id", "reader", "version", "1") }, grants.Revoked},
			{"revoke-all", func(s *site) string { return "" }, grants.Denied},
			{"deny-all", func(s *site) string { return "" }, grants.Denied},
			{"rename", func(s *site) string { return form("id", "reader", "version", "1", "nickname", "Robot") }, grants.Approved},
			{"forget", func(s *site) string { return form("id", "over", "version", "1") }, grants.Denied},
			{"end-session", func(s *site) string { return form("session", "live") }, ""},
			{"approvals/approve", func(s *site) string { return form("id", "payout", "version", "1") }, grants.Approved},
			{"approvals/deny", func(s *site) string { return form("id", "payout", "version", "1") }, grants.Denied},
		} {
			t.Run("LNK-3 "+change.path+" as "+actor.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.grant(func(g *grants.Grant) { pending(g); g.ID = "asks" })
				s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "reader", "agent_reader" })
				s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.State = "over", "agent_over", grants.Denied })
				s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Access = "full", "agent_full", authagent.AccessFull })
				s.store.Touch(context.Background(), grants.Activity{SessionID: "live", GrantID: "reader", UserID: s.alice, ExpiresAt: time.Now().Add(time.Hour)})
				s.store.CreateApproval(context.Background(), grants.Approval{
					ID: "payout", Version: 1, UserID: s.alice, GrantID: "reader", Digest: "d", State: grants.Pending, ExpiresAt: time.Now().Add(time.Hour),
				})
				before := s.standing()
				body := change.form(s)
				if actor.method != "POST" {
					body = ""
				}
				resp := s.do(actor.client(s), actor.method, agents+change.path+"?"+change.form(s), body, append([]string{"Accept", htmlOnly}, actor.header...)...)
				want := actor.want
				if strings.HasSuffix(change.path, "-all") {
					want = actor.all
				}
				if resp.StatusCode != want {
					t.Errorf("status %d, want %d: %s", resp.StatusCode, want, resp.body)
				}
				if want != 303 || strings.HasPrefix(actor.name, "another") {
					if diff := cmp.Diff(before, s.standing()); diff != "" {
						t.Errorf("it has changed:\n%s", diff)
					}
				} else if cmp.Equal(before, s.standing()) {
					t.Error("nothing has changed")
				}
			})
		}
	}
}

// standing is what the changes of TestOnlyTheOwnerDecides change.
func (s *site) standing() []string {
	s.t.Helper()
	a, err := s.store.Approval(context.Background(), "payout")
	if err != nil {
		s.t.Fatal(err)
	}
	sessions, _ := s.store.OwnerActivity(context.Background(), s.alice)
	live := false
	for _, session := range sessions {
		live = live || session.SessionID == "live"
	}
	asks, reader, over := s.now("asks"), s.now("reader"), s.now("over")
	return []string{
		fmt.Sprint(asks.State, asks.Version, asks.Access), fmt.Sprint(reader.State, reader.Version, reader.Access), fmt.Sprint(a.State, a.Version),
		fmt.Sprint(live), fmt.Sprint(over.State, over.Version, over.Hidden),
	}
}

// TestPermissionIsExplicit is LNK-3 and LNK-4: what the form says, and no more.
func TestPermissionIsExplicit(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name    string
		form    []string
		access  authagent.Access
		actions []string
		lasts   time.Duration
	}{
		{"nothing said", nil, authagent.AccessRead, nil, 90 * day},
		{"read", []string{"access", "read", "days", "1"}, authagent.AccessRead, nil, day},
		{"full", []string{"access", "full", "days", "7"}, authagent.AccessFull, nil, 7 * day},
		{"action", []string{"access", "read", "action", "orders:create", "days", "30"}, authagent.AccessRead, []string{"orders:create"}, 30 * day},
		{"in the query", nil, authagent.AccessRead, nil, 90 * day},
	} {
		t.Run("LNK-4 "+test.name, func(t *testing.T) {
			s := newSite(t)
			g := s.grant(pending)
			resp := s.do(s.human(s.alice), "POST", agents+"approve?access=full&action=orders:create&days=1", form(append(versionOf(g), test.form...)...))
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, resp.body)
			}
			var got grants.Grant
			if err := json.Unmarshal([]byte(resp.body), &got); err != nil {
				t.Fatal(err)
			}
			if got.State != grants.Approved || got.Access != test.access || !cmp.Equal(got.Actions, test.actions) || got.Version != 3 {
				t.Errorf("grant %+v", got)
			}
			if lasts := time.Until(got.ExpiresAt); lasts > test.lasts || lasts < test.lasts-time.Minute {
				t.Errorf("lasts %v, want %v", lasts, test.lasts)
			}
		})
	}
}

// TestDecisionIsBound is LNK-4: a decision is about what the owner has seen, in
// time, once.
func TestDecisionIsBound(t *testing.T) {
	over := func(g *grants.Grant) { pending(g); g.ExpiresAt = time.Now().Add(-time.Second) }
	for _, test := range []struct {
		name   string
		grant  func(*grants.Grant)
		path   string
		form   []string
		want   int
		reason problem.Reason
		field  string
	}{
		{"LNK-4 after expiry", over, "approve", []string{"id", "g1", "version", "1"}, 410, problem.Reason("gone"), ""},
		{"LNK-4 denied after expiry", over, "deny", []string{"id", "g1", "version", "1"}, 410, problem.Reason("gone"), ""},
		{"LNK-4 other version", pending, "approve", []string{"id", "g1", "version", "2"}, 409, problem.Conflict, ""},
		{"LNK-4 other id", pending, "approve", []string{"id", "g2", "version", "1"}, 404, problem.NotFound, ""},
		{"LNK-4 deny what is approved", nil, "deny", []string{"id", "g1", "version", "1"}, 409, problem.Conflict, ""},
		{"LNK-4 suspend what waits", pending, "suspend", []string{"id", "g1", "version", "1"}, 409, problem.Conflict, ""},
		{"no id", pending, "approve", []string{"version", "1"}, 400, problem.InvalidRequest, "id"},
		{"two ids", pending, "approve", []string{"id", "g1", "id", "g1", "version", "1"}, 400, problem.InvalidRequest, "id"},
		{"no version", pending, "approve", []string{"id", "g1"}, 400, problem.InvalidRequest, "version"},
		{"malformed version", pending, "deny", []string{"id", "g1", "version", "one"}, 400, problem.InvalidRequest, "version"},
		{"negative version", pending, "deny", []string{"id", "g1", "version", "-1"}, 400, problem.InvalidRequest, "version"},
		{"unknown access", pending, "approve", []string{"id", "g1", "version", "1", "access", "root"}, 400, problem.InvalidRequest, "access"},
		{"access none", pending, "approve", []string{"id", "g1", "version", "1", "access", "none"}, 400, problem.InvalidRequest, "access"},
		{"two accesses", pending, "approve", []string{"id", "g1", "version", "1", "access", "read", "access", "full"}, 400, problem.InvalidRequest, "access"},
		{"empty access", pending, "approve", []string{"id", "g1", "version", "1", "access", ""}, 400, problem.InvalidRequest, "access"},
		{"action not offered", pending, "approve", []string{"id", "g1", "version", "1", "action", "users:delete"}, 400, problem.InvalidRequest, "action"},
		{"days not offered", pending, "approve", []string{"id", "g1", "version", "1", "days", "91"}, 400, problem.InvalidRequest, "days"},
		{"negative days", pending, "approve", []string{"id", "g1", "version", "1", "days", "-1"}, 400, problem.InvalidRequest, "days"},
		{"too long", pending, "approve", []string{"id", strings.Repeat("g", 70_000), "version", "1"}, 400, problem.InvalidRequest, ""},
		{"no session", nil, "end-session", nil, 400, problem.InvalidRequest, "session"},
		{"unknown session", nil, "end-session", []string{"session", "x"}, 404, problem.NotFound, ""},
		{"unknown change", nil, "promote", []string{"id", "g1", "version", "1"}, 404, problem.NotFound, ""},
		{"unknown approval", nil, "approvals/approve", []string{"id", "x", "version", "1"}, 404, problem.NotFound, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log testsite.Log
			s := newSite(t, func(_ *site, c *authagent.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			g := s.grant(test.grant)
			resp := s.do(s.human(s.alice), "POST", agents+test.path, form(test.form...))
			reason, field := resp.reason()
			if resp.StatusCode != test.want || reason != test.reason || field != test.field {
				t.Errorf("%d %s %q, want %d %s %q", resp.StatusCode, string(reason), field, test.want, string(test.reason), test.field)
			}
			if named := fmt.Sprintf(`the field \"%s\" is`, test.field); test.field != "" && !strings.Contains(log.String(), named) {
				t.Errorf("the log does not name the field %q: %s", test.field, log.String())
			}
			if diff := cmp.Diff(g, s.now(g.ID)); diff != "" {
				t.Errorf("it has changed:\n%s", diff)
			}
			page := s.do(s.human(s.alice), "POST", agents+test.path, form(test.form...), "Accept", htmlOnly)
			if page.StatusCode != test.want || !strings.Contains(page.body, `<a href="/account/agents/">`) {
				t.Errorf("page: %d %s", page.StatusCode, page.body)
			}
			if test.field != "" && !strings.Contains(page.body, "<code>"+test.field+"</code>") {
				t.Errorf("the page does not name the field: %s", page.body)
			}
		})
	}
}

// TestDecidedOnce is LNK-4: a form that is sent twice counts once.
func TestDecidedOnce(t *testing.T) {
	for _, test := range []struct{ path, body string }{
		{"approve", form("id", "g1", "version", "1")},
		{"deny", form("id", "g1", "version", "1")},
		{"approvals/approve", form("id", "a1", "version", "1")},
		{"approvals/deny", form("id", "a1", "version", "1")},
	} {
		t.Run("LNK-4 "+test.path, func(t *testing.T) {
			s := newSite(t)
			s.grant(pending)
			s.store.CreateApproval(context.Background(), grants.Approval{
				ID: "a1", Version: 1, UserID: s.alice, Digest: "d", State: grants.Pending, ExpiresAt: time.Now().Add(time.Hour),
			})
			alice := s.human(s.alice)
			for _, want := range []int{303, 409} {
				if resp := s.do(alice, "POST", agents+test.path, test.body, "Accept", htmlOnly); resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
			}
		})
	}
	t.Run("LNK-4 expired action", func(t *testing.T) {
		s := newSite(t)
		s.store.CreateApproval(context.Background(), grants.Approval{
			ID: "a1", Version: 1, UserID: s.alice, Digest: "d", State: grants.Pending, ExpiresAt: time.Now().Add(-time.Second),
		})
		if resp := s.do(s.human(s.alice), "POST", agents+"approvals/approve", form("id", "a1", "version", "1")); resp.StatusCode != 410 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// TestRefusedApprovals is LNK-18: what the owner may not have either.
func TestRefusedApprovals(t *testing.T) {
	for _, test := range []struct {
		name  string
		setUp func(s *site)
	}{
		{"too many agents", func(s *site) {
			s.owners.MaxAgents = 1
			s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
		}},
		{"privileged", func(s *site) {
			s.owners.Privileged = func(context.Context, string) (bool, error) { return true, nil }
		}},
		{"acts for another account", func(s *site) {
			s.grant(func(g *grants.Grant) { g.ID, g.UserID = "g2", s.bob })
		}},
	} {
		t.Run("LNK-18 "+test.name, func(t *testing.T) {
			s := newSite(t)
			g := s.grant(pending)
			test.setUp(s)
			resp := s.do(s.human(s.alice), "POST", agents+"approve", form(versionOf(g)...))
			if reason, _ := resp.reason(); resp.StatusCode != 403 || reason != problem.LinkRefused {
				t.Errorf("%d %s", resp.StatusCode, resp.body)
			}
			if s.now(g.ID).State != grants.Pending {
				t.Error("it was approved")
			}
		})
	}
}

// TestOwnAgentsOnly is MW-8.
func TestOwnAgentsOnly(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	s.grant(func(g *grants.Grant) { g.Agent.ID = "agent_of_alice" })
	bobs := s.grant(func(g *grants.Grant) {
		g.ID, g.Agent.ID, g.UserID, g.Email = "g2", "agent_of_bob", s.bob, "bob@example.com"
	})
	s.store.Touch(ctx, grants.Activity{SessionID: "session_of_bob", GrantID: "g2", UserID: s.bob, RemoteAddr: "198.51.100.9", ExpiresAt: time.Now().Add(time.Hour)})
	s.store.AddDeed(ctx, grants.Deed{GrantID: "g2", UserID: s.bob, Event: "deed_of_bob"})
	s.store.CreateApproval(ctx, grants.Approval{
		ID: "approval_of_bob", Version: 1, UserID: s.bob, GrantID: "g2", Agent: bobs.Agent, Digest: "d", State: grants.Pending, ExpiresAt: time.Now().Add(time.Hour),
	})
	alice := s.human(s.alice)
	for _, body := range []string{s.everything(alice), s.do(alice, "GET", agents, "").body} {
		if !strings.Contains(body, "agent_of_alice") || strings.Contains(body, "of_bob") || strings.Contains(body, "198.51.100.9") {
			t.Errorf("MW-8: alice sees %s", body)
		}
	}
	for path, body := range map[string]string{
		"revoke":            form(versionOf(bobs)...),
		"rename":            form(append(versionOf(bobs), "nickname", "mine")...),
		"forget":            form(versionOf(bobs)...),
		"change":            form(append(versionOf(bobs), "access", "full")...),
		"end-session":       form("session", "session_of_bob"),
		"approvals/approve": form("id", "approval_of_bob", "version", "1"),
	} {
		if resp := s.do(alice, "POST", agents+path, body); resp.StatusCode != 404 {
			t.Errorf("MW-8 %s: %d %s", path, resp.StatusCode, resp.body)
		}
	}
	for _, accept := range []string{htmlOnly, ""} {
		if resp := s.do(alice, "GET", agents+"agents/g2", "", "Accept", accept); resp.StatusCode != 404 || strings.Contains(resp.body, "of_bob") {
			t.Errorf("MW-8 the page of bob's agent: %d %s", resp.StatusCode, resp.body)
		}
	}
	if diff := cmp.Diff(bobs, s.now("g2")); diff != "" {
		t.Errorf("MW-8: bob's grant:\n%s", diff)
	}
	if live, _ := s.store.OwnerActivity(ctx, s.bob); len(live) != 1 {
		t.Errorf("MW-8: bob's sessions %v", live)
	}
	if a, _ := s.store.Approval(ctx, "approval_of_bob"); a.State != grants.Pending {
		t.Errorf("MW-8: bob's approval is %s", a.State)
	}
}

// TestEndSession ends one session of two, on its next request.
func TestEndSession(t *testing.T) {
	s := newSite(t)
	var ended []audit.Event
	s.owners.Audit = func(_ context.Context, e audit.Event) {
		if e.Name == audit.SessionEnded {
			ended = append(ended, e)
		}
	}
	s.grant(nil)
	first, second := s.signedInAgent("agent_1"), s.as.NewBrowser()
	live, _ := s.store.OwnerActivity(context.Background(), s.alice)
	if len(live) != 1 {
		t.Fatal(live)
	}
	s.signInAgent(second, "agent_1")
	alice := s.human(s.alice)
	page := s.at(alice, "agents/g1")
	if n := strings.Count(page, `action="/account/agents/end-session"`); n != 2 {
		t.Errorf("%d sessions on the page", n)
	}
	if resp := s.do(alice, "POST", agents+"end-session", form("session", live[0].SessionID), "Accept", htmlOnly); resp.StatusCode != 303 {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}
	if got := s.do(first, "GET", "/me", "").StatusCode; got != 401 {
		t.Errorf("the session that was ended: %d", got)
	}
	if got := s.do(second, "GET", "/me", "").StatusCode; got != 200 {
		t.Errorf("the other session: %d", got)
	}
	if strings.Contains(s.at(alice, "agents/g1"), live[0].SessionID) {
		t.Error("the session is still shown")
	}
	if len(ended) != 1 || ended[0].HumanID != s.alice || ended[0].SessionID != live[0].SessionID || ended[0].Agent.ID != "agent_1" {
		t.Errorf("events %+v", ended)
	}
}

// TestAgentMeetsOwnersPage is LNK-3: a person is told that an agent is signed in
// in their browser, and can sign it out.
func TestAgentMeetsOwnersPage(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.human(s.alice)
	s.signInAgent(c, "agent_1")
	resp := s.do(c, "GET", agents, "", "Accept", htmlOnly)
	if resp.StatusCode != 403 || !strings.Contains(resp.body, "An agent is or was signed in with this browser") || strings.Contains(resp.body, "agent_1") {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}
	logout := regexp.MustCompile(`method="post" action="([^"]+)"`).FindStringSubmatch(resp.body)
	if logout == nil {
		t.Fatalf("no logout is offered: %s", resp.body)
	}
	resp = s.do(c, "POST", html.UnescapeString(logout[1]), "", "Accept", htmlOnly)
	if resp.StatusCode != 303 || resp.Header.Get("Location") != agents {
		t.Fatalf("logout: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	s.page(c)
	if resp := s.do(s.human(""), "GET", agents, "", "Accept", htmlOnly); resp.StatusCode != 401 || strings.Contains(resp.body, "<form") {
		t.Errorf("anonymous: %d %s", resp.StatusCode, resp.body)
	}
}

// TestConnect is LNK-15.
func TestConnect(t *testing.T) {
	const mallory = "mallory@example.com" // what the agent's server says; nobody has it here
	for _, test := range []struct {
		name   string
		before func(s *site, c *http.Client) // between start and callback
		want   int
		reason problem.Reason
	}{
		{"as alice", func(*site, *http.Client) {}, 303, ""},
		{"as bob", func(s *site, c *http.Client) { s.signInHuman(c, s.bob) }, 401, problem.HumanRequired},
		{"as nobody", func(s *site, c *http.Client) { s.signInHuman(c, "") }, 401, problem.HumanRequired},
		{"with an agent in the browser", func(s *site, c *http.Client) {
			s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
			s.signInAgent(c, "agent_2")
		}, 403, problem.AgentForbidden},
	} {
		t.Run("LNK-15 "+test.name, func(t *testing.T) {
			s := newSite(t)
			agent := s.as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: mallory})
			c := s.human(s.alice)
			start := s.do(c, "POST", agents+"connect", "")
			if start.StatusCode != 303 {
				t.Fatalf("start: %d %s", start.StatusCode, start.body)
			}
			callback, err := agent.Authorize(context.Background(), s.as.Client(), start.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			test.before(s, c)
			resp := s.do(c, "GET", callback, "")
			if reason, _ := resp.reason(); resp.StatusCode != test.want || reason != test.reason {
				t.Errorf("callback: %d %s", resp.StatusCode, resp.body)
			}
			linked, _ := s.store.AgentGrants(context.Background(), authagent.Agent{Issuer: s.as.URL, ID: "agent_1"})
			if test.want != 303 {
				if len(linked) != 0 {
					t.Errorf("linked: %+v", linked)
				}
				return
			}
			if resp.Header.Get("Location") != agents+"?done=connected" {
				t.Errorf("Location %q", resp.Header.Get("Location"))
			}
			if len(linked) != 1 || linked[0].UserID != s.alice || linked[0].State != grants.Approved || linked[0].Access != authagent.AccessRead {
				t.Errorf("grants %+v", linked)
			}
			if resp := s.do(c, "GET", "/me", ""); resp.StatusCode != 403 {
				t.Errorf("the human's browser is signed in as an agent: %d", resp.StatusCode)
			}
			if got := s.signIn(agent, s.as.NewBrowser()); got != 200 {
				t.Errorf("the agent's own sign-in: %d", got)
			}
		})
	}
}

// TestConnectStarts is LNK-15: who can start it, and how.
func TestConnectStarts(t *testing.T) {
	for _, test := range []struct {
		name, method string
		header       []string
		want         int
	}{
		{"GET", "GET", nil, 405},
		{"HEAD", "HEAD", nil, 405},
		{"GET of a page", "GET", []string{"Accept", htmlOnly}, 405},
		{"cross-site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"foreign Origin", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"own page", "POST", []string{"Sec-Fetch-Site", "same-origin"}, 303},
	} {
		t.Run("LNK-15 "+test.name, func(t *testing.T) {
			s := newSite(t)
			resp := s.do(s.human(s.alice), test.method, agents+"connect", "", test.header...)
			if resp.StatusCode != test.want || (len(resp.Cookies()) > 0) != (test.want == 303) {
				t.Errorf("%d with %v", resp.StatusCode, resp.Cookies())
			}
			if test.want == 405 && resp.Header.Get("Allow") != "POST" {
				t.Errorf("Allow %q", resp.Header.Get("Allow"))
			}
		})
	}
	s := newSite(t)
	if got := s.do(s.human(""), "POST", agents+"connect", "").StatusCode; got != 401 {
		t.Errorf("LNK-15 anonymous: %d", got)
	}
}

// TestConnectLeavesByPage is LNK-15 in a browser, which does not follow the
// redirect of a form to where form-action does not let it. The page says which server the human
// goes on to, and waits until they do, or go back.
func TestConnectLeavesByPage(t *testing.T) {
	s := newSite(t)
	resp := s.do(s.human(s.alice), "POST", agents+"connect", "", "Accept", htmlOnly, "Sec-Fetch-Site", "same-origin")
	h := resp.Header
	if resp.StatusCode != 200 || h.Get("Refresh") != "" || h.Get("Location") != "" {
		t.Fatalf("%d %v", resp.StatusCode, h)
	}
	_, server, _ := strings.Cut(s.as.URL, "://")
	page := html.UnescapeString(resp.body)
	for _, want := range []string{
		`<header>` + s.rp.Host() + `</header>`, "You go on to " + server + ".", "account at " + s.rp.Host() + ".",
		">Go on to " + server + "</a>", `<a href="/account/agents/">Cancel, and go back to your agents</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", want, page)
		}
	}
	if target := regexp.MustCompile(`<p class="onward"><a href="([^"]*)">`).FindStringSubmatch(page); target == nil || !strings.HasPrefix(target[1], s.as.URL+"/") || !strings.Contains(target[1], "state=") {
		t.Errorf("the link leads to %q", target)
	}
	if !strings.Contains(h.Get("Content-Security-Policy"), "form-action 'self'") || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", h)
	}
}

// TestPageHeaders_WEB_2_WEB_3_WEB_5 is WEB-2, WEB-3 and WEB-5 for every kind of answer.
func TestPageHeaders_WEB_2_WEB_3_WEB_5(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	agent := s.signedInAgent("agent_1")
	approval := s.payout(agent, "amount=1")
	for _, test := range []struct {
		name, method, path string
		client             *http.Client
		want               int
	}{
		{"page", "GET", "", s.human(s.alice), 200},
		{"HEAD", "HEAD", "", s.human(s.alice), 200},
		{"anonymous", "GET", "", s.human(""), 401},
		{"agent", "GET", "", agent, 403},
		{"no such page", "GET", "nothing", s.human(s.alice), 404},
		{"no such approval", "GET", "approvals/", s.human(s.alice), 404},
		{"other method", "DELETE", "", s.human(s.alice), 405},
		{"preflight", "OPTIONS", "approve", s.human(s.alice), 405},
		{"connect", "GET", "connect", s.human(s.alice), 405},
		{"change", "POST", "revoke-all", s.human(s.bob), 0}, // 200, 303
		{"malformed", "POST", "approve", s.human(s.alice), 400},
		{"unknown", "POST", "end-session", s.human(s.bob), 400},
		{"approval", "GET", "approvals/" + approval.ID, agent, 200},
		{"approval of another", "GET", "approvals/x", agent, 404},
		{"approval, POST", "POST", "approvals/" + approval.ID, agent, 403},
	} {
		for _, accept := range []string{"", "application/json", htmlOnly} {
			resp := s.do(test.client, test.method, agents+test.path, "", "Accept", accept, "Origin", s.server.URL, "Sec-Fetch-Site", "same-origin",
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "X-Any")
			h := resp.Header
			if test.want != 0 && resp.StatusCode != test.want {
				t.Errorf("%s: status %d, want %d", test.name, resp.StatusCode, test.want)
			}
			if vary := strings.Join(h["Vary"], ","); h.Get("Cache-Control") != "no-store" || !strings.Contains(vary, "Cookie") || !strings.Contains(vary, "Accept") {
				t.Errorf("WEB-2 %s: %v", test.name, h)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("WEB-3 %s: %v", test.name, h)
			}
			for name := range h {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("WEB-5 %s: %s", test.name, name)
				}
			}
			if strings.HasPrefix(h.Get("Content-Type"), "text/html") {
				checkPage(t, test.name, resp)
			} else if accept == htmlOnly && test.want != 0 {
				t.Errorf("%s: a browser gets %s", test.name, h.Get("Content-Type"))
			}
		}
	}
}

// checkPage is WEB-3 for a page.
func checkPage(t testing.TB, name string, resp *answered) {
	t.Helper()
	h := resp.Header
	if h.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("WEB-3 %s: Content-Type %q", name, h.Get("Content-Type"))
	}
	policy := h.Get("Content-Security-Policy")
	for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, directive) {
			t.Errorf("WEB-3 %s: policy %q lacks %s", name, policy, directive)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script") {
		t.Errorf("WEB-3 %s: policy %q", name, policy)
	}
	for _, attribute := range attributesOf(t, resp.body) {
		switch name, value, _ := strings.Cut(attribute, "="); {
		case strings.HasPrefix(name, "on"), name == "style", name == "src", name == "srcset", strings.Contains(value, "//") && name != "value":
			t.Errorf("WEB-3 %s: the page has %s", name, attribute)
		}
	}
	for _, resource := range []string{"<script", "<img", "<link", "<iframe", "@import", "url("} {
		if strings.Contains(resp.body, resource) {
			t.Errorf("WEB-3 %s: the page has %s", name, resource)
		}
	}
}

var (
	tag       = regexp.MustCompile(`<(?:!doctype|/?[a-z0-9]+)((?:\s+[a-z-]+(?:="[^"<>]*")?)*)>`)
	attribute = regexp.MustCompile(`([a-z-]+)(?:="([^"]*)")?`)
)

// attributesOf returns every attribute in a page, as name=value, and makes sure
// that there is nothing between the tags that could be one.
func attributesOf(t testing.TB, page string) (all []string) {
	t.Helper()
	page = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(page, "")
	for _, m := range tag.FindAllStringSubmatch(page, -1) {
		for _, a := range attribute.FindAllStringSubmatch(m[1], -1) {
			all = append(all, a[1]+"="+html.UnescapeString(a[2]))
		}
	}
	if rest := tag.ReplaceAllString(page, ""); strings.ContainsAny(rest, "<>") {
		t.Errorf("WEB-4: between the tags: %.300s", rest[strings.IndexAny(rest, "<>"):])
	}
	return all
}

// TestStyleIsAllowed_WEB_3 is WEB-3: the policy has the hash of the style sheet that is
// in the page.
func TestStyleIsAllowed_WEB_3(t *testing.T) {
	s := newSite(t)
	resp := s.do(s.human(s.alice), "GET", agents, "", "Accept", htmlOnly)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(resp.body)
	if style == nil || !strings.Contains(resp.Header.Get("Content-Security-Policy"), hashOf(style[1])) {
		t.Errorf("policy %q", resp.Header.Get("Content-Security-Policy"))
	}
}

// TestPageBehindProxy is WEB-7 and WEB-8: the owner's page takes a POST from the
// site's own pages, whatever Host a proxy has put in, and from nobody else's.
func TestPageBehindProxy(t *testing.T) {
	for _, test := range []struct {
		name, host, origin string // an empty origin is the site's own
		want               int
	}{
		{"WEB-7 own", "", "", 303},
		{"WEB-7 own, Host rewritten", "backend.internal:8080", "", 303},
		{"WEB-8 evil", "", "https://evil.example", 403},
		{"WEB-8 evil, Host is its own", "evil.example", "https://evil.example", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			if test.origin == "" {
				test.origin = s.server.URL
			}
			req, _ := http.NewRequest(http.MethodPost, s.server.URL+agents+"revoke-all", nil)
			next := s.server.Config.Handler
			s.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the proxy
				if test.host != "" {
					r.Host = test.host
				}
				next.ServeHTTP(w, r)
			})
			req.Header.Set("Origin", test.origin)
			req.Header.Set("Accept", htmlOnly)
			resp, err := s.human(s.alice).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d", resp.StatusCode, test.want)
			}
		})
	}
}

// TestPageMethods is WEB-1: what is looked at is not changed by it, and HEAD is
// GET without a body.
func TestPageMethods(t *testing.T) {
	s := newSite(t)
	g := s.grant(pending)
	alice := s.human(s.alice)
	for _, query := range []string{"", "?id=g1&version=1&access=full", "?done=approved", "?_method=POST"} {
		for _, method := range []string{"GET", "HEAD"} {
			resp := s.do(alice, method, agents+query, "", "Accept", htmlOnly, "X-HTTP-Method-Override", "POST")
			if resp.StatusCode != 200 || (len(resp.body) > 0) != (method == "GET") {
				t.Errorf("WEB-1 %s %s: %d", method, query, resp.StatusCode)
			}
		}
	}
	if diff := cmp.Diff(g, s.now(g.ID)); diff != "" {
		t.Errorf("WEB-1:\n%s", diff)
	}
}

// TestDone shows what was done, in the page's own words alone.
func TestDone(t *testing.T) {
	s := newSite(t)
	alice := s.human(s.alice)
	g := s.grant(pending)
	resp := s.do(alice, "POST", agents+"deny", form(versionOf(g)...), "Accept", htmlOnly)
	if resp.Header.Get("Location") != agents+"?done=denied" {
		t.Fatalf("Location %q", resp.Header.Get("Location"))
	}
	said := regexp.MustCompile(`role="status">([^<]*)<`)
	for _, code := range []string{
		"approved", "changed", "denied", "denied-all", "suspended", "revoked", "revoked-all", "renamed", "hidden", "session-ended", "connected", "action-approved", "action-denied",
	} {
		page := s.do(alice, "GET", agents+"?done="+code, "", "Accept", htmlOnly).body
		if m := said.FindStringSubmatch(page); m == nil || m[1] == "" {
			t.Errorf("%s is not said", code)
		}
	}
	for _, code := range []string{"", "x", "Send+your+password+to+mallory", "approved%00", "%3Cb%3E"} {
		if page := s.do(alice, "GET", agents+"?done="+code, "", "Accept", htmlOnly).body; said.MatchString(page) || strings.Contains(page, "mallory") {
			t.Errorf("%q is said", code)
		}
	}
}

const hostile = "\"><script>alert(1)</script>' onload=x {{.}} \u202egnp.exe"

// TestHostileAgent_WEB_4 is WEB-4, with hostile text in every field that an agent or its
// server chooses.
func TestHostileAgent_WEB_4(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	sites := strings.ReplaceAll(hostile, "\u202e", "") // what the site chooses is escaped, and not judged
	for _, state := range []grants.State{grants.Pending, grants.Approved, grants.Denied, grants.Suspended} {
		s.grant(func(g *grants.Grant) {
			g.ID, g.State, g.Agent = string(state), state, authagent.Agent{Issuer: hostile, ID: hostile + string(state)}
			g.Name, g.Model, g.RequestedFrom, g.Scenario = hostile, hostile, hostile, sites
		})
	}
	s.store.Touch(ctx, grants.Activity{SessionID: "s1", GrantID: "approved", UserID: s.alice, RemoteAddr: hostile, SeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
	for range 7 {
		s.store.AddDeed(ctx, grants.Deed{GrantID: "approved", UserID: s.alice, Event: audit.Name(sites), Action: sites, Route: sites, Reason: problem.Reason(sites)})
	}
	for i, contentType := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain", hostile} {
		body := `{"a":` + strconv.Quote(hostile) + `}`
		if i == 0 {
			body = form(hostile, hostile)
		}
		s.store.CreateApproval(ctx, grants.Approval{
			ID: strconv.Itoa(i), Version: 1, UserID: s.alice, GrantID: "approved", Agent: authagent.Agent{Issuer: hostile, ID: hostile}, Action: sites,
			Digest: strconv.Itoa(i), State: grants.Pending, Method: hostile, Host: hostile, Target: "/x?a=" + url.QueryEscape(hostile) + hostile, ContentType: contentType,
			Body: []byte(body), ExpiresAt: time.Now().Add(time.Hour),
		})
	}
	alice := s.human(s.alice)
	shown := 0
	for _, below := range []string{"", "?waiting=1", "?past=1", "?q=" + url.QueryEscape(hostile), "agents/pending", "agents/approved", "agents/denied"} {
		page := s.do(alice, "GET", agents+below, "", "Accept", htmlOnly)
		for _, raw := range []string{"<script", hostile, "\u202e"} {
			if strings.Contains(page.body, raw) {
				t.Errorf("WEB-4: the page %s has %q", below, raw)
			}
		}
		shown += strings.Count(page.body, "&lt;script&gt;")
		checkPage(t, "WEB-4", page)
	}
	if shown < 29 {
		t.Errorf("WEB-4: hostile text is shown in %d places only", shown)
	}
	data := s.do(alice, "GET", agents, "")
	if strings.Contains(data.body, "<script") || !json.Valid([]byte(data.body)) {
		t.Errorf("WEB-4: JSON %s", data.body)
	}
}

// TestBodyIsShown is APR-4: the owner is shown all that would be done, and nothing that
// looks like something else.
func TestBodyIsShown(t *testing.T) {
	const formType, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	part := func(disposition, value string) string {
		return "--b\r\nContent-Disposition: " + disposition + "\r\n\r\n" + value + "\r\n"
	}
	for _, test := range []struct {
		name, contentType, body string
		want                    []string
		not                     string
	}{
		{"form", formType, "to=mallory&amount=10&amount=1000&note=a%0Ab", []string{
			`<th scope="row"><bdi>to</bdi></th><td><bdi>mallory</bdi></td>`, `<bdi>amount</bdi></th><td><bdi>10</bdi>`, `<bdi>amount</bdi></th><td><bdi>1000</bdi>`, "<bdi>a\nb</bdi>",
		}, "<pre>"},
		{"form with charset", formType + "; charset=utf-8", "a=b", []string{`<bdi>a</bdi></th><td><bdi>b</bdi></td>`}, "<pre>"},
		{"JSON", "application/json", `{"to":"mallory","n":1e3,"m":2}`, []string{"<pre><bdi>{\n  &#34;to&#34;: &#34;mallory&#34;,\n  &#34;n&#34;: 1e3,\n  &#34;m&#34;: 2\n}</bdi></pre>"}, "<tbody>"},
		{"JSON by suffix", "application/merge-patch+json", `{"a":1}`, []string{"{\n  &#34;a&#34;: 1\n}"}, "<tbody>"},
		{"text", "text/plain", "pay <b>mallory</b>", []string{"<pre><bdi>pay &lt;b&gt;mallory&lt;/b&gt;</bdi></pre>"}, "<tbody>"},
		{"form called text", "text/plain", "a=b", []string{"<pre><bdi>a=b</bdi></pre>"}, "<tbody>"},
		{"no type", "", "a=b", []string{"<pre><bdi>a=b</bdi></pre>"}, "<tbody>"},
		{"JSON, escaped", "application/json", `{"t\u006f":"\u006dallory\u003c","q":"a\",\"to\":\"b\\u0063"}`, []string{
			"&#34;to&#34;: &#34;mallory&lt;&#34;", `&#34;q&#34;: &#34;a\&#34;,\&#34;to\&#34;:\&#34;b\\u0063&#34;`,
		}, "<tbody>"},
		{"JSON, escaped, called text", "text/plain", `["\u006dallory"]`, []string{"&#34;mallory&#34;"}, "<tbody>"},
		{"JSON by the line", "application/x-ndjson", "{\"to\":\"\\u006dallory\"}\n{\"to\":\"b\"}", []string{"{&#34;to&#34;:&#34;mallory&#34;}\n{"}, "<tbody>"},
		{"JSON, what is hidden is escaped", "application/json", `{"a":"\u202e\u0000"}`, []string{`‹U+202E›\u0000`}, "\u202e"},
		{"reversed", "text/plain", "10 \u202e0001", []string{"10 ‹U+202E›0001"}, "\u202e"},
		{"reversed field", formType, "amount=10\u202e0001", []string{"10‹U+202E›0001"}, "\u202e"},
		{"reversed JSON", "application/json", "{\"a\":\"10\u202e0001\"}", []string{"10‹U+202E›0001"}, "\u202e"},
		{"hidden", "text/plain", "a\u200bb\x00c", []string{"a‹U+200B›b‹U+0000›c"}, "\u200b"},
		{"binary", "image/png", "\x89PNG\xff", []string{"shown in hexadecimal", "89 50 4e 47 ff"}, "<tbody>"},
		{"long", "text/plain", strings.Repeat("x", 16<<10), []string{strings.Repeat("x", 16<<10)}, "<tbody>"},
		{"nothing", "", "", []string{"It sends nothing beside the link."}, "<pre>"},
		{"multipart form", multi, part(`form-data; name="to"`, "mallory") + part(`form-data; name="n"`, "1\n2") + "--b--\r\n", []string{
			`<bdi>to</bdi></th><td><bdi>mallory</bdi></td>`, "<bdi>1\n2</bdi>",
		}, "<pre>"},
		{"file", multi, part(`form-data; name="a"; filename="b.txt"`, "c") + "--b--\r\n", []string{"filename=&#34;b.txt&#34;"}, "<tbody>"},
		{"part with a type", multi, part("form-data; name=\"a\"\r\nContent-Type: text/html", "c") + "--b--\r\n", []string{"Content-Type: text/html"}, "<tbody>"},
	} {
		t.Run("APR-4 "+test.name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			agent := s.signedInAgent("agent_1")
			req, _ := http.NewRequest("POST", s.server.URL+"/payouts", strings.NewReader(test.body))
			if test.contentType != "" {
				req.Header.Set("Content-Type", test.contentType)
			}
			resp, err := agent.Do(req)
			if err != nil || resp.StatusCode != 202 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
			page, host := strings.ReplaceAll(s.page(s.human(s.alice)), "&#43;", "+"), req.URL.Host
			for _, want := range append(test.want, "payouts: create", "POST /payouts", test.contentType, host) {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %.200q", want)
				}
			}
			if strings.Contains(page, test.not) {
				t.Errorf("the page has %q", test.not)
			}
			var data struct {
				Approvals []struct {
					Body []byte
					Host string
				}
			}
			if err := json.Unmarshal([]byte(s.do(s.human(s.alice), "GET", agents, "").body), &data); err != nil {
				t.Fatal(err)
			}
			if got := string(data.Approvals[0].Body); got != test.body {
				t.Errorf("JSON has body %.200q", got)
			}
			if got := data.Approvals[0].Host; got != host {
				t.Errorf("JSON has host %q, want %q", got, host)
			}
		})
	}
}

// TestAgentLooks lets an agent look at how its own request stands, and at nothing
// else.
func TestAgentLooks(t *testing.T) {
	type standing struct {
		ID, State, Action, Method, Target, Detail string
		Retry                                     bool
	}
	s := newSite(t)
	s.grant(nil)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
	agent, other := s.signedInAgent("agent_1"), s.signedInAgent("agent_2")
	alice := s.human(s.alice)
	a, b := s.payout(agent, "amount=1"), s.payout(agent, "amount=2")
	look := func(a grants.Approval) (got standing, header http.Header) {
		resp := s.do(agent, "GET", agents+"approvals/"+a.ID, "")
		if err := json.Unmarshal([]byte(resp.body), &got); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, resp.body)
		}
		if got.Detail == "" || strings.Contains(resp.body, "amount=") {
			t.Errorf("%s", resp.body)
		}
		got.Detail = ""
		return got, resp.Header
	}
	want := standing{ID: a.ID, State: "pending", Action: "payouts:create", Method: "POST", Target: "/payouts", Retry: true}
	got, header := look(a)
	if diff := cmp.Diff(want, got); diff != "" || header.Get("Retry-After") != "15" {
		t.Errorf("Retry-After %q\n%s", header.Get("Retry-After"), diff)
	}
	s.do(alice, "POST", agents+"approvals/approve", form("id", a.ID, "version", "1"))
	want.State = "approved"
	if got, header = look(a); got != want || header.Get("Retry-After") != "" {
		t.Errorf("%+v", got)
	}
	if got := s.post(agent, "/payouts", "amount=1"); got != 200 {
		t.Errorf("approved: %d", got)
	}
	want.State, want.Retry = "used", false
	if got, _ = look(a); got != want {
		t.Errorf("%+v", got)
	}
	s.do(alice, "POST", agents+"approvals/deny", form("id", b.ID, "version", "1"))
	want.ID, want.State = b.ID, "denied"
	if got, _ = look(b); got != want {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct {
		name   string
		client *http.Client
		method string
		header []string
		want   int
	}{
		{"MW-8 another agent of the same owner", other, "GET", nil, 404},
		{"nobody", s.human(""), "GET", nil, 401},
		{"POST", agent, "POST", nil, 403},
		{"human", alice, "GET", []string{"Accept", htmlOnly}, 303},
		{"cross-site", agent, "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		resp := s.do(test.client, test.method, agents+"approvals/"+a.ID, "", test.header...)
		if resp.StatusCode != test.want || strings.Contains(resp.body, "payouts") {
			t.Errorf("%s: %d %s", test.name, resp.StatusCode, resp.body)
		}
		if test.want == 303 && resp.Header.Get("Location") != agents {
			t.Errorf("%s: Location %q", test.name, resp.Header.Get("Location"))
		}
	}
	for i, change := range []func(*grants.Approval){
		func(a *grants.Approval) { a.Agent.ID = "agent_2" },
		func(a *grants.Approval) { a.Agent.Issuer = "https://other.example" },
		func(a *grants.Approval) { a.UserID = s.bob },
		func(a *grants.Approval) { a.GrantID = "g2" },
	} {
		others := a
		change(&others)
		others.ID, others.Digest = fmt.Sprint("others", i), fmt.Sprint("others", i)
		s.store.CreateApproval(context.Background(), others)
		if resp := s.do(agent, "GET", agents+"approvals/"+others.ID, ""); resp.StatusCode != 404 {
			t.Errorf("MW-8: an approval of agent %+v, user %s, grant %s: %d", others.Agent, others.UserID, others.GrantID, resp.StatusCode)
		}
	}
}

// TestAgentOfAnotherRelyingParty is LNK-3: Attach of the other one keeps its
// agents off the page, too.
func TestAgentOfAnotherRelyingParty(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	config := authagent.Config{
		Issuer: s.as.URL, ClientID: "second", ClientSecret: "x", RedirectURL: "https://shop.example/second/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}), Human: testsite.Human, Logger: slog.New(slog.DiscardHandler),
	}
	second, err := authagent.New(config)
	if err != nil {
		t.Fatal(err)
	}
	page := s.rp.Attach(grants.Handler(s.owners, second))
	agent := s.signedInAgent("agent_1")
	s.signInHuman(agent, s.alice)
	if resp := s.serve(page, agent, agents); resp.Code != 403 {
		t.Errorf("%d %s", resp.Code, resp.Body)
	}
	if resp := s.serve(page, s.human(s.alice), agents); resp.Code != 200 {
		t.Errorf("human: %d %s", resp.Code, resp.Body)
	}
}

// serve has a handler answer a browser's page load.
func (s *site) serve(h http.Handler, c *http.Client, target string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", target, nil)
	u, _ := url.Parse(s.server.URL)
	for _, cookie := range c.Jar.Cookies(u) {
		r.AddCookie(cookie)
	}
	r.Header.Set("Accept", htmlOnly)
	h.ServeHTTP(w, r)
	return w
}

// TestPageMounted_GRD_11 is GRD-11: the page works below a prefix that a router takes off,
// where Policy.Path has the prefix, and all its links keep it; mounted anywhere else,
// it says so to the operator instead of leading nowhere.
func TestPageMounted_GRD_11(t *testing.T) {
	s := newSite(t)
	var log strings.Builder
	config := authagent.Config{
		Issuer: s.as.URL, ClientID: "second", ClientSecret: "x", RedirectURL: "https://shop.example/app/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, SignInPath: "/app/sign-in",
		Scenario: authagent.FreshProfile(&memstore.Profiles{}), Human: testsite.Human, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	rp, err := authagent.New(config)
	if err != nil {
		t.Fatal(err)
	}
	alice := s.human(s.alice)
	for _, test := range []struct {
		path, strip, target string
		want                int
	}{
		{"/app/account/agents/", "/app", "/app/account/agents/", 200},
		{"/app/account/agents/", "", "/app/account/agents/", 200},
		{"/app/account/agents/", "/app", "/app/account/agents", 303},
		{"", "", "/account/agents/", 200},
		{"", "/app", "/app/account/agents/", 500},
		{"", "", "/my/agents/", 500},
		{"", "", "/my/agents/approve", 500},
	} {
		s.owners.Path = test.path
		log.Reset()
		page := http.StripPrefix(test.strip, grants.Handler(s.owners, rp))
		w := s.serve(page, alice, test.target)
		if w.Code != test.want {
			t.Errorf("GRD-11 %+v: %d %s", test, w.Code, w.Body)
		}
		switch test.want {
		case 200:
			if body := w.Body.String(); !strings.Contains(body, `action="`+test.target+`connect"`) || strings.Count(body, `="`+test.target) != strings.Count(body, "account/agents/") {
				t.Errorf("GRD-11 %+v: %s", test, body)
			}
			if got := s.serve(page, s.human(""), test.target).Header().Get("Location"); got != "/app/sign-in?return_to="+url.QueryEscape(test.target) {
				t.Errorf("GRD-9 %+v: sent to %q", test, got)
			}
		case 500:
			if !strings.Contains(log.String(), "is not mounted at Policy.Path") || strings.Contains(w.Body.String(), "mounted") {
				t.Errorf("GRD-11 %+v: log %s, page %s", test, log.String(), w.Body)
			}
		}
	}
	// Who is signed out when a form is sent is led to the sign-in page, and back to this one.
	s.owners.Path = ""
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", agents+"approve", nil)
	r.Header.Set("Accept", htmlOnly)
	grants.Handler(s.owners, rp).ServeHTTP(w, r)
	if w.Code != 401 || !strings.Contains(w.Body.String(), `href="/app/sign-in?return_to=`+url.QueryEscape(agents)+`"`) {
		t.Errorf("GRD-9: %d %s", w.Code, w.Body)
	}
}

// TestPageAndJSON: a program gets what the page has.
func TestPageAndJSON(t *testing.T) {
	s := sample(t)
	alice := s.human(s.alice)
	page, data := s.everything(alice), s.do(alice, "GET", agents, "")
	if data.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("Content-Type %q", data.Header.Get("Content-Type"))
	}
	var o struct {
		grants.Overview
		Approvals []struct {
			grants.Approval
			Text string
			Body []byte
		} `json:"approvals"`
	}
	if err := json.Unmarshal([]byte(data.body), &o); err != nil {
		t.Fatal(err)
	}
	want, err := s.owners.Overview(context.Background(), s.alice)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Grants {
		want.Grants[i].Email = "" // which is nowhere to be seen
	}
	for i := range want.Deeds {
		want.Deeds[i].UserID = ""
	}
	for i := range want.Sessions {
		want.Sessions[i].UserID, want.Sessions[i].Network = "", ""
	}
	options := []cmp.Option{
		cmpopts.IgnoreFields(grants.Overview{}, "Approvals"), cmpopts.EquateApproxTime(0), cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b grants.LastUse) bool { return a.GrantID < b.GrantID }),
	}
	if diff := cmp.Diff(want, o.Overview, options...); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if len(o.Approvals) != len(want.Approvals) {
		t.Errorf("%d approvals", len(o.Approvals))
	}
	at := func(when time.Time) string { return when.UTC().Format(time.RFC3339) }
	var shown []string
	for _, g := range o.Grants {
		shown = append(shown, g.Agent.ID, g.Agent.Issuer, g.Name, g.Model, at(g.RequestedAt))
	}
	for _, session := range o.Sessions {
		shown = append(shown, session.SessionID, session.RemoteAddr, at(session.StartedAt), at(session.SeenAt))
	}
	for _, use := range o.Uses {
		shown = append(shown, use.RemoteAddr, at(use.SeenAt))
	}
	for _, deed := range o.Deeds {
		shown = append(shown, at(deed.At))
	}
	for _, a := range o.Approvals {
		shown = append(shown, a.Text, a.Method+" "+a.Target, a.Agent.ID, at(a.RequestedAt))
	}
	for _, text := range shown {
		if !strings.Contains(page, template.HTMLEscapeString(text)) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if strings.Contains(page, "alice@example.com") || strings.Contains(data.body, "alice@example.com") {
		t.Error("the address is shown")
	}
}

// TestWordsForApprovals: an action that is approved one at a time has words
// wherever its owner meets it, and is nowhere offered for good.
func TestWordsForApprovals(t *testing.T) {
	var told []grants.Notice
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Approvals = map[string]string{"payouts:create": "Pay out money", "other:create": ""}
		s.owners.Notify = func(_ context.Context, n grants.Notice) { told = append(told, n) }
	})
	g := s.grant(nil)
	agent, alice := s.signedInAgent("agent_1"), s.human(s.alice)
	a := s.payout(agent, "amount=1")
	lacks := func(page string, all ...string) {
		t.Helper()
		for _, want := range all {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	}
	page := s.page(alice)
	page += s.at(alice, "agents/g1")
	lacks(page, ">Pay out money</h2>", "Asked you: pay out money", `value="orders:create"`)
	if strings.Contains(page, `value="payouts:create"`) || strings.Contains(page, `value="other:create"`) {
		t.Error("the page offers for good what is approved one at a time")
	}
	texts := func() (texts []string) {
		var data struct {
			Approvals []struct{ Action, Text string }
		}
		if err := json.Unmarshal([]byte(s.do(alice, "GET", agents, "").body), &data); err != nil {
			t.Fatal(err)
		}
		for _, a := range data.Approvals {
			texts = append(texts, a.Action+" "+a.Text)
		}
		return texts
	}
	if diff := cmp.Diff([]string{"payouts:create Pay out money"}, texts()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if resp := s.do(alice, "POST", agents+"approvals/approve", form("id", a.ID, "version", "1")); !strings.Contains(resp.body, `"text":"Pay out money"`) {
		t.Errorf("approved: %d %s", resp.StatusCode, resp.body)
	}
	lacks(s.at(alice, "?actions=1"), "<b>Pay out money</b>: allowed, not done yet")
	s.owners.Wait()
	var asked []string
	for _, n := range told {
		if n.Kind == grants.EventActionAsked {
			asked = append(asked, n.Action+": "+n.Subject)
		}
	}
	text := "Pay out money: " + strings.TrimPrefix(s.server.URL, "https://") + ": The agent agent_1 asks for your approval: Pay out money"
	if diff := cmp.Diff([]string{text}, asked); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}

	g = s.now(g.ID)
	for name := range s.owners.Approvals {
		resp := s.do(alice, "POST", agents+"change", form(append(versionOf(g), "action", name)...))
		if reason, field := resp.reason(); resp.StatusCode != 400 || reason != problem.InvalidRequest || field != "action" {
			t.Errorf("LNK-4 allow %s for good: %d %s", name, resp.StatusCode, resp.body)
		}
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead, Actions: []string{name}}
		if _, err := s.owners.Decide(context.Background(), s.alice, d); !errors.Is(err, grants.ErrDecision) {
			t.Errorf("LNK-4 allow %s for good: %v", name, err)
		}
	}
	if diff := cmp.Diff(g, s.now(g.ID)); diff != "" {
		t.Errorf("LNK-4: what was refused has changed the grant (-want +got):\n%s", diff)
	}
}

// TestEmptyPage explains how to connect an agent, and lists are lists.
func TestEmptyPage(t *testing.T) {
	s := newSite(t)
	alice := s.human(s.alice)
	page := s.page(alice)
	for _, want := range []string{"No agent may use your account.", `action="/account/agents/connect"`, "tell your agent to sign in"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "revoke") || strings.Contains(page, "deny-all") {
		t.Error("there is nothing to revoke")
	}
	const want = `{"grants":[],"approvals":[],"allowances":[],"sessions":[],"uses":[],"deeds":[]}` + "\n"
	if got := s.do(alice, "GET", agents, "").body; got != want {
		t.Errorf("JSON %s", got)
	}
	s.owners.OwnerStartedOnly = true
	if strings.Contains(s.page(alice), "tell your agent to sign in") {
		t.Error("the page says that agents may ask")
	}
}

// TestSafeDefaults is LNK-3: in no form is more than reading chosen beforehand,
// and what stops comes before what lets in.
func TestSafeDefaults(t *testing.T) {
	s := sample(t)
	page := s.everything(s.human(s.alice))
	for _, f := range regexp.MustCompile(`(?s)<form .*?</form>`).FindAllString(page, -1) {
		first := regexp.MustCompile(`<button[^>]*>[^<]*`).FindString(f)
		if strings.Contains(f, "deny") && !strings.Contains(first, "Not mine") && !strings.Contains(first, "Do not allow") && !strings.Contains(first, "Deny all") {
			t.Errorf("Enter would approve: %s", f)
		}
		isChange := strings.Contains(f, `action="/account/agents/change"`) && strings.Contains(f, `name="id" value="g3"`) // which has full access
		if strings.Contains(f, `value="full" checked`) != isChange || strings.Contains(f, `value="full"`) && !isChange && !strings.Contains(f, `value="read" checked`) {
			t.Errorf("full access is chosen beforehand: %s", f)
		}
		if strings.Contains(f, `value="full"`) && !strings.Contains(f, "Warning:") {
			t.Errorf("full access without a warning: %s", f)
		}
	}
	contextual := newSite(t)
	contextual.grant(func(g *grants.Grant) { pending(g); g.Scenario = "ContextualProfile" })
	if strings.Contains(contextual.page(contextual.human(contextual.alice)), `value="full"`) {
		t.Error("full access is offered where the scenario gives none")
	}
}

// TestAccessible: every control has a name, headings come in order, and there is
// no script.
func TestAccessible(t *testing.T) {
	s := sample(t)
	alice := s.human(s.alice)
	pages := map[string]string{"empty": s.page(s.human(s.bob))}
	for _, below := range []string{"", "?waiting=1", "?past=1", "?actions=1", "?q=a", "agents/g1", "agents/g2", "agents/g3", "agents/g5?done=revoked", "agents/g8"} {
		pages["of alice, "+below] = s.at(alice, below)
	}
	for name, page := range pages {
		checkAccessible(t, name, page)
	}
}

// checkAccessible checks what a page needs for people who do not see it.
func checkAccessible(t *testing.T, name, page string) {
	t.Helper()
	level := 0
	for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page, -1) {
		next, _ := strconv.Atoi(m[1])
		if next > level+1 {
			t.Errorf("%s: h%d after h%d", name, next, level)
		}
		level = next
	}
	for _, want := range []string{`<html lang="en">`, "<main>", "<title>", "<h1>"} {
		if strings.Count(page, want) != 1 {
			t.Errorf("%s: %d times %s", name, strings.Count(page, want), want)
		}
	}
	unlabelled := regexp.MustCompile(`(?s)<label[^>]*>.*?</label>`).ReplaceAllString(page, "")
	for _, control := range regexp.MustCompile(`<(input|select|textarea)[^>]*>`).FindAllString(unlabelled, -1) {
		id := regexp.MustCompile(` id="([^"]*)"`).FindStringSubmatch(control)
		if !strings.Contains(control, `type="hidden"`) && (id == nil || !strings.Contains(page, `<label for="`+id[1]+`"`)) {
			t.Errorf("%s: no label: %s", name, control)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("%s: two of %s", name, m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`aria-(?:labelledby|describedby)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		for _, id := range strings.Fields(m[1]) {
			if !ids[id] {
				t.Errorf("%s: no %s", name, id)
			}
		}
	}
}

// TestTemplate replaces the page, and parts of it.
func TestTemplate(t *testing.T) {
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(template.New("").Parse(`<h1>Agenten</h1>{{range .Requests}}<b>{{.Name}}</b> {{.Path}}approve {{.ID}} {{.Version}}{{end}}{{.Done}}`))
	})
	s.grant(func(g *grants.Grant) { pending(g); g.Name = "<i>\u202ex" })
	alice := s.human(s.alice)
	resp := s.do(alice, "GET", agents+"?done=denied", "", "Accept", htmlOnly)
	if want := "<h1>Agenten</h1><b>&lt;i&gt;‹U&#43;202E›x</b> /account/agents/approve g1 1denied"; resp.body != want {
		t.Errorf("page %s", resp.body)
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "style-src 'sha256-") || !strings.Contains(policy, "'self'; img-src 'self'") || strings.Contains(policy, "script") {
		t.Errorf("policy %q", policy)
	}
	if resp := s.do(alice, "POST", agents+"connect", "", "Accept", htmlOnly); resp.StatusCode != 200 || !strings.Contains(resp.body, "Connect an agent") {
		t.Errorf("connect: %d %s", resp.StatusCode, resp.body)
	}
}

func TestTemplateInPart(t *testing.T) {
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(grants.PageTemplate().Parse(`{{define "self-declared"}}(selbst genannt){{end}}`))
	})
	s.grant(func(g *grants.Grant) { pending(g); g.Name = "Botty" })
	if page := s.page(s.human(s.alice)); !strings.Contains(page, "<q><bdi>Botty</bdi></q>(selbst genannt)") {
		t.Errorf("page %s", page)
	}
	if original := newSite(t); strings.Contains(original.page(original.human(original.alice)), "selbst") {
		t.Error("the template of another site has changed")
	}
}

// TestBrokenTemplate is MW-1: half a page is no page.
func TestBrokenTemplate(t *testing.T) {
	s := newSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(template.New("").Parse(`half a page {{.Nothing}}`))
	})
	resp := s.do(s.human(s.alice), "GET", agents, "", "Accept", htmlOnly)
	if resp.StatusCode != 500 || strings.Contains(resp.body, "half a page") {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
}

// TestRefusalNamesTheHuman is LOG-3: who was refused is in the audit trail.
func TestRefusalNamesTheHuman(t *testing.T) {
	s := newSite(t)
	refused := make(chan audit.Event, 10)
	s.owners.Audit = func(_ context.Context, e audit.Event) { refused <- e }
	s.grant(func(g *grants.Grant) { g.UserID = s.bob })
	s.do(s.human(s.alice), "POST", agents+"revoke", form("id", "g1", "version", "1"))
	e := <-refused
	if e.Name != audit.PermissionDenied || e.HumanID != s.alice || e.Reason != problem.NotFound || e.Agent.ID != "" {
		t.Errorf("event %+v", e)
	}
}

// brokenStore fails wherever an owner's page looks.
type brokenStore struct{ *memstore.Grants }

func (brokenStore) OwnerGrants(context.Context, string) ([]grants.Grant, error) {
	return nil, errors.New("connection refused")
}

func (brokenStore) OwnerActivity(context.Context, string) ([]grants.Activity, error) {
	return nil, errors.New("connection refused")
}

// TestStoreFails is MW-1.
func TestPageStoreFails(t *testing.T) {
	s := newSite(t, func(s *site, c *authagent.Config) {
		s.owners = grants.OwnerApproval(brokenStore{s.store})
		c.Scenario = authagent.FullAccount(s.users, s.owners)
	})
	alice := s.human(s.alice)
	for _, resp := range []*answered{
		s.do(alice, "GET", agents, ""), s.do(alice, "POST", agents+"revoke-all", ""), s.do(alice, "POST", agents+"end-session", form("session", "x")),
	} {
		if reason, _ := resp.reason(); resp.StatusCode != 500 || reason != problem.StoreFailed || resp.Header.Get("Retry-After") == "" || strings.Contains(resp.body, "connection") {
			t.Errorf("%d %s", resp.StatusCode, resp.body)
		}
	}
}

// TestOtherPath builds every address from Policy.Path.
func TestOtherPath(t *testing.T) {
	s := newSite(t, func(s *site, _ *authagent.Config) { s.owners.Path = "/konto/agenten/" })
	s.shared.Mux("").Handle("/konto/agenten/", grants.Handler(s.owners, s.rp))
	g := s.grant(pending)
	alice := s.human(s.alice)
	page := s.do(alice, "GET", "/konto/agenten/", "", "Accept", htmlOnly)
	if page.StatusCode != 200 || strings.Contains(page.body, agents) || !strings.Contains(page.body, `action="/konto/agenten/approve"`) {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	if resp := s.do(alice, "POST", "/konto/agenten/approve", form(versionOf(g)...), "Accept", htmlOnly); resp.Header.Get("Location") != "/konto/agenten/?done=approved" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func ExampleHandler() {
	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	owners := grants.OwnerApproval(&memstore.Grants{})
	rp, err := authagent.New(authagent.Config{
		Issuer: "https://agents.example", ClientID: "shop", ClientSecret: "secret",
		RedirectURL: "https://shop.example/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")},
		Scenario:    authagent.FullAccount(users, owners),
		Human: func(r *http.Request) (string, error) { // the site's own sign-in of people
			return r.Header.Get("X-Test-User"), nil
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/account/agents/", grants.Handler(owners, rp))

	for _, who := range []string{"", alice} {
		r := httptest.NewRequest("GET", "/account/agents/", nil)
		r.Header.Set("X-Test-User", who)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 401
	// 200
}

// TestWhoAsks_APR_9: a single action is shown with the name of the agent that asks for it, and of no
// other. One whose grant is gone has the end of its agent's ID.
func TestWhoAsks_APR_9(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"Ada", "Bea"} {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Name = "grant-"+name, "agent_"+name, name })
	}
	alice := s.human(s.alice)
	for _, test := range []struct{ grant, agent, want, not string }{
		{"grant-Ada", "agent_Ada", "“Ada”", "“Bea”"}, {"grant-Bea", "agent_Bea", "“Bea”", "“Ada”"}, {"gone", "agent_123456", "(…123456)", "“"},
	} {
		_, _, err := s.store.CreateApproval(t.Context(), grants.Approval{
			ID: test.grant, Version: 1, UserID: s.alice, GrantID: test.grant, Agent: authagent.Agent{Issuer: s.as.URL, ID: test.agent}, Action: "payouts:create",
			Digest: test.grant, State: grants.Pending, Method: "POST", Target: "/payouts", RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, card, _ := strings.Cut(s.at(alice, "?waiting=1"), `id="h-`+test.grant+`"`)
		card, _, _ = strings.Cut(card, "</form>")
		if !strings.Contains(card, test.want) || strings.Contains(card, test.not) || strings.Contains(card, "Path, without") {
			t.Errorf("%s: %s", test.grant, card)
		}
	}
}

// TestDeepBodyIsShown: no agent can make its owner's page so large that nothing
// can be decided, or revoked, on it.
func TestDeepBodyIsShown(t *testing.T) {
	for name, body := range map[string]string{
		"arrays":  strings.Repeat("[", 8000) + strings.Repeat("]", 8000),
		"objects": strings.Repeat(`{"":`, 3000) + "1" + strings.Repeat("}", 3000),
		"commas":  strings.Repeat("[", 1000) + strings.Repeat("1,", 6000) + "1" + strings.Repeat("]", 1000),
		"hidden":  `["` + strings.Repeat("\u202e", 5000) + `"]`,
	} {
		s := newShop(t, options{})
		s.instances[""].mux.Handle("/account/agents/", grants.Handler(s.owners, s.instances[""].rp))
		_, c := s.approved("agent_1")
		if resp := s.do(c, "POST", "/payouts", body, "Content-Type", "application/json"); resp.StatusCode != 202 {
			t.Fatalf("LNK-14 %s: %d %s", name, resp.StatusCode, resp.body)
		}
		page := s.get(s.human(s.alice), "/account/agents/", "Accept", "text/html")
		if n := len(page.body); page.StatusCode != 200 || n > 512<<10 {
			t.Errorf("LNK-14 %s: a body of %d bytes makes a page of %d (status %d)", name, len(body), n, page.StatusCode)
		}
		if name == "arrays" && !strings.Contains(page.body, body) {
			t.Errorf("%s: the body is not shown as it is", name)
		}
	}
}

// shown is the owner's page as its reader sees it, without tags and escapes.
func (s *site) shown() string {
	s.t.Helper()
	page := s.page(s.human(s.alice))
	if i := strings.Index(page, "<body>"); i >= 0 {
		page = page[i:]
	}
	return html.UnescapeString(page)
}

func (s *site) overviewOf() grants.Overview {
	s.t.Helper()
	o, err := s.owners.Overview(context.Background(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// TestMeaningIsShown_APR_9: what a usual handler reads, its owner could read on the page,
// however the agent has written it; or the request is refused.
func TestMeaningIsShown_APR_9(t *testing.T) {
	escaped := func(format, s string) (out string) {
		for _, c := range []byte(s) {
			out += fmt.Sprintf(format, c)
		}
		return out
	}
	for name, test := range map[string]struct {
		target, contentType, body string
		read                      func(r *http.Request) string
		status                    int
	}{
		"JSON, a name twice, and the one that counts is escaped": {
			"/transfer/x", "application/json", `{"to":"alice-savings","` + escaped(`\u%04x`, "to") + `":"` + escaped(`\u%04x`, "mallory") + `"}`,
			func(r *http.Request) string {
				var order struct{ To string }
				if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
					return err.Error()
				}
				return order.To
			}, 400,
		},
		"JSON, all is escaped": {
			"/transfer/x", "application/json", `{"of":"alice-savings","` + escaped(`\u%04x`, "to") + `":"` + escaped(`\u%04x`, "mallory") + `"}`,
			func(r *http.Request) string {
				var order struct{ To string }
				if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
					return err.Error()
				}
				return order.To
			}, 202,
		},
		"a form with a pair that url.ParseQuery skips": {
			"/transfer/x", "application/x-www-form-urlencoded", "to" + "=" + escaped("%%%02x", "mallory") + "&to=alice-savings&;",
			func(r *http.Request) string { return r.FormValue("to") }, 400,
		},
		"a form in hexadecimal": {
			"/transfer/x", "application/x-www-form-urlencoded", "to=" + escaped("%%%02x", "mallory") + "&note=\xff",
			func(r *http.Request) string { return r.FormValue("to") }, 400,
		},
		"a form with a parameter that mime does not know": {
			"/transfer/x", "application/x-www-form-urlencoded; x", "to=" + escaped("%%%02x", "mallory"),
			func(r *http.Request) string { return r.FormValue("to") }, 400,
		},
		"a path": {
			"/transfer/" + escaped("%%%02x", "mallory"), "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.PathValue("to") }, 202,
		},
		"a query": {
			"/transfer/x?to=" + escaped("%%%02x", "mallory") + "&;", "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.URL.Query().Get("to") }, 400,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			got := ""
			s.shared.Mux("").Handle("POST /transfer/{to}", s.rp.RequireApproval("transfer", s.owners)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = test.read(r)
			})))
			send := func() *answered {
				return s.do(c, "POST", test.target, test.body, "Content-Type", test.contentType)
			}
			if resp := send(); resp.StatusCode != test.status {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			if test.status == 400 {
				return
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			if resp := send(); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			if got != "mallory" || !strings.Contains(shown, "mallory") {
				i := strings.Index(shown, "<dt>Request</dt>")
				t.Errorf("the handler reads to=%q, which the owner was not shown anywhere:\n%s", got, shown[i:min(len(shown), i+900)])
			}
		})
	}
}

// TestFilenameIsShown_APR_10: a part of a multipart form is shown by its name and value
// unless it says more. One with a filename and no name says more: a handler that goes by
// FileName stores it.
func TestFilenameIsShown_APR_10(t *testing.T) {
	for name, disposition := range map[string]string{
		"a filename, no name": `form-data; filename="authorized_keys"`,
		"of another kind":     `attachment; name="authorized_keys"`,
		"both":                `form-data; name="a"; filename="authorized_keys"`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			var stored []string
			s.shared.Mux("").Handle("POST /upload", s.rp.RequireApproval("upload", s.owners)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				parts, err := r.MultipartReader()
				for err == nil {
					var part *multipart.Part
					if part, err = parts.NextPart(); err == nil {
						stored = append(stored, part.FileName())
					}
				}
			})))
			body := "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nssh-rsa AAAA\r\n--b--\r\n"
			if resp := s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b"); resp.StatusCode != 202 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b")
			if len(stored) != 1 || !strings.Contains(shown, "authorized_keys") {
				t.Errorf("the handler stores %q, and the owner was not shown the name", stored)
			}
		})
	}
}

// TestLargeRequests: no agent makes its owner's page large by what is no body.
func TestLargeRequests(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.signedInAgent("agent_1")
	s.shared.Mux("").Handle("/any", s.rp.RequireApproval("any", s.owners)(http.NotFoundHandler()))
	for i := range 20 {
		for _, test := range [][4]string{
			{"APR-11", strings.Repeat("A", 100<<10) + string(rune('A'+i)), "/any", ""},
			{"APR-12", "POST", "/payouts?" + strings.Repeat("a&", 3900) + fmt.Sprint(i), strings.Repeat("a&", 8000)},
		} {
			if resp := s.do(c, test[1], test[2], test[3]); resp.StatusCode != 413 {
				t.Fatalf("%s: %d %s", test[0], resp.StatusCode, resp.body)
			}
		}
		if resp := s.do(c, "POST", "/payouts?"+strings.Repeat("a&", 249)+fmt.Sprint(i), strings.Repeat("a&", 250)); resp.StatusCode != 202 {
			t.Fatalf("%d %s", resp.StatusCode, resp.body)
		}
	}
	if page := s.page(s.human(s.alice)); len(page) > 2<<20 {
		t.Errorf("APR-12: the owner's page has %d bytes", len(page))
	}
}

// TestManySessions_WEB_10: the owner's page shows the latest sessions of an agent and how
// many more there are, and each can be ended.
func TestManySessions_WEB_10(t *testing.T) {
	s := newSite(t)
	g := s.grant(nil)
	other := s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
	start := time.Now().Add(-time.Hour)
	touch := func(grant, session string, seen time.Time) {
		t.Helper()
		if _, err := s.store.Touch(t.Context(), grants.Activity{
			SessionID: session, GrantID: grant, UserID: s.alice, RemoteAddr: "192.0.2.1", StartedAt: start, SeenAt: seen, ExpiresAt: time.Now().Add(time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
	}
	touch(other.ID, "other", start)
	for i := range 300 {
		touch(g.ID, fmt.Sprint("session-", i, "."), start.Add(time.Duration(i)*time.Second))
	}
	alice := s.human(s.alice)
	page := s.at(alice, "agents/"+g.ID)
	if n := strings.Count(page, `name="session"`); n != 50 || !strings.Contains(page, "And 250 more.") {
		t.Errorf("the page has %d sessions", n)
	}
	if !strings.Contains(page, "session-299.") || strings.Contains(page, "session-249.") {
		t.Error("the page has not the latest sessions")
	}
	if resp := s.do(alice, "GET", agents, ""); !strings.Contains(resp.body, `"more_sessions":{"`+g.ID+`":250}`) {
		t.Error("JSON does not say how many more there are")
	}
	if resp := s.do(alice, "POST", agents+"end-session", form("session", "session-0.")); resp.StatusCode != 200 {
		t.Errorf("end a session that is not shown: %d %s", resp.StatusCode, resp.body)
	}
}

// TestLookalikes_WEB_12: the page tells its owner to compare the agent's ID, and writes out
// what only looks like something else.
func TestLookalikes_WEB_12(t *testing.T) {
	for id, want := range map[string]string{
		"agent_7f3a":        "agent_7f3a",
		"\u0430gent_7f3a":   `\u0430gent_7f3a`, // a Cyrillic a
		`\u0430gent_7f3a`:   `\\u0430gent_7f3a`,
		"\\\u0430gent_7f3a": `\\\u0430gent_7f3a`,
		"an agent":          "an agent",
		"an  agent":         `an \u0020agent`,
		"an\u00a0agent":     `an\u00a0agent`,
		"an\u200bagent":     `an\u200bagent`,
		"\U0001d41agent":    `\U0001d41agent`,
	} {
		s := newSite(t)
		g := s.grant(func(g *grants.Grant) { pending(g); g.Agent.ID = id })
		page := s.page(s.human(s.alice))
		if !strings.Contains(page, "<bdi>"+want+"</bdi>") {
			t.Errorf("the page does not show %q as %s", g.Agent.ID, want)
		}
	}
}

// TestPagesNameTheSite: the owner's page says which site it is of.
func TestPagesNameTheSite(t *testing.T) {
	s := newSite(t)
	host := s.rp.Host()
	resp := s.do(s.human(s.alice), "GET", agents, "", "Accept", htmlOnly)
	for _, want := range []string{"<title>Your agents · " + host + "</title>", "act for you at " + host + ". "} {
		if host == "" || !strings.Contains(resp.body, want) {
			t.Errorf("the page lacks %q:\n%s", want, resp.body)
		}
	}
}

// TestAllFormsJSON: a program that stops all agents gets what has become of them.
func TestAllFormsJSON(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "reader", "agent_reader" })
	resp := s.do(s.human(s.alice), "POST", agents+"revoke-all", "", "Accept", "application/json", "Sec-Fetch-Site", "same-origin")
	var o struct {
		Grants []struct{ ID, State string }
	}
	if err := json.Unmarshal([]byte(resp.body), &o); err != nil || resp.StatusCode != 200 || len(o.Grants) != 1 || o.Grants[0].State != "revoked" {
		t.Errorf("%d %s, %v", resp.StatusCode, resp.body, err)
	}
}
