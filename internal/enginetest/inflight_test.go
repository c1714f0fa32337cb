package enginetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// A stop holds up who first comes to it.
type stop struct {
	once          sync.Once
	reached, goOn chan struct{}
}

func newStop() *stop { return &stop{reached: make(chan struct{}), goOn: make(chan struct{})} }

func (s *stop) wait() {
	s.once.Do(func() {
		close(s.reached)
		<-s.goOn
	})
}

// nothingOf fails if there is anything left of an account.
func nothingOf(t *testing.T, left []row) {
	t.Helper()
	for _, r := range left {
		t.Errorf("table %s: %q", r.table, r.text)
	}
}

// TestQueued_ERA_9: a request that waits behind another owner's is not filed once its account is erased, and nobody is told.
func TestQueued_ERA_9(t *testing.T) {
	d := newDatabase(t, sqlite)
	s, db := d.migrated(t)
	f := newFilledSite(t, s)
	held := newStop()
	f.owners.Privileged = func(_ context.Context, id string) (bool, error) {
		if id == bobID {
			held.wait()
		}
		return false, nil
	}
	told := make(map[string]int)
	f.owners.Notify = func(_ context.Context, n grants.Notice) { told[n.UserID]++ }
	for id, mail := range map[string]string{bobID: bobMail, aliceID: aliceMail} {
		f.Users.Put(memstore.Account{User: authagent.User{ID: id, EmailVerified: true}, Email: mail, Name: "N."})
	}
	f.For(t).SignIn(f.Browser(), f.AS.AddAgent(authagenttest.Agent{ID: "agent-bob", Email: bobMail}))
	<-held.reached
	f.For(t).SignIn(f.Browser(), f.AS.AddAgent(authagenttest.Agent{ID: "agent-ali", Email: aliceMail}))
	f.Users.Remove(aliceID)
	erased := make(chan error)
	go func() {
		_, err := f.RP.EraseUser(context.Background(), "", aliceID)
		erased <- err
	}()
	time.Sleep(100 * time.Millisecond) // until it waits for its turn
	close(held.goOn)
	if err := <-erased; err != nil {
		t.Error(err)
	}
	f.owners.Wait()
	nothingOf(t, with(d.dump(t, db), aliceID))
	if told[aliceID] > 0 || told[bobID] != 1 {
		t.Errorf("ERA-9: notices %v", told)
	}
}

// stoppedLinks and stoppedProfiles hold up a sign-in before it writes.
type stoppedLinks struct {
	linkedUsers
	at *stop
}

func (u stoppedLinks) LinkAgent(ctx context.Context, a authagent.Agent, id string) (string, error) {
	u.at.wait()
	return u.linkedUsers.LinkAgent(ctx, a, id)
}

type stoppedProfiles struct {
	*sqlstore.Profiles
	at *stop
}

func (p stoppedProfiles) FindOrCreateProfile(ctx context.Context, wanted authagent.Profile) (authagent.Profile, error) {
	p.at.wait()
	return p.Profiles.FindOrCreateProfile(ctx, wanted)
}

// stoppedTokens holds up a sign-in before its tokens are kept. It finds none by their account.
type stoppedTokens struct {
	on *sqlstore.Tokens
	at *stop
}

func (k stoppedTokens) SaveTokens(ctx context.Context, id string, old, sealed []byte, expires time.Time) error {
	k.at.wait()
	return k.on.SaveTokens(ctx, id, old, sealed, expires)
}
func (k stoppedTokens) LoadTokens(ctx context.Context, id string) ([]byte, error) {
	return k.on.LoadTokens(ctx, id)
}
func (k stoppedTokens) DeleteTokens(ctx context.Context, id string) error {
	return k.on.DeleteTokens(ctx, id)
}

// TestSignInUnderWay_ERA_10: whatever a sign-in writes next when its account is erased, nothing is left, and the agent can
// enter the owner's new account.
func TestSignInUnderWay_ERA_10(t *testing.T) {
	for _, at := range []string{"link", "profile", "tokens"} {
		t.Run(at, func(t *testing.T) {
			d := newDatabase(t, sqlite)
			s, db := d.migrated(t)
			held, open := newStop(), newStop()
			open.once.Do(func() {})
			stopAt := func(name string) *stop {
				if name == at {
					return held
				}
				return open
			}
			f := newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, us *memstore.Users) {
				linked := stoppedLinks{linkedUsers{users{us, s.Links()}}, stopAt("link")}
				c.Scenario = authagent.ContextualProfile(linked, stoppedProfiles{s.Profiles(), stopAt("profile")}, authagent.InsecureTrustEmail)
				if at == "tokens" {
					c.Tokens.Store = stoppedTokens{s.Tokens(), held}
				}
				c.Erasers = []authagent.Eraser{s.Trail()}
			})
			f.Users.Put(memstore.Account{User: authagent.User{ID: aliceID, EmailVerified: true}, Email: aliceMail, Name: "N."})
			agent := f.AS.AddAgent(authagenttest.Agent{ID: "agent-ali", Email: aliceMail})
			answered := make(chan problem.Reason)
			go func() { answered <- f.For(t).SignIn(f.Browser(), agent).Reason() }()
			<-held.reached
			f.Users.Remove(aliceID)
			if _, err := f.RP.EraseUser(t.Context(), "", aliceID); err != nil {
				t.Error(err)
			}
			close(held.goOn)
			if reason := <-answered; reason != problem.NoAccount {
				t.Errorf("ERA-10: the sign-in ended with %q", reason)
			}
			nothingOf(t, with(d.dump(t, db), aliceID))
			for _, table := range []string{"links", "profiles", "tokens"} {
				if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_`+table); n != 0 {
					t.Errorf("ERA-10: %v rows in %s", n, table)
				}
			}

			f.Users.Put(memstore.Account{User: authagent.User{ID: aliceID, EmailVerified: true}, Email: aliceMail, Name: "N."})
			if resp := f.For(t).SignIn(f.Browser(), agent); resp.Reason() != problem.NoAccount {
				t.Errorf("ERA-10: the ID is used again, and signing in ended with %d %q", resp.StatusCode, resp.Reason())
			}
			f.Users.Remove(aliceID)
			f.Users.Put(memstore.Account{User: authagent.User{ID: "new-" + bobID, EmailVerified: true}, Email: aliceMail, Name: "N."})
			f.For(t).MustSignIn(f.Browser(), agent)
		})
	}
}

// waiting is how much waits in each queue.
type waiting struct {
	mu sync.Mutex
	in map[string]float64
}

func (w *waiting) Record(n metrics.Name, v float64, l metrics.Labels) {
	if n == metrics.QueueWaiting {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.in[l[0]] += v
	}
}

// TestForgottenNotices_MET_6: notices that are dropped with their owner's account do not wait any more.
func TestForgottenNotices_MET_6(t *testing.T) {
	d := newDatabase(t, sqlite)
	s, _ := d.migrated(t)
	w := &waiting{in: make(map[string]float64)}
	f := newFilledSite(t, s, func(c *authagent.Config) { c.Metrics = w })
	f.owners.Notify = func(context.Context, grants.Notice) {}
	f.Users.Put(memstore.Account{User: authagent.User{ID: aliceID, EmailVerified: true}, Email: aliceMail, Name: "N."})
	waits := func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.in["owner_notices"]
	}
	for _, id := range []string{"agent-ali-1", "agent-ali-2"} { // the second notice waits for a minute
		f.For(t).SignIn(f.Browser(), f.AS.AddAgent(authagenttest.Agent{ID: id, Email: aliceMail}))
		time.Sleep(100 * time.Millisecond)
	}
	if waits() != 1 {
		t.Fatalf("%v notices wait, so the test proves nothing", waits())
	}
	f.Users.Remove(aliceID)
	if _, err := f.RP.EraseUser(t.Context(), "", aliceID); err != nil {
		t.Error(err)
	}
	f.owners.Wait()
	if waits() != 0 {
		t.Errorf("MET-6: %v notices wait after there are none", waits())
	}
}
