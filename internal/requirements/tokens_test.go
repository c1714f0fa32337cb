package requirements_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/tokens"
)

// A kept is a cluster that keeps tokens, and an API, https://api.example, that
// takes the tokens that its server stands by.
type kept struct {
	*bench
	store *spyTokens
	api   *apiServer
}

// newKept keeps tokens and does not confirm sessions, unless change says so.
func newKept(t *testing.T, change ...func(b *bench, c *authagent.Config)) *kept {
	t.Helper()
	store := &spyTokens{Store: &memstore.Tokens{}}
	setup := func(b *bench, c *authagent.Config) {
		c.Tokens.Store, c.Revocations, c.States = store, &memstore.Revocations{}, &memstore.States{}
		c.Scenario, c.Tokens.ConfirmEvery = authagent.FreshProfile(b.Profiles), -1
	}
	k := &kept{bench: newCluster(t, append([]func(*bench, *authagent.Config){setup}, change...)...), store: store}
	k.api = &apiServer{as: k.AS}
	k.Hosts["api.example"] = k.api
	t.Cleanup(settle)
	return k
}

// settle waits for what is under way in the background.
func settle() { time.Sleep(time.Second) }

// call calls the API as the agent of s, and returns the status or the error.
func (k *kept) call(rp *authagent.RelyingParty, s *authagent.Session) (int, error) {
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: k.Hosts})
	resp, err := rp.Client(ctx, s).Get("https://api.example/orders")
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// mustCall is call that has to succeed.
func (k *kept) mustCall(rp *authagent.RelyingParty, s *authagent.Session) {
	k.T.Helper()
	if status, err := k.call(rp, s); status != http.StatusOK || err != nil {
		k.T.Errorf("call: status %d, %v", status, err)
	}
}

func (k *kept) refreshes() int { return k.grants("refresh_token") }

// eventNames returns name:reason or name:outcome of what happened after sign-in.
func (k *kept) eventNames() (names []string) {
	for _, e := range k.Events.All() {
		if strings.HasPrefix(string(e.Name), "login_") {
			continue
		}
		name := string(e.Name)
		if e.Name == audit.TokensRevoked {
			name += ":" + e.Outcome
		} else if e.Reason != "" {
			name += ":" + string(e.Reason)
		}
		names = append(names, name)
	}
	return names
}

func (k *kept) wantEvents(want ...string) {
	k.T.Helper()
	if diff := cmp.Diff(want, k.eventNames()); diff != "" {
		k.T.Errorf("events:\n%s", diff)
	}
}

// An apiServer asks the authorization server about the tokens it gets.
type apiServer struct {
	as       http.Handler
	mu       sync.Mutex
	tokens   []string
	requests []string // method and body
	refuse   bool     // whatever comes
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.tokens = append(a.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	a.requests = append(a.requests, r.Method+" "+string(body))
	refuse := a.refuse
	a.mu.Unlock()
	ask := httptest.NewRequest(http.MethodGet, authagenttest.PathUserInfo, nil)
	ask.Header.Set("Authorization", r.Header.Get("Authorization"))
	answer := httptest.NewRecorder()
	a.as.ServeHTTP(answer, ask)
	if refuse {
		answer.Code = http.StatusUnauthorized
	}
	w.WriteHeader(answer.Code)
}

// used reports whether a token ever came to the API.
func (a *apiServer) used(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.tokens, token)
}

func (a *apiServer) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tokens)
}

// spyTokens is a TokenStore that fails on demand and remembers what it was given.
type spyTokens struct {
	tokens.Store
	mu    sync.Mutex
	saved map[string][][]byte
	fail  func(save int) error // of SaveTokens; save counts from 1 since fail was set
	n     int
}

func (s *spyTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	s.mu.Lock()
	s.n++
	fail, n := s.fail, s.n
	if s.saved == nil {
		s.saved = make(map[string][][]byte)
	}
	s.saved[id] = append(s.saved[id], bytes.Clone(sealed))
	s.mu.Unlock()
	if fail != nil {
		if err := fail(n); err != nil {
			return err
		}
	}
	return s.Store.SaveTokens(ctx, id, old, sealed, expires)
}

// LoadTokens takes a moment, in which others load the same.
func (s *spyTokens) LoadTokens(ctx context.Context, id string) ([]byte, error) {
	value, err := s.Store.LoadTokens(ctx, id)
	time.Sleep(time.Millisecond)
	return value, err
}

func (s *spyTokens) failing(f func(save int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.n = f, 0
}

// saves returns how many there were since failing.
func (s *spyTokens) saves() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// put has the store hold this value, whatever it holds.
func (s *spyTokens) put(t *testing.T, id string, value []byte) {
	t.Helper()
	ctx := context.Background()
	if err := errors.Join(s.DeleteTokens(ctx, id), s.Store.SaveTokens(ctx, id, nil, value, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
}

func (s *spyTokens) get(t *testing.T, id string) []byte {
	t.Helper()
	value, err := s.LoadTokens(context.Background(), id)
	if err != nil && err != authagent.ErrNotFound {
		t.Fatal(err)
	}
	return value
}

// late has the server do what it does, and its answer arrive later.
func late(d time.Duration) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			time.Sleep(d)
		})
	}
}

func published(*authagenttest.Quirks, *authagenttest.Features) {}

// strict is a server that keeps to the RFCs: it revokes all that descends from a
// sign-in when a refresh token comes a second time (RFC 9700 section 4.14.2).
func strict(q *authagenttest.Quirks, _ *authagenttest.Features) { *q = authagenttest.Quirks{} }

// overlapping is the published server with a slow database: a refresh token that
// comes twice at once gives two pairs, whose access token is refused.
func overlapping(_ *authagenttest.Quirks, f *authagenttest.Features) {
	f.Overlap = 50 * time.Millisecond
}

var eachServer = map[string]func(*authagenttest.Quirks, *authagenttest.Features){
	"published": published, "strict": strict, "overlapping": overlapping,
	"opaque": func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.OpaqueTokens = true },
}

// issued collects the answers of the token endpoint.
type issued struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (k *kept) watch(mw wrapper) *[]issued {
	var mu sync.Mutex
	all := &[]issued{}
	k.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h := next
			if mw != nil {
				h = mw(next)
			}
			h.ServeHTTP(rec, r)
			var i issued
			if json.Unmarshal(rec.Body.Bytes(), &i) == nil && i.Access != "" {
				mu.Lock()
				*all = append(*all, i)
				mu.Unlock()
			}
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
		})
	})
	return all
}

// revokedTokens returns what the server was asked to revoke.
func (k *kept) revokedTokens() (tokens []string) {
	for _, r := range k.AS.Requests(authagenttest.PathRevoke) {
		_, body := bodyOf(k.T.(*testing.T), r)
		tokens = append(tokens, body["token"])
	}
	return tokens
}

// TestShutdown: it waits for the audit trail, gives up when it is told to, and
// afterwards nothing is refreshed that could be cut off.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan audit.Name, 10)
		k := newKept(t, func(_ *bench, c *authagent.Config) {
			c.Audit = func(_ context.Context, e audit.Event) { time.Sleep(10 * time.Second); seen <- e.Name }
		})
		s := k.MustSignIn(k.Browser(), k.Agent)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := k.RP.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
		if err := k.RP.Shutdown(context.Background()); err != nil || len(seen) != 2 {
			t.Errorf("err %v, %d events", err, len(seen))
		}
		k.mustCall(k.RP, s) // a token that is good still is
		time.Sleep(2 * time.Hour)
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("server_unavailable")) || k.refreshes() != 0 {
			t.Errorf("REF-4: err %v, %d refreshes after shutdown", err, k.refreshes())
		}
	})
	if err := newCluster(t).RP.Shutdown(context.Background()); err != nil {
		t.Errorf("without tokens: %v", err)
	}
}

// TestTokensAreSealed_REF_10: REF-10.
func TestTokensAreSealed_REF_10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := testsite.NewKey(), testsite.NewKey()
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.SessionKeys, c.Session.Idle = [][]byte{old}, 4*time.Hour })
		given := k.watch(nil)
		alice, bob := k.Browser(), k.Browser()
		a := k.MustSignIn(alice, k.Agent)
		b := k.MustSignIn(bob, k.AS.AddAgent(authagenttest.Agent{ID: "agent_bob"}))
		k.mustCall(k.RP, a)
		both := k.Instance("2", func(c *authagent.Config) { c.SessionKeys = [][]byte{young, old} })
		time.Sleep(2 * time.Hour)
		k.mustCall(both, a) // refreshed, and sealed with the new key
		k.mustCall(both, b)
		k.mustCall(k.Instance("3", func(c *authagent.Config) { c.SessionKeys = [][]byte{young} }), a)
		if len(*given) != 4 {
			t.Fatalf("%d answers with tokens", len(*given))
		}
		for _, values := range k.store.saved {
			for i, value := range values {
				decoded := append(bytes.Clone(value), decodeAll(decodeAll(value))...)
				for _, g := range *given {
					if bytes.Contains(decoded, []byte(g.Access)) || bytes.Contains(decoded, []byte(g.Refresh)) {
						t.Error("REF-10: the store sees a token")
					}
				}
				if i > 0 && bytes.Equal(value, values[i-1]) {
					t.Error("REF-10: two values are alike")
				}
			}
		}
		before := k.api.count()
		mine := k.store.get(t, a.ID)
		k.store.put(t, a.ID, k.store.get(t, b.ID))
		k.store.put(t, b.ID, mine)
		for _, test := range []struct {
			c *http.Client
			s *authagent.Session
		}{{alice, a}, {bob, b}} {
			if _, err := k.call(both, test.s); !errors.Is(err, problem.StoreFailed) {
				t.Errorf("REF-10: err %v with another session's tokens", err)
			}
			if k.Get(k.Bare(), "/me", "Cookie", k.Cookies(test.c), "X-Instance", "2").StatusCode != http.StatusOK {
				t.Error("REF-10: the session has ended, though the value may be sealed with a newer key")
			}
		}
		if k.api.count() != before {
			t.Error("REF-10: another session's tokens were used")
		}
		k.wantEvents()
	})
}

// TestNewFirstKey_REF_15: while a new first key is rolled out, an instance that does not
// have it yet cannot open the tokens that another has refreshed. It refuses that call,
// or confirmation, and leaves session and tokens alone.
func TestNewFirstKey_REF_15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) {
			c.Session.Idle, c.Session.Lifetime, c.Tokens.ConfirmEvery = 8*time.Hour, 8*time.Hour, 2*time.Hour
		})
		anew := k.Instance("2", func(c *authagent.Config) { c.SessionKeys = [][]byte{testsite.NewKey(), c.SessionKeys[0]} })
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		time.Sleep(59*time.Minute + 30*time.Second)
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil || k.refreshes() != 1 {
			t.Fatalf("%v, %d refreshes", err, k.refreshes())
		}
		var e *problem.Error
		if _, err := k.RP.TokenSource(context.Background(), s).Token(); !errors.Is(err, problem.StoreFailed) || !errors.As(err, &e) || e.RetryAfter == 0 {
			t.Errorf("REF-15: at the instance without the new key: %v", err)
		}
		for range 3 { // the last one is to be confirmed
			time.Sleep(35 * time.Minute)
			if k.Me(c) == nil {
				t.Fatal("REF-15: the session has ended")
			}
		}
		time.Sleep(10 * time.Minute)
		if k.Me(c) == nil {
			t.Error("REF-15: the session has ended after a confirmation")
		}
		if _, err := anew.TokenSource(context.Background(), s).Token(); err != nil {
			t.Errorf("REF-15: at the instance with the new key: %v", err)
		}
	})
}

// TestClient: what a call to an API sends, and sends again.
func TestClient(t *testing.T) {
	at := func(k *kept) *http.Client {
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(2 * time.Second)
		return k.RP.Client(context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: k.Hosts}), s)
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, k *kept, c *http.Client)
	}{
		{"a refused token is refreshed once a minute at most", func(t *testing.T, k *kept, c *http.Client) {
			k.api.refuse = true
			for range 30 {
				resp, err := c.Get("https://api.example/")
				if err != nil || resp.StatusCode != http.StatusUnauthorized {
					t.Fatalf("%v %v", resp, err)
				}
				time.Sleep(3 * time.Second)
			}
			if n := k.refreshes(); n != 2 {
				t.Errorf("%d refreshes in 90 s", n)
			}
		}},
		{"a body is sent again", func(t *testing.T, k *kept, c *http.Client) {
			k.AS.Wrap(authagenttest.PathUserInfo, authagenttest.FailFirst(1, authagenttest.Reply(401, "", "")))
			resp, err := c.Post("https://api.example/", "text/plain", strings.NewReader("order"))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", resp, err)
			}
			if diff := cmp.Diff([]string{"POST order", "POST order"}, k.api.requests); diff != "" {
				t.Error(diff)
			}
			if k.api.tokens[0] == k.api.tokens[1] {
				t.Error("the refused token was sent again")
			}
		}},
		{"a body that cannot be sent again is not", func(t *testing.T, k *kept, c *http.Client) {
			k.AS.Wrap(authagenttest.PathUserInfo, authagenttest.FailFirst(1, authagenttest.Reply(401, "", "")))
			resp, err := c.Post("https://api.example/", "text/plain", io.MultiReader(strings.NewReader("order")))
			if err != nil || resp.StatusCode != http.StatusUnauthorized || k.api.count() != 1 {
				t.Fatalf("%v %v", resp, err)
			}
		}},
		{"a redirect to another origin goes without the token", func(t *testing.T, k *kept, c *http.Client) {
			evil := &apiServer{as: k.AS}
			k.Hosts["evil.example"] = evil
			k.Hosts["moved.example"] = authagenttest.RedirectTo(307, "https://evil.example/")(nil)
			k.Hosts["here.example"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/" {
					w.Header().Set("Location", "/orders")
					w.WriteHeader(307)
					return
				}
				k.api.ServeHTTP(w, r)
			})
			if resp, err := c.Get("https://moved.example/"); err != nil || resp.StatusCode != 401 || !slices.Equal(evil.tokens, []string{""}) {
				t.Errorf("%v %v, tokens %q", resp, err, evil.tokens)
			}
			if resp, err := c.Get("https://here.example/"); err != nil || resp.StatusCode != 200 {
				t.Errorf("within the origin: %v %v", resp, err)
			}
		}},
		{"a redirect to the same host over http goes without the token", func(t *testing.T, k *kept, c *http.Client) {
			plain := &apiServer{as: k.AS}
			k.Hosts["down.example"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/" {
					http.Redirect(w, r, "http://down.example/orders", http.StatusTemporaryRedirect)
					return
				}
				plain.ServeHTTP(w, r)
			})
			if resp, err := c.Get("https://down.example/"); err != nil || resp.StatusCode != 401 || !slices.Equal(plain.tokens, []string{""}) {
				t.Errorf("%v %v, tokens %q", resp, err, plain.tokens)
			}
		}},
		{"the caller's request is not changed", func(t *testing.T, k *kept, c *http.Client) {
			r, _ := http.NewRequest("GET", "https://api.example/", nil)
			if _, err := c.Do(r); err != nil || len(r.Header) != 0 {
				t.Errorf("%v, header %v", err, r.Header)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				test.do(t, k, at(k))
			})
		})
	}
}

// TestTokenSource: what a site gets, and what it does not.
func TestTokenSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		source := k.RP.TokenSource(context.Background(), s)
		token, err := source.Token()
		if err != nil || !token.Valid() || token.RefreshToken != "" || token.Type() != "Bearer" || time.Until(token.Expiry) > time.Hour {
			t.Errorf("token %+v, %v", token, err)
		}
		if _, err := newCluster(t).RP.TokenSource(context.Background(), s).Token(); !errors.Is(err, problem.Reason("no_tokens")) {
			t.Errorf("err %v where no tokens are kept", err)
		}
		k.Do(c, http.MethodPost, "/auth/agent/logout")
		if _, err := source.Token(); !errors.Is(err, problem.NoSession) {
			t.Errorf("err %v after logout", err)
		}
	})
}

// TestTokensOfRefusedSession is SES-11 for what is done in the background: the
// tokens of a session that the scenario lets go on no longer are not used, whether or
// not the agent comes again.
func TestTokensOfRefusedSession(t *testing.T) {
	for _, test := range []struct {
		says, want error
		kept       bool
	}{
		{problem.LinkRefused, problem.NoSession, false},
		{problem.Paused, problem.Paused, true},
		{errors.New("connection refused"), problem.StoreFailed, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			checker := &sayingScenario{}
			k := newKept(t, func(_ *bench, c *authagent.Config) { checker.Scenario, c.Scenario = c.Scenario, checker })
			s := k.MustSignIn(k.Browser(), k.Agent)
			k.mustCall(k.RP, s)
			checker.err.Store(&test.says)
			time.Sleep(59*time.Minute + 30*time.Second) // a refresh is due
			before := k.refreshes()
			if _, err := k.RP.TokenSource(context.Background(), s).Token(); !errors.Is(err, test.want) {
				t.Errorf("SES-11 %v: %v, want %v", test.says, err, test.want)
			}
			if k.refreshes() != before {
				t.Errorf("SES-11 %v: refreshed", test.says)
			}
			none := error(nil)
			checker.err.Store(&none)
			if test.kept {
				k.mustCall(k.RP, s)
			}
		})
	}
}

// A sayingScenario says of each session what it is told to.
type sayingScenario struct {
	authagent.Scenario
	err atomic.Pointer[error]
}

func (c *sayingScenario) CheckSession(ctx context.Context, s *authagent.Session) error {
	if err := c.err.Load(); err != nil && *err != nil {
		return *err
	}
	return c.Scenario.CheckSession(ctx, s)
}

// TestTokensStayOut: LOG-1. Whatever the server answers to a refresh, a
// confirmation or a revocation, neither its words nor a token get out.
func TestTokensStayOut(t *testing.T) {
	for name, bad := range badAnswers {
		for _, path := range []string{authagenttest.PathToken, authagenttest.PathIntrospect, authagenttest.PathRevoke} {
			t.Run("LOG-1 "+name+" at "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKept(t, confirming, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
					given := k.watch(nil)
					c := k.Browser()
					s := k.MustSignIn(c, k.Agent)
					time.Sleep(2 * time.Hour)
					k.mustCall(k.RP, s)
					time.Sleep(2*time.Hour - time.Minute)
					k.AS.Wrap(path, func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							defer func() { // there is no connection to take over
								if p := recover(); p != nil {
									panic(http.ErrAbortHandler)
								}
							}()
							bad.ServeHTTP(w, r)
						})
					})
					_, err := k.call(k.RP, s)
					k.Me(c)
					settle()
					k.Do(c, http.MethodPost, "/auth/agent/logout")
					time.Sleep(time.Minute)
					said := fmt.Sprintf("%s %v %+v %#v", k.Log, err, err, k.Events.All())
					for _, secret := range append(k.revokedTokens(), internal, (*given)[0].Access, (*given)[0].Refresh, (*given)[1].Access, (*given)[1].Refresh) {
						if strings.Contains(said, secret) {
							t.Errorf("LOG-1: %.6s... is in %s", secret, said)
						}
					}
				})
			})
		}
	}
}
