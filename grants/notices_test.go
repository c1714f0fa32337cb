package grants_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// A mailbox has what owners were told, as kind, owner, and count if it is more than one, which
// for a digest is that of its items.
type mailbox struct {
	log[string]
	all   log[grants.Notice]
	block chan struct{} // if it is not nil, nothing is told before it is closed
}

func (m *mailbox) notify(_ context.Context, n grants.Notice) {
	if m.block != nil {
		<-m.block
	}
	line := string(n.Kind) + " " + n.UserID
	if n.Count > 1 {
		line += fmt.Sprint(" ", n.Count)
	}
	m.add(line)
	m.all.add(n)
}

// mailed returns a shop of which the notices go to m, at their own time.
func mailed(t *testing.T, m *mailbox, change ...func(*grants.Policy)) *shop {
	return newShop(t, options{policy: func(p *grants.Policy) {
		p.Notify = m.notify
		for _, f := range change {
			f(p)
		}
	}})
}

// letIn gives an account an agent that may act, and returns the agent's browser.
func (s *shop) letIn(id, email, owner string) *http.Client {
	s.t.Helper()
	err := s.owners.LinkByOwner(context.Background(), authagent.LinkRequest{
		Agent: s.named(id), Email: email, Scenario: "FullAccount", User: &authagent.User{ID: owner},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.browser()
	s.get(c, s.callback(c, s.agent(id, email)))
	s.get(c, "/me")
	return c
}

// later lets time pass without asking for anything to be told.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestDigest is NTC-1 and NTC-4: what an agent causes is told at once, once, and then
// together; and a denial makes no room for more.
func TestDigest(t *testing.T) {
	bubble(t, "NTC-1 many at once", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		c := s.letIn("agent_1", "alice@example.com", s.alice)
		later(time.Minute)
		m.take()
		m.all.take()
		for n := range 20 {
			s.pay(c, fmt.Sprint("amount=", n))
			synctest.Wait()
		}
		if diff := cmp.Diff([]string{"action_asked " + s.alice}, m.take()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		later(2 * time.Minute)
		if diff := cmp.Diff([]string{"action_asked " + s.alice + " 19"}, m.take()); diff != "" {
			t.Errorf("after a minute (-want +got):\n%s", diff)
		}
		for _, n := range m.all.take() {
			more := strings.Contains(n.Text, "There are 18 more of this kind.") && strings.Contains(n.HTML, "There are 18 more of this kind.")
			if more != (n.Count == 19) || n.Approval == nil || n.Path == "" {
				t.Errorf("%+v: %s", n, n.Text)
			}
		}
	})
	bubble(t, "NTC-4 rounds of denials", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		c := s.letIn("agent_1", "alice@example.com", s.alice)
		later(time.Minute)
		m.take()
		asked := 0
		for round := range 60 { // an hour
			for n := range 20 {
				if s.pay(c, fmt.Sprint("amount=", n, "&round=", round)) == http.StatusAccepted {
					asked++
				}
			}
			for _, a := range s.overview(s.alice).Approvals {
				if a.State == grants.Pending {
					if _, err := s.owners.DecideAction(t.Context(), s.alice, a.ID, a.Version, false); err != nil {
						t.Fatal(err)
					}
				}
			}
			later(time.Minute)
		}
		if asked != 20 {
			t.Errorf("NTC-4: an agent that is denied asked %d times in an hour, want 20", asked)
		}
		if told := m.take(); len(told) > 9 {
			t.Errorf("NTC-4: an owner who denies was told %d times in an hour: %q", len(told), told)
		}
	})
	bubble(t, "NTC-1 steady", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m, func(p *grants.Policy) { p.MaxActions = 10000 })
		c := s.letIn("agent_1", "alice@example.com", s.alice)
		later(time.Minute)
		m.take()
		for n := range 5 * 60 {
			s.pay(c, fmt.Sprint("amount=", n))
			later(time.Minute)
		}
		if told := m.take(); len(told) < 30 || len(told) > 5*6+3 {
			t.Errorf("NTC-1: an owner was told %d times in five hours, want one in ten minutes: %q", len(told), told)
		}
	})
	bubble(t, "NTC-5 Wait tells all", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		c := s.letIn("agent_1", "alice@example.com", s.alice)
		s.wait()
		m.take()
		for n := range 20 {
			s.pay(c, fmt.Sprint("amount=", n))
		}
		start := time.Now()
		s.wait()
		sum := 0
		for _, n := range m.all.take() {
			if n.Kind == grants.EventActionAsked {
				sum += n.Count
			}
		}
		if sum != 20 || time.Since(start) > 0 {
			t.Errorf("NTC-5: Wait took %v and told of %d actions, want 20", time.Since(start), sum)
		}
	})
}

// TestSafetyFirst is NTC-2: while mail is slow, what has changed in an account goes
// before what waits, and that before what is good to know; owners are told in turn.
func TestSafetyFirst(t *testing.T) {
	bubble(t, "NTC-2 NTC-3 fourteen accounts", func(t *testing.T) {
		m := &mailbox{}
		s := mailed(t, m)
		mine := s.letIn("mine", "alice@example.com", s.alice)
		var attackers []*http.Client
		for n := range 14 {
			email := fmt.Sprintf("evil%d@example.com", n)
			attackers = append(attackers, s.letIn(fmt.Sprint("evil", n), email, s.users.Add(email, "")))
		}
		s.wait()
		later(time.Minute)
		m.take()
		m.block = make(chan struct{})
		for _, c := range attackers {
			for n := range 20 {
				s.pay(c, fmt.Sprint("amount=", n))
			}
		}
		synctest.Wait()
		s.signIn2("new", "alice@example.com") // another agent asks
		s.pay(mine, "amount=1")
		s.decide2(s.alice, "mine", grants.Revoked)
		synctest.Wait()
		close(m.block)
		synctest.Wait()
		told := m.take()
		for _, want := range []string{"link_pending " + s.alice, "action_asked " + s.alice, "link_revoked " + s.alice} {
			if !slices.Contains(told, want) {
				t.Errorf("NTC-3: alice did not hear of %s: %q", want, told)
			}
		}
		if at := slices.Index(told, "link_revoked "+s.alice); at != 1 { // one was on its way
			t.Errorf("NTC-2: the revocation comes as number %d: %q", at, told)
		}
	})
	bubble(t, "NTC-2 order", func(t *testing.T) {
		m := &mailbox{block: make(chan struct{})}
		s := mailed(t, m)
		carol, dave := s.users.Add("carol@example.com", ""), s.users.Add("dave@example.com", "")
		s.letIn("first", "dave@example.com", dave)
		synctest.Wait()
		s.letIn("a", "bob@example.com", s.bob)
		s.pay(s.letIn("b", "carol@example.com", carol), "amount=1")
		s.signIn2("c", "alice@example.com")
		s.decide2(carol, "b", grants.Suspended)
		synctest.Wait()
		close(m.block)
		later(24 * time.Hour)
		want := []string{
			"link_approved " + dave, "link_approved " + s.bob, "link_approved " + carol, "link_suspended " + carol,
			"action_asked " + carol, "link_pending " + s.alice, "link_first_used " + dave, "link_first_used " + s.bob, "link_first_used " + carol,
		}
		if diff := cmp.Diff(sortedWithin(want), sortedWithin(m.take())); diff != "" {
			t.Errorf("NTC-2 (-want +got):\n%s", diff)
		}
	})
}

// sortedWithin sorts notices that came at the same moment: the first, four, two, three.
func sortedWithin(told []string) []string {
	for _, part := range [][2]int{{1, 4}, {4, 6}, {6, 9}} {
		if len(told) >= part[1] {
			slices.Sort(told[part[0]:part[1]])
		}
	}
	return told
}

// signIn2 is signIn that does not ask for anything to be told.
func (s *shop) signIn2(id, email string) {
	s.t.Helper()
	c := s.browser()
	s.get(c, s.callback(c, s.agent(id, email)))
	synctest.Wait()
}

// decide2 is decide that does not ask for anything to be told.
func (s *shop) decide2(owner, id string, state grants.State) {
	s.t.Helper()
	g := s.grants(owner)[id]
	if _, err := s.owners.Decide(context.Background(), owner, grants.Decision{GrantID: g.ID, Version: g.Version, State: state}); err != nil {
		s.t.Fatal(err)
	}
}

// TestFullPost is NTC-3: when more waits than there is room for, a notice of an owner
// for whom little waits stays, and the flood of others makes room.
func TestFullPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mailbox{block: make(chan struct{})}
		store := &countedGrants{Store: noLists{&memstore.Grants{}}}
		p := grants.OwnerApproval(store)
		p.Logger, p.Notify = quiet, m.notify
		connect := func(user, agent string) grants.Grant {
			t.Helper()
			r := authagent.LinkRequest{Agent: authagent.Agent{Issuer: "https://as.example", ID: agent}, Scenario: "S", User: &authagent.User{ID: user}}
			if err := p.LinkByOwner(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			g, err := store.Grant(t.Context(), store.all[len(store.all)-1].ID)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		use := func(g grants.Grant, from string) {
			p.CheckSession(t.Context(), &authagent.Session{ID: g.ID, GrantID: g.ID, UserID: g.UserID, Agent: g.Agent, Scenario: g.Scenario, StartedAt: time.Now(), RemoteAddr: from})
		}
		ask := func(g grants.Grant) {
			p.Approve(t.Context(), action.Request{UserID: g.UserID, GrantID: g.ID, Agent: g.Agent, Digest: g.ID})
		}
		for n := range 1500 { // three of each, and one that is not urgent: 4500
			g := connect(fmt.Sprint("evil", n), fmt.Sprint("agent", n))
			use(g, "203.0.113.1")
			use(g, "203.0.113.2")
			ask(g)
		}
		victim := connect("victim", "mine")
		ask(victim)
		if _, err := p.Decide(t.Context(), "victim", grants.Decision{GrantID: victim.ID, Version: victim.Version, State: grants.Revoked}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(m.block)
		p.Wait()
		told := m.take()
		urgent := slices.DeleteFunc(slices.Clone(told), func(line string) bool { return strings.HasPrefix(line, "link_first_used ") })
		if len(urgent) != 4097 || len(told) != 4097+1500 { // one was on its way
			t.Errorf("NTC-3: %d notices waited, %d of them urgent, want 4096 of these at most", len(told)-1, len(urgent)-1)
		}
		for _, want := range []string{"link_approved victim", "action_asked victim", "link_revoked victim"} {
			if !slices.Contains(told, want) {
				t.Errorf("NTC-3: the victim did not hear of %s", want)
			}
		}
	})
}

// noLists is quick with many accounts, of which each has one agent.
type noLists struct{ grants.Store }

func (noLists) AgentGrants(context.Context, authagent.Agent) ([]grants.Grant, error) { return nil, nil }

func (noLists) OwnerGrants(context.Context, string) ([]grants.Grant, error) { return nil, nil }

func (noLists) OwnerApprovals(context.Context, string) ([]grants.Approval, error) { return nil, nil }

// TestNetworkWithinTheMinute_NTC_7: an owner is told of a new network also where whoever
// has a copy of an agent's cookie acts within a minute of the agent's own request.
func TestNetworkWithinTheMinute_NTC_7(t *testing.T) {
	bubble(t, "stolen cookie", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
		}})
		agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.get(c, "/me", "X-Addr", "198.51.100.1")
		s.told()
		for range 20 { // the agent goes on working, and so does the thief
			time.Sleep(61 * time.Second)
			s.get(c, "/me", "X-Addr", "198.51.100.1")
			time.Sleep(50 * time.Second)
			if resp := s.do(c, "POST", "/orders", "", "X-Addr", "203.0.113.66"); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			time.Sleep(9 * time.Second) // within the minute
		}
		if told := fmt.Sprint(s.told()); strings.Count(told, string(grants.EventNewNetwork)) != 1 {
			t.Errorf("20 orders from another network: the owner is told %s", told)
		}
	})
}
