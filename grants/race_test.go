package grants_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// A betweenStore does something right before an approval is written, where a store
// shared with other instances lets them do it.
type betweenStore struct {
	grants.Store
	mu     sync.Mutex
	before func() // called once

	afterList bool // it is called after the next OwnerApprovals too
}

func (b *betweenStore) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = f
}

func (b *betweenStore) now() {
	b.mu.Lock()
	f := b.before
	b.before = nil
	b.mu.Unlock()
	if f != nil {
		f()
	}
}

func (b *betweenStore) OwnerApprovals(ctx context.Context, userID string) ([]grants.Approval, error) {
	all, err := b.Store.OwnerApprovals(ctx, userID)
	if b.afterList {
		b.now()
	}
	return all, err
}

func (b *betweenStore) CreateApproval(ctx context.Context, a grants.Approval) (grants.Approval, bool, error) {
	b.now()
	return b.Store.CreateApproval(ctx, a)
}

func (b *betweenStore) UpdateApproval(ctx context.Context, a grants.Approval) (grants.Approval, error) {
	b.now()
	return b.Store.UpdateApproval(ctx, a)
}

// TestStoppedWhileAsking is APR-5: whatever stops an agent while it asks for an
// action leaves nothing that waits or is approved, and nobody is told of it.
func TestStoppedWhileAsking(t *testing.T) {
	ctx := context.Background()
	for name, stop := range map[string]func(s *shop){
		"revoked":     func(s *shop) { s.decide(s.alice, "agent_1", grants.Revoked) },
		"suspended":   func(s *shop) { s.decide(s.alice, "agent_1", grants.Suspended) },
		"revoked all": func(s *shop) { s.owners.RevokeAll(ctx, s.alice) },
		"expired":     func(*shop) { time.Sleep(91 * 24 * time.Hour) },
		"another address": func(s *shop) {
			s.owners.Link(ctx, authagent.LinkRequest{Agent: s.named("agent_1"), Scenario: "FullAccount", Email: "eve@example.com"})
		},
	} {
		for _, renewed := range []bool{false, true} {
			bubble(t, "APR-5 "+name+map[bool]string{true: ", renewed"}[renewed], func(t *testing.T) {
				store := &betweenStore{}
				s := newShop(t, options{
					store: func(in grants.Store) grants.Store { store.Store = in; return store },
					config: func(_ *shop, c *authagent.Config) {
						c.Session.Idle, c.Session.Lifetime = 8760*time.Hour, 8760*time.Hour
					},
				})
				_, c := s.approved("agent_1")
				if renewed { // the request takes the place of one that has expired
					s.pay(c, "amount=1")
					time.Sleep(25 * time.Hour)
				}
				s.told()
				store.set(func() { stop(s) })
				if got := s.pay(c, "amount=1"); got != 401 || s.ran.Load() != 0 {
					t.Errorf("asked while it is stopped: %d, paid %d times", got, s.ran.Load())
				}
				for _, a := range s.overview(s.alice).Approvals {
					if a.State != grants.Denied {
						t.Errorf("%s is %s", a.Body, a.State)
					}
				}
				for _, told := range s.told() {
					if told == "action_asked "+s.alice {
						t.Error("the owner is told of what is denied")
					}
				}
			})
		}
	}
}

// TestStoppedBeforeUse is APR-5: an approval is of no use once its agent is stopped,
// also where the instance that stopped it has not come to deny its approvals.
func TestStoppedBeforeUse(t *testing.T) {
	bubble(t, "APR-5", func(t *testing.T) {
		store := &betweenStore{}
		s := newShop(t, options{store: func(in grants.Store) grants.Store { store.Store = in; return store }})
		_, c := s.approved("agent_1")
		s.pay(c, "amount=1")
		s.decideAction(s.alice, true)
		store.afterList = true
		store.set(func() { // after the session was found to hold
			g := s.grants(s.alice)["agent_1"]
			g.State = grants.Revoked
			if _, err := store.UpdateGrant(context.Background(), g); err != nil {
				t.Error(err)
			}
		})
		if got := s.pay(c, "amount=1"); got != 401 || s.ran.Load() != 0 || s.overview(s.alice).Approvals[0].State != grants.Denied {
			t.Errorf("%d, paid %d times, %+v", got, s.ran.Load(), s.overview(s.alice).Approvals)
		}
	})
}

// TestApproveForStopped is APR-5: an owner cannot approve an action whose agent is
// stopped, and what was approved before the agent's time was over is gone when it is
// let in anew.
func TestApproveForStopped(t *testing.T) {
	ctx := context.Background()
	long := func(_ *shop, c *authagent.Config) {
		c.Session.Idle, c.Session.Lifetime = 8760*time.Hour, 8760*time.Hour
	}
	week := func(p *grants.Policy) {
		p.PendingFor, p.ApprovedFor, p.ActionFor = 7*24*time.Hour, 24*time.Hour, 7*24*time.Hour
	}
	for name, again := range map[string]func(s *shop, agent string){
		"approved": func(s *shop, agent string) { s.decide(s.alice, agent, grants.Approved) },
		"connected": func(s *shop, agent string) {
			r := authagent.LinkRequest{Agent: s.named(agent), Scenario: "FullAccount", Email: "alice@example.com", User: &authagent.User{ID: s.alice}}
			if err := s.owners.LinkByOwner(ctx, r); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		bubble(t, "APR-5 "+name, func(t *testing.T) {
			s := newShop(t, options{config: long, policy: week})
			agent, c := s.approved("agent_1")
			s.pay(c, "amount=1")
			s.decideAction(s.alice, true)
			s.pay(c, "amount=2")
			time.Sleep(25 * time.Hour)
			for _, a := range s.overview(s.alice).Approvals {
				if a.State != grants.Pending {
					continue
				}
				if _, err := s.owners.DecideAction(ctx, s.alice, a.ID, a.Version, true); !errors.Is(err, authagent.ErrConflict) {
					t.Errorf("approve an action of an agent whose time is over: %v", err)
				}
			}
			again(s, "agent_1")
			s.wantSignIn(c, agent, 303, "")
			for _, body := range []string{"amount=1", "amount=2"} {
				if got := s.pay(c, body); got != 403 || s.ran.Load() != 0 {
					t.Errorf("%s: %d, paid %d times", body, got, s.ran.Load())
				}
			}
		})
	}
}

// TestDeniedAnew is APR-5: what waits of an agent whose time was over does not go on
// waiting when its owner denies it.
func TestDeniedAnew(t *testing.T) {
	bubble(t, "APR-5", func(t *testing.T) {
		s := newShop(t, options{
			policy: func(p *grants.Policy) { p.PendingFor, p.ApprovedFor = 7*24*time.Hour, 24*time.Hour },
			config: func(_ *shop, c *authagent.Config) {
				c.Session.Idle, c.Session.Lifetime = 8760*time.Hour, 8760*time.Hour
			},
		})
		agent, c := s.approved("agent_1")
		s.pay(c, "amount=1")
		time.Sleep(25 * time.Hour)
		s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		s.decide(s.alice, "agent_1", grants.Denied)
		if all := s.overview(s.alice).Approvals; len(all) != 1 || all[0].State != grants.Denied {
			t.Errorf("approvals: %+v", all)
		}
	})
}
