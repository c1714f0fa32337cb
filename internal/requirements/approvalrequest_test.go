package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// TestApprovalRequest: what the owner is asked about is exactly this request, and
// nothing but the same one has its digest.
func TestApprovalRequest(t *testing.T) {
	as := quickServer(t)
	var asked []action.Request
	approver := approverFunc(func(r action.Request) (string, error) { asked = append(asked, r); return "", nil })
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
	mux := b.Mux("")
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
	want := action.Request{
		SessionID: s.ID, Action: "a:do", Method: "POST", Target: "/pay/x?to=bob&n=1", ContentType: "text/plain", Body: []byte("amount=1"), Digest: base,
	}
	if diff := cmp.Diff(want.Body, got.Body); diff != "" || got.SessionID != want.SessionID || got.Action != want.Action || got.Method != want.Method ||
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
		answer  func(action.Request) (string, error)
		status  int
		reason  problem.Reason
		retry   string
		event   audit.Name
		outcome string
	}{
		{"approved", approveAll, 200, "", "", audit.ActionPerformed, "ok"},
		{"pending", func(action.Request) (string, error) { return "/look/1", problem.ApprovalPending }, 202, problem.ApprovalPending, "5", audit.ActionPending, "pending"},
		{"pending, wrapped", func(action.Request) (string, error) {
			return "/look/1", fmt.Errorf("x: %w", problem.ApprovalPending)
		}, 202, problem.ApprovalPending, "5", audit.ActionPending, "pending"},
		{"pending for long", func(action.Request) (string, error) {
			return "/look/1", &problem.Error{Reason: problem.ApprovalPending, RetryAfter: time.Minute}
		}, 202, problem.ApprovalPending, "60", audit.ActionPending, "pending"},
		{"denied", func(action.Request) (string, error) { return "/look/1", problem.ActionDenied }, 403, problem.ActionDenied, "", audit.PermissionDenied, "refused"},
		{"used", func(action.Request) (string, error) { return "/look/1", problem.Reason("approval_used") }, 409, problem.Reason("approval_used"), "", audit.PermissionDenied, "refused"},
		{"too many", func(action.Request) (string, error) { return "", problem.Limited }, 429, problem.Limited, "5", audit.PermissionDenied, "refused"},
		{"error", func(action.Request) (string, error) { return "", errors.New("connection refused") }, 500, problem.StoreFailed, "5", audit.PermissionDenied, "failed"},
		{"panic", func(action.Request) (string, error) { panic("nil map") }, 500, problem.StoreFailed, "5", audit.PermissionDenied, "failed"},
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
	f.handle("POST /pay", f.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) { t.Error("asked"); return "", nil })))
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
	guarded := b.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) { asked++; return "", nil }))(
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
