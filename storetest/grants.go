package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// Grants tests everything that the interfaces in package grants promise of a
// store, in subtests. Each of them opens a store, which has to be empty. A store
// may round times, by less than a millisecond. What a store may leave out, such as
// [grants.AllowanceStore], is tested if it has it.
func Grants(t *testing.T, open func(t *testing.T) grants.Store) {
	for _, test := range []struct {
		name string
		run  func(*grantKit)
	}{
		{"empty", (*grantKit).empty},
		{"grants", (*grantKit).grants},
		{"grants exact", (*grantKit).grantsExact},
		{"grants updated", (*grantKit).grantsUpdated},
		{"grants at once", (*grantKit).grantsAtOnce},
		{"approvals", (*grantKit).approvals},
		{"approvals exact", (*grantKit).approvalsExact},
		{"approvals updated", (*grantKit).approvalsUpdated},
		{"approvals expired", (*grantKit).approvalsExpired},
		{"approvals at once", (*grantKit).approvalsAtOnce},
		{"allowances", (*grantKit).allowances},
		{"allowances exact", (*grantKit).allowancesExact},
		{"allowances updated", (*grantKit).allowancesUpdated},
		{"allowances at once", (*grantKit).allowancesAtOnce},
		{"allowances are copies", (*grantKit).allowancesCopied},
		{"allowances erased", (*grantKit).allowancesErased},
		{"reservations settled", (*grantKit).settled},
		{"turns", (*grantKit).turns},
		{"activity", (*grantKit).activity},
		{"activity of several", (*grantKit).activityOfSeveral},
		{"activity at once", (*grantKit).activityAtOnce},
		{"deeds", (*grantKit).deeds},
		{"erased", (*grantKit).erased},
		{"rules", (*grantKit).rules},
		{"what is returned is a copy", (*grantKit).copies},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&grantKit{T: t, Store: open(t), now: time.Now().UTC().Truncate(time.Millisecond)})
		})
	}
}

// A grantKit is one subtest.
type grantKit struct {
	*testing.T
	grants.Store
	now time.Time
}

// equalGrants compares what went into a store with what comes out.
var equalGrants = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool {
		return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Millisecond
	}),
	cmp.FilterValues(func(a, b []byte) bool { return len(a) > 0 || len(b) > 0 }, cmp.Comparer(bytes.Equal)), // byte by byte takes seconds
	// Lists of grants and the like are in no order.
	cmpopts.SortSlices(func(a, b grants.Grant) bool { return a.ID < b.ID }),
	cmpopts.SortSlices(func(a, b grants.Approval) bool { return a.ID < b.ID }),
	cmpopts.SortSlices(func(a, b grants.Allowance) bool { return a.ID < b.ID }),
	cmpopts.SortSlices(func(a, b grants.Activity) bool { return a.SessionID < b.SessionID }),
	cmpopts.SortSlices(func(a, b grants.LastUse) bool { return a.GrantID < b.GrantID }),
}

func (k *grantKit) same(what string, want, got any) {
	k.Helper()
	if diff := cmp.Diff(want, got, equalGrants); diff != "" {
		k.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// must takes a value that has to come without an error.
func must[T any](k *grantKit, what string) func(T, error) T {
	return func(v T, err error) T {
		k.Helper()
		if err != nil {
			k.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

func (k *grantKit) wantErr(what string, err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// agent is one whose ID a careless column would fold, trim or cut off.
var agent = authagent.Agent{Issuer: "https://as.example/Tenant", ID: "Agent_1-" + strings.Repeat("x", 240)}

// mistakable are other strings than s, which some comparisons take for it.
func mistakable(s string) []string {
	all := []string{strings.ToUpper(s), strings.ToLower(s), s + " ", " " + s, s + "\t", strings.Replace(s, "a", "ä", 1), s[:len(s)-1]}
	return slices.DeleteFunc(all, func(other string) bool { return other == s })
}

const callers = 50

// all calls f so many times at once.
func (k *grantKit) all(f func(n int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for n := range callers {
		wg.Go(func() { <-start; f(n) })
	}
	close(start)
	wg.Wait()
}

// tally counts what many calls at once return.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	values []string
}

func (c *tally) add(what, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[what]++
	c.values = append(c.values, value)
}

// oneCreates: of many calls at once that create the same, one creates, and all others
// find that one, whose ID it returns.
func (k *grantKit) oneCreates(what string, create func(id string) (have string, created bool, err error)) string {
	k.Helper()
	var creates tally
	k.all(func(n int) {
		switch have, created, err := create(name(n)); {
		case err != nil:
			k.Errorf("%s: %v", what, err)
		case created:
			creates.add("created", have)
		default:
			creates.add("found", have)
		}
	})
	if creates.counts["created"] != 1 || len(slices.Compact(slices.Sorted(slices.Values(creates.values)))) != 1 {
		k.Fatalf("%s %d times at once: %v, IDs %v", what, callers, creates.counts, creates.values)
	}
	return creates.values[0]
}

// oneUpdates has all callers update one record at once, of which one has to win, and returns
// the name of that one.
func (k *grantKit) oneUpdates(what string, update func(n int) error) (winner string) {
	k.Helper()
	var updates tally
	k.all(func(n int) {
		switch err := update(n); {
		case err == nil:
			updates.add("won", name(n))
		case !errors.Is(err, authagent.ErrConflict):
			k.Errorf("%s: %v", what, err)
		}
	})
	if updates.counts["won"] != 1 {
		k.Fatalf("%s %d times at once: %v won", what, callers, updates.values)
	}
	return updates.values[0]
}

func name(n int) string { return "id-" + string(rune('a'+n/26)) + string(rune('a'+n%26)) }

// empty: a store without anything says so, and does not fail.
func (k *grantKit) empty() {
	ctx := k.Context()
	_, err := k.Grant(ctx, "none")
	k.wantErr("Grant", err, authagent.ErrNotFound)
	_, err = k.Grant(ctx, "")
	k.wantErr(`Grant ""`, err, authagent.ErrNotFound)
	_, err = k.Approval(ctx, "none")
	k.wantErr("Approval", err, authagent.ErrNotFound)
	_, err = k.UpdateGrant(ctx, k.grant("none"))
	k.wantErr("UpdateGrant", err, authagent.ErrConflict)
	_, err = k.UpdateApproval(ctx, k.approval("none"))
	k.wantErr("UpdateApproval", err, authagent.ErrConflict)
	if err := k.EndActivity(ctx, "none"); err != nil {
		k.Errorf("EndActivity: %v", err)
	}
	k.same("AgentGrants", []grants.Grant{}, must[[]grants.Grant](k, "AgentGrants")(k.AgentGrants(ctx, agent)))
	k.same("OwnerGrants", []grants.Grant{}, must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(ctx, "User_1")))
	k.same("OwnerApprovals", []grants.Approval{}, must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, "User_1")))
	k.same("OwnerActivity", []grants.Activity{}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_1")))
	k.same("OwnerUses", []grants.LastUse{}, must[[]grants.LastUse](k, "OwnerUses")(k.OwnerUses(ctx, "User_1")))
	k.same("OwnerDeeds", []grants.Deed{}, must[[]grants.Deed](k, "OwnerDeeds")(k.OwnerDeeds(ctx, "User_1", 10)))
	k.same("Rules", grants.Rules{}, must[grants.Rules](k, "Rules")(k.Rules(ctx)))
}

// rules: what was set last, all of it.
func (k *grantKit) rules() {
	ctx := k.Context()
	want := grants.Rules{
		Paused: true, AllowIssuers: []string{"https://a.example", "https://A.example/"}, AllowAgents: []authagent.Agent{agent, {Issuer: "i", ID: "🤖 "}},
		AllowDomains: []string{"example.com"}, DenyIssuers: []string{"https://b.example"}, DenyAgents: []authagent.Agent{{Issuer: "i", ID: "x"}},
		DenyDomains: []string{"b.example", "c.example"},
	}
	for _, rules := range []grants.Rules{want, {DenyDomains: []string{"d.example"}}, {}} {
		if err := k.SetRules(ctx, rules); err != nil {
			k.Fatal(err)
		}
		k.same("Rules", rules, must[grants.Rules](k, "Rules")(k.Rules(ctx)))
	}
}

// copies: a caller that changes what it gave or was given changes nothing in the
// store.
func (k *grantKit) copies() {
	ctx := k.Context()
	g, a := k.grant("g1"), k.approval("a1")
	k.create(g)
	k.createApproval(a)
	rules := grants.Rules{DenyDomains: []string{"a.example"}, DenyAgents: []authagent.Agent{agent}}
	if err := k.SetRules(ctx, rules); err != nil {
		k.Fatal(err)
	}
	read := func() (grants.Grant, []grants.Grant, grants.Approval, []grants.Approval, grants.Rules) {
		return must[grants.Grant](k, "Grant")(k.Grant(ctx, "g1")), must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(ctx, "User_1")),
			must[grants.Approval](k, "Approval")(k.Approval(ctx, "a1")), must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, "User_1")),
			must[grants.Rules](k, "Rules")(k.Rules(ctx))
	}
	g2, all, a2, waiting, rules2 := read()
	for _, grant := range append(all, g, g2) {
		grant.Actions[0] = "everything"
	}
	for _, approval := range append(waiting, a, a2) {
		approval.Body[1] = 'x'
	}
	for _, r := range []grants.Rules{rules, rules2} {
		r.DenyDomains[0], r.DenyAgents[0] = "b.example", authagent.Agent{}
	}
	g2, _, a2, _, rules2 = read()
	k.same("Grant", k.grant("g1"), g2)
	k.same("Approval", k.approval("a1"), a2)
	k.same("Rules", grants.Rules{DenyDomains: []string{"a.example"}, DenyAgents: []authagent.Agent{agent}}, rules2)
}

// erased is for an [authagent.Eraser]: all of one account goes, and nothing else. If it is a
// [grants.UserExporter], all of the account is exported before, and nothing else.
func (k *grantKit) erased() {
	eraser, ok := k.Store.(authagent.Eraser)
	if !ok {
		k.Skip("the store is no Eraser")
	}
	const user = "User_a"
	fill := func(id, user string) {
		k.create(k.grant(id, func(g *grants.Grant) { g.UserID = user }))
		k.createApproval(k.approval(id, func(a *grants.Approval) { a.GrantID, a.UserID = id, user }))
		k.touch(grants.Activity{
			SessionID: "s" + id, GrantID: id, UserID: user, Network: "192.0.2.1", StartedAt: k.now, SeenAt: k.now, ExpiresAt: k.now.Add(time.Hour),
		}, grants.FirstUse)
		if err := k.AddDeed(k.Context(), grants.Deed{GrantID: id, UserID: user, At: k.now}); err != nil {
			k.Fatal(err)
		}
	}
	counts := func(user string) [5]int {
		return [5]int{
			len(must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(k.Context(), user))),
			len(must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(k.Context(), user))),
			len(must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(k.Context(), user))),
			len(must[[]grants.LastUse](k, "OwnerUses")(k.OwnerUses(k.Context(), user))),
			len(must[[]grants.Deed](k, "OwnerDeeds")(k.OwnerDeeds(k.Context(), user, 10))),
		}
	}
	fill("g", user)
	others := append(mistakable(user), "other")
	for i, other := range others {
		fill("g"+string(rune('a'+i)), other)
	}
	one := map[string]int{"grants.Grant": 1, "grants.Approval": 1, "grants.Activity": 1, "grants.LastUse": 1, "grants.Deed": 1}
	k.sameRecords(user, one)
	for i := range 2 { // the second time there is nothing to erase
		e := erasure(k.T, user)
		if err := eraser.EraseUser(k.Context(), e); err != nil {
			k.Fatal(err)
		}
		for _, kind := range []string{"grants", "approvals", "activity", "uses", "deeds"} {
			k.same("ERA-2 deleted "+kind, int64(1-i), erasedOf(e, kind))
		}
		k.same("what is left", [5]int{}, counts(user))
	}
	_, err := k.Store.Grant(k.Context(), "g")
	k.wantErr("Grant", err, authagent.ErrNotFound)
	_, err = k.Store.Approval(k.Context(), "g")
	k.wantErr("Approval", err, authagent.ErrNotFound)
	for _, other := range others {
		k.same("what "+other+" has", [5]int{1, 1, 1, 1, 1}, counts(other))
		k.sameRecords(other, one)
	}
	k.sameRecords(user, nil)
	fill("g", user) // the grant is used for the first time, again
	k.same("made anew", [5]int{1, 1, 1, 1, 1}, counts(user))
}

// sameRecords is for a [grants.UserExporter]: it has so many records of these types of an account.
func (k *grantKit) sameRecords(user string, want map[string]int) {
	k.Helper()
	exporter, ok := k.Store.(grants.UserExporter)
	if !ok {
		return
	}
	var got map[string]int
	err := exporter.UserRecords(k.Context(), user, func(record any) error {
		if got == nil {
			got = make(map[string]int)
		}
		got[fmt.Sprintf("%T", record)]++
		return nil
	})
	if err != nil {
		k.Error(err)
	}
	k.same("ERA-7 records of "+user, want, got)
	stop := errors.New("stop")
	if err := exporter.UserRecords(k.Context(), user, func(any) error { return stop }); len(want) > 0 && !errors.Is(err, stop) {
		k.Errorf("ERA-7: UserRecords does not return the error of each: %v", err)
	}
}
