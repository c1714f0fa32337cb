package grants_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// pay asks for a payout and returns the status.
func (s *shop) pay(c *http.Client, body string, header ...string) int {
	s.t.Helper()
	return s.do(c, "POST", "/payouts", body, header...).StatusCode
}

// decideAction decides about the one action that waits.
func (s *shop) decideAction(user string, approve bool) grants.Approval {
	s.t.Helper()
	for _, a := range s.overview(user).Approvals {
		if a.State == grants.Pending {
			a, err := s.owners.DecideAction(context.Background(), user, a.ID, a.Version, approve)
			if err != nil {
				s.t.Fatal(err)
			}
			return a
		}
	}
	s.t.Fatal("no action waits")
	return grants.Approval{}
}

// TestApprove follows single actions through all that can become of them.
func TestApprove(t *testing.T) {
	bubble(t, "approved", func(t *testing.T) {
		s := newShop(t, options{})
		_, c := s.approved("agent_1") // which may only read
		s.get(c, "/me")
		s.told()
		for range 3 {
			resp := s.do(c, "POST", "/payouts?to=bob", "amount=1")
			if resp.StatusCode != 202 || resp.reason() != problem.ApprovalPending || resp.Header.Get("Retry-After") == "" ||
				resp.Header.Get("Location") != "/account/agents/approvals/"+s.overview(s.alice).Approvals[0].ID {
				t.Errorf("asked: %d %v %s", resp.StatusCode, resp.Header, resp.body)
			}
		}
		if diff := cmp.Diff([]string{"action_asked " + s.alice}, s.told()); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		got := s.overview(s.alice).Approvals[0]
		want := grants.Approval{
			ID: got.ID, Version: 1, UserID: s.alice, GrantID: s.grants(s.alice)["agent_1"].ID, Agent: s.named("agent_1"), Action: "payouts:create",
			Digest: got.Digest, State: grants.Pending, Method: "POST", Host: "shop.example", Target: "/payouts?to=bob", ContentType: "application/x-www-form-urlencoded",
			Body: []byte("amount=1"), RequestedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("approval (-want +got):\n%s", diff)
		}
		s.decideAction(s.alice, true)
		before := s.ran.Load()
		for _, want := range []int{200, 409, 409} {
			if got := s.do(c, "POST", "/payouts?to=bob", "amount=1").StatusCode; got != want {
				t.Errorf("payout: %d, want %d", got, want)
			}
		}
		if n := s.ran.Load() - before; n != 1 {
			t.Errorf("paid %d times", n)
		}
		if got := s.do(c, "POST", "/payouts?to=bob", "amount=1", "Idempotency-Key", "2").StatusCode; got != 202 {
			t.Errorf("the same again by another key: %d", got)
		}
	})
	bubble(t, "denied", func(t *testing.T) {
		s := newShop(t, options{})
		_, c := s.approved("agent_1", withFullAccess) // full access does not help
		for _, want := range []int{202, 403, 403} {
			if got := s.pay(c, "amount=1"); got != want {
				t.Errorf("payout: %d, want %d", got, want)
			}
			if want == 202 {
				s.decideAction(s.alice, false)
			}
		}
		if got := s.ran.Load(); got != 0 {
			t.Errorf("paid %d times", got)
		}
	})
	bubble(t, "expired and renewed", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.Session.Idle, c.Session.Lifetime = 999*time.Hour, 999*time.Hour }})
		_, c := s.approved("agent_1")
		s.told()
		s.pay(c, "amount=1")
		time.Sleep(24 * time.Hour) // nobody decides
		old := s.overview(s.alice).Approvals
		if got := s.pay(c, "amount=1"); got != 202 || len(old) != 0 {
			t.Errorf("asked anew: %d, before that %v waited", got, old)
		}
		s.decideAction(s.alice, true)
		time.Sleep(time.Hour) // the agent does not come
		if got := s.pay(c, "amount=1"); got != 202 {
			t.Errorf("too late: %d", got)
		}
		a := s.decideAction(s.alice, true)
		time.Sleep(time.Hour - time.Second)
		for _, want := range []int{200, 409} {
			if got := s.pay(c, "amount=1"); got != want {
				t.Errorf("in time: %d, want %d", got, want)
			}
		}
		if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("approve what was used: %v", err)
		}
		n := 0
		for _, told := range s.told() {
			if told == "action_asked "+s.alice {
				n++
			}
		}
		if n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
	})
	bubble(t, "another agent", func(t *testing.T) {
		s := newShop(t, options{})
		_, one := s.approved("agent_1")
		_, two := s.approved("agent_2")
		s.pay(one, "amount=1")
		s.decideAction(s.alice, true)
		if got := s.pay(two, "amount=1"); got != 202 {
			t.Errorf("another agent with the same body: %d", got)
		}
		if got := s.pay(one, "amount=2"); got != 202 {
			t.Errorf("another body: %d", got)
		}
		if got := s.pay(one, "amount=1"); got != 200 {
			t.Errorf("the one that was approved: %d", got)
		}
	})
	bubble(t, "SES-11 revoked meanwhile", func(t *testing.T) {
		s := newShop(t, options{})
		_, c := s.approved("agent_1")
		s.pay(c, "amount=1")
		s.decideAction(s.alice, true)
		s.decide(s.alice, "agent_1", grants.Revoked)
		if got := s.pay(c, "amount=1"); got != 401 || s.ran.Load() != 0 {
			t.Errorf("paid: %d, %d times", got, s.ran.Load())
		}
	})
}

// TestDecideAction: an action is decided once, by its owner, in the version seen.
func TestDecideAction(t *testing.T) {
	ctx := context.Background()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		_, c := s.approved("agent_1")
		s.pay(c, "amount=1")
		a := s.overview(s.alice).Approvals[0]
		for _, test := range []struct {
			name, user, id string
			version        int64
			want           error
		}{
			{"of bob", s.bob, a.ID, 1, authagent.ErrNotFound},
			{"of nobody", "", a.ID, 1, authagent.ErrNotFound},
			{"unknown", s.alice, "x", 1, authagent.ErrNotFound},
			{"another version", s.alice, a.ID, 2, authagent.ErrConflict},
		} {
			if _, err := s.owners.DecideAction(ctx, test.user, test.id, test.version, true); !errors.Is(err, test.want) {
				t.Errorf("LNK-4 %s: %v, want %v", test.name, err, test.want)
			}
		}
		s.happened()
		s.decideAction(s.alice, false)
		events := s.events.take()
		if len(events) != 1 || events[0].Name != grants.EventActionDenied || events[0].HumanID != s.alice || events[0].Agent != s.named("agent_1") ||
			events[0].Action != "payouts:create" || events[0].GrantID != a.GrantID || events[0].UserID != s.alice {
			t.Errorf("LOG-3 events: %+v", events)
		}
		for _, approve := range []bool{true, false} {
			for _, version := range []int64{1, 2} {
				if _, err := s.owners.DecideAction(ctx, s.alice, a.ID, version, approve); !errors.Is(err, authagent.ErrConflict) {
					t.Errorf("decide again: %v", err)
				}
			}
		}
		time.Sleep(24 * time.Hour)
		if _, err := s.owners.DecideAction(ctx, s.alice, a.ID, 2, true); !errors.Is(err, grants.ErrExpired) {
			t.Errorf("decide what has expired: %v", err)
		}
	})
}

// TestApproveAtOnce: an approval lets one request through, however many retry at
// however many instances.
func TestApproveAtOnce(t *testing.T) {
	s := newShop(t, options{})
	s.instance("b")
	_, c := s.approved("agent_1")
	s.get(c, "/me")
	s.told()
	statuses := func() map[int]int {
		var mu sync.Mutex
		var wg sync.WaitGroup
		count := make(map[int]int)
		start := make(chan struct{})
		for n := range atOnce {
			wg.Go(func() {
				<-start
				status := s.pay(c, "amount=1", "X-Instance", []string{"", "b"}[n%2])
				mu.Lock()
				defer mu.Unlock()
				count[status]++
			})
		}
		close(start)
		wg.Wait()
		return count
	}
	if diff := cmp.Diff(map[int]int{202: atOnce}, statuses()); diff != "" {
		t.Errorf("asked at once (-want +got):\n%s", diff)
	}
	if n := len(s.overview(s.alice).Approvals); n != 1 {
		t.Errorf("%d approvals, want 1", n)
	}
	if told := s.told(); len(told) != 1 {
		t.Errorf("told: %v", told)
	}
	s.decideAction(s.alice, true)
	before := s.ran.Load()
	if diff := cmp.Diff(map[int]int{200: 1, 409: atOnce - 1}, statuses()); diff != "" || s.ran.Load() != before+1 {
		t.Errorf("paid %d times (-want +got):\n%s", s.ran.Load()-before, diff)
	}
}

// TestMaxActions: no agent floods its owner with single actions, at once or one
// after the other; those of others still wait.
func TestMaxActions(t *testing.T) {
	for _, test := range []struct{ set, want int }{{0, 20}, {3, 3}} {
		bubble(t, fmt.Sprintf("LNK-14 MaxActions %d", test.set), func(t *testing.T) {
			s := newShop(t, options{
				policy: func(p *grants.Policy) { p.MaxActions = test.set },
				store:  func(in grants.Store) grants.Store { return slowApprovals{in} },
			})
			_, c := s.approved("agent_1")
			var wg sync.WaitGroup
			for n := range atOnce {
				wg.Go(func() { s.pay(c, fmt.Sprint("amount=", n)) })
			}
			wg.Wait()
			if n := len(s.overview(s.alice).Approvals); n != test.want {
				t.Errorf("%d actions wait, want %d", n, test.want)
			}
			resp := s.do(c, "POST", "/payouts", "amount=one more")
			if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "3600" {
				t.Errorf("one more: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			a := s.decideAction(s.alice, true)
			if got := s.pay(c, string(a.Body)); got != 200 {
				t.Errorf("one that was approved: %d", got)
			}
			if got := s.pay(c, "amount=one more"); got != 202 {
				t.Errorf("one more after one was decided: %d", got)
			}
		})
	}
}

// slowApprovals leaves time between reading and writing.
type slowApprovals struct{ grants.Store }

func (s slowApprovals) OwnerApprovals(ctx context.Context, id string) ([]grants.Approval, error) {
	defer time.Sleep(storeTime)
	return s.Store.OwnerApprovals(ctx, id)
}

// TestRevokedApproval is SES-11: what was approved goes with the grant that it
// rests on, and does not come back with it.
func TestRevokedApproval(t *testing.T) {
	for _, stop := range []grants.State{grants.Revoked, grants.Suspended} {
		bubble(t, string(stop), func(t *testing.T) {
			s := newShop(t, options{})
			agent, c := s.approved("agent_1")
			_, other := s.approved("agent_2")
			s.pay(other, "amount=3")
			s.decideAction(s.alice, true)
			s.pay(c, "amount=1")
			s.decideAction(s.alice, true)
			s.pay(c, "amount=2")
			s.decide(s.alice, "agent_1", stop)
			for _, a := range s.overview(s.alice).Approvals {
				if want := map[string]grants.State{"amount=1": grants.Denied, "amount=2": grants.Denied, "amount=3": grants.Approved}[string(a.Body)]; a.State != want {
					t.Errorf("%s is %s, want %s", a.Body, a.State, want)
				}
			}
			s.decide(s.alice, "agent_1", grants.Approved)
			s.wantSignIn(c, agent, http.StatusSeeOther, "")
			for _, body := range []string{"amount=1", "amount=2"} {
				if got := s.pay(c, body); got != 403 {
					t.Errorf("%s, once the agent is in again: %d", body, got)
				}
			}
			if got := s.pay(other, "amount=3"); got != 200 {
				t.Errorf("another agent's: %d", got)
			}
		})
	}
}

// TestApprovalsAreApart_LNK_24 is LNK-24: what waits for the approvals of one account holds
// up no other.
func TestApprovalsAreApart_LNK_24(t *testing.T) {
	block := make(chan struct{})
	blocked := make(chan struct{})
	p := grants.OwnerApproval(stuckApprovals{&memstore.Grants{}, sync.OnceFunc(func() { close(blocked) }), block})
	ask := func(ctx context.Context, user string) error {
		_, _, err := p.Approve(ctx, action.Request{UserID: user, Digest: "x"})
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { ask(context.Background(), "stuck") })
	<-blocked
	held := 0
	for n := range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		if errors.Is(ask(ctx, fmt.Sprint("user", n)), context.DeadlineExceeded) {
			held++
		}
		cancel()
	}
	close(block)
	wg.Wait()
	if held > 0 {
		t.Errorf("LNK-24: %d of 50 accounts had to wait for another one", held)
	}
}

// stuckApprovals blocks one account's.
type stuckApprovals struct {
	grants.Store
	blocked func()
	block   chan struct{}
}

func (s stuckApprovals) OwnerApprovals(ctx context.Context, id string) ([]grants.Approval, error) {
	if id == "stuck" {
		s.blocked()
		<-s.block
	}
	return s.Store.OwnerApprovals(ctx, id)
}
