package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

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
// known of its grant stays. By which door the agent came is kept.
func (k *grantKit) activity() {
	ctx := k.Context()
	k.create(k.grant("g1"))
	k.touch(k.seen("s1", "g1", "203.0.113.1", 0), grants.FirstUse)
	k.touch(k.seen("s1", "g1", "203.0.113.1", time.Minute), grants.KnownUse)
	last := k.seen("s1", "g1", "203.0.113.2", 2*time.Minute)
	last.Door = audit.API
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
	two.Door = audit.API
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
