package requirements_test

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/problem"
)

// htmxRefused is what htmx puts into the page in place of what was refused.
var htmxRefused = template.Must(template.New("refused").Parse(`<p role="alert">{{.Title}}. {{.Detail}}</p>
{{if eq .Reason "agent_forbidden"}}<form method="post" action="/auth/agent/logout" hx-boost="false">
<button>Sign the agent out</button></form>{{end}}`))

// answerHTMX is a Config.ErrorHandler. Whoever is not htmx gets what they get without it.
func answerHTMX(w http.ResponseWriter, r *http.Request, e *problem.Error) (answered bool) {
	if r.Header.Get("HX-Request") != "true" {
		return false
	}
	if e.Reason == problem.NoSession || e.Reason == problem.HumanRequired { // a stranger: the whole page goes to sign in
		from := "/"
		if page, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil {
			from = page.RequestURI()
		}
		w.Header().Set("HX-Redirect", "/sign-in?return_to="+url.QueryEscape(from))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(e.Status())
	_ = htmxRefused.Execute(w, e) // an error means that the client has gone
	return true
}

// htmx are the headers of a request that htmx has a browser send. Those that begin with HX and
// Accept are from dist/htmx.js: of 2.0.11, which sends an XMLHttpRequest and sets no Accept, and of
// 4.0.1 (createCoreHeaders), which calls fetch with config.mode, "same-origin". The browser's own
// follow from that by Fetch Metadata ("append the Fetch metadata headers for a request"); where a
// script sets no Accept, it is */* (Fetch Standard). Chromium was seen sending them with both. To an
// http address of another machine, and before 2023, browsers send no Sec-Fetch headers.
func htmx(version, from string) []string {
	own := []string{"HX-Request", "true", "HX-Current-URL", from}
	site := []string{"Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}
	switch version {
	case "2":
		return append(append(own, site...), "Accept", "*/*", "Sec-Fetch-Mode", "cors")
	case "4":
		return append(append(own, site...), "Accept", "text/html", "Sec-Fetch-Mode", "same-origin")
	}
	return append(own, "Accept", "text/html")
}

// TestHTMXStranger_WIR_11 is WIR-11: the script that puts parts into pages is told that nobody is
// signed in, and is not sent to a page, which it would put into a part of another.
func TestHTMXStranger_WIR_11(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){
		"sign-in page": func(_ *bench, c *authagent.Config) { c.SignInPath = "/sign-in" },
		"login":        func(_ *bench, c *authagent.Config) { c.SignInPath = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, change)
			for version, media := range map[string]string{"2": "application/problem+json", "4": "text/html; charset=utf-8", "4 without Sec-Fetch": "text/html; charset=utf-8"} {
				for _, path := range []string{"/orders", "/account/password"} {
					resp := s.Get(s.Browser(), path, htmx(version, s.URL+path)...)
					if resp.StatusCode != 401 || resp.Header.Get("Location") != "" || resp.Header.Get("Content-Type") != media {
						t.Errorf("htmx %s at %s: %d, Location %q, %s", version, path, resp.StatusCode, resp.Header.Get("Location"), resp.Header.Get("Content-Type"))
					}
					if resp.Header.Get("WWW-Authenticate") == "" {
						t.Errorf("htmx %s at %s: no challenge", version, path)
					}
				}
			}
			// The same browser, opening the page.
			if resp := s.Get(s.Browser(), "/orders", pageLoad...); resp.StatusCode != 303 {
				t.Errorf("a page that is opened: %d", resp.StatusCode)
			}
		})
	}
}

// TestHTMXSite_WIR_12 is WIR-12: a site of partial pages, with the ErrorHandler that the document
// shows. People and agents get their parts, and what is refused is said in the page.
func TestHTMXSite_WIR_12(t *testing.T) {
	var approved atomic.Bool
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, func(_ *bench, c *authagent.Config) { c.ErrorHandler = answerHTMX })
	approver := approverFunc(func(action.Request) (string, error) {
		if approved.Load() {
			return "", nil
		}
		return "/look", problem.ApprovalPending
	})
	s.Mux("").Handle("POST /payouts", s.rp.RequireApproval("payouts:create", approver)(http.HandlerFunc(s.showHome)))
	person, agent, ended := s.personBrowser(), s.agentBrowser(), s.agentBrowser()
	if err := s.rp.EndSession(t.Context(), s.Me(ended).ID); err != nil {
		t.Fatal(err)
	}
	s.SignInPerson(ended, s.AliceID)
	const signOut = `action="/auth/agent/logout"`
	for _, version := range []string{"2", "4", "4 without Sec-Fetch"} {
		for _, test := range []struct {
			name, method, path string
			c                  *http.Client
			want               int
			text, redirect     string
		}{
			{"person reads", "GET", "/orders", person, 200, "password", ""},
			{"agent reads", "GET", "/orders", agent, 200, "by agent_alice for Alice", ""},
			{"agent orders", "POST", "/orders", agent, 403, "<p role=\"alert\">Action not granted.", ""},
			{"agent at what is for people", "GET", "/account/password", agent, 403, signOut, ""},
			{"agent asks for an approval", "POST", "/payouts", agent, 202, "<p role=\"alert\">Approval pending.", ""},
			{"person beside an ended session", "GET", "/orders", ended, 403, signOut, ""},
			{"stranger", "GET", "/orders", s.Browser(), 401, "<p role=\"alert\">Sign-in required.", "/sign-in?return_to=%2Forders%3Fpage%3D2"},
			{"stranger at what is for people", "POST", "/account/password", s.Browser(), 401, "Sign-in required.", "/sign-in?return_to=%2Forders%3Fpage%3D2"},
		} {
			t.Run("WIR-12 "+test.name+", htmx "+version, func(t *testing.T) {
				resp := s.Do(test.c, test.method, test.path, htmx(version, s.URL+"/orders?page=2")...)
				if resp.StatusCode != test.want || !strings.Contains(resp.Text, test.text) || resp.Header.Get("Location") != "" && test.want != 202 {
					t.Errorf("%d, Location %q: %s", resp.StatusCode, resp.Header.Get("Location"), resp.Text)
				}
				if got := resp.Header.Get("HX-Redirect"); got != test.redirect {
					t.Errorf("HX-Redirect %q, want %q", got, test.redirect)
				}
				if test.redirect == "" {
					return
				}
				// What the sign-in page leads to is checked there.
				if back := s.rp.ReturnTo(&http.Request{URL: mustParse(t, test.redirect)}); back != "/orders?page=2" {
					t.Errorf("back to %q", back)
				}
			})
		}
	}
	approved.Store(true) // the owner has said yes, and the agent presses the button again
	if resp := s.Do(agent, "POST", "/payouts", htmx("4", s.URL+"/orders")...); resp.StatusCode != 200 || resp.Text != "hello, by agent_alice for Alice" {
		t.Errorf("WIR-12 approved: %d %s", resp.StatusCode, resp.Text)
	}
	// Others are answered as without an ErrorHandler.
	if resp := s.Get(s.Browser(), "/orders"); resp.Reason() != problem.NoSession {
		t.Errorf("WIR-12 a program: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := s.Get(s.Browser(), "/orders", pageLoad...); resp.StatusCode != 303 {
		t.Errorf("WIR-12 a page: %d %s", resp.StatusCode, resp.Text)
	}
}
