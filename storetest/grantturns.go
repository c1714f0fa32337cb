package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// turns: of many turns of one account at once, each sees what the one before has changed, and none overlaps with
// another. Of a turn that fails, nothing is left.
func (k *grantKit) turns() {
	taker, ok := k.Store.(grants.TurnTaker)
	if !ok {
		k.Skip("the store is no TurnTaker")
	}
	const most = 3
	var under, overlap, created atomic.Int64
	k.all(func(n int) {
		added := false
		err := taker.InTurn(k.Context(), "User_1", func(ctx context.Context, in grants.Store) error {
			if added = false; under.Add(1) > 1 {
				overlap.Add(1)
			}
			defer under.Add(-1)
			all, err := in.OwnerGrants(ctx, "User_1")
			if err != nil || len(all) >= most {
				return err
			}
			time.Sleep(time.Millisecond) // for others to come in between
			_, added, err = in.CreateGrant(ctx, k.grant(fmt.Sprint("g", n), func(g *grants.Grant) { g.Agent.ID = fmt.Sprint("agent_", n) }))
			return err
		})
		if err != nil {
			k.Errorf("InTurn: %v", err)
		}
		if added {
			created.Add(1)
		}
	})
	all := must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(k.Context(), "User_1"))
	if len(all) != most || created.Load() != most || overlap.Load() > 0 {
		k.Errorf("%d turns at once, each of which adds a grant if there are fewer than %d: %d were added, %d are there, %d turns overlapped",
			callers, most, created.Load(), len(all), overlap.Load())
	}
	k.turnUndone(taker)
}

// turnUndone: what is done in a turn that returns an error is not there after it, and the error comes back.
func (k *grantKit) turnUndone(taker grants.TurnTaker) {
	failed := errors.New("changed my mind")
	err := taker.InTurn(k.Context(), "User_2", func(ctx context.Context, in grants.Store) error {
		g := k.grant("undone", func(g *grants.Grant) { g.UserID = "User_2" })
		if _, _, err := in.CreateGrant(ctx, g); err != nil {
			return err
		}
		if all, err := in.OwnerGrants(ctx, "User_2"); err != nil || len(all) != 1 {
			k.Errorf("OwnerGrants in a turn that has created one grant: %d, %v", len(all), err)
		}
		return failed
	})
	k.wantErr("InTurn whose function fails", err, failed)
	k.same("OwnerGrants after a turn that has failed", []grants.Grant{}, must[[]grants.Grant](k, "OwnerGrants")(k.OwnerGrants(k.Context(), "User_2")))
}
