package grants

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
)

// A UserExporter is a [Store] that can list all that it has of an account, for
// [Policy.ExportUser].
type UserExporter interface {
	// UserRecords calls each with every record of an account: first each [Grant], then each
	// [Approval], [Allowance], [Activity], [LastUse] (one for each network of a grant, as far as it
	// is known) and [Deed], also those whose time is over. It returns the first error of each.
	UserRecords(ctx context.Context, userID string, each func(record any) error) error
}

// exportedKinds are the kinds of records of an export, in the order of UserRecords.
var exportedKinds = [...]string{"grants", "approvals", "allowances", "activity", "uses", "deeds"}

// What an export has beyond the JSON that owners and operators get.
type (
	exportedGrant struct {
		Grant
		Email string `json:"email,omitempty"`
	}
	exportedApproval struct {
		Approval
		Body   string `json:"body,omitempty"`
		Binary []byte `json:"body_base64,omitempty"` // in place of Body, if that is no text
	}
	exportedActivity struct {
		Activity
		Network string `json:"network,omitempty"`
	}
)

// exportOf returns the kind of a record of UserRecords, and what is written of it.
func exportOf(record any) (kind string, text any, err error) {
	switch r := record.(type) {
	case Grant:
		return "grants", exportedGrant{r, r.Email}, nil
	case Approval:
		if utf8.Valid(r.Body) {
			return "approvals", exportedApproval{Approval: r, Body: string(r.Body)}, nil
		}
		return "approvals", exportedApproval{Approval: r, Binary: r.Body}, nil
	case Allowance:
		return "allowances", r, nil
	case Activity:
		return "activity", exportedActivity{r, r.Network}, nil
	case LastUse:
		return "uses", r, nil
	case Deed:
		return "deeds", r, nil
	}
	return "", nil, fmt.Errorf("grants: export user: the store has a record of type %T", record)
}

// ExportUser implements [authagent.Exporter]. The store has to be a [UserExporter]; otherwise
// the document says that it is none.
func (p *Policy) ExportUser(ctx context.Context, x *authagent.Export) error {
	store, ok := p.store.(UserExporter)
	if !ok {
		x.Missing("the store of grants is no grants.UserExporter")
		return nil
	}
	begun := 0 // of exportedKinds: what there is none of is said too
	begin := func(to int) error {
		for ; begun < to; begun++ {
			if err := x.Begin(exportedKinds[begun]); err != nil {
				return err
			}
		}
		return nil
	}
	err := store.UserRecords(ctx, x.UserID, func(record any) error {
		kind, text, err := exportOf(record)
		if err == nil {
			err = begin(slices.Index(exportedKinds[:], kind) + 1)
		}
		if err == nil {
			err = x.Add(kind, text)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("grants: export user: %w", err)
	}
	return begin(len(exportedKinds))
}
