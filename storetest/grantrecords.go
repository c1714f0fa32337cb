package storetest

import (
	"context"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

func (k *grantKit) grant(id string, change ...func(*grants.Grant)) grants.Grant {
	g := grants.Grant{
		ID: id, Version: 1, Agent: agent, Subject: "User of 名 🤖 ", Scenario: "FullAccount", UserID: "User_1", State: grants.Approved, Access: authagent.AccessFull,
		Actions: []string{"orders:create", "orders:delete"}, Name: "Ünïcödé 名 🤖 'quoted\" \\ %", Model: strings.Repeat("m", 256),
		Email: strings.Repeat("a", 64) + "@" + strings.Repeat("b", 180) + ".example", RequestedAt: k.now.Add(-time.Hour), RequestedFrom: "[2001:db8::1]:4711",
		DecidedAt: k.now.Add(-time.Minute), ExpiresAt: k.now.Add(90 * 24 * time.Hour),
		AskedBefore: []time.Time{k.now.Add(-3 * time.Hour), k.now.Add(-2 * time.Hour)}, Era: 7, Warned: 9, Cause: grants.CauseOwner,
		Nickname: "Ünï 名 🤖 'q\" \\ %", Hidden: true,
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

// grantsExact: an agent or account is never taken for one whose name looks equal.
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
	want.Nickname, want.Hidden, want.Cause = "", false, grants.CauseAddress
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

// grantsAtOnce: of many that create one creates, of many that update one wins.
func (k *grantKit) grantsAtOnce() {
	ctx := context.WithoutCancel(k.Context())
	id := k.oneCreates("CreateGrant", func(id string) (string, bool, error) {
		g, created, err := k.CreateGrant(ctx, k.grant(id))
		return g.ID, created, err
	})
	have := must[grants.Grant](k, "Grant")(k.Grant(ctx, id))
	winner := k.oneUpdates("UpdateGrant", func(n int) error {
		mine := have
		mine.Name = name(n)
		_, err := k.UpdateGrant(ctx, mine)
		return err
	})
	got := must[grants.Grant](k, "Grant")(k.Grant(ctx, have.ID))
	if got.Name != winner || got.Version != have.Version+1 {
		k.Errorf("UpdateGrant %d times at once: %s won, and version %d of %q is there", callers, winner, got.Version, got.Name)
	}
}
