package passkey

import (
	"bytes"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

const (
	maxPasskeys = 20       // of an account
	maxForm     = 64 << 10 // bytes that are read of one
)

//go:embed passkeys.html
var pageFile embed.FS

// Handler returns the page on which a human sees the passkeys of their account, adds and removes
// them. Mount it at [Config.Path], for all methods. Only humans get in
// ([authagent.RelyingParty.RequireHuman]), and forms come only from this site's own pages. Each
// change needs the proof of [Config.Fresh]; without it the page has a link to
// [Config.FreshPath] in place of its buttons, and a form is refused with confirmation_needed.
//
// A client that does not ask for HTML gets it as JSON: with the proof, "publicKey" has the options
// for a new passkey. Forms are posted to add, with the field "proof", and to remove, with "id". An
// account has at most 20 passkeys.
//
// It panics if authagent.Config.Human is not set.
func (p *Passkeys) Handler(rp *authagent.RelyingParty) http.Handler {
	style := answer.Style()
	h := &handler{Passkeys: p, rp: rp, style: template.CSS(style), sources: "default-src 'none'; style-src " + answer.Hash(style)}
	h.page = template.Must(template.New("passkeys.html").ParseFS(pageFile, "passkeys.html"))
	humans := rp.RequireHuman(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.serve(w, r); err != nil {
			h.refuse(w, r, err)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.Protect(w.Header())
		answer.AddVary(w.Header(), "Cookie", "Accept")
		r = browser.WithBack(r, p.path)
		switch err := rp.CheckOrigin(r); {
		case !strings.HasPrefix(browser.Path(r), p.path):
			h.refuse(w, r, fmt.Errorf("passkey: Handler is not mounted at Config.Path: browsers ask for another path than %q", p.path))
		case err != nil:
			h.refuse(w, r, err)
		default:
			humans.ServeHTTP(w, r)
		}
	})
}

type handler struct {
	*Passkeys
	rp      *authagent.RelyingParty
	page    *template.Template
	style   template.CSS
	sources string // of the Content-Security-Policy
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	human, _ := authagent.HumanFromContext(r.Context())
	change := map[string]func(*http.Request, string) error{"add": h.add, "remove": h.remove}
	name := strings.TrimPrefix(browser.Path(r), h.path)
	do, known := change[name]
	switch {
	case name == "" && answer.Allow(w, r, http.MethodGet, http.MethodHead):
		return h.list(w, r, human)
	case name != "" && !known:
		return problem.NotFound
	case name == "" || !answer.Allow(w, r, http.MethodPost):
		return problem.Reason(reasons.MethodNotAllowed)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil {
		return malformed("")
	}
	if err := h.fresh(r); err != nil { // before anything is looked at
		return &problem.Error{Reason: problem.Reason(reasons.ConfirmationNeeded), Step: "change passkeys", Err: fmt.Errorf("Config.Fresh: %w", err)}
	}
	if err := do(r, human); err != nil {
		return err
	}
	if answer.WantsHTML(r.Header["Accept"]) {
		answer.Redirect(w, h.path+"?done="+name)
		return nil
	}
	return h.list(w, r, human)
}

// add adds the passkey that the browser has made. Of it, it wants what section 7.1 of Web
// Authentication level 3 demands: the user verified, this origin and RP ID, and a challenge of this
// account. Which make the device is does not matter.
func (h *handler) add(r *http.Request, human string) error {
	proof := r.PostForm.Get(grants.ProofField)
	made, err := protocol.ParseCredentialCreationResponseBytes([]byte(proof))
	if err != nil {
		return malformed(grants.ProofField)
	}
	challenge := made.Response.CollectedClientData.Challenge
	if err := h.checkChallenge(challenge, toAdd, human, ""); err != nil {
		return failed(err)
	}
	handle := h.handle(human)
	credential, err := h.web.CreateCredential(&account{handle: handle}, webauthn.SessionData{
		Challenge: challenge, RelyingPartyID: h.id, UserID: handle, UserVerification: protocol.VerificationRequired,
		CredParams: webauthn.CredentialParametersDefault(),
	}, made)
	if err != nil {
		return failed(errors.New(why(err)))
	}
	all, err := h.store.Passkeys(r.Context(), human)
	switch {
	case err != nil:
		return fmt.Errorf("passkey: find passkeys of account: %w", err)
	case len(all) >= maxPasskeys:
		return &problem.Error{Reason: problem.Limited, Step: "add passkey", Err: fmt.Errorf("the account has %d passkeys", len(all))}
	}
	switch err := h.spend(r.Context(), challenge); {
	case errors.Is(err, errUsed):
		return failed(err)
	case err != nil:
		return err
	}
	err = h.store.AddPasskey(r.Context(), Passkey{UserID: human, Handle: handle, Credential: *credential, AddedAt: time.Now()})
	return wrap("add passkey", err)
}

func (h *handler) remove(r *http.Request, human string) error {
	id, err := base64.RawURLEncoding.DecodeString(r.PostForm.Get("id"))
	if err != nil || len(id) == 0 || len(r.PostForm["id"]) != 1 {
		return malformed("id")
	}
	return wrap("remove passkey", h.store.RemovePasskey(r.Context(), human, id))
}

// A view is what the page is made of.
type view struct {
	authagent.Frame
	Lang      *messages.Language
	Host      string
	Style     template.CSS
	Path      string
	Done      string // what was done: "add" or "remove"; empty if nothing
	Passkeys  []viewPasskey
	Fresh     bool          // the human has just proved who they are
	FreshLink string        // to where they can; empty if that is not known
	Add       template.HTML // of the form that adds one; empty without the proof, and where there are too many
	Script    template.HTML
}

type viewPasskey struct{ ID, Added, Used string }

type passkeyJSON struct {
	ID      string    `json:"id"`
	AddedAt time.Time `json:"added_at"`
	UsedAt  time.Time `json:"used_at,omitzero"`
}

func (h *handler) list(w http.ResponseWriter, r *http.Request, human string) error {
	all, err := h.store.Passkeys(r.Context(), human)
	if err != nil {
		return fmt.Errorf("passkey: find passkeys of account: %w", err)
	}
	fresh := h.fresh(r) == nil
	var options *protocol.PublicKeyCredentialCreationOptions
	if fresh && len(all) < maxPasskeys {
		if options, err = h.creation(human, all); err != nil {
			return err
		}
	}
	if !answer.WantsHTML(r.Header["Accept"]) {
		said := struct {
			Passkeys []passkeyJSON                                `json:"passkeys"`
			Fresh    bool                                         `json:"fresh"`
			Options  *protocol.PublicKeyCredentialCreationOptions `json:"publicKey,omitempty"`
		}{[]passkeyJSON{}, fresh, options}
		for _, p := range all {
			said.Passkeys = append(said.Passkeys, passkeyJSON{encode(p.Credential.ID), p.AddedAt, p.UsedAt})
		}
		return answer.WriteJSON(w, said)
	}
	return h.show(w, r, all, fresh, options)
}

// creation are the options for a new passkey.
func (h *handler) creation(human string, all []Passkey) (*protocol.PublicKeyCredentialCreationOptions, error) {
	owner := &account{handle: h.handle(human), name: h.name, all: all}
	var have []protocol.CredentialDescriptor
	for _, c := range owner.WebAuthnCredentials() {
		have = append(have, c.Descriptor())
	}
	creation, _, err := h.web.BeginRegistration(owner, webauthn.WithExclusions(have))
	if err != nil {
		return nil, fmt.Errorf("passkey: make options: %w", err)
	}
	creation.Response.Challenge = h.newChallenge(toAdd, human, "")
	creation.Response.Timeout = int(freshFor.Milliseconds())
	return &creation.Response, nil
}

func (h *handler) show(w http.ResponseWriter, r *http.Request, all []Passkey, fresh bool, options *protocol.PublicKeyCredentialCreationOptions) error {
	lang := h.rp.Language(r)
	page := view{Frame: h.rp.Frame(w, lang), Lang: lang, Host: h.rp.Host(), Style: h.style, Path: h.path, Fresh: fresh}
	if done := r.URL.Query().Get("done"); done == "add" || done == "remove" {
		page.Done = done
	}
	if h.freshPath != "" {
		page.FreshLink = h.freshPath + "?return_to=" + url.QueryEscape(h.path)
	}
	for _, p := range all {
		shown := viewPasskey{ID: encode(p.Credential.ID), Added: lang.Moment(p.AddedAt.UTC())}
		if !p.UsedAt.IsZero() {
			shown.Used = lang.Moment(p.UsedAt.UTC())
		}
		page.Passkeys = append(page.Passkeys, shown)
	}
	sources := h.sources
	if page.Frame != (authagent.Frame{}) {
		sources = answer.WithFrame(sources)
	}
	if options != nil {
		var err error
		if page.Add, err = h.field(lang, options, lang.Text("passkey.add.lead")); err != nil {
			return err
		}
		page.Script = template.HTML("<script>" + script + "</script>")
		sources += "; script-src " + answer.Hash(script)
	}
	var body bytes.Buffer
	if err := h.page.Execute(&body, page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", answer.Policy(sources))
	_, _ = w.Write(body.Bytes()) // an error means that the client has gone
	return nil
}

// refuse answers with an error, from which a page leads back to this one.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := &problem.Error{Reason: problem.StoreFailed, Step: "serve passkeys", Err: err}
	var known *problem.Error
	var reason problem.Reason
	switch {
	case errors.As(err, &known):
		*e = *known // of this request alone
	case errors.As(err, &reason):
		*e = problem.Error{Reason: reason, Step: e.Step}
	}
	e.Back = h.path
	h.rp.ServeError(w, r, e)
}

func encode(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

func failed(err error) error {
	return &problem.Error{Reason: problem.Reason(reasons.ConfirmationFailed), Step: "add passkey", Err: err}
}

func malformed(field string) error {
	return &problem.Error{
		Reason: problem.InvalidRequest, Step: "read form", Field: field, Err: fmt.Errorf("the field %q is missing, repeated or malformed", field),
	}
}

// wrap says what a store's error means to the human.
func wrap(step string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, authagent.ErrConflict):
		return problem.Conflict
	case errors.Is(err, authagent.ErrNotFound):
		return problem.NotFound
	}
	return fmt.Errorf("passkey: %s: %w", step, err)
}
