package requirements_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// mapSessions are Sessions as a site would write them over its own.
type mapSessions struct {
	mu   sync.Mutex
	all  map[string]authagent.Session
	n    int
	fail error
}

func (m *mapSessions) id(r *http.Request) string {
	if c, err := r.Cookie("sid"); err == nil {
		return c.Value
	}
	return ""
}

func (m *mapSessions) Start(w http.ResponseWriter, r *http.Request, s *authagent.Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	delete(m.all, m.id(r))
	m.n++
	id := fmt.Sprintf("sid-%d", m.n)
	if m.all == nil {
		m.all = make(map[string]authagent.Session)
	}
	m.all[id] = *s
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: id, Path: "/", Secure: true, HttpOnly: true})
	return nil
}

func (m *mapSessions) Load(_ http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	s, ok := m.all[m.id(r)]
	switch {
	case m.id(r) == "":
		return nil, authagent.ErrNoSession
	case !ok:
		return nil, authagent.ErrSessionEnded
	}
	return &s, nil
}

func (m *mapSessions) End(w http.ResponseWriter, r *http.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	delete(m.all, m.id(r))
	http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
	return nil
}

// TestOwnSessions holds a site's own Sessions to SES-2, SES-3, SES-5 and SES-11.
func TestOwnSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &mapSessions{}
		k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
		c := k.Browser()
		first := k.MustSignIn(c, k.Agent)
		former := k.Cookies(c)
		time.Sleep(2 * time.Second)
		second := k.MustSignIn(c, k.Agent)
		if second.ID == first.ID {
			t.Error("SES-2: two sessions of one ID")
		}
		if resp := k.Get(k.Bare(), "/me", "Cookie", former); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-2: the former cookie gets %d", resp.StatusCode)
		}
		if err := k.RP.EndSession(context.Background(), second.ID); err != nil {
			t.Fatal(err)
		}
		if k.Me(c) != nil {
			t.Errorf("SES-11: the session lives on: %v", own.all)
		}
		time.Sleep(2 * time.Second)
		k.MustSignIn(c, k.Agent)
		time.Sleep(12*time.Hour + time.Second)
		if k.Me(c) != nil {
			t.Error("SES-5: the absolute limit is not kept")
		}
		k.MustSignIn(c, k.Agent)
		k.Do(c, http.MethodPost, "/auth/agent/logout")
		if k.Me(c) != nil || len(own.all) != 0 {
			t.Errorf("SES-3: the session lives on: %v", own.all)
		}
		own.fail = io.ErrUnexpectedEOF
		before := k.Handled.Count()
		for _, path := range []string{"/me", "/open", "/humans", "/data"} {
			if resp := k.Get(c, path); resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("%s: status %d with a broken store", path, resp.StatusCode)
			}
		}
		if k.Handled.Count() != before {
			t.Error("a handler ran with a broken store")
		}
	})
}

// aheadSessions are Sessions whose sessions began at an instance with a fast
// clock, and whose copies cannot be taken back: a cookie, for example.
type aheadSessions struct {
	mapSessions
	by time.Duration
}

func (m *aheadSessions) Load(w http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	s, err := m.mapSessions.Load(w, r)
	if err == nil {
		s.StartedAt = s.StartedAt.Add(m.by)
	}
	return s, err
}

func (*aheadSessions) End(http.ResponseWriter, *http.Request) error { return nil }

// TestLogoutAcrossClocks is SES-3 for two instances whose clocks are not the
// same: a session that began at the fast one ends when the other is told so.
func TestLogoutAcrossClocks(t *testing.T) {
	for _, by := range []time.Duration{0, time.Second, 2 * time.Minute, 5 * time.Minute} {
		t.Run("SES-3 "+by.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = &aheadSessions{by: by} })
				c := k.Browser()
				k.MustSignIn(c, k.Agent)
				saved := k.Cookies(c)
				if resp := k.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
					t.Fatalf("logout: %d", resp.StatusCode)
				}
				for _, later := range []time.Duration{0, time.Minute, 11 * time.Hour} {
					time.Sleep(later)
					if resp := k.Get(k.Bare(), "/me", "Cookie", saved); resp.StatusCode != http.StatusUnauthorized {
						t.Errorf("SES-3: the saved cookie gets %d, %v after logout", resp.StatusCode, later)
					}
				}
			})
		})
	}
}

// oneSession are Sessions that give everybody the same *Session.
type oneSession struct {
	mapSessions
	session *authagent.Session
}

func (m *oneSession) Load(http.ResponseWriter, *http.Request) (*authagent.Session, error) {
	return m.session, nil
}

// TestSessionOfAnotherIssuer is SES-6 for a site that keeps the sessions of two
// relying parties in one place: neither takes those of the other.
func TestSessionOfAnotherIssuer(t *testing.T) {
	own := &oneSession{}
	k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
	good := authagent.Session{
		ID: "s", Agent: authagent.Agent{Issuer: k.AS.URL, ID: "agent_alice"}, UserID: k.AliceID,
		Access: authagent.AccessFull, StartedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Scenario: "FullAccount", RedirectURL: k.Config.RedirectURL,
	}
	for _, test := range []struct {
		name   string
		change func(s *authagent.Session)
		want   int
	}{
		{"good", func(*authagent.Session) {}, 200},
		{"another issuer", func(s *authagent.Session) { s.Agent.Issuer = "https://as2.example" }, 401},
		{"issuer with a slash", func(s *authagent.Session) { s.Agent.Issuer += "/" }, 401},
		{"no issuer", func(s *authagent.Session) { s.Agent.Issuer = "" }, 401},
		{"no agent", func(s *authagent.Session) { s.Agent.ID = "" }, 401},
		{"SES-13 another scenario", func(s *authagent.Session) { s.Scenario = "FreshProfile" }, 401},
		{"SES-13 another redirect URL", func(s *authagent.Session) { s.RedirectURL = "https://staging.example/auth/agent/callback" }, 401},
		{"SES-13 no redirect URL", func(s *authagent.Session) { s.RedirectURL = "" }, 401},
		{"SES-19 another epoch", func(s *authagent.Session) { s.Epoch = "2" }, 401},
		{"no end", func(s *authagent.Session) { s.ExpiresAt = time.Time{} }, 401},
		{"SES-21 no start", func(s *authagent.Session) { s.StartedAt = time.Time{} }, 401},
	} {
		s := good
		test.change(&s)
		own.session = &s
		if got := k.Get(k.Bare(), "/me").StatusCode; got != test.want {
			t.Errorf("SES-6 %s: status %d, want %d", test.name, got, test.want)
		}
	}
}

// TestLoadedSessionIsCopied: what a check lowers for one request (MW-6) is not
// written into a session that the site keeps, which other requests read.
func TestLoadedSessionIsCopied(t *testing.T) {
	l := &lowering{}
	own := &oneSession{session: &authagent.Session{ID: "s", Access: authagent.AccessFull, UserID: "user_1", StartedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}}
	k := newCluster(t, func(b *bench, c *authagent.Config) {
		l.Scenario, c.Scenario, c.Session.Own = c.Scenario, l, own
		own.session.Agent = authagent.Agent{Issuer: c.Issuer, ID: "agent_alice"}
		own.session.Scenario, own.session.RedirectURL = "FullAccount", c.RedirectURL
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := k.Get(k.Bare(), "/data").StatusCode; got != http.StatusForbidden { // lowered to AccessNone
				t.Errorf("lowered: status %d", got)
			}
		})
	}
	all.Wait()
	l.to.Store(int32(authagent.AccessFull))
	if got := k.Do(k.Bare(), http.MethodPost, "/full").StatusCode; got != http.StatusOK {
		t.Errorf("MW-6: status %d once the check lowers nothing", got)
	}
}

// TestSessionsAreIndependent has many sessions and checks that none is taken for another.
func TestSessionsAreIndependent(t *testing.T) {
	k := newCluster(t)
	var ids []string
	for i := range 20 {
		k.Users.Add(fmt.Sprintf("u%d@example.com", i), "")
		agent := k.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", i), Email: fmt.Sprintf("u%d@example.com", i)})
		s := k.MustSignIn(k.Browser(), agent)
		if s.Agent.ID != agent.ID || slices.Contains(ids, s.ID) {
			t.Errorf("session %+v", s)
		}
		ids = append(ids, s.ID)
	}
}
