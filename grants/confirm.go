package grants

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// ErrNoProof says that a form has no proof of the person in it: the human has yet to be asked.
var ErrNoProof = errors.New("grants: no proof of the person")

// ErrProof says that a proof of the person is wrong, too old, used, or of something else. Wrap it
// to say more: the text is for the event alone, and nobody is shown it.
var ErrProof = errors.New("grants: the proof of the person is not accepted")

// ProofField is the name of the form field that a proof is posted in. When [Handler]
// asks for a proof, it carries on every field of the decision, except those whose names begin with
// ProofField.
const ProofField = "proof"

// A Confirmer asks the human for a fresh proof that they are there in person, such as a passkey
// or a code, before [Handler] does what gives an agent more. See [Policy.Confirm]. It must be safe
// for concurrent use.
//
// The threat is an agent that drives the browser in which its owner is signed in: it can press
// every button there. So a proof must be something that the browser does not have by itself. It
// must be good for one time, and for a short time. It should be good for one decision alone: bind
// it to Confirmation.Digest where that is possible.
type Confirmer interface {
	// Prompt returns what the page that asks for the proof shows. An error is a fault of the
	// site, and nothing is decided.
	Prompt(r *http.Request, c Confirmation) (Prompt, error)

	// Verify checks the proof in r.PostForm, or what else r has. Nil means that the human has
	// confirmed c, and only then the decision is carried out. It returns [ErrNoProof] if there is
	// none, and [ErrProof] if it is not accepted: in both cases the human is asked, again. Any
	// other error is a fault of the site, and nothing is decided.
	//
	// Handler refuses an account after five proofs in a row that were not accepted, and lets one
	// more be tried each 12 minutes. It counts in one process.
	Verify(r *http.Request, c Confirmation) error
}

// A Confirmation is a decision that a human is to confirm in person.
type Confirmation struct {
	UserID string // the account, whose owner decides

	// Digest is a SHA-256 digest, in hexadecimal, of the account and of all that is decided: the
	// grant or approval, in the version that the human has seen, its agent, and what is given. Two
	// decisions have the same Digest only if they are the same. Once a decision is carried out,
	// the version is another one. So what confirms it is good for nothing else. The exception is
	// to connect an agent, which has no version: its Digest is always the same for an account.
	Digest string

	// Text says what is decided, in one sentence in Language. Names in it are the agent's own
	// words where they stand in quotation marks.
	Text     string
	Language *messages.Language
}

// A Prompt is how a human is asked for a proof.
type Prompt struct {
	// HTML is inside of the form, before its button. A field in it has the name [ProofField].
	HTML template.HTML

	// Script runs on the page. It is a constant text: the page's Content-Security-Policy allows
	// exactly this script, by its hash, and no other page gets any. Empty means none.
	Script string

	// JSON is what a program needs to give the proof. It gets it in the member "confirm".
	JSON any

	// Unable says that the human cannot give a proof now: HTML says why, and the form has no
	// button.
	Unable bool
}

// An unproven decision is one whose human has yet to prove that they are there. As an error it ends
// what serves a form, and the human is asked.
type unproven struct {
	Confirmation
	reason problem.Reason // ConfirmationNeeded or ConfirmationFailed
	to     reader
	grant  *Grant    // that is decided about, or
	action *Approval // this, or to connect
}

func (u *unproven) Error() string { return "grants: confirm a decision: " + string(u.reason) }
func (u *unproven) Unwrap() error { return u.reason }

// A widening says what a form gives an agent beyond what it has: nil if nothing. What does not
// hold any more is an error, since what it would be after a change in between is not known.
type widening func(r *http.Request, to reader, human string) (*unproven, error)

// confirmed returns the form that does what post does once the human has confirmed it, if it gives
// an agent more. Deny, suspend, revoke and forms that only tidy are posted without it: nothing
// must stand in the way of whoever stops an agent.
func (h *pageHandler) confirmed(gives widening, post posted) posted {
	return func(r *http.Request, to reader, human string) (any, error) {
		if err := h.confirm(gives, r, to, human); err != nil {
			return nil, err
		}
		return post(r, to, human)
	}
}

func (h *pageHandler) confirm(gives widening, r *http.Request, to reader, human string) error {
	if h.policy.Confirm == nil {
		return nil
	}
	u, err := gives(r, to, human)
	if err != nil || u == nil {
		return err
	}
	u.UserID, u.Language, u.to = human, to.Language, to
	if wait := h.proofs.Allow(human); wait > 0 {
		return &problem.Error{
			Reason: problem.Limited, Step: "confirm a decision", RetryAfter: wait, Err: errors.New("too many proofs of the person were not accepted"),
		}
	}
	switch err := panics.Catch(func() error { return h.policy.Confirm.Verify(r, u.Confirmation) }); {
	case err == nil:
		h.proofs.Return(human)
		return nil
	case errors.Is(err, ErrNoProof):
		h.proofs.Return(human)
		u.reason = problem.Reason(reasons.ConfirmationNeeded)
		return u
	case errors.Is(err, ErrProof):
		u.reason = problem.Reason(reasons.ConfirmationFailed)
		h.policy.audit(r.Context(), u.failed(err))
		return u
	default:
		h.proofs.Return(human)
		return &problem.Error{Reason: problem.StoreFailed, Step: "confirm a decision", Err: fmt.Errorf("verify the proof of the person: %w", err)}
	}
}

// Of proofs that are not accepted, an account has wrongProofs at once, and as many in a
// wrongPeriod. A code of six digits would be found by trying without it.
const (
	wrongProofs = 5
	wrongPeriod = time.Hour
)

func (u *unproven) failed(err error) audit.Event {
	e := audit.Event{Name: EventNotConfirmed, Outcome: audit.Refused, Detail: err.Error()}
	switch {
	case u.grant != nil:
		e = eventOf(EventNotConfirmed, *u.grant, u.UserID)
		e.Outcome, e.Detail, e.RemoteAddr = audit.Refused, err.Error(), ""
	case u.action != nil:
		e.Issuer, e.Agent, e.GrantID, e.Action = u.action.Agent.Issuer, u.action.Agent, u.action.GrantID, u.action.Action
	}
	e.UserID, e.HumanID, e.Reason = u.UserID, u.UserID, u.reason
	return e
}

// A decided is all that a human confirms. Nothing that decides may be missing in it.
type decided struct {
	Form, UserID, ID  string
	Version           int64
	Agent             authagent.Agent
	Subject, Scenario string

	Access            string // of a grant
	Actions           []string
	For               time.Duration
	Keep              bool
	Nickname          string
	Digest, What      string // of an approval
	Method, Host, Did string
	Amount            string // of an approval or an allowance
	Days              int    // of an allowance
}

func (d decided) digest() string {
	text, _ := json.Marshal(d) // texts, numbers and times cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// widensGrant is the widening of the forms that approve a grant or change it.
func (h *pageHandler) widensGrant(r *http.Request, to reader, human string) (*unproven, error) {
	d := Decision{State: Approved}
	var err error
	if d.GrantID, d.Version, err = seenVersion(r); err != nil {
		return nil, err
	}
	if err := h.readPermission(r, &d); err != nil {
		return nil, err
	}
	g, err := h.policy.find(r.Context(), human, d.GrantID, d.Version)
	if err != nil || !h.policy.widens(g, d) {
		return nil, err
	}
	label, err := h.label(r, to, human, g)
	if err != nil {
		return nil, err
	}
	given := g
	given.Access, given.Actions = d.Access, slices.Compact(slices.Sorted(slices.Values(d.Actions)))
	given.DecidedAt = time.Now()
	until, err := h.policy.until(given, d, g.Now())
	if err != nil {
		return nil, err
	}
	u := &unproven{grant: &g}
	u.Text = to.Text("owner.confirm.grant", "agent", label, "may", h.policy.may(to, given), "day", to.Day(until.In(to.zone), to.now))
	u.Digest = decided{
		Form: "grant", UserID: human, ID: g.ID, Version: d.Version, Agent: g.Agent, Subject: g.Subject, Scenario: g.Scenario,
		Access: d.Access.String(), Actions: given.Actions, For: d.For, Keep: d.Keep, Nickname: d.Nickname,
	}.digest()
	return u, nil
}

// widens reports whether d gives the agent of g more than it has now: it is let in, may see or do
// more, or may for longer.
func (p *Policy) widens(g Grant, d Decision) bool {
	if g.Now() != Approved {
		return true
	}
	full := scenario.MayHaveFull(g.Scenario)
	hasFull := full && g.Access == authagent.AccessFull
	more := func(name string) bool { return !slices.Contains(g.Actions, name) }
	decided := g
	decided.DecidedAt = time.Now()
	until, err := p.until(decided, d, Approved)
	return err != nil || until.After(g.ExpiresAt) || d.Access > g.Access ||
		full && d.Access == authagent.AccessFull && !hasFull || !hasFull && slices.ContainsFunc(d.Actions, more)
}

// label is what the owner knows the agent of a grant by.
func (h *pageHandler) label(r *http.Request, to reader, human string, g Grant) (PageName, error) {
	overview, err := h.policy.Overview(r.Context(), human)
	return newPageName(to, nicknameOf(overview.Grants, g), g), err
}

// widensAction is the widening of the form that approves a single action.
func (h *pageHandler) widensAction(r *http.Request, to reader, human string) (*unproven, error) {
	id, version, err := seenVersion(r)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.approvalOf(r.Context(), human, id)
	switch {
	case err != nil:
		return nil, err
	case a.Now() == Expired:
		return nil, ErrExpired
	case a.State != Pending || a.Version != version: // it could come to be what the form says before it is decided
		return nil, authagent.ErrConflict
	case !h.policy.needsProof(a):
		return nil, nil
	}
	overview, err := h.policy.Overview(r.Context(), human)
	if err != nil {
		return nil, err
	}
	shown := h.policy.newPageApproval(to, a, overview)
	what := shown.Description
	if what == "" {
		what = shown.Text
	}
	u := &unproven{action: &a}
	u.Text = to.Text("owner.confirm.action", "agent", shown.By, "action", what)
	u.Digest = decided{
		Form: "action", UserID: human, ID: a.ID, Version: version, Agent: a.Agent, Digest: a.Digest, What: a.Description,
		Method: a.Method, Host: a.Host, Did: a.Target, Amount: a.Amount.String(),
	}.digest()
	return u, nil
}

// widensConnect is the widening of the form that connects an agent.
func (h *pageHandler) widensConnect(_ *http.Request, to reader, human string) (*unproven, error) {
	u := &unproven{}
	u.Text = to.Text("owner.confirm.connect", "reading", h.policy.reading(to))
	u.Digest = decided{Form: connectPath, UserID: human}.digest()
	return u, nil
}

// confirmConnect is connect for a human who has confirmed it.
func (h *pageHandler) confirmConnect(w http.ResponseWriter, r *http.Request, to reader, human string) error {
	if h.policy.Confirm != nil && r.Method == http.MethodPost {
		if err := readForm(w, r); err != nil {
			return err
		}
		if err := h.confirm(h.widensConnect, r, to, human); err != nil {
			return err
		}
	}
	return h.connect(w, r, to)
}

// carried are the fields of a form that it is posted with again, once the human has confirmed it.
func carried(r *http.Request) (fields []PageField) {
	for name, values := range r.PostForm {
		if strings.HasPrefix(name, ProofField) {
			continue
		}
		for _, value := range values {
			fields = append(fields, PageField{name, value})
		}
	}
	slices.SortStableFunc(fields, func(a, b PageField) int { return strings.Compare(a.Name, b.Name) })
	return fields
}
