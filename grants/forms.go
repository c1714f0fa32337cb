package grants

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// A change is something that a human has posted a form for. It returns the code
// of what was done, for Page.Done, and what has become of it.
type change func(r *http.Request, human string) (done string, result any, err error)

func (h *pageHandler) allChanges() map[string]change {
	return map[string]change{
		"approve":           h.decide(Approved, "approved"),
		"change":            h.decide(Approved, "changed"),
		"deny":              h.decide(Denied, "denied"),
		"suspend":           h.decide(Suspended, "suspended"),
		"revoke":            h.decide(Revoked, "revoked"),
		"revoke-all":        h.revokeAll,
		"end-session":       h.endSession,
		"approvals/approve": h.decideAction(true, "action-approved"),
		"approvals/deny":    h.decideAction(false, "action-denied"),
	}
}

const doneConnected = "connected"

// doneCode returns what the query says was done, if it is something that can be:
// anybody can write a link with anything.
func doneCode(r *http.Request) string {
	code := r.URL.Query().Get("done")
	known := []string{
		"approved", "changed", "denied", "suspended", "revoked", "revoked-all", "session-ended", "action-approved", "action-denied",
		doneConnected,
	}
	if slices.Contains(known, code) {
		return code
	}
	return ""
}

// decide returns the change that decides about a grant.
func (h *pageHandler) decide(state State, done string) change {
	return func(r *http.Request, human string) (string, any, error) {
		d := Decision{State: state}
		var err error
		if d.GrantID, d.Version, err = seenVersion(r); err != nil {
			return "", nil, err
		}
		if state == Approved {
			if err := h.readPermission(r, &d); err != nil {
				return "", nil, err
			}
		}
		g, err := h.policy.Decide(r.Context(), human, d)
		return done, g, err
	}
}

// readPermission reads what an agent is to be allowed. More than reading has to
// be said in so many words.
func (h *pageHandler) readPermission(r *http.Request, d *Decision) error {
	switch access, err := field(r, "access"); {
	case !r.PostForm.Has("access"), err == nil && access == authagent.AccessRead.String():
		d.Access = authagent.AccessRead
	case err == nil && access == authagent.AccessFull.String():
		d.Access = authagent.AccessFull
	default:
		return malformed("access")
	}
	d.Actions = r.PostForm["action"]
	for _, name := range d.Actions {
		if _, offered := h.policy.Actions[name]; !offered {
			return malformed("action")
		}
	}
	if !r.PostForm.Has("days") {
		return nil
	}
	days, err := field(r, "days")
	i := slices.IndexFunc(h.policy.periods(), func(p PagePeriod) bool { return days == strconv.Itoa(p.Days) })
	if err != nil || i < 0 {
		return malformed("days")
	}
	d.For = h.policy.periods()[i].duration()
	return nil
}

func (h *pageHandler) revokeAll(r *http.Request, human string) (string, any, error) {
	if err := h.policy.RevokeAll(r.Context(), human); err != nil {
		return "", nil, err
	}
	overview, err := h.policy.Overview(r.Context(), human)
	return "revoked-all", h.policy.newOverviewJSON(overview), err
}

func (h *pageHandler) endSession(r *http.Request, human string) (string, any, error) {
	id, err := field(r, "session")
	if err != nil {
		return "", nil, err
	}
	if err := h.policy.EndSession(r.Context(), h.rp, human, id); err != nil {
		return "", nil, err
	}
	overview, err := h.policy.Overview(r.Context(), human)
	return "session-ended", h.policy.newOverviewJSON(overview), err
}

func (h *pageHandler) decideAction(approve bool, done string) change {
	return func(r *http.Request, human string) (string, any, error) {
		id, version, err := seenVersion(r)
		if err != nil {
			return "", nil, err
		}
		a, err := h.policy.DecideAction(r.Context(), human, id, version, approve)
		return done, h.policy.newApprovalJSON(a), err
	}
}

// maxForm bounds what is read of a form.
const maxForm = 64 << 10

func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil {
		return malformed("")
	}
	return nil
}

// field returns a field that the form has once.
func field(r *http.Request, name string) (string, error) {
	if all := r.PostForm[name]; len(all) == 1 && all[0] != "" {
		return all[0], nil
	}
	return "", malformed(name)
}

// seenVersion returns what was decided about, in the version that the human has
// seen.
func seenVersion(r *http.Request) (id string, version int64, err error) {
	if id, err = field(r, "id"); err != nil {
		return "", 0, err
	}
	text, err := field(r, "version")
	if err != nil {
		return "", 0, err
	}
	if version, err = strconv.ParseInt(text, 10, 64); err != nil || version < 1 {
		return "", 0, malformed("version")
	}
	return id, version, nil
}

func malformed(field string) error {
	return &problem.Error{
		Reason: problem.InvalidRequest, Step: "read form", Field: field, Err: errors.New("the field is missing, repeated or malformed"),
	}
}
