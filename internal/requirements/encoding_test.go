package requirements_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
)

// tokenRequests returns the token requests that ask for the encoding, and those that ask for tokens.
func (b *bench) tokenRequests() (probes, others []authagenttest.Request) {
	for _, r := range b.AS.Requests(authagenttest.PathToken) {
		switch {
		case testsite.AsksForEncoding(r.Body):
			probes = append(probes, r)
		case !testsite.AsksForAuth(r.Body):
			others = append(others, r)
		}
	}
	return probes, others
}

// bodyOf decodes the body of a request.
func bodyOf(t *testing.T, r authagenttest.Request) (encoding string, m map[string]string) {
	t.Helper()
	m = map[string]string{}
	switch contentType := r.Header.Get("Content-Type"); contentType {
	case "application/json":
		if err := json.Unmarshal(r.Body, &m); err != nil {
			t.Fatalf("body %q: %v", r.Body, err)
		}
		return "application/json", m
	case "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(r.Body))
		if err != nil {
			t.Fatalf("body %q: %v", r.Body, err)
		}
		for name, all := range values {
			if len(all) != 1 {
				t.Errorf("%s occurs %d times", name, len(all))
			}
			m[name] = all[0]
		}
		return "application/x-www-form-urlencoded", m
	default:
		t.Fatalf("Content-Type %q", contentType)
		return "", nil
	}
}

// A flavour is a kind of server.
type flavour struct {
	name      string
	configure func(*authagenttest.Quirks, *authagenttest.Features)
	probes    int // at most
	encoding  string
	basic     bool
}

var flavours = []flavour{
	{"published", func(*authagenttest.Quirks, *authagenttest.Features) {}, 2, "application/json", false},
	{"RFC forms", func(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.Quirks{} }, 2, "application/x-www-form-urlencoded", false},
	{"FormBodies", func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.FormBodies = true }, 2, "application/json", false},
	{"RFC forms, client_secret_basic only", func(q *authagenttest.Quirks, f *authagenttest.Features) {
		*q, f.AuthMethods = authagenttest.Quirks{}, []string{"client_secret_basic"}
	}, 2, "application/x-www-form-urlencoded", true},
	{"RFC forms, client_secret_post only", func(q *authagenttest.Quirks, f *authagenttest.Features) {
		*q, f.AuthMethods = authagenttest.Quirks{}, []string{"client_secret_post"}
	}, 2, "application/x-www-form-urlencoded", false},
}

// TestEncodingLearned: the encoding is learned once per process, by requests
// that carry nothing worth having, and the code is sent once.
func TestEncodingLearned(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Configure(f.configure)
			var codes, states []string
			for range 3 {
				c := b.Browser()
				agent := b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"})
				callback := b.Authorize(agent, b.Begin(c, ""))
				if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
					t.Fatalf("status %d %s\n%s", resp.StatusCode, resp.Text, b.Log)
				}
				q := mustParse(t, callback).Query()
				codes, states = append(codes, q.Get("code")), append(states, q.Get("state"))
			}
			probes, others := b.tokenRequests()
			if len(probes) == 0 || len(probes) > f.probes {
				t.Errorf("%d probes, want 1 to %d", len(probes), f.probes)
			}
			for _, p := range probes {
				harmless(t, p, b, slices.Concat(codes, states))
			}
			if len(others) != len(codes) {
				t.Fatalf("%d token requests for %d codes", len(others), len(codes))
			}
			for i, r := range others {
				encoding, m := bodyOf(t, r)
				if encoding != f.encoding || m["code"] != codes[i] || m["grant_type"] != "authorization_code" {
					t.Errorf("request %d in encoding %v: %v", i, encoding, m)
				}
				b.authenticated(t, r, m, f.basic)
			}
		})
	}
}

// harmless checks that a probe has nothing that is worth having.
func harmless(t *testing.T, r authagenttest.Request, b *bench, secrets []string) {
	t.Helper()
	_, m := bodyOf(t, r)
	if len(m) != 1 || m["grant_type"] == "" {
		t.Errorf("the probe has members %v", m)
	}
	if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.URL.RawQuery != "" {
		t.Errorf("the probe has header %v, query %q", r.Header, r.URL.RawQuery)
	}
	for _, secret := range append(secrets, b.Config.ClientSecret, "client_id", "client_secret", "code") {
		if bytes.Contains(bytes.ReplaceAll(bytes.ReplaceAll(r.Body, []byte("encoding-probe"), nil), []byte("authorization_code"), nil), []byte(secret)) {
			t.Errorf("the probe has %q: %s", secret, r.Body)
		}
	}
}

// authenticated checks that a request authenticates the client in one way.
func (b *bench) authenticated(t *testing.T, r authagenttest.Request, m map[string]string, basic bool) {
	t.Helper()
	id, secret, ok := (&http.Request{Header: r.Header}).BasicAuth()
	_, hasID := m["client_id"]
	_, hasSecret := m["client_secret"]
	switch {
	case basic && (!ok || id != url.QueryEscape(b.Config.ClientID) || secret != url.QueryEscape(b.Config.ClientSecret) || hasSecret || hasID):
		t.Errorf("want HTTP Basic only; header %v, members %v", r.Header["Authorization"] != nil, m)
	case !basic && (r.Header.Get("Authorization") != "" || m["client_id"] != b.Config.ClientID || m["client_secret"] != b.Config.ClientSecret):
		t.Errorf("want credentials in the body only; header %v, members %v", r.Header["Authorization"] != nil, m)
	}
}

// TestEncodingPinned: a pinned encoding is not learned.
func TestEncodingPinned(t *testing.T) {
	for _, test := range []struct {
		name      string
		configure func(*authagenttest.Quirks, *authagenttest.Features)
		pin       string
		works     bool
	}{
		{"published, JSON", flavours[0].configure, "application/json", true},
		{"published, form", flavours[0].configure, "application/x-www-form-urlencoded", false},
		{"RFC forms, form", flavours[1].configure, "application/x-www-form-urlencoded", true},
		{"RFC forms, JSON", flavours[1].configure, "application/json", false},
		{"FormBodies, form", flavours[2].configure, "application/x-www-form-urlencoded", true},
		{"client_secret_basic, form", flavours[3].configure, "application/x-www-form-urlencoded", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(_ *bench, c *authagent.Config) { c.Provider.TokenEncoding = test.pin })
			b.AS.Configure(test.configure)
			c := b.Browser()
			if resp := b.SignIn(c, b.Agent); (resp.StatusCode == http.StatusSeeOther) != test.works {
				t.Errorf("status %d %s", resp.StatusCode, resp.Text)
			}
			probes, others := b.tokenRequests()
			if len(probes) != 0 || len(others) != 1 {
				t.Fatalf("%d probes and %d other requests, want 0 and 1", len(probes), len(others))
			}
			if encoding, _ := bodyOf(t, others[0]); encoding != test.pin {
				t.Errorf("encoding %v", encoding)
			}
		})
	}
}

// TestEncodingOnce: many first sign-ins at once learn the encoding once.
func TestEncodingOnce(t *testing.T) {
	for _, f := range flavours[:2] {
		t.Run(f.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Configure(f.configure)
			b.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(20 * time.Millisecond)
					next.ServeHTTP(w, r)
				})
			})
			var all sync.WaitGroup
			for range 20 {
				c := b.Browser()
				agent := b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"})
				all.Go(func() {
					if resp := b.Get(c, b.Authorize(agent, b.Begin(c, ""))); resp.StatusCode != http.StatusSeeOther {
						t.Errorf("status %d %s", resp.StatusCode, resp.Text)
					}
				})
			}
			all.Wait()
			if probes, others := b.tokenRequests(); len(probes) != f.probes || len(others) != 20 {
				t.Errorf("%d probes and %d token requests, want %d and 20", len(probes), len(others), f.probes)
			}
		})
	}
}

// TestEncodingRelearned: a server that was exchanged for one that reads the
// other encoding is learned anew, at the cost of one sign-in at most.
func TestEncodingRelearned(t *testing.T) {
	for _, test := range []struct{ from, to flavour }{
		{flavours[0], flavours[1]}, {flavours[1], flavours[0]}, {flavours[0], flavours[2]}, {flavours[2], flavours[1]},
	} {
		t.Run(test.from.name+" to "+test.to.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				b.AS.Configure(test.from.configure)
				b.MustSignIn(b.Browser(), b.Agent)
				b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
					*q, *f = authagenttest.PublishedQuirks(), authagenttest.Features{}
					test.to.configure(q, f)
				})
				time.Sleep(2 * time.Second)
				b.AS.Reset()
				c := b.Browser()
				first := b.SignIn(c, b.Agent)
				if first.StatusCode != http.StatusSeeOther && (first.StatusCode < 400 || b.Me(c) != nil) {
					t.Errorf("the sign-in that finds out: status %d %s", first.StatusCode, first.Text)
				}
				t.Logf("the sign-in that finds out: status %d %s", first.StatusCode, first.Reason())
				sent := map[string]int{}
				_, others := b.tokenRequests()
				for _, r := range others {
					if _, m := bodyOf(t, r); m["code"] != "" {
						sent[m["code"]]++
					}
				}
				for _, n := range sent {
					if n != 1 {
						t.Errorf("a code was sent %d times", n)
					}
				}
				for range 2 {
					time.Sleep(time.Minute)
					b.MustSignIn(b.Browser(), b.Agent)
				}
				_, others = b.tokenRequests()
				if encoding, _ := bodyOf(t, others[len(others)-1]); encoding != test.to.encoding && test.to.name != "FormBodies" {
					t.Errorf("encoding %v, want %v", encoding, test.to.encoding)
				}
			})
		})
	}
}

// TestEncodingUnclear: what says nothing about the encoding teaches nothing, and
// no code is risked on it.
func TestEncodingUnclear(t *testing.T) {
	for name, wrapper := range map[string]func(http.Handler) http.Handler{
		"500 for all": authagenttest.Reply(500, "application/json", `{"error":"server_error"}`),
		"503 page":    authagenttest.Reply(503, "text/html", "<h1>Service Unavailable</h1>"),
		"429":         authagenttest.Reply(429, "application/json", "{}"),
		"cut":         abort,
		"hang":        authagenttest.Hang(),
		// The published server, which answers every form with 500, behind a proxy that has had enough.
		"429 for JSON": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Content-Type") == "application/json" {
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				b.AS.Wrap(authagenttest.PathToken, wrapper)
				c := b.Browser()
				callback := b.Authorize(b.Agent, b.Begin(c, ""))
				resp := b.Get(c, callback)
				if resp.StatusCode < 500 || b.Me(c) != nil {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
				probes, others := b.tokenRequests()
				if len(others) != 0 {
					t.Errorf("%d requests with the code", len(others))
				}
				for _, p := range probes {
					harmless(t, p, b, []string{mustParse(t, callback).Query().Get("code")})
				}
				b.AS.Wrap(authagenttest.PathToken, nil)
				time.Sleep(30 * time.Second)
				if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
					t.Errorf("the same callback later: status %d %s", resp.StatusCode, resp.Text)
				}
			})
		})
	}
}

// TestBasicEscapes: RFC 6749 section 2.3.1 form-encodes both before they are joined.
func TestBasicEscapes(t *testing.T) {
	const id, secret = "the site:1", "s%cret +/é:"
	var got []string
	as := http.NewServeMux()
	as.HandleFunc(authagenttest.PathMetadata, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"issuer": "https://as.example", "authorization_endpoint": "https://as.example/authorize", "token_endpoint": "https://as.example/token",
		}) // without methods, so client_secret_basic (RFC 8414 section 2)
	})
	as.HandleFunc(authagenttest.PathToken, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_grant"}`))
	})
	c := validConfig()
	c.ClientID, c.ClientSecret, c.Provider.TokenEncoding = id, secret, "application/x-www-form-urlencoded"
	c.Provider.HTTPClient = &http.Client{Transport: authagenttest.Hosts{"as.example": as}}
	rp, err := authagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	begun, answer := httptest.NewRecorder(), httptest.NewRecorder()
	rp.LoginHandler().ServeHTTP(begun, httptest.NewRequest(http.MethodGet, c.RedirectURL, nil))
	callback := httptest.NewRequest(http.MethodGet, c.RedirectURL+"?code=a-code&state="+mustParse(t, begun.Header().Get("Location")).Query().Get("state"), nil)
	callback.AddCookie(begun.Result().Cookies()[0])
	rp.CallbackHandler().ServeHTTP(answer, callback)
	if answer.Code < 400 {
		t.Errorf("the refusal is answered with %d", answer.Code)
	}
	testsite.NoSecrets(t, "the answer", answer.Body.String(), &c)
	want := httptest.NewRequest(http.MethodPost, "/", nil)
	want.SetBasicAuth("the+site%3A1", "s%25cret+%2B%2F%C3%A9%3A")
	if !slices.Equal(got, []string{want.Header.Get("Authorization")}) {
		t.Errorf("Authorization %q, want %q", got, want.Header.Get("Authorization"))
	}
}

// TestRequestsPerSignIn: after the first sign-in, one costs as many requests as
// it has to, and no more.
func TestRequestsPerSignIn(t *testing.T) {
	for _, test := range []struct {
		name     string
		scenario func(b *bench) authagent.Scenario
		want     []string
	}{
		{"FullAccount", func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) },
			[]string{authagenttest.PathToken, authagenttest.PathUserInfo}},
		{"ContextualProfile", func(b *bench) authagent.Scenario {
			return authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
		}, []string{authagenttest.PathToken, authagenttest.PathUserInfo}},
		{"FreshProfile", func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
			[]string{authagenttest.PathToken}},
	} {
		for _, f := range flavours {
			t.Run(test.name+" "+strings.ReplaceAll(f.name, ", ", "/"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = test.scenario(b) })
					b.AS.Configure(f.configure)
					b.MustSignIn(b.Browser(), b.Agent)
					for range 3 {
						time.Sleep(2 * time.Second)
						c := b.Browser()
						location := b.Begin(c, "")
						callback := b.Authorize(b.Agent, location)
						b.AS.Reset()
						if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
							t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
						}
						synctest.Wait()
						var got []string
						for _, r := range b.AS.Requests("") {
							got = append(got, r.Path)
						}
						if !slices.Equal(got, test.want) {
							t.Errorf("requests %q, want %q", got, test.want)
						}
						b.AS.Reset()
						if b.Me(c) == nil || b.AS.Count("") != 0 {
							t.Errorf("a request of the session cost %d requests", b.AS.Count(""))
						}
						b.Begin(c, "")
						synctest.Wait()
						if got := b.AS.Count(""); got != 0 {
							t.Errorf("the start of a login cost %d requests", got)
						}
					}
				})
			})
		}
	}
}
