package requirements_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/tokens"
)

// A panicky transport panics at one path of the server, or answers with a body that
// does.
type panicky struct {
	next http.RoundTripper
	path string
	on   atomic.Bool
	send bool // the request first
	does func(*http.Response) (*http.Response, error)
}

func (p *panicky) RoundTrip(r *http.Request) (*http.Response, error) {
	here := p.on.Load() && r.URL.Path == p.path
	if here && !p.send {
		return p.does(nil)
	}
	resp, err := p.next.RoundTrip(r)
	if err != nil || !here {
		return resp, err
	}
	return p.does(resp)
}

// A badBody does with read and close what it is told to.
type badBody struct {
	io.ReadCloser
	read  func([]byte) (int, error)
	close func() error
}

func (b badBody) Read(p []byte) (int, error) {
	if b.read == nil {
		return b.ReadCloser.Read(p)
	}
	return b.read(p)
}

func (b badBody) Close() error {
	if b.close == nil {
		return b.ReadCloser.Close()
	}
	return b.close()
}

var panics = map[string]func(*http.Response) (*http.Response, error){
	"panic":           func(*http.Response) (*http.Response, error) { panic("nil map") },
	"ErrAbortHandler": func(*http.Response) (*http.Response, error) { panic(http.ErrAbortHandler) },
	"panic in Read": func(r *http.Response) (*http.Response, error) {
		r.Body, r.ContentLength = badBody{r.Body, func([]byte) (int, error) { panic("nil map") }, nil}, -1
		return r, nil
	},
	"impossible count of Read": func(r *http.Response) (*http.Response, error) {
		r.Body, r.ContentLength = badBody{r.Body, func(p []byte) (int, error) { return len(p) + 1, nil }, nil}, -1
		return r, nil
	},
}

// withIDToken has the server publish keys, so that they are asked for.
func withIDToken(b *bench, c *authagent.Config) {
	b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
		*q = authagenttest.Quirks{}
		f.IDToken = true
	})
	c.Provider.Introspect = true
}

// TestTransportPanics is NET-14: a panic of the site's Transport, whichever request
// it is in, fails the sign-in as a fault of the site. The process lives, and so does
// whatever waits: the next sign-in succeeds.
func TestTransportPanics(t *testing.T) {
	for _, path := range []string{
		authagenttest.PathMetadata, authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathJWKS,
	} {
		for how, does := range panics {
			t.Run("NET-14 "+how+" at "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					transport := &panicky{path: path, does: does, send: true}
					k := newCluster(t, withIDToken, func(_ *bench, c *authagent.Config) {
						transport.next, c.Provider.HTTPClient.Transport = c.Provider.HTTPClient.Transport, transport
					})
					transport.on.Store(true)
					c := k.Browser()
					resp := k.Get(c, "/auth/agent/login")
					if resp.StatusCode == http.StatusSeeOther {
						resp = k.Get(c, k.Authorize(k.Agent, resp.Header.Get("Location")))
					}
					if resp.StatusCode != http.StatusInternalServerError || resp.Reason() != problem.StoreFailed {
						t.Errorf("NET-14: status %d, %s", resp.StatusCode, resp.Text)
					}
					failed := k.Events.Named(audit.LoginFailed)
					if len(failed) != 1 || failed[0].Outcome != audit.Failed {
						t.Errorf("NET-14: events %+v", failed)
					}
					for _, f := range k.RP.Check(context.Background()) {
						t.Log(f) // and Check lives
					}
					transport.on.Store(false)
					time.Sleep(time.Minute)
					k.MustSignIn(k.Browser(), k.Agent)
				})
			})
		}
	}
}

// TestTransportCloses is NET-14: an answer that was read is good, whatever its Close does.
func TestTransportCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := &panicky{path: authagenttest.PathToken, send: true, does: func(r *http.Response) (*http.Response, error) {
			r.Body = badBody{r.Body, nil, func() error { panic("closed") }}
			return r, nil
		}}
		k := newCluster(t, func(_ *bench, c *authagent.Config) {
			transport.next, c.Provider.HTTPClient.Transport = c.Provider.HTTPClient.Transport, transport
		})
		transport.on.Store(true)
		k.MustSignIn(k.Browser(), k.Agent)
	})
}

// TestPanicsInBackground is NET-15: what the site provides may panic, with
// http.ErrAbortHandler too, where no request is waiting for it: in refreshes,
// confirmations and revocations. The process lives, and the agent stays signed in.
func TestPanicsInBackground(t *testing.T) {
	for how, value := range map[string]any{"panic": "nil map", "ErrAbortHandler": http.ErrAbortHandler} {
		for _, where := range []string{
			"ClientSecretFunc", "SaveTokens", "LoadTokens", "DeleteTokens", "CheckSession", "Revoke", "Marks",
			authagenttest.PathToken, authagenttest.PathIntrospect, authagenttest.PathRevoke,
		} {
			t.Run("NET-15 "+how+" in "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var background atomic.Bool
					fail := func(at string) {
						if background.Load() && at == where {
							panic(value)
						}
					}
					h := &hooks{where: where, sessions: &mapSessions{}}
					transport := &panicky{path: where, does: func(*http.Response) (*http.Response, error) { panic(value) }}
					k := newKept(t, confirming, func(b *bench, c *authagent.Config) {
						h.Users = b.Users
						secret := c.ClientSecret
						c.ClientSecret, c.Provider.ClientSecretFunc = "", func(context.Context) (string, error) {
							fail("ClientSecretFunc")
							return secret, nil
						}
						c.Scenario = authagent.FullAccount(h, h)
						c.Tokens.Store, c.Revocations = panickyTokens{c.Tokens.Store, fail}, panickyRevocations{c.Revocations, fail}
						transport.next, c.Provider.HTTPClient.Transport = c.Provider.HTTPClient.Transport, transport
						c.Session.Idle = 4 * time.Hour
					})
					c := k.Browser()
					s := k.MustSignIn(c, k.Agent)
					time.Sleep(2 * time.Hour)
					// Nothing fails before the background has begun.
					f := func() error { panic(value) }
					background.Store(true)
					transport.on.Store(true)
					if where == "CheckSession" {
						h.fail.Store(&f)
					}
					k.RP.TokenSource(context.Background(), s).Token() // what it says does not matter here
					time.Sleep(10 * time.Minute)
					background.Store(false)
					transport.on.Store(false)
					none := func() error { return nil }
					h.fail.Store(&none)
					time.Sleep(10 * time.Minute)
					if k.Me(c) == nil {
						t.Error("NET-15: the agent is signed out")
					}
				})
			})
		}
	}
}

type panickyTokens struct {
	tokens.Store
	fail func(string)
}

func (p panickyTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	p.fail("SaveTokens")
	return p.Store.SaveTokens(ctx, id, old, sealed, expires)
}

func (p panickyTokens) LoadTokens(ctx context.Context, id string) ([]byte, error) {
	p.fail("LoadTokens")
	return p.Store.LoadTokens(ctx, id)
}

func (p panickyTokens) DeleteTokens(ctx context.Context, id string) error {
	p.fail("DeleteTokens")
	return p.Store.DeleteTokens(ctx, id)
}

type panickyRevocations struct {
	authagent.RevocationStore
	fail func(string)
}

func (p panickyRevocations) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	p.fail("Revoke")
	return p.RevocationStore.Revoke(ctx, key, mark, until)
}

func (p panickyRevocations) Marks(ctx context.Context, keys []string) ([]string, error) {
	p.fail("Marks")
	return p.RevocationStore.Marks(ctx, keys)
}

// A panickyHandler is a slog.Handler that panics in the method of this name.
type panickyHandler struct{ in string }

func (h panickyHandler) Enabled(context.Context, slog.Level) bool {
	if h.in == "Enabled" {
		panic("log")
	}
	return true
}

func (h panickyHandler) Handle(context.Context, slog.Record) error {
	if h.in == "Handle" {
		panic(http.ErrAbortHandler)
	}
	return errors.New("disk full")
}

func (h panickyHandler) WithAttrs([]slog.Attr) slog.Handler { panic("log") }
func (h panickyHandler) WithGroup(string) slog.Handler      { panic("log") }

// TestLoggerPanics is NET-16: a log handler that panics loses its records, and
// nothing else, where a request logs as well as in the background, and while another
// panic is being logged.
func TestLoggerPanics(t *testing.T) {
	for _, in := range []string{"Enabled", "Handle"} {
		t.Run("NET-16 "+in, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				audited := make(chan audit.Name, 100)
				var broken atomic.Bool
				k := newKept(t, confirming, func(_ *bench, c *authagent.Config) {
					c.Logger = slog.New(panickyHandler{in})
					c.Session.Idle = 4 * time.Hour
					c.Tokens.Store = panickyTokens{c.Tokens.Store, func(string) {
						if broken.Load() {
							panic("nil map")
						}
					}}
					c.Audit = func(_ context.Context, e audit.Event) {
						audited <- e.Name
						panic("audit")
					}
				})
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				k.AS.Outage(authagenttest.OutageAll) // so that there is something to log
				k.RP.TokenSource(context.Background(), s).Token()
				time.Sleep(10 * time.Minute)
				broken.Store(true)
				k.RP.TokenSource(context.Background(), s).Token()
				time.Sleep(10 * time.Minute)
				broken.Store(false)
				k.AS.Outage(authagenttest.OutageNone)
				if k.Me(c) == nil {
					t.Error("NET-16: the agent is signed out")
				}
				if len(audited) < 3 {
					t.Errorf("NET-16: %d events", len(audited))
				}
			})
		})
	}
}
