// Package compare tells an agent that waits for its owner what the owner's page shows
// beside its request: a short code, by which the owner knows their own agent's request
// from a stranger's.
package compare

import (
	"cmp"
	"fmt"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/returnpath"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/problem"
)

// A Teller tells agents of one site how their requests are compared.
type Teller struct {
	codes    *seal.Codes
	page     string // where owners decide; empty if it is not known
	compares bool   // the page shows codes
}

// page returns the path of the page where owners decide by this policy, which may be
// nil, and whether it shows codes.
func page(policy any) (path string, compares bool) {
	if p, ok := policy.(interface {
		OwnerPage() (path string, compares bool)
	}); ok {
		return p.OwnerPage()
	}
	return "", false
}

// Check returns an error if the page of a policy is not on this site.
func Check(policy any) error {
	if path, _ := page(policy); path != "" && returnpath.Check(path) != nil {
		return fmt.Errorf("its LinkPolicy's OwnerPage: %q is not a path on this site", path)
	}
	return nil
}

// New returns the Teller of a site with these keys and this policy. All relying parties
// with the same keys have the same codes, since they may share a policy.
func New(keys [][]byte, policy any) (*Teller, error) {
	codes, err := seal.NewCodes(keys, "authagent", "compare")
	path, compares := page(policy)
	return &Teller{codes, path, compares}, err
}

// Codes returns the codes of an agent's request to the owner that the server names.
func (t *Teller) Codes(agent audit.Agent, owner string) []string {
	return t.codes.Of(agent.Issuer, agent.ID, owner)
}

// Tell adds to the failure of an agent's sign-in what the agent is told of the owner's
// page, if that is what to do next. email and subject are those of the owner at the
// server; both are empty if nobody has asked. The work is the same for every address
// (LNK-11): no store is asked.
func (t *Teller) Tell(f *failure.Failure, email, subject string) {
	if f.Reason != problem.ApprovalNeeded && f.Reason != problem.Suspended {
		return
	}
	f.OwnerPage = t.page
	if subject == f.Agent.ID { // the agent itself, without SubjectIsUser
		subject = ""
	}
	if owner := cmp.Or(subject, email); t.compares && owner != "" {
		f.Compare = t.Codes(f.Agent, owner)[0]
	}
}
