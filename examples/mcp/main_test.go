package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// TestStory_MCP_30 is what `go run . -once` does, on free ports.
func TestStory_MCP_30(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "127.0.0.1:0", "127.0.0.1:0", true); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	transcript := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"ok GET /mcp 401 no_session ok the challenge leads to http://127.0.0.1:",
		"ok the agent cannot connect to the MCP server ok GET /api/orders 403 approval_needed",
		"ok Alice's page shows the code that the agent was shown, ",
		"ok list_orders Coffee beans, Teapot; 5000 cents ok GET /api/orders 200 Coffee beans, Teapot; 5000 cents" +
			" ok GET /orders 200 Coffee beans, Teapot; 5000 cents",
		"ok place_order action_not_granted ok Alice allows it to place orders ok place_order Coffee beans, Teapot, Spoon; 5000 cents",
		`ok pay_out approval_pending ok Alice is asked: Pay 12.00 EUR to "Bob" ok Alice approves it` +
			" ok pay_out Coffee beans, Teapot, Spoon, Tea towel; 3800 cents ok pay_out approval_used",
		"ok list_orders Unauthorized ok GET /api/orders 401 invalid_token ok GET /orders 401 no_session",
		"All as it should be.",
	} {
		if !strings.Contains(transcript, want) {
			t.Errorf("the transcript lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestStoryFindsMistakes: a story that cannot fail checks nothing.
func TestStoryFindsMistakes(t *testing.T) {
	tests := []struct {
		name    string
		mistake func(mux *http.ServeMux, s *shop)
		want    string // in the transcript or in the error; empty if there is no mistake
	}{
		{"none", func(*http.ServeMux, *shop) {}, ""},
		{"an API without a guard", func(mux *http.ServeMux, s *shop) {
			mux.HandleFunc("GET /api/orders", s.listOrders)
		}, "WRONG GET /api/orders"},
		{"orders without an action", func(mux *http.ServeMux, s *shop) {
			mux.Handle("POST /api/orders", s.rp.RequireAgent(http.HandlerFunc(s.newOrder)))
		}, "WRONG POST /api/orders"},
		{"an MCP server without a guard", func(mux *http.ServeMux, s *shop) {
			mux.Handle("GET /mcp", http.HandlerFunc(s.listOrders))
		}, "WRONG GET /mcp"},
		{"no metadata", func(mux *http.ServeMux, s *shop) {
			mux.Handle("GET /.well-known/oauth-protected-resource", http.NotFoundHandler())
		}, "the story cannot go on"},
		{"a page without Alice", func(mux *http.ServeMux, s *shop) {
			mux.Handle(agentsPath, http.NotFoundHandler())
		}, "the story cannot go on"},
		{"an owner who is told nothing", func(_ *http.ServeMux, s *shop) { s.owners.Describe = nil }, "WRONG Alice is asked"},
		{"another balance", func(_ *http.ServeMux, s *shop) { s.accounts[s.aliceID].Balance++ }, "WRONG list_orders"},
		{"an agent that nobody can stop", func(mux *http.ServeMux, s *shop) {
			mux.Handle("POST "+agentsPath+"revoke", http.RedirectHandler(agentsPath, http.StatusSeeOther))
		}, "WRONG list_orders"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			as, agent := startTestServer(t)
			s, mux, url := serve(t, as)
			test.mistake(mux, s)
			mux.Handle("/", s.handler())
			var out bytes.Buffer
			err := play(t.Context(), &out, as, agent, url)
			if (err == nil) != (test.want == "") || !strings.Contains(out.String()+fmt.Sprint(err), test.want) {
				t.Errorf("%v, want %q\n%s", err, test.want, out.String())
			}
		})
	}
}

func startTestServer(t *testing.T) (*authagenttest.Server, *authagenttest.Agent) {
	t.Helper()
	listener, err := listen(t.Context(), io.Discard, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	as := startServer(listener)
	t.Cleanup(as.Close)
	return as, as.AddAgent(authagenttest.Agent{ID: agentID, UserID: aliceSubject})
}

// serve serves a shop until the test ends, when the test has mounted it.
func serve(t *testing.T, as *authagenttest.Server) (*shop, *http.ServeMux, string) {
	t.Helper()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s, err := newShop(web.URL, register(as, web.URL))
	if err != nil {
		t.Fatal(err)
	}
	return s, mux, web.URL
}

// TestStartsClean: whoever goes on by hand finds the shop as it was before the story, and a token that is good for it.
func TestStartsClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &doOn{text: "Ctrl-C", do: func(said string) {
		defer cancel()
		shop := regexp.MustCompile(`export SHOP=(\S+)`).FindStringSubmatch(said)[1]
		token := regexp.MustCompile(`export TOKEN=(\S+)`).FindStringSubmatch(said)[1]
		s := &story{ctx: ctx, out: t.Output(), shop: shop, alice: newBrowser(t)}
		s.do(s.alice, "POST", signInPath, url.Values{})
		if o, err := s.overview(); err != nil || len(o.Grants) != 0 || len(o.Approvals) != 0 {
			t.Errorf("Alice's page: %+v, %v", o, err)
		}
		s.check("GET /orders", s.do(s.alice, "GET", "/orders", nil), "200", "Coffee beans, Teapot; 5000 cents")
		s.check("GET /api/orders", s.do(authagenttest.Bearer(http.DefaultClient, token), "GET", "/api/orders", nil), "403 approval_needed", "")
		if s.wrong != 0 {
			t.Error("the shop is another")
		}
	}}
	if err := run(ctx, out, "127.0.0.1:0", "127.0.0.1:0", false); err != nil || !strings.Contains(out.String(), out.text) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func newBrowser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// doOn is an output that calls do when it is told text.
type doOn struct {
	bytes.Buffer
	text string
	do   func(said string)
}

func (d *doOn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(d.text)) {
		d.do(string(p))
	}
	return d.Buffer.Write(p)
}

// approved returns a shop, and a story in which Alice has let her agent in.
func approved(t *testing.T) (*shop, *story, *authagenttest.Agent) {
	t.Helper()
	as, agent := startTestServer(t)
	s, mux, address := serve(t, as)
	mux.Handle("/", s.handler())
	token := as.AccessToken(agent, authagenttest.APIToken{Audience: []string{resource(address)}})
	p := &story{
		ctx: t.Context(), out: t.Output(), shop: address,
		agent: authagenttest.Bearer(http.DefaultClient, token), browser: as.NewBrowser(), alice: as.NewBrowser(),
	}
	if err := p.isLetIn(as, agent); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.tools.Close()
		if p.wrong != 0 {
			t.Error("lines that are not as they should be:", p.wrong)
		}
	})
	return s, p, agent
}

// TestPayouts: Alice is not asked about what is no payout.
func TestPayouts(t *testing.T) {
	_, p, _ := approved(t)
	for _, form := range []string{"to=Bob&cents=0", "to=Bob&cents=-5", "to=Bob&cents=x", "to=&cents=5"} {
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		p.check(form, p.do(p.alice, "POST", "/payouts", values), "400 invalid_request", "")
		p.check(form, p.do(p.agent, "POST", "/api/payouts", values), "400 invalid_request", "")
	}
	p.calls("pay_out", payout{To: "Bob", Cents: -5}, "invalid_request", "")
	if o, err := p.overview(); err != nil || len(o.Approvals) != 0 {
		t.Errorf("Alice is asked: %+v, %v", o.Approvals, err)
	}
	p.check("POST /payouts", p.do(p.alice, "POST", "/payouts", url.Values{"to": {"Bob"}, "cents": {"5000"}}), "200", "Coffee beans, Teapot; 0 cents")
}

// TestApprovalIsKept: a payout that is approved and cannot be made uses up no approval, by either door.
func TestApprovalIsKept(t *testing.T) {
	s, p, _ := approved(t)
	form := url.Values{"to": {"Eve"}, "cents": {"5002"}}
	p.calls("pay_out", payout{To: "Bob", Cents: 5001}, "approval_pending", "")
	p.check("POST /api/payouts", p.do(p.agent, "POST", "/api/payouts", form), "202", "")
	o, err := p.overview()
	if err != nil || len(o.Approvals) != 2 {
		t.Fatal(o.Approvals, err)
	}
	for _, a := range o.Approvals {
		p.decides("approvals/approve", a.ID, a.Version, nil, a.Description)
	}
	p.calls("pay_out", payout{To: "Bob", Cents: 5001}, "conflict", "")
	p.check("POST /api/payouts", p.do(p.agent, "POST", "/api/payouts", form), "409 conflict", "")
	s.mu.Lock()
	s.accounts[s.aliceID].Balance = 5001 + 5002
	s.mu.Unlock()
	p.calls("pay_out", payout{To: "Bob", Cents: 5001}, "", "Coffee beans, Teapot; 5002 cents")
	p.check("POST /api/payouts", p.do(p.agent, "POST", "/api/payouts", form), "200", "Coffee beans, Teapot; 0 cents")
}

// TestPages: each page is written for a browser, without a mistake in a template.
func TestPages(t *testing.T) {
	_, p, agent := approved(t)
	alice := newBrowser(t)
	see := func(browser *http.Client, method, path, want string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.shop+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), want) {
			t.Errorf("%s: %s, %v, want %q in\n%s", path, resp.Status, err, want, page)
		}
	}
	see(alice, "GET", "/", `action="/sign-in?return_to=%2forders"`)
	see(alice, "POST", signInPath+"?return_to=%2forders", "<li>Teapot</li>")
	see(alice, "GET", agentsPath, "See your orders and balance")
	resp, err := agent.SignIn(t.Context(), p.browser, p.shop+"/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	see(p.browser, "GET", "/orders", "The agent agent_alice acts for Alice, with the access <strong>"+authagent.AccessRead.String()+"</strong>")
}

// TestLoopback: the servers let anybody in, so nobody else may reach them.
func TestLoopback(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:80", "no address"} {
		if l, err := listen(t.Context(), io.Discard, addr); err == nil {
			l.Close()
			t.Errorf("listen(%q) succeeded, want an error", addr)
		}
	}
}
