package grants

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// approvalID returns the ID of the approval that a request asks for, or "".
func (h *pageHandler) approvalID(r *http.Request) string {
	id, below := strings.CutPrefix(browser.Path(r), h.policy.path()+approvalsPath)
	if _, decides := h.form(approvalsPath + id); !below || decides || strings.Contains(id, "/") {
		return ""
	}
	return id
}

// serveAgent tells an agent how a request of its own stands. A browser in which
// no agent is signed in is sent to the page.
func (h *pageHandler) serveAgent(w http.ResponseWriter, r *http.Request) {
	if err := h.serveApproval(w, r); err != nil {
		h.refuse(w, r, err)
	}
}

func (h *pageHandler) serveApproval(w http.ResponseWriter, r *http.Request) error {
	if !answer.Allow(w, r, http.MethodGet, http.MethodHead) {
		return problem.Reason(reasons.MethodNotAllowed)
	}
	s, signedIn := authagent.FromContext(r.Context())
	switch {
	case !signedIn && answer.WantsHTML(r.Header["Accept"]):
		answer.Redirect(w, h.policy.path())
		return nil
	case !signedIn:
		return problem.NoSession
	}
	a, err := h.policy.store.Approval(r.Context(), h.approvalID(r))
	switch {
	case err != nil:
		return err
	case a.Agent != s.Agent || a.UserID != s.UserID || a.GrantID != s.GrantID:
		return authagent.ErrNotFound
	}
	if a, err = h.policy.settle(r.Context(), a); err != nil {
		return err
	}
	standing := newStanding(a)
	if standing.State == Pending || standing.State == Reserved {
		w.Header().Set("Retry-After", strconv.Itoa(int(actionRetry/time.Second)))
	}
	if answer.WantsHTML(r.Header["Accept"]) {
		return h.showStanding(w, r, a)
	}
	return answer.WriteJSON(w, standing)
}

// A standing is how an approval stands, as its agent is told. Its texts are
// constant, like everything that an agent reads.
type standing struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Detail      string    `json:"detail"`
	Retry       bool      `json:"retry"` // whether to send the request again, sooner or later
	Action      string    `json:"action"`
	Method      string    `json:"method"`
	Target      string    `json:"target"`
	RequestedAt time.Time `json:"requested_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func newStanding(a Approval) standing {
	s := standing{
		ID: a.ID, State: a.Now(), Action: a.Action, Method: a.Method, Target: a.Target, RequestedAt: a.RequestedAt, ExpiresAt: a.ExpiresAt,
	}
	switch s.State {
	case Pending:
		s.Detail, s.Retry = "The account's owner has yet to decide. Look again after the time that Retry-After says.", true
	case Approved:
		s.Detail, s.Retry = "The account's owner has approved this request. Send the same request again: it is let through once.", true
	case Denied:
		s.Detail = "The account's owner has refused this request. Nothing was done."
	case Reserved:
		s.Detail = "This request was approved, and is being performed. Look again in a moment."
	case Used:
		s.Detail = "This request was approved once and has been let through once."
	case Unknown:
		s.Detail = "This request was approved and let through once. It is not known whether it was performed. It is not performed again by itself: the account's owner can find out."
	default:
		s.Detail = "The time is over. Nothing was done. The same request, sent again, is put before the account's owner anew."
	}
	return s
}
