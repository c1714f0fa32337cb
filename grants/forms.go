package grants

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// A form is a change that the page has a button for.
type form struct {
	path string // below the page's, as the button's form or formaction has it
	done string // what was done then, for Page.Done
	post posted // nil where something else than this file serves the path
}

// A posted form does what a human has decided, and returns what has become of it.
type posted func(r *http.Request, to reader, human string) (result any, err error)

// allForms are all that a human can post. What each needs stands in the comment of
// Handler, and what the page says when it is done in the texts, by the code. A form that gives
// an agent more has to be confirmed: see [Policy.Confirm].
func (h *pageHandler) allForms() []form {
	return append(h.allowForms(), []form{
		{"approve", "approved", h.confirmed(h.widensGrant, h.decide(Approved))},
		{"change", "changed", h.confirmed(h.widensGrant, h.decide(Approved))},
		{"deny", "denied", h.decide(Denied)},
		{"deny-all", "denied-all", h.forAll(h.policy.DenyWaiting)},
		{"suspend", "suspended", h.decide(Suspended)},
		{"revoke", "revoked", h.decide(Revoked)},
		{"revoke-all", "revoked-all", h.forAll(h.policy.RevokeAll)},
		{"rename", "renamed", h.rename},
		{"forget", "hidden", h.hide},
		{"end-session", "session-ended", h.endSession},
		{connectPath, doneConnected, nil},
		{approvalsPath + "approve", "action-approved", h.confirmed(h.widensAction, h.decideAction(true))},
		{approvalsPath + "deny", "action-denied", h.decideAction(false)},
	}...)
}

const (
	connectPath   = "connect"    // see pageHandler.confirmConnect
	agentsPath    = "agents/"    // and the ID of a grant: the page of its agent
	approvalsPath = "approvals/" // also of how an approval stands, see pageHandler.approvalID
	doneConnected = "connected"
)

// form returns the form that is posted to a path below the page's.
func (h *pageHandler) form(path string) (form, bool) {
	i := slices.IndexFunc(h.forms, func(f form) bool { return f.path == path })
	if i < 0 {
		return form{}, false
	}
	return h.forms[i], true
}

// done returns what the query says was done, if it is something that can be: anybody
// can write a link with anything.
func (h *pageHandler) done(r *http.Request) string {
	code := r.URL.Query().Get("done")
	if slices.ContainsFunc(h.forms, func(f form) bool { return f.done == code }) {
		return code
	}
	return ""
}

// decide returns the form that decides about a grant.
func (h *pageHandler) decide(state State) posted {
	return func(r *http.Request, to reader, human string) (any, error) {
		d := Decision{State: state}
		var err error
		if d.GrantID, d.Version, err = seenVersion(r); err != nil {
			return nil, err
		}
		if state == Approved {
			if err := h.readPermission(r, &d); err != nil {
				return nil, err
			}
		}
		return h.changed(to)(h.policy.Decide(r.Context(), human, d))
	}
}

// changed is how a program gets a grant that was changed.
func (h *pageHandler) changed(to reader) func(Grant, error) (any, error) {
	return func(g Grant, err error) (any, error) { return h.policy.newGrantJSON(to, g), err }
}

func (h *pageHandler) rename(r *http.Request, to reader, human string) (any, error) {
	id, version, err := seenVersion(r)
	if err != nil {
		return nil, err
	}
	name := r.PostForm["nickname"]
	if len(name) != 1 {
		return nil, malformed("nickname")
	}
	return h.changed(to)(h.policy.Rename(r.Context(), human, id, version, name[0]))
}

func (h *pageHandler) hide(r *http.Request, to reader, human string) (any, error) {
	id, version, err := seenVersion(r)
	if err != nil {
		return nil, err
	}
	return h.changed(to)(h.policy.Hide(r.Context(), human, id, version))
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
	if names := r.PostForm["nickname"]; len(names) > 1 {
		return malformed("nickname")
	}
	d.Nickname = r.PostForm.Get("nickname")
	return h.readPeriod(r, d)
}

// keepPeriod is the value of days that keeps the time that a grant has.
const keepPeriod = "keep"

// readPeriod reads how long an agent is allowed it.
func (h *pageHandler) readPeriod(r *http.Request, d *Decision) error {
	if !r.PostForm.Has("days") {
		return nil
	}
	days, err := field(r, "days")
	if d.Keep = days == keepPeriod; d.Keep {
		return err
	}
	i := slices.IndexFunc(h.policy.periods(), func(p PagePeriod) bool { return days == strconv.Itoa(p.Days) })
	if err != nil || i < 0 {
		return malformed("days")
	}
	d.For = h.policy.periods()[i].duration()
	return nil
}

// forAll returns the form that does something about all agents of an account.
func (h *pageHandler) forAll(do func(ctx context.Context, userID string) error) posted {
	return func(r *http.Request, to reader, human string) (any, error) {
		if err := do(r.Context(), human); err != nil {
			return nil, err
		}
		return h.overview(r, to, human)
	}
}

// overview is what has become of all, for a form that is not about one grant.
func (h *pageHandler) overview(r *http.Request, to reader, human string) (any, error) {
	overview, err := h.policy.Overview(r.Context(), human)
	return h.policy.newOverviewJSON(to, overview), err
}

func (h *pageHandler) endSession(r *http.Request, to reader, human string) (any, error) {
	id, err := field(r, "session")
	if err != nil {
		return nil, err
	}
	if err := h.policy.EndSession(r.Context(), h.rp, human, id); err != nil {
		return nil, err
	}
	return h.overview(r, to, human)
}

// decideAction returns the form that decides about a single action.
func (h *pageHandler) decideAction(approve bool) posted {
	return func(r *http.Request, to reader, human string) (any, error) {
		id, version, err := seenVersion(r)
		if err != nil {
			return nil, err
		}
		a, err := h.policy.DecideAction(r.Context(), human, id, version, approve)
		return h.policy.newApprovalJSON(to, a), err
	}
}

// backTo is where a browser is sent after a form: to the list, or to the page of the agent
// that the form names.
func (h *pageHandler) backTo(r *http.Request, done string) string {
	path := h.policy.path()
	if id, err := field(r, "agent"); err == nil {
		path = h.policy.agentPath(id)
	}
	return path + "?done=" + done
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
	text, _ := field(r, "version") // what is no field is no number either
	if version, err = strconv.ParseInt(text, 10, 64); err != nil || version < 1 {
		return "", 0, malformed("version")
	}
	return id, version, nil
}

func malformed(field string) error {
	return &problem.Error{
		Reason: problem.InvalidRequest, Step: "read form", Field: field, Err: fmt.Errorf("the field %q is missing, repeated or malformed", field),
	}
}
