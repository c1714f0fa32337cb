package authagenttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The client's own redirect policy and missing jar do not matter, and it is not changed.
func TestSignInWithAnyClient(t *testing.T) {
	as := authagenttest.NewUnstartedServer()
	as.Quirks.SameSecondTokens = false // three sign-ins within a second
	as.Start()
	defer as.Close()
	_, web := newTinySite(as)
	defer web.Close()
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})

	plain := as.Client()
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, client := range map[string]*http.Client{"plain": plain, "browser": as.NewBrowser(), "default": http.DefaultClient} {
		jar := client.Jar
		resp, err := agent.SignIn(t.Context(), client, web.URL+"/login")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := body(t, resp); resp.StatusCode != 200 || !strings.Contains(got, "agent_1") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, got)
		}
		if client.Jar != jar {
			t.Errorf("%s: the client was changed", name)
		}
		if got := resp.Request.Header.Get("Referer"); got != as.URL+"/" {
			t.Errorf("%s: Referer %q", name, got)
		}
	}
}

func TestSignInOverTLS(t *testing.T) {
	as := authagenttest.NewTLSServer()
	defer as.Close()
	_, web := newTinySite(as)
	defer web.Close()
	resp, err := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"}).SignIn(t.Context(), as.NewBrowser(), web.URL+"/login")
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, resp); !strings.Contains(got, "alice@example.com") {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
}

func TestAgentErrorsNameTheStep(t *testing.T) {
	site := func(target string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if target == "" {
				fmt.Fprint(w, "hello")
				return
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
		})
	}
	for _, tt := range []struct {
		name   string
		change func(*bench) string // returns where the site redirects to
		want   string
	}{
		{"no redirect", func(*bench) string { return "" },
			"login: 200 OK at http://site/login, where a redirect to http://127.0.0.1:9000/authorize was expected"},
		{"no such host", func(*bench) string { return "http://elsewhere/authorize" },
			`login: Get "http://elsewhere/authorize": authagenttest: no handler for host "elsewhere"`},
		{"bad request", func(b *bench) string { return b.authorizationURL("state", "") },
			"authorize: 400 invalid_request: Missing state parameter"},
		{"wrong secret", func(b *bench) string { b.agent.Secret = "x"; return b.authorizationURL() },
			"authenticate: 401 invalid_credentials"},
		{"cut", func(b *bench) string {
			b.s.Wrap(authagenttest.PathAuthenticate, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			})
			return b.authorizationURL()
		}, `authenticate: Post "http://127.0.0.1:9000/api/agent/authenticate": unexpected EOF`},
		{"callback gone", func(b *bench) string {
			b.client.RedirectURIs = []string{"https://gone/cb"}
			b.s.AddClient(b.client)
			return b.authorizationURL("redirect_uri", "https://gone/cb")
		}, `callback: Get "https://gone/cb?code=`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			client := &http.Client{Transport: authagenttest.Hosts{"127.0.0.1:9000": b.s, "site": site(tt.change(b))}}
			_, err := b.agent.SignIn(t.Context(), client, "http://site/login")
			if want := "authagenttest: agent agent_1: " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// An agent's secret goes to its own server only, wherever it is led.
func TestIssuerPinning(t *testing.T) {
	real, fake := newBench(t), newBench(t)
	leak := httptest.NewRecorder()
	fake.s.Wrap("", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(leak, r.Body)
			next.ServeHTTP(w, r)
		})
	})
	client := &http.Client{Transport: authagenttest.Hosts{"127.0.0.1:9000": real.s, "evil": fake.s}}
	url := strings.Replace(real.authorizationURL(), "127.0.0.1:9000", "evil", 1)
	for name, err := range map[string]error{
		"Authorize": second(real.agent.Authorize(t.Context(), client, url)),
		"SignIn":    second(real.agent.SignIn(t.Context(), client, url)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}

	// Nor does it follow a redirect of the endpoint that takes it.
	real.s.Wrap(authagenttest.PathAuthenticate, func(http.Handler) http.Handler {
		return http.RedirectHandler("http://evil/", http.StatusTemporaryRedirect)
	})
	if _, err := real.agent.Authorize(t.Context(), client, real.authorizationURL()); err == nil {
		t.Error("redirect: no error")
	}
	if strings.Contains(leak.Body.String(), real.agent.Secret) {
		t.Error("the secret was sent elsewhere")
	}
	var stray authagenttest.Agent
	if _, err := stray.Authorize(t.Context(), client, real.authorizationURL()); err == nil {
		t.Error("an agent that is registered nowhere: no error")
	}
}

func second[T any](_ T, err error) error { return err }

// The agent waits as the waiting page does, and not at all if it need not.
func TestPolling(t *testing.T) {
	pending := func(w http.ResponseWriter) { io.WriteString(w, `{"status":"pending"}`) }
	failing := func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	for _, tt := range []struct {
		name  string
		first []func(http.ResponseWriter)
		took  time.Duration
	}{
		{"at once", nil, 0},
		{"pending twice", []func(http.ResponseWriter){pending, pending}, time.Second},
		{"one failure", []func(http.ResponseWriter){failing}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				polls := 0
				b.s.Wrap(authagenttest.PathCheckStatus, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if polls++; polls <= len(tt.first) {
							tt.first[polls-1](w)
							return
						}
						next.ServeHTTP(w, r)
					})
				})
				start := time.Now()
				if _, err := b.agent.Authorize(t.Context(), b.s.Client(), b.authorizationURL()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestPollingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.s.Wrap(authagenttest.PathCheckStatus, func(http.Handler) http.Handler { return http.NotFoundHandler() })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := b.agent.Authorize(ctx, b.s.Client(), b.authorizationURL()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_, err := b.agent.Authorize(t.Context(), b.s.Client(), b.authorizationURL())
		if err == nil || !strings.Contains(err.Error(), "check-status: no answer within 2m10s") {
			t.Errorf("got %v", err)
		}
	})
}

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := authagenttest.Hosts{"shop.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
				return
			}
			body, _ := io.ReadAll(r.Body)
			fmt.Fprint(w, r.Method, " ", r.Host, " ", r.RequestURI, " ", r.URL, " ", r.TLS != nil, " ", string(body))
		})}
		client := &http.Client{Transport: hosts}
		resp, err := client.Post("https://shop.example/a?b=c", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, resp); got != "POST shop.example /a?b=c /a?b=c true x" {
			t.Error(got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://shop.example/slow", nil)
		if _, err := client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
