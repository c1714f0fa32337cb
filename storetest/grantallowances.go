package storetest

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// allowanceStore skips the subtest if the store keeps no allowances.
func (k *grantKit) allowanceStore() grants.AllowanceStore {
	k.Helper()
	s, ok := k.Store.(grants.AllowanceStore)
	if !ok {
		k.Skip("the store is no AllowanceStore")
	}
	return s
}

func (k *grantKit) allowance(id string, change ...func(*grants.Allowance)) grants.Allowance {
	a := grants.Allowance{
		ID: id, Version: 1, UserID: "User_1", GrantID: "Grant_1", Agent: agent, Action: "payouts:create",
		Limit: grants.Amount{Value: math.MaxInt64, Currency: "USD"}, Days: 30, ExpiresAt: k.now.Add(30 * 24 * time.Hour), Terms: 3, Era: 1<<62 + 1, Stopped: true,
		ChangedAt: k.now.Add(-time.Hour), Taken: math.MaxInt64 - 1, Since: k.now.Add(-time.Minute),
		Open: []grants.Taking{
			{ID: "Taking_1", Value: 1<<53 + 1, Currency: "USD", At: k.now.Add(-time.Second), Unknown: true, Past: true, Description: "Pay out 12,50 € to „Müller“ <b>&\u2028 \\ 'a' \"b\"" + strings.Repeat("𝄞", 200)},
			{ID: "taking_1", Value: 1, Currency: "JPY", At: k.now},
		},
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func (k *grantKit) createAllowance(s grants.AllowanceStore, a grants.Allowance) grants.Allowance {
	k.Helper()
	have, created, err := s.CreateAllowance(k.Context(), a)
	if err != nil || !created {
		k.Fatalf("CreateAllowance: created %v, error %v", created, err)
	}
	return have
}

// sameAllowances compares with those that the account has.
func (k *grantKit) sameAllowances(s grants.AllowanceStore, user string, want ...grants.Allowance) {
	k.Helper()
	k.same("OwnerAllowances of "+user, want, must[[]grants.Allowance](k, "OwnerAllowances")(s.OwnerAllowances(k.Context(), user)))
}

// allowances: what was created is found, with all its fields, and is there once.
func (k *grantKit) allowances() {
	s, ctx := k.allowanceStore(), k.Context()
	_, err := s.Allowance(ctx, "none")
	k.wantErr("Allowance", err, authagent.ErrNotFound)
	_, err = s.UpdateAllowance(ctx, k.allowance("none"))
	k.wantErr("UpdateAllowance", err, authagent.ErrConflict)
	k.sameAllowances(s, "User_1")
	first := k.createAllowance(s, k.allowance("a1"))
	k.same("created", k.allowance("a1"), first)
	bare := k.createAllowance(s, grants.Allowance{ID: "a2", Version: 1, UserID: "User_1", GrantID: "g", Agent: agent, Action: "x", ExpiresAt: k.now.Add(-time.Hour)})
	other := k.createAllowance(s, k.allowance("a3", func(a *grants.Allowance) { a.UserID = "User_2" }))
	for _, want := range []grants.Allowance{first, bare, other} {
		k.same("Allowance", want, must[grants.Allowance](k, "Allowance")(s.Allowance(ctx, want.ID)))
	}
	k.sameAllowances(s, "User_1", first, bare) // what has expired is shown for a while
	k.sameAllowances(s, "User_2", other)
	have, created, err := s.CreateAllowance(ctx, k.allowance("a1", func(a *grants.Allowance) { a.Version, a.Limit.Value, a.Open = 7, 5, nil }))
	if err != nil || created {
		k.Errorf("CreateAllowance of an ID that there is: created %v, error %v", created, err)
	}
	k.same("CreateAllowance of an ID that there is", first, have)
	k.same("Allowance after that", first, must[grants.Allowance](k, "Allowance")(s.Allowance(ctx, "a1")))
}

// allowancesExact is like grantsExact.
func (k *grantKit) allowancesExact() {
	s, ctx := k.allowanceStore(), k.Context()
	first := k.createAllowance(s, k.allowance("Allowance_1"))
	for _, id := range mistakable("Allowance_1") {
		_, err := s.Allowance(ctx, id)
		k.wantErr("Allowance "+id, err, authagent.ErrNotFound)
		_, err = s.UpdateAllowance(ctx, k.allowance(id))
		k.wantErr("UpdateAllowance "+id, err, authagent.ErrConflict)
	}
	for _, user := range mistakable("User_1") {
		k.sameAllowances(s, user)
	}
	second := k.createAllowance(s, k.allowance("allowance_1"))
	k.sameAllowances(s, "User_1", first, second)
}

// allowancesUpdated is like grantsUpdated.
func (k *grantKit) allowancesUpdated() {
	s, ctx := k.allowanceStore(), k.Context()
	before := k.createAllowance(s, k.allowance("a1"))
	beside := k.createAllowance(s, k.allowance("a2"))
	want := before
	for _, change := range []func(*grants.Allowance){
		func(a *grants.Allowance) {
			a.Taken, a.Open = 7, append(a.Open[:1:1], grants.Taking{ID: "t3", Value: 6, At: k.now})
		},
		func(a *grants.Allowance) { a.Open[0].Unknown, a.Open[0].Description = false, "" },
		func(a *grants.Allowance) {
			a.Limit, a.Days, a.ExpiresAt, a.Terms = grants.Amount{Value: 1, Currency: "JPY"}, 0, k.now.Add(-time.Hour), 4
			a.Stopped, a.ChangedAt, a.Taken, a.Since, a.Open = false, k.now, 0, k.now, nil
		},
	} {
		change(&want)
		got := must[grants.Allowance](k, "UpdateAllowance")(s.UpdateAllowance(ctx, want))
		want.Version++
		k.same("UpdateAllowance", want, got)
		k.same("Allowance", want, must[grants.Allowance](k, "Allowance")(s.Allowance(ctx, "a1")))
	}
	for _, version := range []int64{0, before.Version, want.Version + 1} {
		stale := before
		stale.Version = version
		_, err := s.UpdateAllowance(ctx, stale)
		k.wantErr("UpdateAllowance of another version", err, authagent.ErrConflict)
	}
	k.sameAllowances(s, "User_1", want, beside)
}

// allowancesAtOnce: one is created, and of those that take from it at once, one does.
func (k *grantKit) allowancesAtOnce() {
	s, ctx := k.allowanceStore(), context.WithoutCancel(k.Context())
	var creates tally
	k.all(func(n int) {
		have, created, err := s.CreateAllowance(ctx, k.allowance("a1", func(a *grants.Allowance) { a.Limit.Value = int64(n) }))
		if err != nil {
			k.Errorf("CreateAllowance: %v", err)
		}
		if created {
			creates.add("created", "")
			if have.Limit.Value != int64(n) {
				k.Errorf("CreateAllowance returned the limit %d, want %d", have.Limit.Value, n)
			}
		}
	})
	if creates.counts["created"] != 1 {
		k.Fatalf("CreateAllowance %d times at once: %d created it", callers, creates.counts["created"])
	}
	have := must[grants.Allowance](k, "Allowance")(s.Allowance(ctx, "a1"))
	k.oneUpdates("UpdateAllowance", func(int) error {
		taken := have
		taken.Taken++
		_, err := s.UpdateAllowance(ctx, taken)
		return err
	})
}

// allowancesCopied is like copies.
func (k *grantKit) allowancesCopied() {
	s, ctx := k.allowanceStore(), k.Context()
	given := k.allowance("a1")
	k.createAllowance(s, given)
	given.Open[0].Value = 7
	one := must[grants.Allowance](k, "Allowance")(s.Allowance(ctx, "a1"))
	one.Open[0].Value = 7
	for _, a := range must[[]grants.Allowance](k, "OwnerAllowances")(s.OwnerAllowances(ctx, "User_1")) {
		a.Open[0].Value = 7
	}
	if have, _, err := s.CreateAllowance(ctx, k.allowance("a1")); err != nil {
		k.Error(err)
	} else {
		have.Open[0].Value = 7
	}
	k.sameAllowances(s, "User_1", k.allowance("a1"))
	changed := k.allowance("a1", func(a *grants.Allowance) { a.Taken = 1 })
	must[grants.Allowance](k, "UpdateAllowance")(s.UpdateAllowance(ctx, changed))
	changed.Open[0].Value = 7
	k.sameAllowances(s, "User_1", k.allowance("a1", func(a *grants.Allowance) { a.Version, a.Taken = 2, 1 }))
}

// allowancesErased is like erased.
func (k *grantKit) allowancesErased() {
	s := k.allowanceStore()
	eraser, ok := k.Store.(authagent.Eraser)
	if !ok {
		k.Skip("the store is no Eraser")
	}
	others := mistakable("User_a")
	for i, user := range append(others, "User_a", "User_a") {
		k.createAllowance(s, k.allowance(name(i), func(a *grants.Allowance) { a.UserID = user }))
	}
	k.sameRecords("User_a", map[string]int{"grants.Allowance": 2})
	for i := range 2 { // the second time there is nothing to erase
		e := erasure(k.T, "User_a")
		if err := eraser.EraseUser(k.Context(), e); err != nil {
			k.Fatal(err)
		}
		k.same("ERA-2 deleted allowances", int64(2-2*i), erasedOf(e, "allowances"))
		k.sameAllowances(s, "User_a")
	}
	_, err := s.Allowance(k.Context(), name(len(others)))
	k.wantErr("Allowance", err, authagent.ErrNotFound)
	for i, user := range others {
		k.sameAllowances(s, user, k.allowance(name(i), func(a *grants.Allowance) { a.UserID = user }))
	}
}

// settled is for a [grants.Settler]: a reservation that no transaction has used is
// unused, for everybody who asks. What a transaction does is for the store's own tests.
func (k *grantKit) settled() {
	s, ok := k.Store.(grants.Settler)
	if !ok {
		k.Skip("the store is no Settler")
	}
	ctx := context.WithoutCancel(k.Context())
	for _, id := range append(mistakable("Reservation_1"), "Reservation_1", "Reservation_1", strings.Repeat("r", 255)) {
		if used, err := s.Settle(ctx, id); used || err != nil {
			k.Errorf("Settle %q: used %v, error %v", id, used, err)
		}
	}
	k.all(func(int) {
		if used, err := s.Settle(ctx, "at once"); used || err != nil {
			k.Errorf("Settle at once: used %v, error %v", used, err)
		}
	})
}
