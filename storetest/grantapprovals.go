package storetest

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

func (k *grantKit) approval(id string, change ...func(*grants.Approval)) grants.Approval {
	a := grants.Approval{
		ID: id, Version: 1, UserID: "User_1", GrantID: "g1", Agent: agent, Action: "payouts:create",
		Digest: "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", State: grants.Pending,
		Description: "Pay out 12,50 € to „Müller“, 北京 \\ 'a' \"b\" 100 %" + strings.Repeat("𝄞", 160),
		Method:      "POST", Host: "Shop.example:8443", Target: "/payouts?to=" + strings.Repeat("x", 2000), ContentType: "application/json; charset=utf-8",
		Body: []byte("\x00\xff\xfe'\"\\%\r\n" + strings.Repeat("x", 16<<10-9)), RequestedAt: k.now, ExpiresAt: k.now.Add(time.Hour),
		Amount: grants.Amount{Value: math.MaxInt64, Currency: "USD"}, Reservation: "Reservation_1-" + strings.Repeat("x", 240),
		ReservedAt: k.now.Add(-time.Minute), Until: k.now.Add(time.Minute),
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
	want.Host, want.Description = "[2001:db8::1]", ""
	want.Amount, want.Reservation = grants.Amount{Value: -1, Currency: "JPY"}, "r2"
	want.ReservedAt, want.Until = k.now.Add(2*time.Second), time.Time{}
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
	want.Amount, want.Reservation, want.ReservedAt = grants.Amount{}, "", time.Time{}
	want = must[grants.Approval](k, "UpdateApproval")(k.UpdateApproval(ctx, want))
	k.same("Approval without a reservation", want, must[grants.Approval](k, "Approval")(k.Approval(ctx, "a1")))
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
	id := k.oneCreates("CreateApproval", func(id string) (string, bool, error) {
		a, created, err := k.CreateApproval(ctx, k.approval(id))
		return a.ID, created, err
	})
	have := must[grants.Approval](k, "Approval")(k.Approval(ctx, id))
	k.oneUpdates("UpdateApproval", func(int) error {
		used := have
		used.State = grants.Used
		_, err := k.UpdateApproval(ctx, used)
		return err
	})
}
