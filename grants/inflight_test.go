package grants_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// erasing is a store in which an account is erased just before something is written.
type erasing struct {
	*memstore.Grants
	before func(method string)
}

func (e erasing) Touch(ctx context.Context, a grants.Activity) (grants.Use, error) {
	e.before("Touch")
	return e.Grants.Touch(ctx, a)
}

func (e erasing) AddDeed(ctx context.Context, d grants.Deed) error {
	e.before("AddDeed")
	return e.Grants.AddDeed(ctx, d)
}

func (e erasing) CreateApproval(ctx context.Context, a grants.Approval) (grants.Approval, bool, error) {
	e.before("CreateApproval")
	return e.Grants.CreateApproval(ctx, a)
}

func (e erasing) CreateAllowance(ctx context.Context, a grants.Allowance) (grants.Allowance, bool, error) {
	e.before("CreateAllowance")
	return e.Grants.CreateAllowance(ctx, a)
}

// InTurn has this store asked in the turn.
func (e erasing) InTurn(ctx context.Context, _ string, do func(context.Context, grants.Store) error) error {
	return do(ctx, e)
}

// TestUnderWay_ERA_9: a use, a deed, an action and an allowance that are written while the account is erased are not left, nor
// are those that come after. Their owner is told nothing.
func TestUnderWay_ERA_9(t *testing.T) {
	for _, method := range []string{"Touch", "AddDeed", "CreateApproval", "CreateAllowance"} {
		bubble(t, "ERA-9 "+method, func(t *testing.T) {
			kept := &memstore.Grants{}
			written, armed := 0, false
			var s *shop
			store := erasing{kept, func(at string) {
				if at != method || !armed {
					return
				}
				written++
				if err := s.owners.EraseUser(t.Context(), erasure(s.alice)); err != nil {
					t.Error(err)
				}
			}}
			s = newShop(t, options{
				scenario: "ContextualProfile", store: func(grants.Store) grants.Store { return store },
				policy: func(p *grants.Policy) {
					p.Approvals = map[string]string{"payouts:create": "Pay out money"}
					p.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
					p.Amount = func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, nil }
				},
			})
			_, c := s.approved("agent_1")
			g := s.overview(s.alice).Grants[0]
			s.told()
			armed = true
			do := func() {
				switch method {
				case "AddDeed": // it is not allowed
					s.get(c, "/full")
				case "CreateApproval":
					s.do(c, "POST", "/payouts", "amount=5")
				case "CreateAllowance":
					_, err := s.owners.Allow(t.Context(), s.alice, grants.Terms{GrantID: g.ID, Action: "payouts:create", Limit: grants.Amount{Value: 5, Currency: "USD"}})
					if err == nil {
						t.Error("ERA-9: an agent of an account that is erased is allowed something")
					}
				default:
					s.get(c, "/me")
				}
			}
			do()
			if written != 1 {
				t.Fatalf("%s was called %d times, so the test proves nothing", method, written)
			}
			time.Sleep(2 * time.Minute)
			do()
			if written != 1 {
				t.Errorf("ERA-9: %s was called after the account was erased", method)
			}
			if told := s.told(); len(told) > 0 {
				t.Errorf("ERA-9: the owner is told %v", told)
			}
			o := s.overview(s.alice)
			if n := len(o.Grants) + len(o.Approvals) + len(o.Allowances) + len(o.Sessions) + len(o.Uses) + len(o.Deeds); n > 0 {
				t.Errorf("ERA-9: left is %+v", o)
			}
		})
	}
}

// TestConnectErased_ERA_9: a human who was signed in when their account was erased connects no agent to it.
func TestConnectErased_ERA_9(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	p.Logger = quiet
	p.Notify = func(_ context.Context, n grants.Notice) { t.Errorf("ERA-9: the owner is told %s", n.Kind) }
	p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
	if err := p.EraseUser(t.Context(), erasure("alice")); err != nil {
		t.Fatal(err)
	}
	r := authagent.LinkRequest{
		Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}, Scenario: "FullAccount", Email: "alice@example.com",
		User: &authagent.User{ID: "alice", EmailVerified: true}, Access: authagent.AccessFull,
	}
	if err := p.LinkByOwner(t.Context(), r); !errors.Is(err, problem.NoAccount) {
		t.Errorf("ERA-9: connecting ended with %v", err)
	}
	if _, err := p.Link(t.Context(), r); !errors.Is(err, problem.NoAccount) {
		t.Errorf("ERA-9: being let in without the owner ended with %v", err)
	}
	p.Wait()
	if o, err := p.Overview(t.Context(), "alice"); err != nil || len(o.Grants) > 0 {
		t.Errorf("ERA-9: left is %+v, %v", o, err)
	}
}
