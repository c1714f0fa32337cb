package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// Grants tests everything that the interfaces in package grants promise of a
// store, in subtests. Each of them opens a store, which has to be empty. A store
// may round times, by less than a millisecond.
func Grants(t *testing.T, open func(t *testing.T) grants.Store) {
	for name, test := range map[string]func(*grantKit){
		"empty":                      (*grantKit).empty,
		"grants":                     (*grantKit).grants,
		"grants exact":               (*grantKit).grantsExact,
		"grants updated":             (*grantKit).grantsUpdated,
		"grants at once":             (*grantKit).grantsAtOnce,
		"approvals":                  (*grantKit).approvals,
		"approvals exact":            (*grantKit).approvalsExact,
		"approvals updated":          (*grantKit).approvalsUpdated,
		"approvals expired":          (*grantKit).approvalsExpired,
		"approvals at once":          (*grantKit).approvalsAtOnce,
		"activity":                   (*grantKit).activity,
		"activity of several":        (*grantKit).activityOfSeveral,
		"activity at once":           (*grantKit).activityAtOnce,
		"deeds":                      (*grantKit).deeds,
		"erased":                     (*grantKit).erased,
		"rules":                      (*grantKit).rules,
		"what is returned is a copy": (*grantKit).copies,
	} {
		t.Run(name, func(t *testing.T) {
			test(&grantKit{T: t, Store: open(t), now: time.Now().UTC().Truncate(time.Millisecond)})
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

func (k *grantKit) grant(id string, change ...func(*grants.Grant)) grants.Grant {
	g := grants.Grant{
		ID: id, Version: 1, Agent: agent, Subject: "User of 名 🤖 ", Scenario: "FullAccount", UserID: "User_1", State: grants.Approved, Access: authagent.AccessFull,
		Actions: []string{"orders:create", "orders:delete"}, Name: "Ünïcödé 名 🤖 'quoted\" \\ %", Model: strings.Repeat("m", 256),
		Email: strings.Repeat("a", 64) + "@" + strings.Repeat("b", 180) + ".example", RequestedAt: k.now.Add(-time.Hour), RequestedFrom: "[2001:db8::1]:4711",
		DecidedAt: k.now.Add(-time.Minute), ExpiresAt: k.now.Add(90 * 24 * time.Hour),
		Era: 7,
	}
	for _, f := range change {
		f(&g)
	}
	return g
}

// create adds a grant that must not be there.
func (k *grantKit) create(g grants.Grant) grants.Grant {
	k.Helper()
	have, created, err := k.CreateGrant(k.Context(), g)
	if err != nil || !created {
		k.Fatalf("CreateGrant: created %v, error %v", created, err)
	}
	return have
}

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

// grants: what was created is found, by each way, with all its fields, and is
// there once.
func (k *grantKit) grants() {
	ctx := k.Context()
	first := k.create(k.grant("g1"))
	k.same("created", k.grant("g1"), first)
	pending := k.create(k.grant("g2", func(g *grants.Grant) {
		*g = grants.Grant{
			ID: "g2", Version: 1, Agent: agent, Scenario: "ContextualProfile", UserID: "User_1", State: grants.Pending,
			RequestedAt: k.now, ExpiresAt: k.now.Add(-time.Hour), // expired ones stay
		}
	}))
	other := k.create(k.grant("g3", func(g *grants.Grant) { g.UserID = "User_2" }))
	stranger := k.create(k.grant("g4", func(g *grants.Grant) { g.Agent.ID = "agent_2" }))
	apart := k.create(k.grant("g6", func(g *grants.Grant) { g.Subject = "another user" }))
	for _, want := range []grants.Grant{first, pending, other, stranger, apart} {
		k.same("Grant", want, must[grants.Grant](k, "Grant")(k.Grant(ctx, want.ID)))
	}
	k.same("AgentGrants", []grants.Grant{first, pending, other, apart}, must[[]grants.Grant](k, "AgentGrants")(k.AgentGrants(ctx, agent)))
	if finder, ok := k.Store.(grants.EntryFinder); ok {
		k.same("Entries", []grants.Grant{first, other, apart}, must[[]grants.Grant](k, "Entries")(finder.Entries(ctx, agent)))
	}
	k.same("OwnerGrants", []grants.Grant{first, pending, stranger, apart}, must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(ctx, "User_1")))

	have, created, err := k.CreateGrant(ctx, k.grant("g5", func(g *grants.Grant) { g.State, g.Access = grants.Denied, authagent.AccessNone }))
	if err != nil || created {
		k.Errorf("CreateGrant of the same agent, scenario and account: created %v, error %v", created, err)
	}
	k.same("CreateGrant of the same agent, scenario and account", first, have)
	_, err = k.Grant(ctx, "g5")
	k.wantErr("Grant that was not created", err, authagent.ErrNotFound)
	k.same("Grant afterwards", first, must[grants.Grant](k, "Grant")(k.Grant(ctx, "g1")))
}

// grantsExact: an agent or account is never taken for one whose name looks equalGrants.
func (k *grantKit) grantsExact() {
	ctx := k.Context()
	k.create(k.grant("Grant_1"))
	for _, id := range mistakable("Grant_1") {
		_, err := k.Grant(ctx, id)
		k.wantErr("Grant "+id, err, authagent.ErrNotFound)
	}
	none := []grants.Grant{}
	for _, other := range mistakable(agent.ID) {
		a := authagent.Agent{Issuer: agent.Issuer, ID: other}
		k.same("AgentGrants of agent "+other, none, must[[]grants.Grant](k, "AgentGrants")(k.AgentGrants(ctx, a)))
	}
	for _, other := range append(mistakable(agent.Issuer), agent.Issuer+"/") {
		a := authagent.Agent{Issuer: other, ID: agent.ID}
		k.same("AgentGrants of issuer "+other, none, must[[]grants.Grant](k, "AgentGrants")(k.AgentGrants(ctx, a)))
	}
	for _, other := range mistakable("User_1") {
		k.same("OwnerGrants of "+other, none, must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(ctx, other)))
	}
	k.create(k.grant("g2", func(g *grants.Grant) { g.Agent.ID = strings.ToLower(agent.ID) }))
	k.create(k.grant("g3", func(g *grants.Grant) { g.Agent.ID += " " }))
	k.create(k.grant("g4", func(g *grants.Grant) { g.UserID = "user_1" }))
	k.create(k.grant("g5", func(g *grants.Grant) { g.UserID = "User_1 " }))
	k.create(k.grant("g6", func(g *grants.Grant) { g.Agent.Issuer = strings.ToLower(agent.Issuer) }))
	k.create(k.grant("g7", func(g *grants.Grant) { g.Scenario = "fullaccount" }))
	// What goes into one column must not make up for what is missing in the next.
	k.create(k.grant("g8", func(g *grants.Grant) {
		g.Agent = authagent.Agent{Issuer: agent.Issuer + " " + agent.ID[:1], ID: agent.ID[1:]}
	}))
}

// grantsUpdated: an update needs the version that is there, and changes all of it.
func (k *grantKit) grantsUpdated() {
	ctx := k.Context()
	before := k.create(k.grant("g1"))
	bystander := k.create(k.grant("g2", func(g *grants.Grant) { g.UserID = "User_2" }))
	want := before
	want.State, want.Access, want.Actions, want.Name, want.Model = grants.Suspended, authagent.AccessRead, nil, "n", ""
	want.Email, want.RequestedFrom, want.DecidedAt, want.Era = "new@example.com", "", time.Time{}, 0
	want.RequestedAt, want.ExpiresAt = k.now.Add(time.Second), k.now.Add(2*time.Hour)
	got := must[grants.Grant](k, "UpdateGrant")(k.UpdateGrant(ctx, want))
	want.Version++
	k.same("UpdateGrant", want, got)
	k.same("Grant", want, must[grants.Grant](k, "Grant")(k.Grant(ctx, "g1")))

	for _, version := range []int64{0, before.Version, want.Version + 1, -1} {
		stale := before
		stale.Version = version
		_, err := k.UpdateGrant(ctx, stale)
		k.wantErr("UpdateGrant of another version", err, authagent.ErrConflict)
	}
	k.same("Grant after conflicts", want, must[grants.Grant](k, "Grant")(k.Grant(ctx, "g1")))
	k.same("another grant", bystander, must[grants.Grant](k, "Grant")(k.Grant(ctx, "g2")))
	// The very same values again are a change too.
	want = must[grants.Grant](k, "UpdateGrant")(k.UpdateGrant(ctx, want))
	if want.Version != before.Version+2 {
		k.Errorf("UpdateGrant of the same values: version %d, want %d", want.Version, before.Version+2)
	}
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

func name(n int) string { return "id-" + string(rune('a'+n/26)) + string(rune('a'+n%26)) }

// grantsAtOnce: of many that create one creates, of many that update one wins.
func (k *grantKit) grantsAtOnce() {
	ctx := context.WithoutCancel(k.Context())
	var creates, updates tally
	k.all(func(n int) {
		g, created, err := k.CreateGrant(ctx, k.grant(name(n)))
		switch {
		case err != nil:
			k.Errorf("CreateGrant: %v", err)
		case created:
			creates.add("created", g.ID)
		default:
			creates.add("found", g.ID)
		}
	})
	if creates.counts["created"] != 1 || len(slices.Compact(slices.Sorted(slices.Values(creates.values)))) != 1 {
		k.Fatalf("CreateGrant %d times at once: %v, IDs %v", callers, creates.counts, creates.values)
	}
	have := must[grants.Grant](k, "Grant")(k.Grant(ctx, creates.values[0]))
	k.all(func(n int) {
		mine := have
		mine.Name = name(n)
		switch _, err := k.UpdateGrant(ctx, mine); {
		case err == nil:
			updates.add("won", mine.Name)
		case !errors.Is(err, authagent.ErrConflict):
			k.Errorf("UpdateGrant: %v", err)
		}
	})
	got := must[grants.Grant](k, "Grant")(k.Grant(ctx, have.ID))
	if updates.counts["won"] != 1 || got.Name != updates.values[0] || got.Version != have.Version+1 {
		k.Errorf("UpdateGrant %d times at once: %v won, and version %d of %q is there", callers, updates.values, got.Version, got.Name)
	}
}

func (k *grantKit) approval(id string, change ...func(*grants.Approval)) grants.Approval {
	a := grants.Approval{
		ID: id, Version: 1, UserID: "User_1", GrantID: "g1", Agent: agent, Action: "payouts:create",
		Digest: "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", State: grants.Pending,
		Method: "POST", Host: "Shop.example:8443", Target: "/payouts?to=" + strings.Repeat("x", 2000), ContentType: "application/json; charset=utf-8",
		Body: []byte("\x00\xff\xfe'\"\\%\r\n" + strings.Repeat("x", 16<<10-9)), RequestedAt: k.now, ExpiresAt: k.now.Add(time.Hour),
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func (k *grantKit) createApproval(a grants.Approval) grants.Approval {
	k.Helper()
	have, created, err := k.CreateApproval(k.Context(), a)
	if err != nil || !created {
		k.Fatalf("CreateApproval: created %v, error %v", created, err)
	}
	return have
}

// approvals: what was created is found, byte for byte, and is there once for each
// account and digest.
func (k *grantKit) approvals() {
	ctx := k.Context()
	first := k.createApproval(k.approval("a1"))
	k.same("created", k.approval("a1"), first)
	bare := k.createApproval(grants.Approval{
		ID: "a2", Version: 1, UserID: "User_1", Agent: agent, Action: "x", Digest: "d", State: grants.Pending, Method: "DELETE", Target: "/x",
		RequestedAt: k.now, ExpiresAt: k.now.Add(time.Hour),
	})
	other := k.createApproval(k.approval("a3", func(a *grants.Approval) { a.UserID = "User_2" }))
	for _, want := range []grants.Approval{first, bare, other} {
		k.same("Approval", want, must[grants.Approval](k, "Approval")(k.Approval(ctx, want.ID)))
	}
	k.same("OwnerApprovals", []grants.Approval{first, bare}, must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, "User_1")))
	have, created, err := k.CreateApproval(ctx, k.approval("a4", func(a *grants.Approval) { a.Method = "PUT" }))
	if err != nil || created {
		k.Errorf("CreateApproval of the same account and digest: created %v, error %v", created, err)
	}
	k.same("CreateApproval of the same account and digest", first, have)
	_, err = k.Approval(ctx, "a4")
	k.wantErr("Approval that was not created", err, authagent.ErrNotFound)
}

// approvalsExact: base64 is told apart by case.
func (k *grantKit) approvalsExact() {
	ctx := k.Context()
	first := k.createApproval(k.approval("Approval_1"))
	for _, id := range mistakable("Approval_1") {
		_, err := k.Approval(ctx, id)
		k.wantErr("Approval "+id, err, authagent.ErrNotFound)
	}
	for _, user := range mistakable("User_1") {
		k.same("OwnerApprovals of "+user, []grants.Approval{}, must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, user)))
	}
	k.createApproval(k.approval("a2", func(a *grants.Approval) { a.Digest = strings.ToLower(first.Digest) }))
	k.createApproval(k.approval("a3", func(a *grants.Approval) { a.UserID = "user_1" }))
}

// approvalsUpdated is like grantsUpdated.
func (k *grantKit) approvalsUpdated() {
	ctx := k.Context()
	before := k.createApproval(k.approval("a1"))
	want := before
	want.State, want.ExpiresAt, want.RequestedAt, want.Body, want.ContentType = grants.Used, k.now.Add(24*time.Hour), k.now.Add(time.Second), nil, ""
	want.Host = "[2001:db8::1]"
	got := must[grants.Approval](k, "UpdateApproval")(k.UpdateApproval(ctx, want))
	want.Version++
	k.same("UpdateApproval", want, got)
	for _, version := range []int64{0, before.Version, want.Version + 1} {
		stale := before
		stale.Version = version
		_, err := k.UpdateApproval(ctx, stale)
		k.wantErr("UpdateApproval of another version", err, authagent.ErrConflict)
	}
	k.same("Approval after conflicts", want, must[grants.Approval](k, "Approval")(k.Approval(ctx, "a1")))
}

// approvalsExpired: one that has expired is not listed, and is still the one of
// its digest.
func (k *grantKit) approvalsExpired() {
	ctx := k.Context()
	expired := k.createApproval(k.approval("a1", func(a *grants.Approval) { a.ExpiresAt = k.now.Add(-time.Second) }))
	k.same("OwnerApprovals", []grants.Approval{}, must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, "User_1")))
	have, created, err := k.CreateApproval(ctx, k.approval("a2"))
	if err != nil || created {
		k.Fatalf("CreateApproval of an expired digest: created %v, error %v", created, err)
	}
	k.same("CreateApproval of an expired digest", expired, have)
	have.ExpiresAt = k.now.Add(time.Hour)
	have = must[grants.Approval](k, "UpdateApproval")(k.UpdateApproval(ctx, have))
	k.same("OwnerApprovals", []grants.Approval{have}, must[[]grants.Approval](k, "OwnerApprovals")(k.OwnerApprovals(ctx, "User_1")))
}

// approvalsAtOnce: one is created, and one use of it wins.
func (k *grantKit) approvalsAtOnce() {
	ctx := context.WithoutCancel(k.Context())
	var creates, updates tally
	k.all(func(n int) {
		a, created, err := k.CreateApproval(ctx, k.approval(name(n)))
		switch {
		case err != nil:
			k.Errorf("CreateApproval: %v", err)
		case created:
			creates.add("created", a.ID)
		default:
			creates.add("found", a.ID)
		}
	})
	if creates.counts["created"] != 1 || len(slices.Compact(slices.Sorted(slices.Values(creates.values)))) != 1 {
		k.Fatalf("CreateApproval %d times at once: %v, IDs %v", callers, creates.counts, creates.values)
	}
	have := must[grants.Approval](k, "Approval")(k.Approval(ctx, creates.values[0]))
	k.all(func(int) {
		used := have
		used.State = grants.Used
		switch _, err := k.UpdateApproval(ctx, used); {
		case err == nil:
			updates.add("won", "")
		case !errors.Is(err, authagent.ErrConflict):
			k.Errorf("UpdateApproval: %v", err)
		}
	})
	if updates.counts["won"] != 1 {
		k.Errorf("UpdateApproval %d times at once: %d won", callers, updates.counts["won"])
	}
}

func (k *grantKit) seen(session, grant, network string, after time.Duration) grants.Activity {
	return grants.Activity{
		SessionID: session, GrantID: grant, UserID: "User_1", RemoteAddr: network + ":1", Network: network,
		StartedAt: k.now, SeenAt: k.now.Add(after), ExpiresAt: k.now.Add(12 * time.Hour),
	}
}

func (k *grantKit) touch(a grants.Activity, want grants.Use) {
	k.Helper()
	use, err := k.Touch(k.Context(), a)
	if err != nil || use != want {
		k.Errorf("Touch %s from %s: %v, error %v, want %v", a.GrantID, a.Network, use, err, want)
	}
}

// activity: a session is there once, as it was seen last, until it ends; what is
// known of its grant stays.
func (k *grantKit) activity() {
	ctx := k.Context()
	k.create(k.grant("g1"))
	k.touch(k.seen("s1", "g1", "203.0.113.1", 0), grants.FirstUse)
	k.touch(k.seen("s1", "g1", "203.0.113.1", time.Minute), grants.KnownUse)
	last := k.seen("s1", "g1", "203.0.113.2", 2*time.Minute)
	k.touch(last, grants.NewNetwork)
	k.same("OwnerActivity", []grants.Activity{last}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_1")))
	want := []grants.LastUse{{GrantID: "g1", RemoteAddr: last.RemoteAddr, SeenAt: last.SeenAt}}
	k.same("OwnerUses", want, must[[]grants.LastUse](k, "OwnerUses")(k.OwnerUses(ctx, "User_1")))
	for _, id := range []string{"S1", "s1 ", "s"} {
		if err := k.EndActivity(ctx, id); err != nil {
			k.Errorf("EndActivity %q: %v", id, err)
		}
	}
	k.same("OwnerActivity", []grants.Activity{last}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_1")))
	for range 2 {
		if err := k.EndActivity(ctx, "s1"); err != nil {
			k.Errorf("EndActivity: %v", err)
		}
	}
	k.same("OwnerActivity", []grants.Activity{}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_1")))
	k.same("OwnerUses", want, must[[]grants.LastUse](k, "OwnerUses")(k.OwnerUses(ctx, "User_1")))
	k.touch(k.seen("s2", "g1", "203.0.113.1", 3*time.Minute), grants.KnownUse)
}

// activityOfSeveral: grants, accounts and sessions are apart, and a session that
// has expired is over.
func (k *grantKit) activityOfSeveral() {
	ctx := k.Context()
	k.create(k.grant("g1"))
	k.create(k.grant("g2", func(g *grants.Grant) { g.Agent.ID = "agent_2" }))
	k.create(k.grant("g3", func(g *grants.Grant) { g.UserID = "User_2" }))
	k.create(k.grant("g4", func(g *grants.Grant) { g.Agent.ID = "agent_4" })) // never used
	one, two := k.seen("s1", "g1", "203.0.113.1", 0), k.seen("s2", "g2", "203.0.113.1", time.Minute)
	bobs := k.seen("s3", "g3", "203.0.113.1", 0)
	bobs.UserID = "User_2"
	over := k.seen("s4", "g1", "203.0.113.1", -time.Hour)
	over.ExpiresAt = k.now.Add(-time.Minute)
	k.touch(one, grants.FirstUse)
	k.touch(two, grants.FirstUse)
	k.touch(bobs, grants.FirstUse)
	k.touch(over, grants.KnownUse)
	k.same("OwnerActivity", []grants.Activity{one, two}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_1")))
	k.same("OwnerActivity", []grants.Activity{bobs}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "User_2")))
	k.same("OwnerActivity", []grants.Activity{}, must[[]grants.Activity](k, "OwnerActivity")(k.OwnerActivity(ctx, "user_1")))
	uses := must[[]grants.LastUse](k, "OwnerUses")(k.OwnerUses(ctx, "User_1"))
	if len(uses) != 2 {
		k.Errorf("OwnerUses: %v, want one of g1 and one of g2", uses)
	}
}

// activityAtOnce: one of many calls is told what is new.
func (k *grantKit) activityAtOnce() {
	ctx := context.WithoutCancel(k.Context())
	k.create(k.grant("g1"))
	for _, round := range []struct {
		network string
		new     grants.Use
	}{{"203.0.113.1", grants.FirstUse}, {"203.0.113.2", grants.NewNetwork}} {
		var uses tally
		k.all(func(n int) {
			use, err := k.Touch(ctx, k.seen(name(n), "g1", round.network, 0))
			switch {
			case err != nil:
				k.Errorf("Touch: %v", err)
			case use == round.new:
				uses.add("new", "")
			case use != grants.KnownUse:
				uses.add("other", "")
			}
		})
		if uses.counts["new"] != 1 || uses.counts["other"] != 0 {
			k.Errorf("Touch %d times at once from %s: %v, want one new", callers, round.network, uses.counts)
		}
	}
}

// deeds: those of the account, the latest first, no more than asked for.
func (k *grantKit) deeds() {
	ctx := k.Context()
	var want []grants.Deed
	for n := range 30 {
		d := grants.Deed{
			GrantID: "g1", UserID: "User_1", At: k.now.Add(time.Duration(n) * time.Second), Event: audit.PermissionDenied,
			Action: "orders:create", Route: "POST /orders/{" + name(n) + "}", Outcome: "refused", Reason: problem.ActionNotGranted,
		}
		if n%2 == 0 {
			d = grants.Deed{GrantID: "g2", UserID: "User_1", At: d.At, Event: audit.ActionPerformed, Outcome: "ok"}
		}
		bobs := d
		bobs.UserID = "user_1"
		for _, deed := range []grants.Deed{d, bobs} {
			if err := k.AddDeed(ctx, deed); err != nil {
				k.Fatal(err)
			}
		}
		want = append(want, d)
	}
	slices.Reverse(want)
	k.same("OwnerDeeds", want, must[[]grants.Deed](k, "OwnerDeeds")(k.OwnerDeeds(ctx, "User_1", 50)))
	k.same("OwnerDeeds", want[:7], must[[]grants.Deed](k, "OwnerDeeds")(k.OwnerDeeds(ctx, "User_1", 7)))
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

// erased is for a [grants.UserEraser]: all of one account goes, and nothing else.
func (k *grantKit) erased() {
	eraser, ok := k.Store.(grants.UserEraser)
	if !ok {
		k.Skip("the store is no UserEraser")
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
	for range 2 { // the second time there is nothing to erase
		if err := eraser.EraseUser(k.Context(), user); err != nil {
			k.Fatal(err)
		}
		k.same("what is left", [5]int{}, counts(user))
	}
	_, err := k.Store.Grant(k.Context(), "g")
	k.wantErr("Grant", err, authagent.ErrNotFound)
	_, err = k.Store.Approval(k.Context(), "g")
	k.wantErr("Approval", err, authagent.ErrNotFound)
	for _, other := range others {
		k.same("what "+other+" has", [5]int{1, 1, 1, 1, 1}, counts(other))
	}
	fill("g", user) // the grant is used for the first time, again
	k.same("made anew", [5]int{1, 1, 1, 1, 1}, counts(user))
}
