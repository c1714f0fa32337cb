package requirements_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
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
	store := &spyTokens{TokenStore: &memstore.Tokens{}}
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
	authagent.TokenStore
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
	return s.TokenStore.SaveTokens(ctx, id, old, sealed, expires)
}

// LoadTokens takes a moment, in which others load the same.
func (s *spyTokens) LoadTokens(ctx context.Context, id string) ([]byte, error) {
	value, err := s.TokenStore.LoadTokens(ctx, id)
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
	if err := errors.Join(s.DeleteTokens(ctx, id), s.TokenStore.SaveTokens(ctx, id, nil, value, time.Now().Add(time.Hour))); err != nil {
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

// TestOneRefresh: REF-1.
func TestOneRefresh(t *testing.T) {
	for name, configure := range eachServer {
		t.Run("REF-1 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				k.AS.Configure(configure)
				s := k.MustSignIn(k.Browser(), k.Agent)
				k.AS.Wrap(authagenttest.PathToken, late(500*time.Millisecond))
				for round := 1; round <= 3; round++ {
					time.Sleep(2 * time.Hour)
					k.store.failing(nil)
					var group sync.WaitGroup
					for range 100 {
						group.Go(func() { k.mustCall(k.RP, s) })
					}
					group.Wait()
					if n := k.refreshes(); n != round {
						t.Errorf("REF-1: %d refreshes, want %d", n, round)
					}
					if n := k.store.saves(); n != 2 { // a claim, and what came of it
						t.Errorf("REF-1: %d saves", n)
					}
				}
				k.wantEvents()
			})
		})
	}
}

// TestRefreshAcrossInstances: REF-2. Instances that share a store do not take
// each other's tokens away, whatever the server does to one that comes twice.
func TestRefreshAcrossInstances(t *testing.T) {
	for name, configure := range eachServer {
		t.Run("REF-2 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				k.AS.Configure(configure)
				instances := []*authagent.RelyingParty{k.RP, k.Instance("2"), k.Instance("3")}
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				k.AS.Wrap(authagenttest.PathToken, late(500*time.Millisecond))
				for round := 1; round <= 5; round++ {
					time.Sleep(time.Hour + 50*time.Minute)
					var group sync.WaitGroup
					for i := range 200 {
						group.Go(func() {
							time.Sleep(rand.N(time.Second))
							k.mustCall(instances[i%3], s)
						})
					}
					group.Wait()
					if n := k.refreshes(); n != round {
						t.Errorf("REF-2: %d refreshes by three instances, want %d", n, round)
					}
					k.MustSignIn(c, k.Agent) // and the next rounds are another session's
					if s = k.Me(c); s == nil {
						t.Fatal("no session")
					}
				}
			})
		})
	}
}

// TestInstanceDies: REF-2. An instance that dies in the middle of a refresh holds
// the others up for a moment, and no longer.
func TestInstanceDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		other := k.Instance("2", func(c *authagent.Config) {
			c.Provider.HTTPClient = &http.Client{Transport: authagenttest.Hosts{}} // the network has gone
			c.Provider.Endpoints = authagent.Endpoints{Authorization: k.AS.URL + "/authorize", Token: k.AS.URL + "/token", UserInfo: k.AS.URL + "/userinfo"}
			c.Provider.TokenEncoding = "application/json"
		})
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(2 * time.Hour)
		k.store.failing(func(n int) error {
			if n > 1 { // and then the store: only the claim was written
				return errors.New("connection refused")
			}
			return nil
		})
		if _, err := k.call(other, s); !errors.Is(err, problem.Network) {
			t.Errorf("REF-2: err %v", err)
		}
		k.store.failing(nil)
		start := time.Now()
		k.mustCall(k.RP, s)
		if took := time.Since(start); took < 10*time.Second || took > 30*time.Second {
			t.Errorf("REF-2: waited %v", took)
		}
		if n := k.refreshes(); n != 1 {
			t.Errorf("REF-2: %d refreshes", n)
		}
	})
}

// TestReloadAfterRefusal: REF-2. A refresh token that is refused may have been
// used by another instance, whose tokens are then the ones to use.
func TestReloadAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		before := k.store.get(t, s.ID)
		time.Sleep(2 * time.Hour)
		k.mustCall(k.RP, s)
		after := k.store.get(t, s.ID)
		k.store.put(t, s.ID, before) // what an instance sees that reads a copy that lags behind
		k.AS.Wrap(authagenttest.PathToken, onGrant("refresh_token", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				k.store.put(t, s.ID, after)
			})
		}))
		k.mustCall(k.RP, s)
		if n := k.refreshes(); n != 2 {
			t.Errorf("REF-2: %d refreshes, want the good one and the refused one", n)
		}
		k.wantEvents()
	})
}

// TestSlowerThanOthers: REF-2. Who held its claim for too long finds the tokens of
// whoever took it over, and uses them.
func TestSlowerThanOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		k.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.Overlap = time.Hour })
		s := k.MustSignIn(k.Browser(), k.Agent)
		before := k.store.get(t, s.ID)
		time.Sleep(2 * time.Hour)
		fresh := k.watch(nil)
		k.mustCall(k.RP, s)
		theirs := k.store.get(t, s.ID)
		time.Sleep(2 * time.Second)
		k.store.put(t, s.ID, before)
		k.store.failing(func(n int) error {
			if n == 2 {
				k.store.put(t, s.ID, theirs)
			}
			return nil
		})
		k.mustCall(k.RP, s)
		if !bytes.Equal(k.store.get(t, s.ID), theirs) {
			t.Error("REF-2: the other's tokens were replaced")
		}
		if len(*fresh) != 2 || k.api.used((*fresh)[1].Access) {
			t.Error("REF-2: tokens were used that are not kept")
		}
	})
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

// TestTokensOfEndedSession_REF_13: whatever ends a session at a request ends its tokens,
// too, for whoever has the session elsewhere than in a cookie, such as a job.
func TestTokensOfEndedSession_REF_13(t *testing.T) {
	for name, change := range map[string]func(*kept, *authagent.Config){
		"REF-13 (none)": nil,
		"REF-13 epoch":  func(_ *kept, c *authagent.Config) { c.Session.Epoch = "2" },
		"REF-13 scenario": func(k *kept, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(k.Users, linkAs(authagent.Principal{}))
		},
		"REF-13 redirect URL": func(_ *kept, c *authagent.Config) { c.RedirectURL = "https://staging.example/auth/agent/callback" },
		"REF-13 lifetime":     func(_ *kept, c *authagent.Config) { c.Session.Lifetime = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				rp := k.Instance("2", func(c *authagent.Config) {
					if change != nil {
						change(k, c)
					}
				})
				time.Sleep(5 * time.Minute)
				token, err := rp.TokenSource(context.Background(), s).Token()
				if ended := errors.Is(err, problem.NoSession); ended != (change != nil) || ended != (token == nil) {
					t.Errorf("%s: %t, %v", name, token != nil, err)
				}
			})
		})
	}
}

// TestTokenThatIsOver_REF_11: a server that says "expires_in":0 makes nothing panic. It
// needs a clock that goes on by itself.
func TestTokenThatIsOver_REF_11(t *testing.T) {
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
	b.AS.Wrap(authagenttest.PathToken, authagenttest.WithMember("expires_in", 0))
	c := b.Browser()
	s := b.MustSignIn(c, b.Agent)
	for range 2 { // the second is a refresh, in the background
		if _, err := b.RP.TokenSource(context.Background(), s).Token(); err != nil {
			t.Log(err) // which token is of use is the server's business
		}
	}
	if b.Me(c) == nil {
		t.Error("nobody is signed in")
	}
}

// TestRefreshSaved: REF-3. New tokens are saved before they are used.
func TestRefreshSaved(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(save int) bool // of the claim, 1, and what follows
		err   error
		want  []string
	}{
		{"REF-3 always", func(n int) bool { return n >= 2 }, problem.StoreFailed, []string{"refresh_failed:store_failed", "tokens_revoked:requested"}},
		{"REF-3 three times", func(n int) bool { return n >= 2 && n <= 4 }, nil, nil},
		{"REF-3 the claim", func(n int) bool { return n == 1 }, problem.StoreFailed, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(nil)
				k.store.failing(func(n int) error {
					if test.fails(n) {
						return errors.New("disk full")
					}
					return nil
				})
				status, err := k.call(k.RP, s)
				if !errors.Is(err, test.err) || test.err == nil && status != http.StatusOK {
					t.Errorf("status %d, err %v", status, err)
				}
				if test.err != nil && len(*fresh) > 0 && k.api.used((*fresh)[0].Access) {
					t.Error("a token was used that is not saved")
				}
				k.wantEvents(test.want...)
				if test.want != nil && !slices.Equal(k.revokedTokens(), []string{(*fresh)[0].Refresh}) {
					t.Errorf("revoked %d tokens, want the one that was lost", len(k.revokedTokens()))
				}
				k.store.failing(nil)
			})
		})
	}
}

// TestSaveSeemsToFail: REF-3. A save that succeeds and says that it has not is not
// taken for that of another instance.
func TestSaveSeemsToFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &liar{TokenStore: c.Tokens.Store} })
		s := k.MustSignIn(k.Browser(), k.Agent)
		lies := &k.Config.Tokens.Store.(*liar).lies
		time.Sleep(2 * time.Hour)
		lies.Store(2) // the claim is the first
		k.mustCall(k.RP, s)
		if lies.Load() != 0 || k.refreshes() != 1 {
			t.Errorf("REF-3: %d lies left, %d refreshes", lies.Load(), k.refreshes())
		}
		k.wantEvents()
	})
}

type liar struct {
	authagent.TokenStore
	lies atomic.Int32
}

func (l *liar) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	err := l.TokenStore.SaveTokens(ctx, id, old, sealed, expires)
	if l.lies.Load() > 0 && l.lies.Add(-1) == 0 && err == nil {
		return errors.New("connection lost")
	}
	return err
}

// TestRefreshTokenKept: REF-3. Where the server gives no new refresh token, the
// old one stays in use.
func TestRefreshTokenKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		k.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) { f.Overlap = 24 * time.Hour })
		s := k.MustSignIn(k.Browser(), k.Agent)
		k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("refresh_token"))
		for range 2 {
			time.Sleep(2 * time.Hour)
			k.mustCall(k.RP, s)
		}
		var sent []string
		for _, r := range k.AS.Requests(authagenttest.PathToken) {
			var body struct {
				Token string `json:"refresh_token"`
			}
			if json.Unmarshal(r.Body, &body); body.Token != "" {
				sent = append(sent, body.Token)
			}
		}
		if len(sent) != 2 || sent[0] != sent[1] {
			t.Errorf("REF-3: %d refreshes, or with different tokens", len(sent))
		}
	})
}

// TestRefreshGoesOn: REF-4. A refresh outlives the request that it began in, and
// Shutdown waits for it.
func TestRefreshGoesOn(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		t.Run(fmt.Sprint("REF-4 shutdown ", shutdown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Wrap(authagenttest.PathToken, onGrant("refresh_token", late(2*time.Second)))
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				if _, err := k.RP.TokenSource(ctx, s).Token(); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
					t.Errorf("REF-4: err %v after %v", err, time.Since(start))
				}
				rp := k.RP
				if shutdown {
					if err := k.RP.Shutdown(context.Background()); err != nil || time.Since(start) < 2*time.Second {
						t.Errorf("REF-4: shutdown %v after %v", err, time.Since(start))
					}
					rp = k.Instance("2")
				}
				k.mustCall(rp, s)
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-4: %d refreshes", n)
				}
				k.wantEvents()
			})
		})
	}
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

// TestRefreshRefused: REF-5. invalid_grant ends the tokens, once. The session goes
// on without them, or ends where it is to be confirmed and cannot be.
func TestRefreshRefused(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		t.Run(fmt.Sprint("REF-5 confirmed ", confirmed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) {
					if confirmed {
						c.Tokens.ConfirmEvery = 3 * time.Hour
					}
				})
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				for range 4 { // keep the session from being idle
					time.Sleep(29 * time.Minute)
					k.Me(c)
				}
				k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`))
				for range 2 {
					var group sync.WaitGroup
					for range 50 {
						group.Go(func() {
							if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
								t.Errorf("REF-5: err %v", err)
							}
							if k.Me(c) == nil {
								t.Error("REF-5: one answer ends the session")
							}
						})
					}
					group.Wait()
				}
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-5: %d refreshes", n)
				}
				k.wantEvents("refresh_failed:no_tokens")
				time.Sleep(10 * time.Minute)
				if alive := k.Me(c) != nil; alive == confirmed {
					t.Errorf("REF-5: the session lives: %v", alive)
				}
				if len(k.store.get(t, s.ID)) != 0 {
					t.Error("REF-5: tokens are still kept")
				}
				if confirmed {
					k.wantEvents("refresh_failed:no_tokens", "session_ended:not_confirmed")
				} else {
					k.wantEvents("refresh_failed:no_tokens")
				}
			})
		})
	}
}

// TestRefusedForAMoment: a database that cannot be read for a moment makes the
// published server refuse a refresh token that is good (protocol notes, 13).
func TestRefusedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) {
			c.Tokens.ConfirmEvery = 3 * time.Hour
			c.Session.Idle = 6 * time.Hour
		})
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		time.Sleep(2 * time.Hour)
		k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`))
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
			t.Errorf("err %v", err)
		}
		k.AS.Wrap(authagenttest.PathToken, nil)
		time.Sleep(time.Minute)
		k.mustCall(k.RP, s)
		if k.Me(c) == nil {
			t.Error("REF-5: the session has ended")
		}
		k.wantEvents("refresh_failed:no_tokens")
	})
}

// TestRefreshTrouble: REF-6. Whatever is wrong with the server for a while, the
// tokens are kept, it is not pestered, and somebody is told, once.
func TestRefreshTrouble(t *testing.T) {
	reply := func(status int, body string) func(k *kept) {
		return func(k *kept) {
			k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(status, "application/json", body))
		}
	}
	for _, test := range []struct {
		name    string
		trouble []func(k *kept)
	}{
		{"REF-6 503, then invalid_client", []func(*kept){reply(503, ""), reply(401, `{"error":"invalid_client"}`)}},
		{"REF-6 500", []func(*kept){reply(500, `{"error":"server_error"}`)}},
		{"REF-6 429", []func(*kept){reply(429, "")}},
		{"REF-6 answers nothing", []func(*kept){reply(200, "")}},
		{"REF-6 connection cut", []func(*kept){func(k *kept) { k.AS.Wrap(authagenttest.PathToken, abort) }}},
		{"REF-6 hangs", []func(*kept){func(k *kept) { k.hang(authagenttest.PathToken) }}},
		{"REF-6 database down", []func(*kept){func(k *kept) { k.AS.Outage(authagenttest.OutageAll) }}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Reset()
				for _, trouble := range test.trouble {
					trouble(k)
					for start := time.Now(); time.Since(start) < 2*time.Minute; time.Sleep(time.Second) {
						var e *problem.Error
						if _, err := k.call(k.RP, s); !errors.As(err, &e) || e.Fault() == problem.Agent || e.RetryAfter <= 0 {
							t.Fatalf("REF-6: err %v", err)
						}
						if k.Me(c) == nil {
							t.Fatal("REF-6: signed out")
						}
					}
				}
				if n := k.AS.Count(authagenttest.PathToken); n > 6 {
					t.Errorf("REF-6: %d requests", n)
				}
				if events := k.Events.Named(audit.RefreshFailed); len(events) != 1 {
					t.Errorf("REF-6: %d events", len(events))
				}
				k.AS.Wrap(authagenttest.PathToken, nil)
				k.AS.Outage(authagenttest.OutageNone)
				time.Sleep(3 * time.Minute)
				if k.call(k.RP, s); k.Me(c) == nil { // perhaps to learn anew how the server wants it
					t.Error("REF-6: signed out")
				}
				time.Sleep(3 * time.Minute)
				k.mustCall(k.RP, s)
				if n := len(k.Events.Named(audit.RefreshFailed)); n != 1 {
					t.Errorf("REF-6: %d events in the end", n)
				}
			})
		})
	}
}

// TestRefreshRetryAfter: REF-6.
func TestRefreshRetryAfter(t *testing.T) {
	for name, header := range map[string]func() string{
		"REF-6 seconds": func() string { return "300" },
		"REF-6 date":    func() string { return time.Now().Add(300 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Wrap(authagenttest.PathToken, func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Retry-After", header())
						w.WriteHeader(http.StatusTooManyRequests)
					})
				})
				start := time.Now()
				for time.Since(start) < 298*time.Second {
					k.call(k.RP, s)
					time.Sleep(time.Second)
				}
				if n := k.refreshes(); n != 1 {
					t.Errorf("REF-6: %d refreshes before Retry-After", n)
				}
				k.AS.Wrap(authagenttest.PathToken, nil)
				time.Sleep(5 * time.Second)
				k.mustCall(k.RP, s)
			})
		})
	}
}

// TestEarlyRefreshFails: REF-6, REF-7. A token that has not expired is used while
// the server is down, and at nobody's expense.
func TestEarlyRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(59*time.Minute + 10*time.Second)
		k.AS.Wrap(authagenttest.PathToken, abort)
		for range 40 {
			k.mustCall(k.RP, s)
			time.Sleep(time.Second)
		}
		if n := k.AS.Count(authagenttest.PathToken); n > 6 {
			t.Errorf("REF-6: %d requests", n)
		}
	})
}

// TestEarlyRefresh: REF-7.
func TestEarlyRefresh(t *testing.T) {
	for _, test := range []struct {
		name         string
		says         any           // expires_in, if not nil
		before       time.Duration // no refresh until then
		after        time.Duration // one since then
		refused      int           // requests that the API refuses
		refreshesMax int           // in 2 hours of a call each ten seconds
	}{
		{"REF-7 published", nil, 58*time.Minute + 50*time.Second, 59 * time.Minute, 0, 2},
		{"REF-7 clock behind", 3900, 59*time.Minute + 50*time.Second, time.Hour, 1, 2},
		{"REF-7 clock ahead", 3300, 53*time.Minute + 50*time.Second, 54 * time.Minute, 0, 2},
		{"REF-7 short", 60, 40 * time.Second, 50 * time.Second, 0, 180},
		{"REF-7 not said", "", 59*time.Minute + 50*time.Second, time.Hour, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				switch test.says {
				case nil:
				case "":
					k.AS.Wrap(authagenttest.PathToken, authagenttest.WithoutMember("expires_in"))
				default:
					k.AS.Wrap(authagenttest.PathToken, authagenttest.WithMember("expires_in", test.says))
				}
				s := k.MustSignIn(k.Browser(), k.Agent)
				start, calls := time.Now(), 0
				for ; time.Since(start) <= 110*time.Minute; time.Sleep(10 * time.Second) {
					k.mustCall(k.RP, s)
					calls++
					if n, at := k.refreshes(), time.Since(start); at <= test.before && n != 0 || at >= test.after && n == 0 {
						t.Fatalf("REF-7: %d refreshes after %v", n, at)
					}
				}
				if n := k.refreshes(); n > test.refreshesMax {
					t.Errorf("REF-7: %d refreshes", n)
				}
				if extra := k.api.count() - calls; extra != test.refused {
					t.Errorf("REF-7: %d requests were refused, want %d", extra, test.refused)
				}
			})
		})
	}
}

// TestRefreshDoesNotLengthen: REF-7. A session ends when it ends, tokens and all.
func TestRefreshDoesNotLengthen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Lifetime, c.Session.Idle = 3*time.Hour, 3*time.Hour })
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		source := k.RP.TokenSource(context.Background(), s)
		start := time.Now()
		for ; time.Since(start) < 3*time.Hour; time.Sleep(10 * time.Minute) {
			if _, err := source.Token(); err != nil || k.Me(c) == nil {
				t.Fatalf("REF-7: err %v after %v", err, time.Since(start))
			}
		}
		if _, err := source.Token(); !errors.Is(err, problem.NoSession) || k.Me(c) != nil {
			t.Errorf("REF-7: err %v after the session's end", err)
		}
	})
}

// TestLogoutRacesRefresh: REF-8. A refresh that ends after the session does is of
// no use to anybody.
func TestLogoutRacesRefresh(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(k *kept, c *http.Client, s *authagent.Session)
		events []string
	}{
		{"REF-8 logout", func(k *kept, c *http.Client, _ *authagent.Session) {
			if resp := k.Do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther {
				k.T.Errorf("logout: status %d", resp.StatusCode)
			}
		}, []string{"tokens_revoked:requested", "session_ended", "tokens_revoked:requested"}},
		{"REF-8 EndAgentSessions", func(k *kept, _ *http.Client, s *authagent.Session) {
			if err := k.RP.EndAgentSessions(context.Background(), s.Agent); err != nil {
				k.T.Error(err)
			}
		}, []string{"tokens_revoked:requested"}},
	} {
		for name, configure := range eachServer {
			t.Run(test.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
					k.AS.Configure(configure)
					k.Instance("2")
					c := k.Browser()
					s := k.MustSignIn(c, k.Agent)
					session := k.Cookies(c)
					time.Sleep(2 * time.Hour)
					hold := make(chan struct{})
					fresh := k.watch(onGrant("refresh_token", func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r); <-hold })
					}))
					var group sync.WaitGroup
					group.Go(func() {
						if _, err := k.call(k.RP, s); !errors.Is(err, problem.NoSession) {
							t.Errorf("REF-8: err %v", err)
						}
					})
					settle()
					test.end(k, c, s)
					before := k.store.saves()
					close(hold)
					group.Wait()
					if after := k.store.saves(); after != before {
						t.Errorf("REF-8: %d attempts to save", after-before)
					}
					if k.Get(k.Bare(), "/me", "Cookie", session).StatusCode != http.StatusUnauthorized {
						t.Error("REF-8: signed in after all")
					}
					if len(*fresh) != 1 || !slices.Contains(k.revokedTokens(), (*fresh)[0].Refresh) {
						t.Errorf("REF-8: %d new tokens, not revoked", len(*fresh))
					}
					if len(k.store.get(t, s.ID)) != 0 || k.api.count() != 0 {
						t.Error("REF-8: the new tokens were kept or used")
					}
					k.wantEvents(test.events...)
				})
			})
		}
	}
}

// TestLogoutAtTheLastMoment: REF-8. The session ends after the refresh was found
// to be good and before its tokens are saved, or just afterwards.
func TestLogoutAtTheLastMoment(t *testing.T) {
	for _, test := range []struct {
		name  string
		after bool
	}{{"REF-8 before the save", false}, {"REF-8 after the save", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &spyTokens{TokenStore: &memstore.Tokens{}}
				var end atomic.Pointer[func()]
				k := newKept(t, func(_ *bench, c *authagent.Config) {
					c.Session.Idle, c.Tokens.Store = 4*time.Hour, &endingTokens{store, test.after, &end}
				})
				k.store = store
				k.Instance("2", func(c *authagent.Config) { c.Tokens.Store = store })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(nil)
				logout := func() {
					if test.after { // told by nobody
						k.RP.EndSession(context.Background(), s.ID)
						return
					}
					k.Do(c, http.MethodPost, "/auth/agent/logout", "X-Instance", "2")
				}
				end.Store(&logout)
				if _, err := k.call(k.RP, s); !errors.Is(err, problem.NoSession) {
					t.Errorf("REF-8: err %v", err)
				}
				if len(*fresh) != 1 || !slices.Contains(k.revokedTokens(), (*fresh)[0].Refresh) {
					t.Errorf("REF-8: %d new tokens, not revoked", len(*fresh))
				}
				if len(k.store.get(t, s.ID)) != 0 || k.api.count() != 0 {
					t.Error("REF-8: the new tokens were kept or used")
				}
			})
		})
	}
}

// endingTokens calls end when it saves what comes after a claim.
type endingTokens struct {
	*spyTokens
	after bool
	end   *atomic.Pointer[func()]
}

func (e *endingTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	end := e.end.Load()
	if end == nil || e.saves() != 2 { // the first was at sign-in
		return e.spyTokens.SaveTokens(ctx, id, old, sealed, expires)
	}
	if e.after {
		defer (*end)()
	} else {
		(*end)()
	}
	return e.spyTokens.SaveTokens(ctx, id, old, sealed, expires)
}

// TestLogoutRevokes: REF-9.
func TestLogoutRevokes(t *testing.T) {
	for _, test := range []struct {
		name    string
		wrap    wrapper
		outcome string
	}{
		{"REF-9 200", nil, "requested"},
		{"REF-9 503", authagenttest.Reply(503, "", ""), "still live"},
		{"REF-9 400", authagenttest.Reply(400, "application/json", `{"error":"unsupported_token_type"}`), "still live"},
		{"REF-9 hang", authagenttest.Hang(), "still live"},
		{"REF-9 refused", abort, "still live"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t)
				given := k.watch(nil)
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				session := k.Cookies(c)
				k.AS.Wrap(authagenttest.PathRevoke, test.wrap)
				start := time.Now()
				resp := k.Do(c, http.MethodPost, "/auth/agent/logout")
				if took := time.Since(start); resp.StatusCode != http.StatusSeeOther || took > 3500*time.Millisecond {
					t.Errorf("REF-9: status %d after %v", resp.StatusCode, took)
				}
				if k.Cookies(c) != "" || k.Get(k.Bare(), "/me", "Cookie", session).StatusCode != http.StatusUnauthorized {
					t.Error("REF-9: still signed in")
				}
				k.wantEvents("tokens_revoked:"+test.outcome, "session_ended")
				if events := k.Events.Named(audit.TokensRevoked); events[0].SessionID != s.ID || events[0].Agent != s.Agent {
					t.Errorf("REF-9: event %+v", events[0])
				}
				r := k.AS.Requests(authagenttest.PathRevoke)
				var body map[string]string
				if len(r) != 1 || json.Unmarshal(r[0].Body, &body) != nil || r[0].Header.Get("Content-Type") != "application/json" ||
					body["token"] != (*given)[0].Refresh || body["token_type_hint"] != "refresh_token" {
					t.Errorf("REF-9: %d requests, %v", len(r), body)
				}
				if len(k.store.get(t, s.ID)) != 0 {
					t.Error("REF-9: tokens are still kept")
				}
			})
		})
	}
}

// TestEndedSessionsRevoke: REF-9. However a session ends, its tokens are revoked
// as soon as it is noticed.
func TestEndedSessionsRevoke(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(k *kept, c *http.Client)
	}{
		{"REF-9 EndAgentSessions", func(k *kept, c *http.Client) {
			k.RP.EndAgentSessions(context.Background(), authagent.Agent{Issuer: k.AS.URL, ID: k.Agent.ID})
			session := k.Cookies(c)
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() { k.Get(k.Bare(), "/me", "Cookie", session) })
			}
			group.Wait()
		}},
		{"REF-9 its time is over", func(k *kept, c *http.Client) {
			session := k.Cookies(c)
			time.Sleep(4*time.Hour + 10*time.Minute)
			k.Get(k.Bare(), "/me", "Cookie", session)
		}},
		{"REF-9 signed in anew", func(k *kept, c *http.Client) { time.Sleep(2 * time.Second); k.MustSignIn(c, k.Agent) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle, c.Session.Lifetime = 8*time.Hour, 4*time.Hour })
				given := k.watch(nil)
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				test.end(k, c)
				settle()
				if !slices.Equal(k.revokedTokens(), []string{(*given)[0].Refresh}) || len(k.store.get(t, s.ID)) != 0 {
					t.Errorf("revoked %d tokens", len(k.revokedTokens()))
				}
				k.wantEvents("tokens_revoked:requested")
			})
		})
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

// failingMarks is a RevocationStore that can be told to fail.
type failingMarks struct {
	authagent.RevocationStore
	fails atomic.Bool
}

func (f *failingMarks) Marks(ctx context.Context, keys []string) ([]string, error) {
	if f.fails.Load() {
		return nil, errors.New("the database is gone")
	}
	return f.RevocationStore.Marks(ctx, keys)
}

// TestStoreFailsDuringRefresh_REF_14: where it cannot be known after a refresh whether
// the session holds, nobody gets the fresh token. It is kept, for when it is known again.
func TestStoreFailsDuringRefresh_REF_14(t *testing.T) {
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprint("REF-14 ends: ", ends), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				marks := &failingMarks{RevocationStore: &memstore.Revocations{}}
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Revocations = marks })
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(time.Hour - 20*time.Second)
				k.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if ends {
							if err := k.RP.EndSession(context.Background(), s.ID); err != nil {
								t.Error(err)
							}
						}
						marks.fails.Store(true)
						next.ServeHTTP(w, r)
					})
				})
				if token, err := k.RP.TokenSource(context.Background(), s).Token(); token != nil || !errors.Is(err, problem.StoreFailed) {
					t.Errorf("REF-14: token %t, %v, as the store failed", token != nil, err)
				}
				marks.fails.Store(false)
				if token, err := k.RP.TokenSource(context.Background(), s).Token(); (err == nil) == ends || k.refreshes() != 1 {
					t.Errorf("REF-14: token %t, %v, with the store back; %d refreshes", token != nil, err, k.refreshes())
				}
			})
		})
	}
}

// TestRefreshedSubject: ID-6.
func TestRefreshedSubject(t *testing.T) {
	claims := func(change members) wrapper {
		return authagenttest.Rewrite(func(body map[string]any) {
			body["access_token"] = signedHS256([]byte("k"), members{"alg": "HS256"}, with(members{
				"sub": "agent_alice", "client_id": "site", "iss": "https://as.example", "exp": time.Now().Add(time.Hour).Unix(),
			}, change))
		})
	}
	idToken := func(change members) wrapper {
		return authagenttest.Rewrite(func(body map[string]any) {
			body["id_token"] = unsigned(members{"alg": "none"}, with(members{"sub": "agent_alice", "iss": "https://as.example"}, change))
		})
	}
	for _, test := range []struct {
		name string
		wrap wrapper
		ends bool
	}{
		{"ID-6 same", claims(nil), false},
		{"ID-6 sub", claims(members{"sub": "victim"}), true},
		{"ID-6 sub in other letters", claims(members{"sub": "Agent_Alice"}), true},
		{"ID-6 sub not a string", claims(members{"sub": 1}), true},
		{"ID-6 iss", claims(members{"iss": "https://evil.example"}), true},
		{"ID-6 client_id", claims(members{"client_id": "other"}), true},
		{"ID-6 id_token same", idToken(nil), false},
		{"ID-6 id_token sub", idToken(members{"sub": "victim"}), true},
		{"ID-6 id_token iss", idToken(members{"iss": "https://evil.example"}), true},
		{"ID-6 id_token garbage", authagenttest.WithMember("id_token", "garbage"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(test.wrap)
				_, err := k.call(k.RP, s)
				if errors.Is(err, problem.Reason("identity_mismatch")) != test.ends || (k.Me(c) == nil) != test.ends {
					t.Errorf("err %v, session %v", err, k.Me(c))
				}
				if !test.ends {
					return
				}
				if k.api.used((*fresh)[0].Access) || len(k.store.get(t, s.ID)) != 0 {
					t.Error("ID-6: the tokens of another are used or kept")
				}
				k.wantEvents("tokens_revoked:requested", "subject_mismatch:identity_mismatch", "session_ended:identity_mismatch")
			})
		})
	}
}

// TestRefreshedActor is ID-6 where the token says who acts for its subject.
func TestRefreshedActor(t *testing.T) {
	for _, test := range []struct {
		name   string
		change members
		ends   bool
	}{
		{"ID-6 same act", nil, false},
		{"ID-6 another act", members{"act": members{"sub": "agent_mallory"}}, true},
		{"ID-6 act in other letters", members{"act": members{"sub": "AGENT_X"}}, true},
		{"ID-6 no act", members{"act": nil}, true},
		{"ID-6 act without sub", members{"act": members{}}, true},
		{"ID-6 act not an object", members{"act": "agent_x"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle, c.Provider.SubjectIsUser = 4*time.Hour, true })
				k.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
				c := k.Browser()
				s := k.MustSignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: "agent_x", UserID: "owner_y", Email: "alice@example.com"}))
				time.Sleep(2 * time.Hour)
				fresh := k.watch(authagenttest.Rewrite(func(body map[string]any) {
					body["access_token"] = signedHS256([]byte("k"), members{"alg": "HS256"}, with(members{
						"sub": "owner_y", "act": members{"sub": "agent_x"}, "client_id": "site", "iss": "https://as.example",
						"exp": time.Now().Add(time.Hour).Unix(),
					}, test.change))
				}))
				_, err := k.call(k.RP, s)
				if errors.Is(err, problem.Reason("identity_mismatch")) != test.ends || (k.Me(c) == nil) != test.ends {
					t.Errorf("err %v, session %v", err, k.Me(c))
				}
				if test.ends && k.api.used((*fresh)[0].Access) {
					t.Error("the token of another agent is used")
				}
			})
		})
	}
}

// TestSameSecondKept: two sign-ins of one agent within a second get one token, which
// the published server then refuses until one of them is refreshed (fact 3).
func TestSameSecondKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		sessions := make([]*authagent.Session, 5)
		for i := range sessions {
			sessions[i] = k.MustSignIn(k.Browser(), k.Agent)
		}
		var group sync.WaitGroup
		for _, s := range sessions {
			group.Go(func() { k.mustCall(k.RP, s) })
		}
		group.Wait()
		for _, s := range sessions {
			k.mustCall(k.RP, s)
		}
		if n := k.refreshes(); n > len(sessions) {
			t.Errorf("%d refreshes", n)
		}
		k.wantEvents()
	})
}

// TestHalfRefresh: a refresh that the server's database takes half of.
func TestHalfRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(2 * time.Hour)
		k.AS.Outage(authagenttest.OutageUpdates) // the old pair stays alive
		k.mustCall(k.RP, s)
		time.Sleep(2 * time.Hour)
		k.AS.Outage(authagenttest.OutageInserts) // the old pair dies, and there is no new one
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Server) {
			t.Errorf("err %v", err)
		}
		k.AS.Outage(authagenttest.OutageNone)
		time.Sleep(5 * time.Minute)
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
			t.Errorf("err %v", err)
		}
		k.wantEvents("refresh_failed:server_unavailable", "refresh_failed:no_tokens")
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
