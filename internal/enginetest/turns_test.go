package enginetest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// linkOf is the request of the n-th agent of an account.
func linkOf(n int, user string) authagent.LinkRequest {
	return authagent.LinkRequest{
		Agent: authagent.Agent{Issuer: "https://as.example", ID: fmt.Sprint("agent_", n, "_", user)}, Scenario: "FullAccount", Email: user + "@example.com",
		User: &authagent.User{ID: user, EmailVerified: true},
	}
}

// inState counts the grants of an account that are in a state.
func inState(t *testing.T, p *grants.Policy, user string, state grants.State) (n int) {
	t.Helper()
	o, err := p.Overview(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range o.Grants {
		if g.Now() == state {
			n++
		}
	}
	return n
}

// TestMaxAgents_CAP_1 is CAP-1: whoever lets agents in at whichever instance, an account has MaxAgents, and
// those that there was no room for can be let in later.
func TestMaxAgents_CAP_1(t *testing.T) {
	const most, agents = 3, 16
	waits := func(ctx context.Context, p *grants.Policy, s *sqlstore.Store, n int, user string) error {
		_, _, err := s.Grants().CreateGrant(ctx, approvedGrant(func(g *grants.Grant) {
			r := linkOf(n, user)
			g.Agent, g.Scenario, g.UserID, g.State, g.RequestedAt, g.Email = r.Agent, r.Scenario, user, grants.Pending, time.Now(), r.Email
		}))
		return err
	}
	approve := func(ctx context.Context, p *grants.Policy, n int, user string) error {
		o, err := p.Overview(ctx, user)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(o.Grants, func(g grants.Grant) bool { return g.Agent == linkOf(n, user).Agent })
		_, err = p.Decide(ctx, user, grants.Decision{GrantID: o.Grants[i].ID, Version: o.Grants[i].Version, State: grants.Approved, Access: authagent.AccessRead})
		return err
	}
	byEmail := func(ctx context.Context, p *grants.Policy, n int, user string) error {
		_, err := p.Link(ctx, linkOf(n, user))
		if errors.Is(err, problem.ApprovalNeeded) {
			return problem.LinkRefused
		}
		return err
	}
	connect := func(ctx context.Context, p *grants.Policy, n int, user string) error {
		return p.LinkByOwner(ctx, linkOf(n, user))
	}
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		for name, way := range map[string]struct {
			before func(context.Context, *grants.Policy, *sqlstore.Store, int, string) error
			letIn  func(context.Context, *grants.Policy, int, string) error
		}{"decide": {waits, approve}, "connect": {nil, connect}, "by e-mail": {nil, byEmail}} {
			owners, _ := d.owners(t, 4)
			for _, p := range owners {
				p.MaxAgents, p.MaxNotices = most, 100
				p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
			}
			for round := range 3 {
				user := fmt.Sprint(strings.Fields(name)[0], round, d.prefix)
				var next, in atomic.Int64
				for n := range agents {
					if way.before == nil {
						break
					}
					if err := way.before(t.Context(), owners[0], s, n, user); err != nil {
						t.Fatal(err)
					}
				}
				atOnce(owners, agents, func(p *grants.Policy) {
					switch err := way.letIn(t.Context(), p, int(next.Add(1)-1), user); {
					case err == nil:
						in.Add(1)
					case !errors.Is(err, problem.LinkRefused):
						t.Errorf("%s: %v", name, err)
					}
				})
				if got := inState(t, owners[0], user, grants.Approved); got != most || in.Load() != most {
					t.Errorf("CAP-1: %s: %d of %d agents were let in, and %d are in the account, which may have %d", name, in.Load(), agents, got, most)
				}
				if way.before != nil {
					if got := inState(t, owners[0], user, grants.Pending); got != agents-most {
						t.Errorf("CAP-1: %d of %d requests wait on", got, agents-most)
					}
				}
			}
		}
	})
}

// TestMaxNotices_CAP_2 is CAP-2: however many agents ask at however many instances, an owner is asked
// MaxNotices times in an hour, also where one agent asks again and again.
func TestMaxNotices_CAP_2(t *testing.T) {
	const most = 3
	onEngines(t, func(t *testing.T, d *database) {
		owners, _ := d.owners(t, 4)
		var asked atomic.Int64
		for _, p := range owners {
			p.MaxNotices = most
			p.Audit = func(_ context.Context, e audit.Event) {
				if e.Name == grants.EventPending {
					asked.Add(1)
				}
			}
		}
		for round := range 3 {
			asked.Store(0)
			user := fmt.Sprint("many", round)
			var next atomic.Int64
			atOnce(owners, 40, func(p *grants.Policy) { p.Link(t.Context(), linkOf(int(next.Add(1)), user)) })
			if got := inState(t, owners[0], user, grants.Pending); got != most || asked.Load() != most {
				t.Errorf("CAP-2: the owner was asked %d times, %d requests wait, and MaxNotices is %d", asked.Load(), got, most)
			}
		}
		asked.Store(0)
		for _, p := range owners {
			p.PendingFor = time.Millisecond
		}
		for range 4 * most {
			atOnce(owners, 4, func(p *grants.Policy) { p.Link(t.Context(), linkOf(0, "again")) })
			time.Sleep(2 * time.Millisecond)
		}
		if asked.Load() != most {
			t.Errorf("CAP-2: one agent has asked %d times, and MaxNotices is %d", asked.Load(), most)
		}
	})
}

// TestMaxActions_CAP_3 is CAP-3: however many actions are asked for at however many instances, MaxActions wait for
// their owner.
func TestMaxActions_CAP_3(t *testing.T) {
	const most = 5
	onEngines(t, func(t *testing.T, d *database) {
		owners, _ := d.owners(t, 4)
		for _, p := range owners {
			p.MaxActions = most
		}
		for round := range 3 {
			user := fmt.Sprint("user", round)
			if err := owners[0].LinkByOwner(t.Context(), linkOf(0, user)); err != nil {
				t.Fatal(err)
			}
			o, err := owners[0].Overview(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			g := o.Grants[0]
			var next, waiting, limited atomic.Int64
			atOnce(owners, 40, func(p *grants.Policy) {
				_, _, err := p.Approve(t.Context(), action.Request{
					UserID: user, GrantID: g.ID, Agent: g.Agent, Action: "pay", Method: "POST", Target: "/pay", Digest: fmt.Sprint(next.Add(1)),
				})
				switch {
				case errors.Is(err, problem.ApprovalPending):
					waiting.Add(1)
				case errors.Is(err, problem.Limited):
					limited.Add(1)
				default:
					t.Errorf("Approve: %v", err)
				}
			})
			if o, err = owners[1].Overview(t.Context(), user); err != nil || len(o.Approvals) != most || waiting.Load() != most || limited.Load() != 40-most {
				t.Errorf("CAP-3: %d wait, %d were told that they do, %d that there are too many; MaxActions is %d (%v)",
					len(o.Approvals), waiting.Load(), limited.Load(), most, err)
			}
		}
	})
}

// TestTurnEndsWithProcess_CAP_4 is CAP-4: a process that is killed in its turn holds up nobody.
func TestTurnEndsWithProcess_CAP_4(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		child := exec.Command(os.Args[0], "-test.run=^TestTurnChild$")
		child.Env = append(os.Environ(), "AUTHAGENT_TURN="+d.name+" "+d.prefix, "AUTHAGENT_TURN_DSN="+d.with(d.usual...))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "in its turn"; {
		}
		turn := func(ctx context.Context) error {
			return s.Grants().InTurn(ctx, "alice", func(context.Context, grants.Store) error { return nil })
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := turn(short); err == nil {
			t.Error("CAP-4: two turns at once")
		}
		child.Process.Kill()
		killed := time.Now()
		child.Wait()
		if err := turn(t.Context()); err != nil || time.Since(killed) > 5*time.Second {
			t.Errorf("CAP-4: the turn after came %v later: %v", time.Since(killed), err)
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_grants`); n != 0 {
			t.Errorf("CAP-4: %d grants are there of a turn that was not finished", n)
		}
	})
}

// TestTurnChild is the process that is killed in its turn.
func TestTurnChild(t *testing.T) {
	name, prefix, _ := strings.Cut(os.Getenv("AUTHAGENT_TURN"), " ")
	if name == "" {
		return
	}
	d := &database{engine: engineNamed(name), prefix: prefix, dsn: os.Getenv("AUTHAGENT_TURN_DSN")}
	d.usual = nil
	err := d.open(t, d.connect(t)).Grants().InTurn(t.Context(), "alice", func(ctx context.Context, in grants.Store) error {
		if _, _, err := in.CreateGrant(ctx, approvedGrant(func(*grants.Grant) {})); err != nil {
			return err
		}
		fmt.Println("in its turn")
		<-ctx.Done()
		return ctx.Err()
	})
	panic(err) // it should not have lived so long
}

// TestTurnAsksOneConnection_CAP_5 is CAP-5: nothing that is done in a turn needs a second connection, and none of the
// site's functions runs in one.
func TestTurnAsksOneConnection_CAP_5(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, db := d.migrated(t)
		db.SetMaxOpenConns(1)
		asks := func(ctx context.Context) error { return db.PingContext(ctx) }
		p := grants.OwnerApproval(d.open(t, db).Grants())
		p.Logger = slog.New(slog.DiscardHandler)
		p.Privileged = func(ctx context.Context, _ string) (bool, error) { return false, asks(ctx) }
		p.Describe = func(ctx context.Context, _ action.Request) (string, error) { return "", asks(ctx) }
		p.Notify = func(ctx context.Context, _ grants.Notice) { asks(ctx) }
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := p.Link(ctx, linkOf(1, "alice")); err != problem.ApprovalNeeded {
			t.Fatal(err)
		}
		p.Wait()
		o, err := p.Overview(ctx, "alice")
		if err != nil || len(o.Grants) != 1 {
			t.Fatalf("CAP-5: %+v, %v", o.Grants, err)
		}
		g := o.Grants[0]
		if g, err = p.Decide(ctx, "alice", grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}); err != nil {
			t.Fatalf("CAP-5: %v", err)
		}
		if err := p.LinkByOwner(ctx, linkOf(2, "alice")); err != nil {
			t.Errorf("CAP-5: %v", err)
		}
		_, _, err = p.Approve(ctx, action.Request{
			UserID: "alice", GrantID: g.ID, Agent: g.Agent, Action: "pay", Method: "POST", Target: "/pay", Digest: "x",
			CountFiling: func() error { return asks(ctx) },
		})
		if !errors.Is(err, problem.ApprovalPending) {
			t.Errorf("CAP-5: %v", err)
		}
		p.Wait()
	})
}
