package grants_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// TestCheckInOrder: all that is wrong is said in the same order each time.
func TestCheckInOrder(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	p.Actions, p.Approvals = make(map[string]string), make(map[string]string)
	var want []string
	for _, name := range []string{"a a", "b b", "c c", "d d", "e e", "f f"} {
		p.Actions[name] = name
		want = append(want, `grants: Actions: "`+name+`" is not the name of an action`)
	}
	for _, name := range []string{"g g", "h h", "i i", "j j", "k k", "l l"} {
		p.Approvals[name] = name
		want = append(want, `grants: Approvals: "`+name+`" is not the name of an action`)
	}
	p.DangerouslyApproveByEmail = &grants.EmailApproval{Domains: []string{"*.example"}}
	want = append(want, "grants: DangerouslyApproveByEmail: Issuers has to be a list of exact names",
		"grants: DangerouslyApproveByEmail: Domains has to be a list of exact names")
	for range 20 { // a map may have the right order by chance
		if diff := cmp.Diff(want, strings.Split(p.Check().Error(), "\n")); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// backwards is a store that returns lists in one order, and then in the other.
type backwards struct {
	memstore.Grants
	turned bool
}

func turn[T any](s *backwards, list []T, err error) ([]T, error) {
	if s.turned {
		slices.Reverse(list)
	}
	return list, err
}

func (s *backwards) OwnerGrants(ctx context.Context, userID string) ([]grants.Grant, error) {
	list, err := s.Grants.OwnerGrants(ctx, userID)
	return turn(s, list, err)
}

func (s *backwards) OwnerApprovals(ctx context.Context, userID string) ([]grants.Approval, error) {
	list, err := s.Grants.OwnerApprovals(ctx, userID)
	return turn(s, list, err)
}

func (s *backwards) OwnerActivity(ctx context.Context, userID string) ([]grants.Activity, error) {
	list, err := s.Grants.OwnerActivity(ctx, userID)
	return turn(s, list, err)
}

func (s *backwards) OwnerUses(ctx context.Context, userID string) ([]grants.LastUse, error) {
	list, err := s.Grants.OwnerUses(ctx, userID)
	return turn(s, list, err)
}

// TestOverviewInOrder: an owner sees the same, whatever order the store has it in, also of
// what has come at one moment.
func TestOverviewInOrder(t *testing.T) {
	store, now := &backwards{}, time.Now()
	for _, id := range []string{"a", "b", "c"} {
		g := grants.Grant{
			ID: id, Version: 1, Agent: authagent.Agent{Issuer: "i", ID: id}, UserID: "alice", State: grants.Approved,
			RequestedAt: now, DecidedAt: now, ExpiresAt: now.Add(time.Hour),
		}
		a := grants.Approval{ID: id, Version: 1, UserID: "alice", GrantID: id, Digest: id, RequestedAt: now, ExpiresAt: now.Add(time.Hour)}
		s := grants.Activity{SessionID: id, GrantID: id, UserID: "alice", SeenAt: now, ExpiresAt: now.Add(time.Hour)}
		_, _, err := store.CreateGrant(t.Context(), g)
		if err == nil {
			_, _, err = store.CreateApproval(t.Context(), a)
		}
		if err == nil {
			_, err = store.Touch(t.Context(), s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := grants.OwnerApproval(store)
	first, err := p.Overview(t.Context(), "alice")
	if err != nil || len(first.Grants) != 3 || len(first.Approvals) != 3 || len(first.Sessions) != 3 || len(first.Uses) != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	store.turned = true
	second, err := p.Overview(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("in another order (-first +second):\n%s", diff)
	}
}
