package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/testsite"
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
type approverFunc func(action.Request) (string, error)

func (f approverFunc) Approve(_ context.Context, r action.Request) (*action.Reservation, string, error) {
	path, err := f(r)
	return &action.Reservation{Request: r}, path, err
}

func approveAll(action.Request) (string, error) { return "", nil }

// handle mounts a handler that counts and answers with the body that it was sent.
func (k *bench) handle(pattern string, guard func(http.Handler) http.Handler) {
	k.Mux("").Handle(pattern, guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	k.Mux("").Handle("/owner", k.RP.RequireHuman(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
		other := []byte(plain)
		other[0] = version
		if resp := k.Get(k.Bare(), "/me", "Cookie", name+"="+box.Seal(other, name)); resp.StatusCode != 401 || len(sessionCookies(resp)) != 0 {
			t.Errorf("SES-6 version %d: %d", version, resp.StatusCode)
		}
		c := k.Browser()
		c.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{{Name: name, Value: box.Seal(other, name), Path: "/", Secure: true}})
		k.MustSignIn(c, k.Agent)
	}
	if resp := k.Get(k.Bare(), "/me", "Cookie", name+"="+box.Seal([]byte(plain), name)); resp.StatusCode != 200 {
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

// TestActionBehindAttach is MW-6: behind Attach around a mux, a guard inside of RequireAction
// knows that the request performs an action that is allowed.
func TestActionBehindAttach(t *testing.T) {
	k := newCluster(t, func(b *bench, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(b.Users, linkAs{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"orders:create"}})
	})
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	inner := http.NewServeMux()
	inner.Handle("POST /orders", k.RP.RequireAction("orders:create")(k.RP.RequireAgent(done)))
	inner.Handle("POST /notes", k.RP.RequireAgent(done))
	k.Mux("").Handle("/orders", k.RP.Attach(inner))
	k.Mux("").Handle("/notes", k.RP.Attach(inner))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	if resp := k.Do(c, http.MethodPost, "/orders"); resp.StatusCode != http.StatusNoContent {
		t.Errorf("with the action: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := k.Do(c, http.MethodPost, "/notes"); resp.Reason() != problem.ReadOnly {
		t.Errorf("without: %d %s", resp.StatusCode, resp.Text)
	}
}
