package grants_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A site is a shop with an authorization server, both on TLS, at which owners
// approve agents. Humans sign in with a cookie of their ID.
type site struct {
	t      testing.TB
	shared *testsite.Site
	as     *authagenttest.Server
	server *httptest.Server
	rp     *authagent.RelyingParty
	owners *grants.Policy
	store  *memstore.Grants
	users  *memstore.Users
	alice  string
	bob    string
}

func newSite(t testing.TB, change ...func(*site, *authagent.Config)) *site {
	t.Helper()
	s := &site{t: t, store: &memstore.Grants{}}
	s.shared = testsite.New(t, func(shared *testsite.Site, c *authagent.Config) {
		s.as, s.server, s.users, s.alice = shared.AS, shared.HTTP, shared.Users, shared.AliceID
		s.bob = s.users.Add("bob@example.com", "Bob")
		s.owners = grants.OwnerApproval(s.store)
		s.owners.Actions = map[string]string{"orders:create": "Place orders"}
		s.owners.Logger = quiet
		c.Scenario = authagent.FullAccount(s.users, s.owners)
		c.Human, c.Logger, c.Audit = testsite.Human, quiet, nil
		for _, f := range change {
			f(s, c)
		}
	})
	s.rp = s.shared.RP
	rp, mux := s.rp, http.NewServeMux()
	s.shared.SetMux("", mux)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/account/agents/", grants.Handler(s.owners, rp))
	mux.Handle("/me", rp.RequireAgent(ok))
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(ok))
	mux.Handle("POST /other", rp.RequireAction("other:create")(ok))
	mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", s.owners)(ok))
	return s
}

func (s *site) signIn(agent *authagenttest.Agent, browser *http.Client) int {
	s.t.Helper()
	resp, err := agent.SignIn(context.Background(), browser, s.server.URL+"/auth/agent/login?return_to=/me")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	s.owners.Wait()
	return resp.StatusCode
}

func (s *site) post(browser *http.Client, path, body string) int {
	s.t.Helper()
	resp, err := browser.Post(s.server.URL+path, "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// get returns the status and the body.
func (s *site) get(browser *http.Client, url string) (status int, body string) {
	s.t.Helper()
	resp, err := browser.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestStory is the whole of it: what an agent that nobody knows gets, what its
// owner can give it and take away, and what is written down about it.
func TestStory(t *testing.T) {
	ctx := context.Background()
	var trail log[audit.Event]
	var notices log[grants.Notice]
	var second *authagent.RelyingParty
	var orders, payouts atomic.Int32
	s := newSite(t, func(s *site, c *authagent.Config) {
		s.as.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false }) // which would make it wait
		s.owners.Audit = func(_ context.Context, e audit.Event) { trail.add(e) }
		s.owners.Actions["orders:cancel"] = "Cancel orders"
		s.owners.Notify = func(_ context.Context, n grants.Notice) { notices.add(n) }
		another := *c // another instance, with the same keys and stores
		c.Revocations = &memstore.Revocations{}
		another.Revocations = c.Revocations
		var err error
		if second, err = authagent.New(another); err != nil {
			t.Fatal(err)
		}
	})
	mux := s.shared.Mux("")
	mux.Handle("POST /story/orders", s.rp.RequireAction("orders:create")(s.rp.RequireAgent(counting(&orders))))
	mux.Handle("POST /story/cancellations", s.rp.RequireAction("orders:cancel")(s.rp.RequireAgent(counting(&orders))))
	mux.Handle("POST /story/payouts", s.rp.RequireApproval("payouts:create", s.owners)(s.rp.RequireAgent(counting(&payouts))))
	mux.Handle("POST /story/connect", s.rp.ConnectHandler())
	elsewhere := httptest.NewTLSServer(second.RequireAgent(counting(&orders)))
	t.Cleanup(elsewhere.Close)
	ask := func(browser *http.Client, url string, want int, reason problem.Reason) {
		t.Helper()
		switch status, body := s.get(browser, url); {
		case status != want || !strings.Contains(body, string(reason)):
			t.Errorf("GET %s: %d %s, want %d %s", url, status, body, want, reason)
		}
	}
	write := func(browser *http.Client, path string, want int) {
		t.Helper()
		if got := s.post(browser, path, "item=1"); got != want {
			t.Errorf("POST %s: %d, want %d", path, got, want)
		}
	}
	mine := func() grants.Overview {
		t.Helper()
		s.owners.Wait()
		o, err := s.owners.Overview(ctx, s.alice)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	decide := func(g grants.Grant, state grants.State, actions ...string) {
		t.Helper()
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead, Actions: actions}
		if _, err := s.owners.Decide(ctx, s.alice, d); err != nil {
			t.Fatal(err)
		}
	}

	// Somebody registers an agent with Alice's address, and signs in.
	mallory := s.as.AddAgent(authagenttest.Agent{ID: "mallory", Email: "alice@example.com"})
	stranger := s.as.NewBrowser()
	if got := s.signIn(mallory, stranger); got != 403 {
		t.Fatalf("a stranger's sign-in: %d", got)
	}
	ask(stranger, s.server.URL+"/me", 401, problem.NoSession)
	o := mine()
	if len(o.Grants) != 1 || o.Grants[0].State != grants.Pending || o.Grants[0].Agent.ID != "mallory" || len(notices.take()) != 1 {
		t.Fatalf("alice sees %+v", o)
	}
	decide(o.Grants[0], grants.Denied)
	for range 3 { // for ever
		if got := s.signIn(mallory, stranger); got != 403 {
			t.Errorf("a stranger's sign-in after it was denied: %d", got)
		}
	}
	ask(stranger, s.server.URL+"/me", 401, problem.NoSession)
	if o = mine(); len(o.Grants) != 1 || o.Grants[0].State != grants.Denied {
		t.Errorf("alice sees %+v", o)
	}

	// Alice connects her own agent, whose address at the server is another.
	shopper := s.as.AddAgent(authagenttest.Agent{ID: "shopper", Email: "alice@home.example"})
	alices := s.as.NewBrowser()
	address, _ := url.Parse(s.server.URL)
	alices.Jar.SetCookies(address, []*http.Cookie{{Name: "human", Value: s.alice, Path: "/", Secure: true}})
	stay := *alices
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := stay.Post(s.server.URL+"/story/connect", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	callback, err := shopper.Authorize(ctx, s.as.Client(), resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := s.get(&stay, callback); status != 303 {
		t.Fatalf("connect: %d %s", status, body)
	}

	// It reads. To write it needs to be allowed to, and is told so.
	browser := s.as.NewBrowser()
	if got := s.signIn(shopper, browser); got != 200 {
		t.Fatalf("sign-in: %d", got)
	}
	ask(browser, s.server.URL+"/me", 200, "")
	ask(browser, elsewhere.URL, 200, "")
	resp, err = browser.Post(s.server.URL+"/story/orders", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{`"error":"action_not_granted"`, `"action":"orders:create"`, "owner can allow it"} {
		if resp.StatusCode != 403 || !strings.Contains(string(body), want) {
			t.Errorf("order: %d %s, want it to say %s", resp.StatusCode, body, want)
		}
	}
	orders.Store(0)
	decide(mine().Grants[0], grants.Approved, "orders:create")
	write(browser, "/story/orders", 200)
	write(browser, "/story/cancellations", 403)
	if orders.Load() != 1 {
		t.Errorf("%d orders, want 1", orders.Load())
	}

	// A payout waits for Alice, and happens once.
	write(browser, "/story/payouts", 202)
	write(browser, "/story/payouts", 202)
	waiting := mine().Approvals
	if len(waiting) != 1 || string(waiting[0].Body) != "item=1" || waiting[0].Action != "payouts:create" {
		t.Fatalf("alice is asked about %+v", waiting)
	}
	if _, err := s.owners.DecideAction(ctx, s.alice, waiting[0].ID, waiting[0].Version, true); err != nil {
		t.Fatal(err)
	}
	write(browser, "/story/payouts", 200)
	write(browser, "/story/payouts", 409)
	if payouts.Load() != 1 {
		t.Errorf("%d payouts, want 1", payouts.Load())
	}

	// She revokes: the next request is refused, at whichever instance.
	for _, g := range mine().Grants {
		if g.Agent.ID == "shopper" {
			decide(g, grants.Revoked)
		}
	}
	ask(browser, elsewhere.URL, 401, problem.NoSession)
	ask(browser, s.server.URL+"/me", 401, problem.NoSession)
	if got := s.signIn(shopper, browser); got != 403 {
		t.Errorf("sign-in after it was revoked: %d", got)
	}
	s.owners.Wait()

	var told []string
	for _, n := range notices.take() {
		told = append(told, string(n.Kind)+" "+n.UserID)
	}
	slices.Sort(told)
	want := []string{
		"action_asked user_1", "link_approved user_1", "link_changed user_1", "link_denied user_1", "link_first_used user_1", "link_revoked user_1",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("alice was told (-want +got):\n%s", diff)
	}
	events := trail.take()
	isDropped := func(e audit.Event) bool { return e.Name == grants.EventDropped } // they come when they come
	all := len(events)
	events = slices.DeleteFunc(events, isDropped)
	if n := all - len(events); n != 4 { // as many as sign-ins of mallory that failed, but for the one that was filed
		t.Errorf("LNK-21: %d requests left an event that says why the owner was not asked, want 4", n)
	}
	if diff := cmp.Diff(story, tell(events)); diff != "" {
		t.Errorf("LOG-3 the audit trail (-want +got):\n%s", diff)
	}
}

func counting(n *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) })
}

// story is what the audit trail says of it: what happened, to which agent, for
// whom, by which human, and what came of it. The other sign-ins of mallory that failed
// are counted, and would be told a minute later.
const story = `login_failed mallory: refused approval_needed
link_pending mallory for user_1: ok
link_denied mallory for user_1 by user_1: ok
link_approved shopper for user_1 by user_1: ok
login_succeeded shopper for user_1: ok
permission_denied shopper for user_1: orders:create refused action_not_granted
link_changed shopper for user_1 by user_1: ok
action_performed shopper for user_1: orders:create ok
permission_denied shopper for user_1: orders:cancel refused action_not_granted
action_pending shopper for user_1: payouts:create pending approval_pending
action_pending shopper for user_1: payouts:create pending approval_pending
action_approved shopper for user_1 by user_1: payouts:create ok
action_performed shopper for user_1: payouts:create ok
permission_denied shopper for user_1: payouts:create refused approval_used
link_revoked shopper for user_1 by user_1: ok
session_ended shopper for user_1: refused link_refused
login_failed shopper: refused approval_needed
`

// tell writes events as lines.
func tell(events []audit.Event) string {
	var lines strings.Builder
	for i, e := range events {
		if i+1 < len(events) && e.Name == grants.EventPending && events[i+1].Name == audit.LoginFailed {
			events[i], events[i+1] = events[i+1], e // the request is filed while the sign-in is answered
			e = events[i]
		}
		if e.Name == audit.LoginStarted {
			continue
		}
		line := string(e.Name) + " " + e.Agent.ID
		if e.UserID != "" {
			line += " for " + e.UserID
		}
		if e.HumanID != "" {
			line += " by " + e.HumanID
		}
		result := strings.Fields(e.Action + " " + e.Outcome + " " + string(e.Reason))
		lines.WriteString(line + ": " + strings.Join(result, " ") + "\n")
	}
	return lines.String()
}
