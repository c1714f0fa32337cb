package storetest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/stores"
	"github.com/authagent-go/authagent/storetest"
)

// TestGrants runs the kit on a store that is good, and settles reservations.
func TestGrants(t *testing.T) {
	storetest.Grants(t, func(*testing.T) grants.Store { return &faultyGrants{} })
}

func grantFault(set func(*faultyGrants)) func(*testing.T) {
	return func(t *testing.T) {
		storetest.Grants(t, func(*testing.T) grants.Store {
			s := &faultyGrants{}
			set(s)
			return s
		})
	}
}

// approvalFault is a store in which approvals lose something.
func approvalFault(lose func(*grants.Approval)) func(*testing.T) {
	return grantFault(func(s *faultyGrants) { s.loseOfApproval = lose })
}

// allowanceFault is a store in which allowances lose something.
func allowanceFault(lose func(*grants.Allowance)) func(*testing.T) {
	return grantFault(func(s *faultyGrants) { s.loseOfAllowance = lose })
}

// faultyGrants are grants with one fault, which its fields say.
type faultyGrants struct {
	memstore.Grants
	loseOfApproval                                        func(*grants.Approval)
	loseOfAllowance                                       func(*grants.Allowance)
	fold                                                  func(string) string // what IDs and users are compared by
	shared, replace, raced, anyVersion, keepErased, trust bool
	noDoor, overlap, keepFailed                           bool
	noAskedBefore                                         bool

	mu      sync.Mutex
	turn    sync.Mutex
	lent    map[string][]grants.Taking
	settled map[string]bool
}

func (s *faultyGrants) CreateApproval(ctx context.Context, a grants.Approval) (grants.Approval, bool, error) {
	stored := a
	if s.loseOfApproval != nil {
		s.loseOfApproval(&stored)
	}
	have, created, err := s.Grants.CreateApproval(ctx, stored)
	if created {
		have = a
	}
	return have, created, err
}

func (s *faultyGrants) UpdateApproval(ctx context.Context, a grants.Approval) (grants.Approval, error) {
	if s.loseOfApproval != nil {
		s.loseOfApproval(&a)
	}
	return s.Grants.UpdateApproval(ctx, a)
}

func (s *faultyGrants) Touch(ctx context.Context, a grants.Activity) (grants.Use, error) {
	if s.noDoor {
		a.Door = audit.Browser
	}
	return s.Grants.Touch(ctx, a)
}

func (s *faultyGrants) folded(text string) string {
	if s.fold == nil {
		return text
	}
	return s.fold(text)
}

// out returns what the store hands out of a.
func (s *faultyGrants) out(a grants.Allowance, err error) (grants.Allowance, error) {
	if s.shared && err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lent == nil {
			s.lent = make(map[string][]grants.Taking)
		}
		if _, known := s.lent[a.ID]; !known {
			s.lent[a.ID] = a.Open
		}
		a.Open = s.lent[a.ID]
	}
	return a, err
}

func (s *faultyGrants) Allowance(ctx context.Context, id string) (grants.Allowance, error) {
	return s.out(s.Grants.Allowance(ctx, s.folded(id)))
}

func (s *faultyGrants) OwnerAllowances(ctx context.Context, userID string) (all []grants.Allowance, err error) {
	if all, err = s.Grants.OwnerAllowances(ctx, s.folded(userID)); err != nil {
		return nil, err
	}
	for i := range all {
		all[i], _ = s.out(all[i], nil)
	}
	return all, nil
}

func (s *faultyGrants) CreateAllowance(ctx context.Context, a grants.Allowance) (grants.Allowance, bool, error) {
	stored := a
	stored.ID, stored.UserID = s.folded(a.ID), s.folded(a.UserID)
	if s.loseOfAllowance != nil {
		s.loseOfAllowance(&stored)
	}
	_, missing := s.Grants.Allowance(ctx, stored.ID)
	if s.raced {
		time.Sleep(time.Millisecond)
	}
	have, created, err := s.Grants.CreateAllowance(ctx, stored)
	switch {
	case s.replace && !created:
		stored.Version = have.Version
		_, err = s.Grants.UpdateAllowance(ctx, stored)
		return a, false, err
	case s.raced && missing != nil:
		return a, true, err
	case created:
		return a, true, err
	}
	have, err = s.out(have, err)
	return have, false, err
}

func (s *faultyGrants) UpdateAllowance(ctx context.Context, a grants.Allowance) (grants.Allowance, error) {
	stored := a
	stored.ID, stored.UserID = s.folded(a.ID), s.folded(a.UserID)
	if s.loseOfAllowance != nil {
		s.loseOfAllowance(&stored)
	}
	if have, err := s.Grants.Allowance(ctx, stored.ID); err == nil && s.anyVersion {
		stored.Version = have.Version
	}
	if _, err := s.Grants.UpdateAllowance(ctx, stored); err != nil {
		return grants.Allowance{}, err
	}
	a.Version++
	return a, nil
}

func (s *faultyGrants) EraseUser(ctx context.Context, e *stores.Erasure) error {
	kept, err := s.Grants.OwnerAllowances(ctx, e.UserID)
	if err == nil {
		err = s.Grants.EraseUser(ctx, e)
	}
	for _, a := range kept {
		if s.keepErased && err == nil {
			_, _, err = s.Grants.CreateAllowance(ctx, a)
		}
	}
	return err
}

// Settle implements [grants.Settler], for a database without transactions.
func (s *faultyGrants) Settle(_ context.Context, id string) (used bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled == nil {
		s.settled = make(map[string]bool)
	}
	used = s.settled[s.folded(id)] && s.trust
	s.settled[s.folded(id)] = true
	return used, nil
}

// InTurn takes turns in one process.
func (s *faultyGrants) InTurn(ctx context.Context, _ string, do func(context.Context, grants.Store) error) error {
	if !s.overlap {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	in := &turnGrants{faultyGrants: s}
	err := do(ctx, in)
	if err == nil || s.keepFailed {
		for _, g := range in.created {
			if _, _, err := s.CreateGrant(ctx, g); err != nil {
				return err
			}
		}
	}
	return err
}

// turnGrants are what a turn sees and creates.
type turnGrants struct {
	*faultyGrants
	created []grants.Grant
}

func (t *turnGrants) CreateGrant(_ context.Context, g grants.Grant) (grants.Grant, bool, error) {
	t.created = append(t.created, g)
	return g, true, nil
}

func (t *turnGrants) OwnerGrants(ctx context.Context, userID string) ([]grants.Grant, error) {
	all, err := t.faultyGrants.OwnerGrants(ctx, userID)
	return append(all, t.created...), err
}

func (s *faultyGrants) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	if s.noAskedBefore {
		g.AskedBefore = nil
	}
	return s.Grants.CreateGrant(ctx, g)
}

// grantFaults are faults of stores of grants.
var grantFaults = map[string]fault{
	"approvals without a value":          {approvalFault(func(a *grants.Approval) { a.Amount.Value = 0 }), "TestFault/approvals"},
	"approvals without a currency":       {approvalFault(func(a *grants.Approval) { a.Amount.Currency = "" }), "TestFault/approvals"},
	"approvals without a reservation":    {approvalFault(func(a *grants.Approval) { a.Reservation = "" }), "TestFault/approvals"},
	"approvals without a time":           {approvalFault(func(a *grants.Approval) { a.ReservedAt = time.Time{} }), "TestFault/approvals"},
	"approvals without an end":           {approvalFault(func(a *grants.Approval) { a.Until = time.Time{} }), "TestFault/approvals"},
	"activity without a door":            {grantFault(func(s *faultyGrants) { s.noDoor = true }), "TestFault/activity"},
	"allowances without a limit":         {allowanceFault(func(a *grants.Allowance) { a.Limit.Value = 0 }), "TestFault/allowances"},
	"allowances with floats":             {allowanceFault(func(a *grants.Allowance) { a.Taken = int64(float32(a.Taken)) }), "TestFault/allowances"},
	"allowances without terms":           {allowanceFault(func(a *grants.Allowance) { a.Terms = 0 }), "TestFault/allowances"},
	"allowances that go on":              {allowanceFault(func(a *grants.Allowance) { a.Stopped = false }), "TestFault/allowances"},
	"allowances without open takings":    {allowanceFault(func(a *grants.Allowance) { a.Open = nil }), "TestFault/allowances"},
	"allowances of one taking":           {allowanceFault(func(a *grants.Allowance) { a.Open = a.Open[:min(1, len(a.Open))] }), "TestFault/allowances"},
	"allowances cut":                     {allowanceFault(func(a *grants.Allowance) { a.Agent.ID = a.Agent.ID[:min(200, len(a.Agent.ID))] }), "TestFault/allowances"},
	"allowances whatever the case":       {grantFault(func(s *faultyGrants) { s.fold = strings.ToLower }), "allowances_exact"},
	"allowances without trailing spaces": {grantFault(func(s *faultyGrants) { s.fold = strings.TrimSpace }), "allowances_exact"},
	"allowances replaced":                {grantFault(func(s *faultyGrants) { s.replace = true }), "TestFault/allowances"},
	"allowances raced":                   {grantFault(func(s *faultyGrants) { s.raced = true }), "allowances_at_once"},
	"allowances of any version":          {grantFault(func(s *faultyGrants) { s.anyVersion = true }), "allowances_updated"},
	"allowances shared":                  {grantFault(func(s *faultyGrants) { s.shared = true }), "allowances_are_copies"},
	"allowances that outlive accounts":   {grantFault(func(s *faultyGrants) { s.keepErased = true }), "allowances_erased"},
	"turns that overlap":                 {grantFault(func(s *faultyGrants) { s.overlap = true }), "TestFault/turns"},
	"turns that leave something":         {grantFault(func(s *faultyGrants) { s.keepFailed = true }), "TestFault/turns"},
	"grants that forget requests":        {grantFault(func(s *faultyGrants) { s.noAskedBefore = true }), "TestFault/grants"},
	"reservations used by asking":        {grantFault(func(s *faultyGrants) { s.trust = true }), "reservations_settled"},
}
