package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestConnectIsAnUpgrade_MW_9: where an action is allowed, a session that may otherwise
// read may open no tunnel either, by which anything could be sent: CONNECT does so in
// HTTP/1.1, and upgrades in HTTP/2 (RFC 8441).
func TestConnectIsAnUpgrade_MW_9(t *testing.T) {
	b := newBench(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(b.Users, linkAs(authagent.Principal{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"orders:create"}}))
	})
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	name, value := b.sessionCookie(c)
	reached := false
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
	action := b.RP.RequireAction("orders:create")
	for _, test := range []struct {
		name, method, upgrade string
		guard                 http.Handler
		want                  int
	}{
		{"MW-9 (an action)", "POST", "", action(h), 200},
		{"MW-9 upgrade", "GET", "websocket", action(h), 403},
		{"MW-9 CONNECT", "CONNECT", "", action(h), 403},
		{"MW-9 CONNECT inside", "CONNECT", "", action(b.RP.Attach(h)), 403},
		{"MW-9 CONNECT, upgrade", "CONNECT", "websocket", action(h), 403},
		{"MW-9 CONNECT, no action", "CONNECT", "", b.RP.RequireAgent(h), 403},
	} {
		reached = false
		r := httptest.NewRequest(test.method, "/chat", nil)
		r.AddCookie(&http.Cookie{Name: name, Value: value})
		if test.upgrade != "" {
			r.Header.Set("Upgrade", test.upgrade)
		}
		w := httptest.NewRecorder()
		test.guard.ServeHTTP(w, r)
		if w.Code != test.want || reached != (test.want == 200) {
			t.Errorf("%s: %d, reached %t", test.name, w.Code, reached)
		}
	}
}

// linkAs lets every agent into alice's account like this.
type linkAs authagent.Principal

func (l linkAs) Link(context.Context, authagent.LinkRequest) (authagent.Principal, error) {
	return authagent.Principal(l), nil
}

// An approverFunc is an Approver.
type approverFunc func(authagent.ActionRequest) (string, error)

func (f approverFunc) Approve(_ context.Context, r authagent.ActionRequest) (authagent.ActionRequest, string, error) {
	path, err := f(r)
	return r, path, err
}

func approveAll(authagent.ActionRequest) (string, error) { return "", nil }

// handle mounts a handler that counts and answers with the body that it was sent.
func (k *bench) handle(pattern string, guard func(http.Handler) http.Handler) {
	k.Instances[""].Handle(pattern, guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.Handled.Add()
		io.Copy(w, r.Body)
	})))
}

// TestActionMatrix is MW-3, MW-4 and MW-6: what each session may do, by each
// method, behind each middleware. The columns are
//
//	GET HEAD POST PUT PATCH DELETE OPTIONS POST+override POST+_method GET+Upgrade
func TestActionMatrix(t *testing.T) {
	requests := []struct {
		method, query string
		header        []string
	}{
		{"GET", "", nil}, {"HEAD", "", nil}, {"POST", "", nil}, {"PUT", "", nil}, {"PATCH", "", nil}, {"DELETE", "", nil}, {"OPTIONS", "", nil},
		{"POST", "", []string{"X-HTTP-Method-Override", "GET"}}, {"POST", "?_method=GET", nil},
		{"GET", "", []string{"Upgrade", "websocket", "Connection", "Upgrade"}},
	}
	type row [10]int
	all := func(status int) (r row) {
		for i := range r {
			r[i] = status
		}
		return r
	}
	var (
		reading   = row{200, 200, 403, 403, 403, 403, 403, 403, 403, 403}
		noUpgrade = row{200, 200, 200, 200, 200, 200, 200, 200, 200, 403}
		approving = row{200, 200, 200, 200, 200, 200, 200, 200, 200, 400} // an owner could not be shown what follows an upgrade
		yes       = all(200)
		no        = all(403)
		signIn    = all(401)
	)
	const a = "a:do"
	for kind, test := range map[string]struct {
		link authagent.Principal
		as   []string // the scenarios that have it
		want map[string]row
	}{
		"full": {authagent.Principal{Access: authagent.AccessFull}, []string{"FullAccount"}, map[string]row{
			"attach": yes, "agent": yes, "read": yes, "full": yes, "forbid": no, "human": no,
			"action": yes, "other": yes, "action(agent)": yes, "action(read)": yes, "action(full)": yes, "action(human)": no, "agent(action)": yes,
			"action(other)": yes, "approval": approving, "approval(agent)": approving,
		}},
		"read": {authagent.Principal{Access: authagent.AccessRead}, []string{"FullAccount", "ContextualProfile"}, map[string]row{
			"attach": reading, "agent": reading, "read": reading, "full": no, "forbid": no, "human": no,
			"action": no, "other": no, "action(agent)": no, "action(read)": no, "action(full)": no, "action(human)": no, "agent(action)": no,
			"action(other)": no, "approval": noUpgrade, "approval(agent)": noUpgrade,
		}},
		"full, lowered": {authagent.Principal{Access: authagent.AccessFull}, []string{"ContextualProfile"}, map[string]row{
			"attach": reading, "agent": reading, "read": reading, "full": no, "forbid": no, "human": no,
			"action": no, "other": no, "action(agent)": no, "action(read)": no, "action(full)": no, "action(human)": no, "agent(action)": no,
			"action(other)": no, "approval": noUpgrade, "approval(agent)": noUpgrade,
		}},
		"read and an action": {authagent.Principal{Access: authagent.AccessRead, Actions: []string{"x", a}}, []string{"FullAccount", "ContextualProfile"}, map[string]row{
			"attach": reading, "agent": reading, "read": reading, "full": no, "forbid": no, "human": no,
			"action": noUpgrade, "other": no, "action(agent)": noUpgrade, "action(read)": noUpgrade, "action(full)": no, "action(human)": no, "agent(action)": reading,
			"action(other)": no, "approval": noUpgrade, "approval(agent)": noUpgrade,
		}},
		"none": {authagent.Principal{}, []string{"FullAccount", "ContextualProfile"}, map[string]row{
			"attach": reading, "agent": reading, "read": no, "full": no, "forbid": no, "human": no,
			"action": no, "other": no, "action(agent)": no, "action(read)": no, "action(full)": no, "action(human)": no, "agent(action)": no,
			"action(other)": no, "approval": no, "approval(agent)": no,
		}},
		"an action alone": {authagent.Principal{Actions: []string{a}}, []string{"FullAccount", "ContextualProfile"}, map[string]row{
			"attach": reading, "agent": reading, "read": no, "full": no, "forbid": no, "human": no,
			"action": no, "other": no, "action(agent)": no, "action(read)": no, "action(full)": no, "action(human)": no, "agent(action)": no,
			"action(other)": no, "approval": no, "approval(agent)": no,
		}},
		"profile": {authagent.Principal{}, []string{"FreshProfile"}, map[string]row{
			"attach": yes, "agent": yes, "read": no, "full": no, "forbid": no, "human": no,
			"action": no, "other": no, "action(agent)": no, "action(read)": no, "action(full)": no, "action(human)": no, "agent(action)": no,
			"action(other)": no, "approval": no, "approval(agent)": no,
		}},
		"nobody": {authagent.Principal{}, []string{"nobody"}, map[string]row{
			"attach": yes, "agent": signIn, "read": signIn, "full": signIn, "forbid": yes, "human": signIn,
			"action": signIn, "other": signIn, "action(agent)": signIn, "action(read)": signIn, "action(full)": signIn, "action(human)": signIn, "agent(action)": signIn,
			"action(other)": signIn, "approval": signIn, "approval(agent)": signIn,
		}},
		"a human": {authagent.Principal{}, []string{"human"}, map[string]row{
			"attach": yes, "agent": no, "read": yes, "full": yes, "forbid": yes, "human": yes,
			"action": yes, "other": yes, "action(agent)": no, "action(read)": yes, "action(full)": yes, "action(human)": yes, "agent(action)": no,
			"action(other)": yes, "approval": yes, "approval(agent)": no,
		}},
	} {
		for _, scenario := range test.as {
			t.Run("MW-3 MW-4 MW-6 "+kind+" "+scenario, func(t *testing.T) {
				k := newCluster(t, func(b *bench, c *authagent.Config) {
					test.link.UserID = b.AliceID
					c.Human = testsite.Human
					switch scenario {
					case "FullAccount":
						c.Scenario = authagent.FullAccount(b.Users, linkAs(test.link))
					case "ContextualProfile":
						c.Scenario = authagent.ContextualProfile(b.Users, b.Profiles, linkAs(test.link))
					case "FreshProfile":
						c.Scenario = authagent.FreshProfile(b.Profiles)
					}
				})
				rp := k.RP
				action, other := rp.RequireAction(a), rp.RequireAction("b:do")
				read, full := rp.RequireAccess(authagent.AccessRead), rp.RequireAccess(authagent.AccessFull)
				approval := rp.RequireApproval("c:do", approverFunc(approveAll))
				both := func(outer, inner func(http.Handler) http.Handler) func(http.Handler) http.Handler {
					return func(next http.Handler) http.Handler { return outer(inner(next)) }
				}
				for name, guard := range map[string]func(http.Handler) http.Handler{
					"attach": rp.Attach, "agent": rp.RequireAgent, "read": read, "full": full, "forbid": rp.ForbidAgents, "human": rp.RequireHuman,
					"action": action, "other": other, "action(agent)": both(action, rp.RequireAgent), "action(read)": both(action, read),
					"action(full)": both(action, full), "action(human)": both(action, rp.RequireHuman), "agent(action)": both(rp.RequireAgent, action),
					"action(other)": both(action, other), "approval": approval, "approval(agent)": both(approval, rp.RequireAgent),
				} {
					k.handle("/r/"+name, guard)
					if _, ok := test.want[name]; !ok {
						t.Errorf("no row for %s", name)
					}
				}
				c := k.Browser()
				switch scenario {
				case "nobody":
				case "human":
					k.SignInPerson(c, k.AliceID)
				default:
					k.MustSignIn(c, k.Agent)
					k.SignInPerson(c, k.AliceID) // who does not make the agent a human
				}
				for name, want := range test.want {
					for i, r := range requests {
						before := k.Handled.Count()
						resp := k.Send(c, r.method, "/r/"+name+r.query, "", r.header...)
						if resp.StatusCode != want[i] || (k.Handled.Count() > before) != (want[i] == 200) {
							t.Errorf("%s%s %v on %s: %d %s, want %d; the handler ran %d times",
								r.method, r.query, r.header, name, resp.StatusCode, resp.Reason(), want[i], k.Handled.Count()-before)
						}
					}
				}
			})
		}
	}
}

// TestActionNames: a name that cannot be one is a fault of the program.
func TestActionNames(t *testing.T) {
	k := newCluster(t)
	for name, f := range map[string]func(){
		"Action of no name":               func() { k.RP.RequireAction("") },
		"Action with a space":             func() { k.RP.RequireAction("place orders") },
		"Action with a line":              func() { k.RP.RequireAction("a\nb") },
		"RequireApproval of no name":      func() { k.RP.RequireApproval("", approverFunc(approveAll)) },
		"RequireApproval without anybody": func() { k.RP.RequireApproval("a", nil) },
		"RequireHuman without Human":      func() { k.RP.RequireHuman(http.NotFoundHandler()) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("MW-3: no panic")
				}
			}()
			f()
		})
	}
}

// TestRequireHuman is MW-3: a human alone passes, whom the handler then knows, and
// every doubt about who it is refuses.
func TestRequireHuman(t *testing.T) {
	var failure error
	panics := false
	k := newCluster(t, func(_ *bench, c *authagent.Config) {
		c.Human = func(r *http.Request) (string, error) {
			if panics {
				panic("nil map")
			}
			id, _ := testsite.Human(r)
			return id, failure
		}
	})
	var seen []string
	k.Instances[""].Handle("/owner", k.RP.RequireHuman(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, ok := authagent.HumanFromContext(r.Context())
		_, agent := authagent.FromContext(r.Context())
		seen = append(seen, fmt.Sprint(id, ok, agent))
	})))
	check := func(c *http.Client, what string, status int, reason problem.Reason) *response {
		t.Helper()
		before := len(seen)
		resp := k.Get(c, "/owner")
		if resp.StatusCode != status || resp.Reason() != reason || (len(seen) > before) != (status == 200) {
			t.Errorf("MW-3 %s: %d %q, want %d %q; the handler ran: %v", what, resp.StatusCode, resp.Reason(), status, reason, len(seen) > before)
		}
		return resp
	}
	if got := check(k.Browser(), "nobody", 401, problem.HumanRequired).Header.Get("WWW-Authenticate"); got != "Human" {
		t.Errorf("WWW-Authenticate %q", got)
	}
	human := k.Browser()
	k.SignInPerson(human, "alice")
	check(human, "a human", 200, "")
	if diff := cmp.Diff([]string{"alicetrue false"}, seen); diff != "" {
		t.Errorf("the handler sees (-want +got):\n%s", diff)
	}
	agent := k.Browser()
	k.MustSignIn(agent, k.Agent)
	check(agent, "an agent", 403, problem.AgentForbidden)
	k.SignInPerson(agent, "alice")
	check(agent, "an agent in the human's browser", 403, problem.AgentForbidden)
	failure = errors.New("connection refused")
	if resp := check(human, "an error", 500, problem.StoreFailed); strings.Contains(resp.Text, "refused") {
		t.Errorf("the answer says why: %s", resp.Text)
	}
	failure, panics = nil, true
	check(human, "a panic", 500, problem.StoreFailed)
	panics = false
	check(human, "a human again", 200, "")
	if id, ok := authagent.HumanFromContext(context.Background()); ok || id != "" {
		t.Errorf("HumanFromContext of nothing: %q", id)
	}
	if n := len(k.Logged(audit.PermissionDenied)); n != 4 {
		t.Errorf("LOG-3: %d in the log, want 4: two of the agent, an error and a panic", n)
	}
}

// TestApprovalRequest: what the owner is asked about is exactly this request, and
// nothing but the same one has its digest.
func TestApprovalRequest(t *testing.T) {
	as := quickServer(t)
	var asked []authagent.ActionRequest
	approver := approverFunc(func(r authagent.ActionRequest) (string, error) { asked = append(asked, r); return "", nil })
	b := newBenchOn(t, as, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(struct{ authagent.UserStore }{b.Users}, authagent.InsecureTrustEmail) // which links no agent
	})
	other, err := authagent.New(func() authagent.Config {
		c := b.Config
		c.Scenario = authagent.ContextualProfile(struct{ authagent.UserStore }{b.Users}, b.Profiles, authagent.InsecureTrustEmail)
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	mux := b.Instances[""]
	overridden := false
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		overridden = overridden || len(r.Header["X-Http-Method-Override"])+len(r.Header["X-Http-Method"])+len(r.Header["X-Method-Override"]) > 0
		io.Copy(w, r.Body)
	})
	byAction := map[string]http.Handler{
		"": b.RP.RequireApproval("a:do", approver)(echo), "b": b.RP.RequireApproval("b:do", approver)(echo), "contextual": other.RequireApproval("a:do", approver)(echo),
	}
	mux.HandleFunc("/pay/", func(w http.ResponseWriter, r *http.Request) { byAction[r.Header.Get("X-Test")].ServeHTTP(w, r) })
	mux.Handle("/contextual/callback", other.CallbackHandler())

	c := b.Browser()
	s := b.MustSignIn(c, b.Agent)
	digest := func(c *http.Client, method, path, body string, header ...string) string {
		t.Helper()
		n := len(asked)
		resp := b.Send(c, method, path, body, header...)
		if resp.StatusCode != 200 || resp.Text != body && method != "HEAD" || len(asked) != n+1 {
			t.Fatalf("%s %s: %d %q, asked %d times", method, path, resp.StatusCode, resp.Text, len(asked)-n)
		}
		return asked[n].Digest
	}
	const typ = "Content-Type"
	base := digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain")
	got := asked[0]
	want := authagent.ActionRequest{
		Session: got.Session, Action: "a:do", Method: "POST", Target: "/pay/x?to=bob&n=1", ContentType: "text/plain", Body: []byte("amount=1"), Digest: base,
	}
	if diff := cmp.Diff(want.Body, got.Body); diff != "" || got.Session.ID != s.ID || got.Action != want.Action || got.Method != want.Method ||
		got.Target != want.Target || got.ContentType != want.ContentType || len(base) != 43 {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	for _, header := range [][]string{nil, {"User-Agent", "x"}, {"Accept", "x"}, {"X-Request-Id", "x"}} {
		if digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", append(header, typ, "text/plain")...) != base {
			t.Errorf("%v: the same request has another digest", header)
		}
	}
	again := b.Browser()
	b.MustSignIn(again, b.Agent)
	if digest(again, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain") != base {
		t.Error("in a later session, the same request has another digest")
	}
	digests := map[string]string{base: "base"}
	add := func(name, digest string) {
		t.Helper()
		if have, ok := digests[digest]; ok {
			t.Errorf("%s has the digest of %s", name, have)
		}
		digests[digest] = name
	}
	add("method", digest(c, "PUT", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain"))
	add("path", digest(c, "POST", "/pay/y?to=bob&n=1", "amount=1", typ, "text/plain"))
	add("escaped path", digest(c, "POST", "/pay/%78?to=bob&n=1", "amount=1", typ, "text/plain"))
	add("query", digest(c, "POST", "/pay/x?to=bob&n=2", "amount=1", typ, "text/plain"))
	add("order of query", digest(c, "POST", "/pay/x?n=1&to=bob", "amount=1", typ, "text/plain"))
	for header, value := range map[string]string{"X-Http-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "x-method-override": "DELETE"} {
		if digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", header, value) != base {
			t.Errorf("%s makes another request", header)
		}
	}
	if overridden {
		t.Error("the handler is told of another method than the owner was shown")
	}
	if resp := b.Send(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "Content-Encoding", "x"); resp.StatusCode != 400 || resp.Reason() != problem.InvalidRequest {
		t.Errorf("an encoded body, of which the owner could not be shown what it means: %d %s", resp.StatusCode, resp.Text)
	}
	add("host", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "Host", "other.example", "Cookie", b.Cookies(c)))
	for _, prefix := range []string{"/one", "/two"} {
		mux.Handle(prefix+"/pay/", http.StripPrefix(prefix, byAction[""]))
		add("below "+prefix, digest(c, "POST", prefix+"/pay/x?to=bob&n=1", "amount=1", typ, "text/plain"))
		if target := asked[len(asked)-1].Target; target != prefix+"/pay/x?to=bob&n=1" {
			t.Errorf("the owner is shown %s", target)
		}
	}
	add("no query", digest(c, "POST", "/pay/x", "amount=1", typ, "text/plain"))
	add("content type", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/csv"))
	add("key", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "Idempotency-Key", "1"))
	add("another key", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "Idempotency-Key", "2"))
	add("body", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=2", typ, "text/plain"))
	add("no body", digest(c, "POST", "/pay/x?to=bob&n=1", "", typ, "text/plain"))
	add("key in the body", digest(c, "POST", "/pay/x?to=bob&n=1", "1amount=1", typ, "text/plain"))
	add("action", digest(c, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "X-Test", "b"))
	bobsAgent := as.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"})
	agent2 := b.Browser()
	b.MustSignIn(agent2, bobsAgent)
	add("agent", digest(agent2, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain"))
	bob := b.Users.Add("bob@example.com", "Bob")
	b.Agent = as.AddAgent(authagenttest.Agent{ID: b.Agent.ID, Email: "bob@example.com"})
	bobs := b.Browser()
	if s := b.MustSignIn(bobs, b.Agent); s.UserID != bob {
		t.Fatal(s.UserID)
	}
	add("user", digest(bobs, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain"))
	b.Agent = as.AddAgent(authagenttest.Agent{ID: b.Agent.ID, Email: "alice@example.com"})
	byAction["login"] = other.LoginHandler()
	contextual := b.Browser()
	begun := b.Get(contextual, "/pay/login", "X-Test", "login")
	mux.Handle("/pay/callback", other.CallbackHandler())
	resp := b.Get(contextual, strings.Replace(b.Authorize(b.Agent, begun.Header.Get("Location")), "/auth/agent/callback", "/pay/callback", 1))
	if resp.StatusCode != 303 {
		t.Fatalf("contextual: %d %s", resp.StatusCode, resp.Text)
	}
	add("scenario", digest(contextual, "POST", "/pay/x?to=bob&n=1", "amount=1", typ, "text/plain", "X-Test", "contextual"))
}

// TestRequireApproval: what becomes of a request when the approver has answered,
// or has not.
func TestRequireApproval(t *testing.T) {
	ran := func(k *bench, before int) int { return k.Handled.Count() - before }
	for _, test := range []struct {
		name    string
		answer  func(authagent.ActionRequest) (string, error)
		status  int
		reason  problem.Reason
		retry   string
		event   audit.Name
		outcome string
	}{
		{"approved", approveAll, 200, "", "", audit.ActionPerformed, "ok"},
		{"pending", func(authagent.ActionRequest) (string, error) { return "/look/1", problem.ApprovalPending }, 202, problem.ApprovalPending, "5", audit.ActionPending, "pending"},
		{"pending, wrapped", func(authagent.ActionRequest) (string, error) {
			return "/look/1", fmt.Errorf("x: %w", problem.ApprovalPending)
		}, 202, problem.ApprovalPending, "5", audit.ActionPending, "pending"},
		{"pending for long", func(authagent.ActionRequest) (string, error) {
			return "/look/1", &problem.Error{Reason: problem.ApprovalPending, RetryAfter: time.Minute}
		}, 202, problem.ApprovalPending, "60", audit.ActionPending, "pending"},
		{"denied", func(authagent.ActionRequest) (string, error) { return "/look/1", problem.ActionDenied }, 403, problem.ActionDenied, "", audit.PermissionDenied, "refused"},
		{"used", func(authagent.ActionRequest) (string, error) { return "/look/1", problem.Reason("approval_used") }, 409, problem.Reason("approval_used"), "", audit.PermissionDenied, "refused"},
		{"too many", func(authagent.ActionRequest) (string, error) { return "", problem.Limited }, 429, problem.Limited, "5", audit.PermissionDenied, "refused"},
		{"error", func(authagent.ActionRequest) (string, error) { return "", errors.New("connection refused") }, 500, problem.StoreFailed, "5", audit.PermissionDenied, "failed"},
		{"panic", func(authagent.ActionRequest) (string, error) { panic("nil map") }, 500, problem.StoreFailed, "5", audit.PermissionDenied, "failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newCluster(t)
			k.handle("POST /pay", k.RP.RequireApproval("a:do", approverFunc(test.answer)))
			c := k.Browser()
			s := k.MustSignIn(c, k.Agent)
			before := k.Handled.Count()
			resp := k.Send(c, "POST", "/pay", "x")
			if resp.StatusCode != test.status || resp.Reason() != test.reason || resp.Header.Get("Retry-After") != test.retry || ran(k, before) != map[bool]int{true: 1}[test.status == 200] {
				t.Errorf("%d %v %s; the handler ran %d times", resp.StatusCode, resp.Header, resp.Text, ran(k, before))
			}
			if wanted := map[bool]string{true: "/look/1"}[test.status == 202 || test.status == 403 || test.status == 409]; test.status != 200 {
				var p struct {
					Status           int
					Error            problem.Reason
					Action, Approval string
					Retry            bool
					RequestID        string `json:"request_id"`
				}
				json.Unmarshal([]byte(resp.Text), &p)
				if resp.Header.Get("Location") != wanted || p.Approval != wanted || p.Action != "a:do" || p.Status != test.status || p.Retry != (test.retry != "") || p.RequestID == "" {
					t.Errorf("Location %q, problem %s", resp.Header.Get("Location"), resp.Text)
				}
			}
			var events []audit.Event
			for _, name := range []audit.Name{audit.ActionPerformed, audit.ActionPending, audit.PermissionDenied} {
				events = append(events, k.Events.Named(name)...)
			}
			if len(events) != 1 || events[0].Name != test.event || events[0].Outcome != test.outcome || events[0].Action != "a:do" || events[0].Route != "POST /pay" ||
				events[0].Reason != test.reason || events[0].SessionID != s.ID {
				t.Errorf("LOG-3 events: %+v", events)
			}
		})
	}
	k := newCluster(t)
	k.handle("POST /pay", k.RP.RequireApproval("a:do", approverFunc(approveAll)))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for size, want := range map[int]int{0: 200, 16 << 10: 200, 16<<10 + 1: 413, 1 << 20: 413} {
		body := strings.Repeat("x", size)
		before := k.Handled.Count()
		resp := k.Send(c, "POST", "/pay", body)
		if resp.StatusCode != want || want == 200 && resp.Text != body || ran(k, before) != map[int]int{200: 1}[want] {
			t.Errorf("body of %d bytes: %d, %d bytes came to the handler", size, resp.StatusCode, len(resp.Text))
		}
	}
	for size, want := range map[int]int{8<<10 - 100: 200, 8 << 10: 413} {
		if resp := k.Send(c, "POST", "/pay?"+strings.Repeat("x", size), ""); resp.StatusCode != want {
			t.Errorf("address of %d bytes: %d, want %d", size, resp.StatusCode, want)
		}
	}
	f := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
	f.handle("POST /pay", f.RP.RequireApproval("a:do", approverFunc(func(authagent.ActionRequest) (string, error) { t.Error("asked"); return "", nil })))
	c = f.Browser()
	f.MustSignIn(c, f.Agent)
	if resp := f.Send(c, "POST", "/pay", "x"); resp.StatusCode != 403 || resp.Reason() != problem.AccessTooLow {
		t.Errorf("FreshProfile, which has no owner to ask: %d %s", resp.StatusCode, resp.Text)
	}
}

// A tapped body does something when it is read.
type tapped struct {
	io.Reader
	read func()
}

func (b tapped) Read(p []byte) (int, error) { b.read(); return b.Reader.Read(p) }

// TestApprovalAfterEnd is SES-11: an agent that holds the end of its request back
// does not so keep its session, and what was approved in it, alive.
func TestApprovalAfterEnd(t *testing.T) {
	b := newBench(t)
	ran, asked := 0, 0
	guarded := b.RP.RequireApproval("a:do", approverFunc(func(authagent.ActionRequest) (string, error) { asked++; return "", nil }))(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	c := b.Browser()
	s := b.MustSignIn(c, b.Agent)
	for _, ended := range []bool{false, true} {
		r := httptest.NewRequest("POST", b.URL+"/pay", tapped{strings.NewReader("amount=1"), func() {
			if ended {
				if err := b.RP.EndSession(context.Background(), s.ID); err != nil {
					t.Error(err)
				}
			}
		}})
		for _, cookie := range c.Jar.Cookies(mustParse(t, b.URL)) {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if want := map[bool]int{false: 200, true: 401}[ended]; w.Code != want || ran != 1 || asked != 1 {
			t.Errorf("SES-11 ended meanwhile: %v: status %d, want %d; asked %d times, ran %d times", ended, w.Code, want, asked, ran)
		}
	}
}

// TestLimits: each budget is the one of whom it is meant for, and comes back.
func TestLimits(t *testing.T) {
	enough := authagent.Rate{N: 1 << 20}
	run := func(name string, limits authagent.Limits, f func(t *testing.T, k *bench)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Limits, c.Human = limits, testsite.Human })
				k.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
				k.handle("POST /a", k.RP.RequireAction("a:do"))
				k.handle("POST /b", k.RP.RequireAction("b:do"))
				f(t, k)
			})
		})
	}
	// let sends n requests and returns how many pass; of the others each says when to come again.
	let := func(t *testing.T, k *bench, c *http.Client, n int, method, path string) (passed int) {
		t.Helper()
		for range n {
			before := k.Handled.Count()
			resp := k.Send(c, method, path, "")
			switch {
			case resp.StatusCode == 200 && k.Handled.Count() == before+1:
				passed++
			case resp.StatusCode != 429 || resp.Reason() != problem.Limited || resp.Header.Get("Retry-After") == "" || k.Handled.Count() != before:
				t.Fatalf("%s %s: %d %v %s", method, path, resp.StatusCode, resp.Header, resp.Text)
			}
		}
		return passed
	}
	run("agent", authagent.Limits{Agent: authagent.Rate{N: 3}}, func(t *testing.T, k *bench) {
		one, same, two := k.Browser(), k.Browser(), k.Browser()
		k.SignIn(one, k.Agent)
		k.SignIn(same, k.Agent)
		k.SignIn(two, k.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"}))
		if got := let(t, k, one, 2, "GET", "/me") + let(t, k, same, 4, "GET", "/data"); got != 3 {
			t.Errorf("%d requests of one agent in two sessions, want 3", got)
		}
		if got := let(t, k, two, 4, "GET", "/me"); got != 3 {
			t.Errorf("%d requests of another, want 3", got)
		}
		if got := let(t, k, k.Browser(), 50, "GET", "/open"); got != 50 {
			t.Errorf("%d requests of humans, want 50", got)
		}
		resp := k.Get(one, "/me")
		if resp.Header.Get("Retry-After") != "20" {
			t.Errorf("Retry-After %q, want 20", resp.Header.Get("Retry-After"))
		}
		if resp := k.Do(one, "POST", "/auth/agent/logout"); resp.StatusCode != 303 {
			t.Errorf("logout: %d", resp.StatusCode)
		}
		time.Sleep(20 * time.Second)
		if got := let(t, k, same, 2, "GET", "/me"); got != 1 {
			t.Errorf("%d requests after the time that was named, want 1", got)
		}
		time.Sleep(time.Hour)
		k.SignIn(same, k.Agent)
		if got := let(t, k, same, 9, "GET", "/me"); got != 3 {
			t.Errorf("%d requests after an hour, want 3", got)
		}
	})
	run("agent, nested", authagent.Limits{Agent: authagent.Rate{N: 3}}, func(t *testing.T, k *bench) {
		k.handle("/nested", func(next http.Handler) http.Handler {
			return k.RP.Attach(k.RP.RequireAction("a:do")(k.RP.RequireAgent(next)))
		})
		c := k.Browser()
		k.SignIn(c, k.Agent)
		if got := let(t, k, c, 5, "GET", "/nested"); got != 3 {
			t.Errorf("%d requests through three middlewares, want 3", got)
		}
	})
	run("owner", authagent.Limits{Owner: authagent.Rate{N: 100}, Logins: enough, Callbacks: enough}, func(t *testing.T, k *bench) {
		k.Users.Add("bob@example.com", "Bob")
		bobs := k.Browser()
		k.SignIn(bobs, k.AS.AddAgent(authagenttest.Agent{ID: "bobs", Email: "bob@example.com"}))
		passed := 0
		for n := range 1000 {
			c := k.Browser()
			k.SignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprint("agent_", n), Email: "alice@example.com"}))
			passed += let(t, k, c, 2, "GET", "/me")
		}
		if passed != 100 {
			t.Errorf("%d requests of a thousand agents of one owner, want 100", passed)
		}
		if got := let(t, k, bobs, 10, "GET", "/me"); got != 10 {
			t.Errorf("%d requests of another owner's agent, want 10", got)
		}
	})
	run("action", authagent.Limits{Actions: map[string]authagent.Rate{"a:do": {N: 2, Per: time.Hour}}}, func(t *testing.T, k *bench) {
		one, two := k.Browser(), k.Browser()
		k.SignIn(one, k.Agent)
		k.SignIn(two, k.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"}))
		if got := let(t, k, one, 1, "POST", "/a") + let(t, k, two, 3, "POST", "/a"); got != 2 {
			t.Errorf("%d actions of an owner's agents, want 2", got)
		}
		if got := let(t, k, one, 9, "POST", "/b"); got != 9 {
			t.Errorf("%d other actions, want 9", got)
		}
		person := k.Browser()
		k.SignInPerson(person, "human")
		if got := let(t, k, person, 9, "POST", "/a"); got != 9 {
			t.Errorf("%d actions of humans, want 9", got)
		}
		if resp := k.Send(one, "POST", "/a", ""); resp.Header.Get("Retry-After") != "1800" {
			t.Errorf("Retry-After %q, want 1800", resp.Header.Get("Retry-After"))
		}
	})
	for _, bad := range []authagent.Limits{
		{Agent: authagent.Rate{Per: time.Minute}}, {Owner: authagent.Rate{N: 1, Per: -1}}, {Logins: authagent.Rate{N: 1, Per: -1}},
		{Actions: map[string]authagent.Rate{"a b": {}}}, {Actions: map[string]authagent.Rate{"a": {Per: time.Hour}}},
	} {
		if _, err := authagent.New(authagent.Config{Limits: bad}); err == nil || !strings.Contains(err.Error(), "authagent: Limits.") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestLimitsOfAddresses: logins and callbacks are limited for each public address.
func TestLimitsOfAddresses(t *testing.T) {
	for _, test := range []struct {
		name             string
		limits           authagent.Limits
		one, same, other string // addresses
		logins           int    // that pass from one and same together, in a minute
		callbacks        int
	}{
		{"IPv4", authagent.Limits{}, "203.0.113.7:1", "203.0.113.7:2", "203.0.113.8:1", 10, 20},
		{"IPv6 network", authagent.Limits{}, "[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::1]:1", "[2001:db8:1:3::1]:1", 10, 20},
		{"without port", authagent.Limits{}, "203.0.113.7", "203.0.113.7", "2001:db8::1", 10, 20},
		{"own", authagent.Limits{Logins: authagent.Rate{N: 3, Per: time.Hour}, Callbacks: authagent.Rate{N: 4}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 3, 4},
		{"another time", authagent.Limits{Logins: authagent.Rate{Per: time.Hour}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 10, 20},
		{"off", authagent.Limits{Logins: authagent.Rate{N: -1}, Callbacks: authagent.Rate{N: -1}}, "203.0.113.7", "203.0.113.7", "203.0.113.8", 60, 60},
		{"loopback", authagent.Limits{}, "127.0.0.1:1", "127.0.0.1:2", "[::1]:1", 60, 60},
		{"private", authagent.Limits{}, "10.0.0.1:1", "10.0.0.1:1", "192.168.1.1:1", 60, 60},
		{"no address", authagent.Limits{}, "", "@", "unknown", 60, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) {
					c.Limits = test.limits
					c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
				})
				count := func(path string, passes int, addresses ...string) (passed int) {
					t.Helper()
					for i := range 60 {
						resp := k.Get(k.Browser(), path, "X-Addr", addresses[i%len(addresses)])
						switch {
						case resp.StatusCode == passes:
							passed++
						case resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "":
							t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
						}
					}
					return passed
				}
				if got := count("/auth/agent/login", 303, test.one, test.same); got != test.logins {
					t.Errorf("%d logins, want %d", got, test.logins)
				}
				if got := count("/auth/agent/login", 303, test.other); got != test.logins {
					t.Errorf("%d logins from elsewhere, want %d", got, test.logins)
				}
				if got := count("/auth/agent/callback?code=x&state=x", 400, test.one, test.same); got != test.callbacks {
					t.Errorf("%d callbacks, want %d", got, test.callbacks)
				}
				if got := count("/auth/agent/callback?code=x&state=x", 400, test.other); got != test.callbacks {
					t.Errorf("%d callbacks from elsewhere, want %d", got, test.callbacks)
				}
				time.Sleep(2 * time.Hour)
				if got := count("/auth/agent/login", 303, test.one); got != test.logins {
					t.Errorf("%d logins two hours later, want %d", got, test.logins)
				}
			})
		})
	}
}

var randomIDs = regexp.MustCompile(`"(agent_session|request_id)":"[A-Z0-9]+"`)

// TestAttribution is LOG-3: who did what for whom stands in the log under names
// that stay, and each thing stands there once.
func TestAttribution(t *testing.T) {
	var out strings.Builder
	for _, scenario := range scenarios {
		var log testsite.Log
		b := newScenarioBench(t, func(b *bench) authagent.Scenario {
			return scenario.make(b.Users, b.Profiles, linkAs{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"a:do"}, GrantID: "grant_1"})
		}, func(_ *bench, c *authagent.Config) {
			c.ClientAddr = func(*http.Request) string { return "203.0.113.7:4711" }
			c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		})
		mux := b.Instances[""]
		said := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			b.Config.Logger.Info("the site's own line, "+s.Byline("Alice"), "who", s)
			fmt.Fprintln(w, s.May("a:do"), s.May("b:do"))
		})
		mux.Handle("POST /a/{id}", b.RP.RequireAction("a:do")(said))
		mux.Handle("POST /b/{id}", b.RP.RequireAction("b:do")(said))
		mux.Handle("POST /pay", b.RP.RequireApproval("c:do", approverFunc(func(authagent.ActionRequest) (string, error) { return "/look", problem.ApprovalPending }))(said))
		c := b.Browser()
		if resp := b.SignIn(c, b.Agent); resp.StatusCode != 303 {
			t.Fatalf("sign-in: %d %s", resp.StatusCode, resp.Text)
		}
		for _, path := range []string{"/a/1", "/b/1", "/pay"} {
			b.Send(c, "POST", path, "x")
		}
		b.Do(c, "POST", "/auth/agent/logout")
		fmt.Fprintf(&out, "# %s\n\n%s\n", scenario.name, strings.ReplaceAll(randomIDs.ReplaceAllString(log.String(), `"$1":"…"`), b.AS.URL, "AS"))
		// The audit trail has the same.
		count := make(map[audit.Name]int)
		for _, e := range b.Events.All() {
			count[e.Name]++
			if e.Name == audit.LoginStarted {
				continue
			}
			if e.Agent.ID != b.Agent.ID || e.Scenario != scenario.name || (e.UserID == b.AliceID) != (scenario.name != "FreshProfile") || e.Route == "" ||
				e.Method == "" || e.Outcome == "" || e.SessionID == "" || e.RemoteAddr == "" {
				t.Errorf("LOG-3 incomplete: %+v", e)
			}
		}
		want := map[audit.Name]int{
			audit.LoginStarted: 1, audit.LoginSucceeded: 1, audit.ActionPerformed: 1, audit.PermissionDenied: 1,
			audit.ActionPending: 1, audit.SessionEnded: 1,
		}
		if scenario.name == "FreshProfile" { // may do nothing, and nobody can be asked
			delete(want, audit.ActionPerformed)
			delete(want, audit.ActionPending)
			want[audit.PermissionDenied] = 3
		}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("LOG-3 %s (-want +got):\n%s", scenario.name, diff)
		}
	}
	golden(t, "attribution.txt", out.String())
}

// TestByline: both names, where there are both.
func TestByline(t *testing.T) {
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
	for _, test := range []struct {
		session authagent.Session
		owner   string
		want    string
	}{
		{authagent.Session{Agent: agent, UserID: "u"}, "Alice", "by agent_1 for Alice"},
		{authagent.Session{Agent: agent, UserID: "u"}, "", "by agent_1"},
		{authagent.Session{Agent: agent}, "Alice", "by agent_1"},
	} {
		if got := test.session.Byline(test.owner); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// TestConnect is LNK-15: what a human begins ends with that human, whatever the
// agent's address, and signs nobody in.
func TestConnect(t *testing.T) {
	for _, scenario := range emailScenarios {
		t.Run("LNK-15 "+scenario.name, func(t *testing.T) {
			store := &memstore.Grants{}
			owners := grants.OwnerApproval(store)
			owners.Logger = discardLog()
			var human func(*http.Request) (string, error)
			b := newScenarioBench(t, func(b *bench) authagent.Scenario { return scenario.make(b.Users, b.Profiles, owners) },
				func(_ *bench, c *authagent.Config) {
					c.Human = func(r *http.Request) (string, error) { return human(r) }
				})
			human = testsite.Human
			b.Instances[""].Handle("/connect", b.RP.ConnectHandler())
			bob := b.Users.Add("bob@example.com", "Bob")
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "nobody@example.com"})
			of := func(id string) []grants.Grant {
				all, _ := store.OwnerGrants(context.Background(), id)
				return all
			}
			alice := b.Browser()
			refused := func(c *http.Client, method string, status int, reason problem.Reason, header ...string) {
				t.Helper()
				if resp := b.Do(c, method, "/connect", header...); resp.StatusCode != status || resp.Reason() != reason {
					t.Errorf("%s: %d %q, want %d %q", method, resp.StatusCode, resp.Reason(), status, reason)
				}
			}
			refused(alice, "POST", 401, problem.HumanRequired)
			b.SignInPerson(alice, b.AliceID)
			refused(alice, "GET", 405, problem.Reason("method_not_allowed"))
			refused(alice, "POST", 403, problem.Reason("cross_origin"), "Sec-Fetch-Site", "cross-site")
			refused(alice, "POST", 403, problem.Reason("cross_origin"), "Origin", "https://evil.example")
			human = func(*http.Request) (string, error) { return "", errors.New("connection refused") }
			refused(alice, "POST", 500, problem.StoreFailed)
			human = func(*http.Request) (string, error) { panic("nil map") }
			refused(alice, "POST", 500, problem.StoreFailed)
			human = testsite.Human
			if n := len(b.AS.Requests(authagenttest.PathAuthorize)); n != 0 {
				t.Errorf("%d logins began", n)
			}

			begun := b.Do(alice, "POST", "/connect?return_to=/agents")
			callback := b.Authorize(agent, begun.Header.Get("Location"))
			before := b.BackChannel()
			for name, set := range map[string]string{"bob": bob, "nobody": ""} {
				b.SignInPerson(alice, set)
				resp := b.Get(alice, callback)
				if resp.StatusCode != 401 || resp.Reason() != problem.HumanRequired || b.BackChannel() != before {
					t.Errorf("finished by %s: %d %s", name, resp.StatusCode, resp.Text)
				}
			}
			other := b.Browser()
			b.SignInPerson(other, b.AliceID)
			if resp := b.Get(other, callback); resp.Reason() != problem.Reason("state_mismatch") {
				t.Errorf("finished in another browser: %d %s", resp.StatusCode, resp.Text)
			}
			if len(of(b.AliceID))+len(of(bob)) != 0 {
				t.Fatal("connected by somebody else")
			}
			b.SignInPerson(alice, b.AliceID)
			if resp := b.Get(alice, callback); resp.StatusCode != 303 || resp.Header.Get("Location") != "/agents" || len(sessionCookies(resp)) != 0 {
				t.Errorf("finished by alice: %d %v %s", resp.StatusCode, resp.Header, resp.Text)
			}
			if b.Me(alice) != nil {
				t.Error("an agent is signed in in the human's browser")
			}
			if resp := b.Get(alice, callback); resp.StatusCode < 400 {
				t.Errorf("finished twice: %d", resp.StatusCode)
			}
			all := of(b.AliceID)
			if len(all) != 1 || all[0].State != grants.Approved || all[0].Access != authagent.AccessRead || all[0].Agent.ID != "agent_1" || len(of(bob)) != 0 {
				t.Errorf("grants: %+v, bob's: %v", all, of(bob))
			}
			c := b.Browser()
			if s := b.MustSignIn(c, agent); s.UserID != b.AliceID || s.GrantID != all[0].ID {
				t.Errorf("session: %+v", s)
			}
			// Where an agent is signed in, no human is.
			b.SignInPerson(c, b.AliceID)
			refused(c, "POST", 403, problem.AgentForbidden)

			second := b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"})
			begun = b.Do(alice, "POST", "/connect")
			callback = b.Authorize(second, begun.Header.Get("Location"))
			a, _ := b.Users.Get(b.AliceID)
			a.Disabled = true
			b.Users.Put(a)
			if resp := b.Get(alice, callback); resp.StatusCode != 403 || resp.Reason() != problem.NoAccount {
				t.Errorf("a disabled account connects: %d %s", resp.StatusCode, resp.Text)
			}
			if events := b.Events.Named(audit.LoginFailed); events[len(events)-1].Agent.ID != "agent_2" {
				t.Errorf("LOG-3: %+v", events[len(events)-1])
			}
		})
	}
	t.Run("LNK-15 without a Connector", func(t *testing.T) {
		for name, make := range map[string]func(b *bench) authagent.Scenario{
			"InsecureTrustEmail": func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) },
			"FreshProfile":       func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
			"rules":              func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
		} {
			b := newScenarioBench(t, make, func(_ *bench, c *authagent.Config) {
				c.Human = testsite.Human
				if name == "rules" {
					c.Rules = grants.OwnerApproval(&memstore.Grants{})
				}
			})
			b.Instances[""].Handle("/connect", b.RP.ConnectHandler())
			c := b.Browser()
			b.SignInPerson(c, b.AliceID)
			resp := b.Do(c, "POST", "/connect")
			if resp.StatusCode == 303 {
				resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
			}
			if resp.StatusCode != 500 || b.Me(c) != nil {
				t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
			}
		}
	})
}

// finder is a UserStore that finds by ID as it is told.
type finder struct {
	authagent.UserStore
	find func() (authagent.User, error)
}

func (f finder) UserByID(context.Context, string) (authagent.User, error) { return f.find() }

// TestAnotherAccount is LNK-9: an account that a link policy names is looked at
// before an agent enters it, or not entered.
func TestAnotherAccount(t *testing.T) {
	for _, test := range []struct {
		name   string
		users  func(b *bench) authagent.UserStore
		status int
		reason problem.Reason
	}{
		{"found", func(b *bench) authagent.UserStore { return b.Users }, 303, ""},
		{"no UserFinder", func(b *bench) authagent.UserStore { return struct{ authagent.UserStore }{b.Users} }, 500, problem.StoreFailed},
		{"gone", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{}, authagent.ErrNotFound }}
		}, 403, problem.NoAccount},
		{"disabled", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{ID: "user_9", Disabled: true}, nil }}
		}, 403, problem.NoAccount},
		{"error", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{}, errors.New("connection refused") }}
		}, 500, problem.StoreFailed},
		{"panic", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { panic("nil map") }}
		}, 500, problem.StoreFailed},
	} {
		for _, scenario := range emailScenarios {
			t.Run("LNK-9 "+test.name+" "+scenario.name, func(t *testing.T) {
				b := newScenarioBench(t, func(b *bench) authagent.Scenario {
					id := b.Users.Put(memstore.Account{User: authagent.User{ID: "user_9", EmailVerified: true}, Email: "other@example.com"})
					return scenario.make(test.users(b), b.Profiles, linkAs{UserID: id, Access: authagent.AccessRead})
				})
				c := b.Browser()
				resp := b.SignIn(c, b.Agent)
				if resp.StatusCode != test.status || resp.Reason() != test.reason {
					t.Errorf("%d %s", resp.StatusCode, resp.Text)
				}
				if s := b.Me(c); (s != nil) != (test.status == 303) || s != nil && s.UserID != "user_9" {
					t.Errorf("session: %+v", s)
				}
			})
		}
	}
	users := struct{ authagent.UserStore }{&memstore.Users{}}
	_, err := authagent.New(authagent.Config{Scenario: authagent.FullAccount(users, grants.OwnerApproval(&memstore.Grants{}))})
	if err == nil || !strings.Contains(err.Error(), "UserFinder") {
		t.Errorf("LNK-9: New with an OwnerLinker and no UserFinder: %v", err)
	}
}

// fixed is a scenario that lets everybody in as the same.
type fixed struct {
	authagent.Scenario
	who authagent.Principal
}

func (f fixed) SignIn(context.Context, *authagent.SignIn) (authagent.Principal, error) {
	return f.who, nil
}

// TestBadActions is MW-1: names of actions that a session cannot carry let nobody in.
func TestBadActions(t *testing.T) {
	for _, actions := range [][]string{{""}, {"a b"}, {"a", " "}, {"a\tb"}, {"a\n"}, {"a\u00a0b"}} {
		who := authagent.Principal{UserID: "user_1", Actions: actions}
		for name, make := range map[string]func(b *bench) authagent.Scenario{
			"Principal": func(b *bench) authagent.Scenario { return fixed{authagent.FreshProfile(b.Profiles), who} },
			"Link": func(b *bench) authagent.Scenario {
				return authagent.FullAccount(b.Users, linkAs{UserID: b.AliceID, Actions: actions})
			},
		} {
			b := newScenarioBench(t, make)
			if resp := b.RefusedSignIn(b.Browser(), b.Agent); resp.StatusCode != 500 {
				t.Errorf("MW-1 %s %q: %d %s", name, actions, resp.StatusCode, resp.Text)
			}
		}
	}
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		return fixed{authagent.FreshProfile(b.Profiles), authagent.Principal{Actions: []string{"a:do"}}}
	})
	if resp := b.RefusedSignIn(b.Browser(), b.Agent); resp.StatusCode != 500 {
		t.Errorf("MW-1 actions for no user: %d %s", resp.StatusCode, resp.Text)
	}
	b = newScenarioBench(t, func(b *bench) authagent.Scenario {
		return authagent.FullAccount(b.Users, linkAs{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"a:do", "b:do"}, GrantID: "g"})
	})
	if s := b.MustSignIn(b.Browser(), b.Agent); !slices.Equal(s.Actions, []string{"a:do", "b:do"}) || s.GrantID != "g" {
		t.Errorf("session: %+v", s)
	}
}

// TestOtherSessionVersion is SES-6: a session as an earlier or later version of
// this package wrote it is none, and keeps nobody from signing in. It stays where it
// is, for the instances that can read it (CMP-2).
func TestOtherSessionVersion(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	name, value := k.sessionCookie(c)
	box, err := seal.NewBox(k.Config.SessionKeys, "authagent", "session", k.Config.Issuer, k.Config.ClientID)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := box.Open(value, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []byte{0, plain[0] - 1, plain[0] + 1, 255} {
		other := slices.Clone(plain)
		other[0] = version
		if resp := k.Get(k.Bare(), "/me", "Cookie", name+"="+box.Seal(other, name)); resp.StatusCode != 401 || len(sessionCookies(resp)) != 0 {
			t.Errorf("SES-6 version %d: %d", version, resp.StatusCode)
		}
		c := k.Browser()
		c.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{{Name: name, Value: box.Seal(other, name), Path: "/", Secure: true}})
		k.MustSignIn(c, k.Agent)
	}
	if resp := k.Get(k.Bare(), "/me", "Cookie", name+"="+box.Seal(plain, name)); resp.StatusCode != 200 {
		t.Errorf("sealed anew as it was: %d", resp.StatusCode)
	}
}

// TestSessionAtOnce: what a check changes in a session is for one request.
func TestSessionAtOnce(t *testing.T) {
	var mu sync.Mutex
	actions := []string{"a:do"}
	k := newCluster(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(b.Users, checked{linkAs{UserID: b.AliceID, Access: authagent.AccessRead}, func(s *authagent.Session) {
			mu.Lock()
			defer mu.Unlock()
			s.Actions = actions
		}})
	})
	k.handle("POST /a", k.RP.RequireAction("a:do"))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for _, want := range []int{200, 403, 200} {
		if resp := k.Send(c, "POST", "/a", ""); resp.StatusCode != want {
			t.Errorf("MW-6: %d, want %d", resp.StatusCode, want)
		}
		mu.Lock()
		actions = map[bool][]string{false: {"a:do"}}[want == 200]
		mu.Unlock()
	}
}

// checked is a link policy that changes sessions.
type checked struct {
	linkAs
	check func(*authagent.Session)
}

func (c checked) CheckSession(_ context.Context, s *authagent.Session) error { c.check(s); return nil }
