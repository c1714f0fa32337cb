//go:build unix

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent/grants"
)

// The owner of an agent is played by it. They decide at the site, as the program that they
// could be: the site of the release before has another schema than the package has here.

const ownersPath = "/account/agents/"

// overview returns what the owner sees, and whether the site says so.
func (a *agent) overview(ctx context.Context) (o grants.Overview, ok bool) {
	answer := a.send(ctx, a.address(), request{method: http.MethodGet, url: ownersPath, cookie: a.person})
	return o, answer.err == nil && answer.status == http.StatusOK && json.Unmarshal(answer.body, &o) == nil
}

// decide sends a form of the owner's, and reports whether the site says that it is done.
func (a *agent) decide(ctx context.Context, what, id string, version int64, form url.Values) bool {
	form.Set("id", id)
	form.Set("version", strconv.FormatInt(version, 10))
	answer := a.send(ctx, a.address(), request{method: http.MethodPost, url: ownersPath + what, cookie: a.person, form: form})
	return answer.err == nil && answer.status == http.StatusOK
}

// approveAction is the owner, who asks the site until it says that a single action is approved.
func (a *agent) approveAction(ctx context.Context, id string) bool {
	for ctx.Err() == nil {
		o, _ := a.overview(ctx)
		if i := slices.IndexFunc(o.Approvals, func(one grants.Approval) bool { return one.ID == id }); i >= 0 {
			approval := o.Approvals[i]
			// It may have been approved by a try that seemed to fail.
			if approval.State == grants.Approved || a.decide(ctx, "approvals/approve", id, approval.Version, url.Values{}) {
				return true
			}
		}
		a.pause(ctx)
	}
	return false
}

// approve is the owner, who approves the agent once it has asked.
func (a *agent) approve(ctx context.Context) {
	for tries := 1; ctx.Err() == nil; tries++ {
		a.pause(ctx)
		g, ok := a.grant(ctx)
		switch {
		case !ok:
		case g.ID == "" && tries%20 == 0: // an instance was killed before it had filed the request
			a.signInOnce(ctx)
		case g.ID != "" && a.approveGrant(ctx, g):
			return
		}
	}
}

// approveGrant approves the agent, and reports whether that is so now.
func (a *agent) approveGrant(ctx context.Context, g grants.Grant) bool {
	if g.State != grants.Approved && !a.decide(ctx, "approve", g.ID, g.Version, url.Values{"access": {"read"}, "action": {"orders:create"}}) {
		return false
	}
	a.ledger.do(func() { a.ledger.grants[a.as.ID] = g.ID })
	return true
}

// grant returns the agent's, which has no ID if there is none, and whether the site says so.
func (a *agent) grant(ctx context.Context) (grants.Grant, bool) {
	o, ok := a.overview(ctx)
	if len(o.Grants) == 0 {
		return grants.Grant{}, ok
	}
	if len(o.Grants) > 1 {
		a.ledger.fault(grantDoubled, "%s has %d", a.as.ID, len(o.Grants))
	}
	return o.Grants[0], ok
}
