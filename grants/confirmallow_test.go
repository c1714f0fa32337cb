package grants_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// confirmPay is a confirmSite whose owners can allow payouts up to an amount, and have allowed the
// agent of the grant "reader" 10 dollars in 30 days, until in 30 days.
func confirmPay(t *testing.T, change ...func(*site, *authagent.Config)) (*site, *byDigest) {
	t.Helper()
	s, confirm := confirmSite(t, append(change, func(s *site, _ *authagent.Config) {
		s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
		s.owners.Amount = func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, nil }
		s.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}, {Code: "JPY"}}}
		s.owners.ConfirmAbove = map[string]int64{"USD": 500}
	})...)
	_, err := s.owners.Allow(t.Context(), s.alice, grants.Terms{
		GrantID: "reader", Action: "payouts:create", Limit: grants.Amount{Value: 1000, Currency: "USD"}, Days: 30, For: 30 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, confirm
}

func allowing(change ...string) []string {
	fields := map[string]string{
		"id": "reader", "action": "payouts:create", "amount": "10", "currency": "USD", "per": "30", "days": "7", "seen": "1",
	}
	for i := 0; i < len(change); i += 2 {
		fields[change[i]] = change[i+1]
	}
	var all []string
	for name, value := range fields {
		all = append(all, name, value)
	}
	return all
}

func (s *site) allowanceOf(id string) grants.Allowance {
	s.t.Helper()
	o, err := s.owners.Overview(s.t.Context(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range o.Allowances {
		if a.GrantID == id {
			return a
		}
	}
	return grants.Allowance{}
}

// TestAllowIsConfirmed_CONF_8 is CONF-8: an allowance, and each change that gives more, needs the
// proof of exactly that.
func TestAllowIsConfirmed_CONF_8(t *testing.T) {
	seen := make(map[string]string)
	for name, fields := range map[string][]string{
		"a larger amount":        allowing("amount", "10.01"),
		"another period":         allowing("per", "7"),
		"in total":               allowing("per", "0"),
		"another currency":       allowing("currency", "JPY", "amount", "1"),
		"a later end":            allowing("days", "90"),
		"the first of a grant":   allowing("id", "full", "seen", "0", "amount", "1"),
		"the first of a smaller": allowing("id", "full", "seen", "0", "amount", "2"),
	} {
		s, confirm := confirmPay(t)
		alice := s.human(s.alice)
		before := s.allowanceOf("reader")
		for _, proof := range []string{"", "wrong"} {
			resp := s.do(alice, "POST", agents+"allow", form(append(fields, "proof", proof)...))
			if resp.StatusCode != 403 || s.allowanceOf("reader").Version != before.Version || s.allowanceOf("full").Terms != 0 {
				t.Errorf("%s with proof %q: %d %s", name, proof, resp.StatusCode, resp.body)
			}
		}
		digest := confirm.asked[0].Digest
		if other, ok := seen[digest]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[digest] = name
		if resp := s.do(alice, "POST", agents+"allow", form(append(fields, "proof", digest)...)); resp.StatusCode != 200 {
			t.Errorf("%s with its proof: %d %s", name, resp.StatusCode, resp.body)
		}
		if resp := s.do(alice, "POST", agents+"allow", form(append(fields, "proof", digest)...)); resp.StatusCode != 409 {
			t.Errorf("%s replayed: %d %s", name, resp.StatusCode, resp.body)
		}
	}
}

// TestLessIsAllowed_CONF_8: less needs no proof, and neither does the end of an allowance.
func TestLessIsAllowed_CONF_8(t *testing.T) {
	for name, form := range map[string]formRow{
		"less":    {"", "allow", allowing("amount", "9.99")},
		"shorter": {"", "allow", allowing("days", "1")},
		"the end": {"", "stop-allowance", []string{"id", "reader", "action", "payouts:create"}},
	} {
		s, confirm := confirmPay(t)
		if resp := s.do(s.human(s.alice), "POST", agents+form.path, formOf(form.form)); resp.StatusCode != 200 || len(confirm.asked) > 0 || s.allowanceOf("reader").Terms != 2 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.body)
		}
	}
}

// TestOldAllowance_CONF_8: less than an allowance from before the agent was let in again is more than
// nothing.
func TestOldAllowance_CONF_8(t *testing.T) {
	s, confirm := confirmPay(t)
	g, err := s.store.Grant(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	g.Era++ // as an older release does, which does not know of allowances
	if _, err := s.store.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	resp := s.do(s.human(s.alice), "POST", agents+"allow", formOf(allowing("amount", "9.99")))
	if resp.StatusCode != 403 || len(confirm.asked) != 1 || s.allowanceOf("reader").Terms != 1 {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
}

// doubts allows the agent of a grant 10 dollars, of which it has taken 7 for "t", and nobody knows
// whether that was done.
func (s *site) doubts(owner, id string) {
	s.t.Helper()
	a, err := s.owners.Allow(s.t.Context(), owner, grants.Terms{GrantID: id, Action: "payouts:create", Limit: grants.Amount{Value: 1000, Currency: "USD"}})
	if err == nil {
		a.Taken, a.Open = 700, []grants.Taking{{ID: "t", Value: 700, At: time.Now(), Unknown: true}}
		_, err = s.store.UpdateAllowance(s.t.Context(), a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestMalformedIsNotConfirmed_CONF_8: nobody is asked for the proof of what cannot be decided.
func TestMalformedIsNotConfirmed_CONF_8(t *testing.T) {
	s, confirm := confirmPay(t)
	s.grant(func(g *grants.Grant) { g.ID, g.UserID, g.Agent.ID = "bob's", s.bob, "agent_bob" })
	s.doubts(s.bob, "bob's")
	alice := s.human(s.alice)
	taking := []string{"id", "reader", "action", "payouts:create", "taking", "t", "outcome", "nothing_done"}
	for name, test := range map[string]struct {
		path   string
		form   []string
		status int
		field  string
	}{
		"amount":             {"allow", allowing("amount", "x"), 400, "amount"},
		"amount, first":      {"allow", allowing("id", "full", "seen", "0", "amount", "x"), 400, "amount"},
		"end":                {"allow", allowing("days", "x"), 400, "days"},
		"another's grant":    {"allow", allowing("id", "other", "seen", "0"), 404, ""},
		"a grant that waits": {"allow", allowing("id", "asks", "seen", "0"), 409, ""},
		"what was not seen":  {"allow", allowing("seen", "0", "amount", "10.01"), 409, ""},
		"outcome":            {"settle", append(taking[:6:6], "outcome", "x"), 400, "outcome"},
		"another's taking":   {"settle", append([]string{"id", "bob's"}, taking[2:]...), 404, ""},
		"no taking":          {"settle", taking, 404, ""},
		"no allowance":       {"settle", append([]string{"id", "full"}, taking[2:]...), 404, ""},
	} {
		resp := s.do(alice, "POST", agents+test.path, formOf(test.form))
		if _, field := resp.reason(); resp.StatusCode != test.status || field != test.field || len(confirm.asked) > 0 {
			t.Errorf("%s: %d %s, asked %d times", name, resp.StatusCode, resp.body, len(confirm.asked))
		}
	}
}

// A lostStore does not find one thing after the other.
type lostStore struct {
	*memstore.Grants
	lost atomic.Value // string: what it does not find
}

func (l *lostStore) Allowance(ctx context.Context, id string) (grants.Allowance, error) {
	if l.lost.Load() == "allowance" {
		return grants.Allowance{}, errDown
	}
	return l.Grants.Allowance(ctx, id)
}

func (l *lostStore) OwnerUses(ctx context.Context, id string) ([]grants.LastUse, error) {
	if l.lost.Load() == "overview" {
		return nil, errDown
	}
	return l.Grants.OwnerUses(ctx, id)
}

// TestStoreFails_CONF_8: while nobody can tell what is allowed already, or what its owner calls the
// agent, nobody is asked for a proof of more, and nothing is decided.
func TestStoreFails_CONF_8(t *testing.T) {
	var store lostStore
	s, confirm := confirmPay(t, func(s *site, c *authagent.Config) {
		store.Grants = s.store
		s.owners = grants.OwnerApproval(&store)
		s.owners.Actions, s.owners.Logger = map[string]string{"orders:create": "Place orders"}, quiet
		c.Scenario = authagent.FullAccount(s.users, s.owners)
	})
	s.doubts(s.alice, "full")
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "fresh", "agent_fresh" })
	alice := s.human(s.alice)
	reader, full := s.allowanceOf("reader"), s.allowanceOf("full")
	for _, lost := range []string{"allowance", "overview"} {
		store.lost.Store(lost)
		for name, form := range map[string]formRow{
			"more":      {"", "allow", allowing("amount", "10.01")},
			"the first": {"", "allow", allowing("id", "fresh", "seen", "0")},
			"not done":  {"", "settle", []string{"id", "full", "action", "payouts:create", "taking", "t", "outcome", "nothing_done"}},
		} {
			resp := s.do(alice, "POST", agents+form.path, formOf(form.form))
			if reason, _ := resp.reason(); resp.StatusCode != 500 || reason != problem.StoreFailed || len(confirm.asked) > 0 {
				t.Errorf("%s, %s lost: %d %s, asked %d times", name, lost, resp.StatusCode, resp.body, len(confirm.asked))
			}
		}
	}
	store.lost.Store("")
	if diff := cmp.Diff([]grants.Allowance{reader, full}, []grants.Allowance{s.allowanceOf("reader"), s.allowanceOf("full")}); diff != "" {
		t.Errorf("allowances (-want +got):\n%s", diff)
	}
}

func formOf(fields []string) string { return form(fields...) }

// TestSettleIsConfirmed_CONF_8: to say that an action was not done gives its amount back.
func TestSettleIsConfirmed_CONF_8(t *testing.T) {
	s, confirm := confirmPay(t)
	a := s.allowanceOf("reader")
	a.Taken, a.Open = 700, []grants.Taking{{ID: "t1", Value: 700, At: time.Now(), Unknown: true}, {ID: "t2", Value: 700, At: time.Now(), Unknown: true}}
	if _, err := s.store.UpdateAllowance(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	alice := s.human(s.alice)
	settle := func(taking, outcome, proof string) int {
		return s.do(alice, "POST", agents+"settle", form("id", "reader", "action", "payouts:create", "taking", taking, "outcome", outcome, "proof", proof)).StatusCode
	}
	if got := settle("t1", "nothing_done", ""); got != 403 || s.allowanceOf("reader").Taken != 700 {
		t.Errorf("no proof: %d", got)
	}
	digest := confirm.asked[0].Digest
	if got := settle("t2", "nothing_done", digest); got != 403 || s.allowanceOf("reader").Taken != 700 {
		t.Errorf("the proof of another: %d", got)
	}
	if got := settle("t1", "nothing_done", digest); got != 200 || s.allowanceOf("reader").Taken != 0 {
		t.Errorf("with its proof: %d", got)
	}
	if got := settle("t2", "performed", ""); got != 200 {
		t.Errorf("what was done: %d", got)
	}
}

// TestConfirmAbove_CONF_9 is CONF-9: a single action up to a sum needs no proof, and any other does.
func TestConfirmAbove_CONF_9(t *testing.T) {
	for amount, asks := range map[grants.Amount]bool{
		{}:                                true,
		{Value: 500, Currency: "USD"}:     false,
		{Value: 501, Currency: "USD"}:     true,
		{Value: 1, Currency: "JPY"}:       true,
		{Value: -1, Currency: "USD"}:      true,
		{Value: 0, Currency: "USD"}:       true,
		{Value: 500, Currency: "usd"}:     true,
		{Value: 1 << 62, Currency: "USD"}: true,
	} {
		s, confirm := confirmPay(t)
		s.store.CreateApproval(t.Context(), grants.Approval{
			ID: "paid", Version: 1, UserID: s.alice, GrantID: "reader", Agent: authagent.Agent{Issuer: s.as.URL, ID: "agent_reader"}, Action: "payouts:create",
			Digest: "e", State: grants.Pending, ExpiresAt: time.Now().Add(time.Hour), Amount: amount,
		})
		resp := s.do(s.human(s.alice), "POST", agents+"approvals/approve", form("id", "paid", "version", "1"))
		if got, _ := resp.reason(); asks != (got == problem.Reason("confirmation_needed")) || asks != (len(confirm.asked) == 1) || !asks && resp.StatusCode != 200 {
			t.Errorf("%v: %d %s", amount, resp.StatusCode, resp.body)
		}
	}
}

// TestConfirmAboveSettings: what cannot take effect is refused.
func TestConfirmAboveSettings(t *testing.T) {
	d, _ := newTill(t)
	for name, limits := range map[string]map[string]int64{"no Confirm": {"USD": 1}, "negative": {"USD": -1}, "no currency": {"": 1}} {
		if d.ConfirmAbove = limits; d.Check() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
