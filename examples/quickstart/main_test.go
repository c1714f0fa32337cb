package main

import (
	"bytes"
	"context"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// What `go run ./examples/quickstart -once` does, on free ports.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), &out, "127.0.0.1:0", "127.0.0.1:0", true); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	transcript := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"agent_alice at /full/ 403 approval_needed",
		"ok the agent shows its owner the code ",
		"too: so she knows her own agent from a stranger's",
		"Alice sees the request, approves it, and chooses full access",
		"ok agent_alice signs in at /full/",
		"agent agent_alice, user Alice, own profile: no, access full",
		"GET /full/orders 200 shows Alice's orders: Coffee beans, Teapot",
		"POST /full/orders 200",
		"GET /settings 403 agent_forbidden",
		"agent agent_alice, user Alice, own profile: yes, access read",
		"POST /contextual/profile 403 agent_read_only",
		"POST /contextual/orders 403 action_not_granted",
		"POST /contextual/orders 200 works now",
		"POST /contextual/orders/return 202 Alice is asked first",
		`Alice is asked: "Send back: Spoon"`,
		"POST /contextual/orders/return 200 works now",
		"GET /contextual/orders 401 no_session: from the next request on",
		"agent agent_alice, user nobody, own profile: yes, access none",
		"GET /fresh/orders 403 access_too_low",
		"POST /fresh/profile 200",
		"it finds the profile that it had, profile_2",
		"agent_visitor at /full/ 403 approval_needed",
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

// A tour that cannot fail checks nothing.
func TestTourFindsMistakes(t *testing.T) {
	orders := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"session":null,"owner":"","orders":["Coffee beans","Teapot"]}`)
	}
	tests := []struct {
		name     string
		mistake  func(mux *http.ServeMux, s *site)
		wantLine string
	}{
		{"none", func(*http.ServeMux, *site) {}, ""},
		{"orders of a fresh profile without a guard", func(mux *http.ServeMux, _ *site) {
			mux.HandleFunc("GET /fresh/orders", orders)
		}, "GET /fresh/orders"},
		{"writing without a guard", func(mux *http.ServeMux, _ *site) {
			mux.HandleFunc("POST /contextual/orders", orders)
		}, "POST /contextual/orders"},
		{"settings without a guard", func(mux *http.ServeMux, s *site) {
			mux.HandleFunc("/settings", s.settings)
		}, "GET /settings"},
		{"sign-out that ends nothing", func(mux *http.ServeMux, _ *site) {
			mux.Handle("POST /full/logout", http.RedirectHandler("/full/", http.StatusSeeOther))
		}, "it signs out at /full/"},
		{"sign-out that only clears the cookie", func(mux *http.ServeMux, _ *site) {
			mux.HandleFunc("POST /full/logout", func(w http.ResponseWriter, r *http.Request) {
				for _, c := range r.Cookies() {
					http.SetCookie(w, &http.Cookie{Name: c.Name, Path: "/", MaxAge: -1})
				}
				http.Redirect(w, r, "/full/", http.StatusSeeOther)
			})
		}, "GET /full/profile"},
		{"orders without an action", func(mux *http.ServeMux, s *site) {
			e := s.entrances[1]
			mux.Handle("POST /contextual/orders", e.rp.RequireAccess(authagent.AccessRead)(http.HandlerFunc(e.placeOrder)))
		}, "POST /contextual/orders"},
		{"page of connected agents without Alice", func(mux *http.ServeMux, s *site) {
			mux.Handle(agentsPath, http.NotFoundHandler())
		}, "Alice sees the request"},
		{"login that leads nowhere", func(mux *http.ServeMux, _ *site) {
			mux.Handle("GET /contextual/login", http.NotFoundHandler())
		}, "agent_alice signs in at /contextual/"},
		{"entrances mixed up", func(mux *http.ServeMux, s *site) {
			s.entrances[1].rp, s.entrances[2].rp = s.entrances[2].rp, s.entrances[1].rp
		}, "agent_alice signs in at /contextual/"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			transcript, err := tourOf(t, test.mistake)
			if test.wantLine == "" {
				if err != nil {
					t.Fatalf("%v\n%s", err, transcript)
				}
				return
			}
			if err == nil {
				t.Errorf("the tour found nothing wrong\n%s", transcript)
			}
			if !strings.Contains(transcript, "WRONG "+test.wantLine) {
				t.Errorf("no line says WRONG %s\n%s", test.wantLine, transcript)
			}
		})
	}
}

// tourOf takes the tour of a shop in front of which a mistake was mounted.
func tourOf(t *testing.T, mistake func(*http.ServeMux, *site)) (transcript string, err error) {
	t.Helper()
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	defer web.Close()
	s, err := newSite(web.URL, registration(as))
	if err != nil {
		t.Fatal(err)
	}
	mistake(mux, s)
	mux.Handle("/", s.handler())
	var out bytes.Buffer
	err = tourAll(t.Context(), &out, as, web.URL)
	return out.String(), err
}

// TestStartsClean: whoever clicks finds the shop as it was before the tour, until they
// end the program.
func TestStartsClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &doOn{text: "Ctrl-C", do: func(said string) {
		defer cancel()
		url := regexp.MustCompile(`Open (\S+) and`).FindStringSubmatch(said)[1]
		alice := &http.Client{Jar: newJar(t)}
		if _, err := alice.Post(url+signInPath, "", nil); err != nil {
			t.Error(err)
		}
		for path, want := range map[string]string{
			agentsPath:     `"grants":[]`,
			"/full/orders": `"orders":["Coffee beans","Teapot"]`,
		} {
			if got := body(t, alice, url+path); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s in it", path, got, want)
			}
		}
	}}
	if err := run(ctx, out, "127.0.0.1:0", "127.0.0.1:0", false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if want := "AUTH_AGENT_AGENT_SECRET=" + aliceSecret + " go run "; !strings.Contains(out.String(), want) {
		t.Errorf("it does not print %s", want)
	}
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

func newJar(t *testing.T) http.CookieJar {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return jar
}

// body gets an address as a browser does if the client has cookies, and returns what
// comes at the end of the redirects.
func body(t *testing.T, client *http.Client, url string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.Request.URL.RequestURI() + "\n" + string(text)
}

// TestWayIn: who is nobody yet is led to the sign-in, and from there to where they
// wanted to go.
func TestWayIn(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	_, url := serveSite(t, as)
	for path, agents := range map[string]string{
		agentsPath: "", "/settings": "",
		"/full/orders": "/full/login?return_to=%2Ffull%2Forders", "/contextual/orders": "/contextual/login?return_to=%2Fcontextual%2Forders",
	} {
		alice := &http.Client{Jar: newJar(t)}
		page := body(t, alice, url+path, "Accept", "text/html")
		form := regexp.MustCompile(`<form method="post" action="(/sign-in[^"]*)"><button>Sign in as Alice`).FindStringSubmatch(page)
		if form == nil {
			t.Errorf("%s leads to no sign-in:\n%s", path, page)
			continue
		}
		if button := regexp.MustCompile(`href="(/[^"]*/login[^"]*)"`).FindStringSubmatch(page); agents != "" && (button == nil || button[1] != agents) {
			t.Errorf("%s: the button is %q, want %q", path, button, agents)
		}
		resp, err := alice.Post(url+html.UnescapeString(form[1]), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Request.URL.Path; got != path || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: Alice lands at %s: %s", path, got, resp.Status)
		}
	}
	if got := body(t, http.DefaultClient, url+signInPath+"?return_to=//evil.example"); strings.Contains(got, "evil.example/") {
		t.Errorf("it leads elsewhere: %s", got)
	}
}

// TestButtonIsFound: an agent that knows the shop's address signs in by the first button.
func TestButtonIsFound(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	s, url := serveSite(t, as)
	agent := as.AddAgent(authagenttest.Agent{ID: aliceAgent, Email: "alice@example.com"})
	for _, want := range []int{http.StatusForbidden, http.StatusOK} { // before and after Alice has approved it
		resp, err := agent.SignIn(t.Context(), as.NewBrowser(), url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || want == http.StatusOK && resp.Request.URL.Path != "/full/" {
			t.Errorf("%s at %s, want %d", resp.Status, resp.Request.URL, want)
		}
		approve(t, s)
	}
}

// serveSite serves a shop until the test ends.
func serveSite(t *testing.T, as *authagenttest.Server) (s *site, url string) {
	t.Helper()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s, err := newSite(web.URL, registration(as))
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", s.handler())
	return s, web.URL
}

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var out bytes.Buffer
	free, err := listen(t.Context(), &out, taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	if want := "Taking " + free.Addr().String() + " instead."; !strings.Contains(out.String(), want) {
		t.Errorf("output %q, want it to contain %q", out.String(), want)
	}
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:80", "no address"} {
		if l, err := listen(t.Context(), io.Discard, addr); err == nil {
			l.Close()
			t.Errorf("listen(%q) succeeded, want an error", addr)
		}
	}
}

// Every page is written for a browser without a mistake in a template, says whose it
// is, and keeps to one kind of apostrophe.
func TestPages(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	s, url := serveSite(t, as)
	browser := as.NewBrowser()
	agent := as.AddAgent(authagenttest.Agent{ID: aliceAgent, Email: "alice@example.com"})
	signInAll := func() {
		for _, path := range []string{"/full/login", "/contextual/login", "/fresh/login"} {
			resp, err := agent.SignIn(t.Context(), browser, url+path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	signInAll()
	approve(t, s)
	signInAll()
	for path, want := range map[string]string{
		"/":                   `href="/contextual/login"`,
		"/agents/":            "Not for agents",
		"/full/":              "<strong>full</strong>",
		"/full/orders":        "<span>Teapot</span>",
		"/full/profile":       "has no profile of its own",
		"/contextual/":        "<strong>read</strong>",
		"/contextual/orders":  "the shop will refuse it",
		"/contextual/profile": "linked to Alice",
		"/fresh/":             "<strong>none</strong>",
		"/fresh/profile":      "Post a note",
		"/sign-in":            "Sign in as Alice",
		"/settings":           "Sign the agent out",
		"/style.css":          "color-scheme",
		"/button.css":         ".auth-agent-button",
	} {
		req, _ := http.NewRequest("GET", url+path, nil)
		req.Header.Set("Accept", "text/html")
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want, status := want, http.StatusOK
		if path == agentsPath || path == "/settings" { // an agent is signed in in this browser
			status = http.StatusForbidden
		}
		if err != nil || resp.StatusCode != status || !strings.Contains(string(body), want) {
			t.Errorf("%s: status %d, err %v, want %q in\n%s", path, resp.StatusCode, err, want, body)
		}
		page, own := string(body), status == http.StatusOK && !strings.HasSuffix(path, ".css")
		if own && (!strings.Contains(page, " · Quickstart shop</title>") || strings.ContainsAny(page, "‘’“”")) {
			t.Errorf("%s has another title, or curly quotation marks:\n%s", path, page)
		}
		if !strings.HasSuffix(path, ".css") && !strings.Contains(page, `<a href="/">Quickstart shop</a>`) {
			t.Errorf("%s does not say whose it is:\n%s", path, page)
		}
	}
}

// TestAgentsPageIsTheShops: also the page that is the package's own says whose it is.
func TestAgentsPageIsTheShops(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	_, url := serveSite(t, as)
	alice := &http.Client{Jar: newJar(t)}
	if _, err := alice.Post(url+signInPath, "", nil); err != nil {
		t.Fatal(err)
	}
	page := body(t, alice, url+agentsPath, "Accept", "text/html")
	for _, want := range []string{`<header><link rel="stylesheet" href="/frame.css"><a href="/">Quickstart shop</a></header>`, `<html lang="en">`, `<div><a href="/">Back to the start</a></div>`, "No agent may use your account."} {
		if !strings.Contains(page, want) {
			t.Errorf("it lacks %q:\n%s", want, page)
		}
	}
}

// approve approves whatever waits for Alice, with all that a scenario gives.
func approve(t *testing.T, s *site) {
	t.Helper()
	s.owners.Wait()
	o, err := s.owners.Overview(t.Context(), s.aliceID)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range o.Grants {
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessFull}
		if _, err := s.owners.Decide(t.Context(), s.aliceID, d); err != nil {
			t.Fatal(err)
		}
	}
}
