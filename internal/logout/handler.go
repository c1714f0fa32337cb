package logout

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/refuse"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

const maxBody = 64 << 10 // bytes

// A Handler is where a server says that sessions have ended. It is safe for concurrent use.
type Handler struct {
	Verifier
	SubjectIsUser bool
	States        *once.States    // of logins; tokens have names that no state has
	Register      *marks.Register // of sessions that were ended
	Panics        failure.Panics

	// OnPersonEnded is provider.Settings.OnPersonEnded.
	OnPersonEnded func(context.Context, provider.Person) error

	// Record takes what has happened; f is nil unless something was refused or has failed.
	Record func(r *http.Request, e audit.Event, f *failure.Failure)
}

// ServeHTTP implements [http.Handler]. It answers as section 2.8 says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer.Protect(w.Header())
	err := h.serve(w, r)
	if err == nil {
		return // 200
	}
	f := failure.As(err)
	h.Record(r, audit.Event{Name: audit.LogoutFailed}, f)
	status, why := http.StatusBadRequest, "the sessions may not have ended: try again"
	switch f.Reason {
	case reasons.MethodNotAllowed:
		status, why = f.Status(), "this address takes POST"
	case problem.InvalidRequest:
		why = "the request or its logout token is not accepted"
	}
	body, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": why}) // cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error means that the server has gone
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if err := refuse.Allow(w, r, http.MethodPost); err != nil {
		return err
	}
	raw, err := tokenOf(w, r)
	if err != nil {
		return err
	}
	t, err := h.Verify(r.Context(), raw)
	if err != nil {
		return err
	}
	// From here on it is the server's word, and counts even if the server does not wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.States.Task)
	defer cancel()
	return h.once(ctx, t, func() error { return h.end(ctx, r, t) })
}

// tokenOf returns the one logout token of a request (section 2.5). Whatever else is in its body is
// ignored, and so is the query.
func tokenOf(w http.ResponseWriter, r *http.Request) (string, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return "", reject("the request is no form")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return "", reject("the form cannot be read, or is longer than 64 KiB")
	}
	tokens := r.PostForm["logout_token"]
	if len(tokens) != 1 {
		return "", reject("the form has %d logout tokens, and not one", len(tokens))
	}
	return tokens[0], nil
}

// once has a token count once, at all instances. It is used up before anything ends: afterwards, who
// had got hold of a token could end with it what has begun since. But a logout that gets lost is
// worse than one that is done twice at about the same time. So if the first attempt was not recorded
// as done, because a store or the site has failed, the same token counts once more.
func (h *Handler) once(ctx context.Context, t *Token, end func() error) error {
	first, err := h.use(ctx, t, "begun")
	if err == nil && !first {
		first, err = h.use(ctx, t, "done")
	}
	switch {
	case err != nil:
		return err
	case !first:
		return reject("it was used before (jti)")
	}
	if err := end(); err != nil {
		return err
	}
	_, err = h.use(ctx, t, "done")
	return err
}

// use notes how far a token has got at this client, as a token may be for several, and reports whether
// that was not known. Where the memory for states is full, a token is not noted, and logins keep their
// room: a logout must not be lost for that.
func (h *Handler) use(ctx context.Context, t *Token, stage string) (first bool, err error) {
	found, err := h.States.Use(ctx, "logout "+stage+"\n"+h.Issuer+"\n"+h.ClientID+"\n"+t.ID, t.Until, true)
	return found == once.First, failure.OfSite("use logout token", err)
}

// end ends the sessions that a token is about, agents' before people's.
func (h *Handler) end(ctx context.Context, r *http.Request, t *Token) error {
	err := h.Panics.Protect("end sessions", func() error {
		for _, key := range h.keys(t) {
			if err := h.Register.End(ctx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return failure.OfSite("end sessions", err)
	}
	h.Record(r, audit.Event{Name: audit.SessionsEndedByServer, Detail: t.whose()}, nil)
	if h.OnPersonEnded == nil {
		return nil
	}
	person := provider.Person{Issuer: h.Issuer, Subject: t.Subject, SID: t.SID}
	return failure.OfSite("end person's sessions", h.Panics.Protect("end person's sessions", func() error {
		return h.OnPersonEnded(ctx, person)
	}))
}

// keys are those of the sessions that end. A token with a sid is about that session alone, whomever it
// names beside (section 2.4).
func (h *Handler) keys(t *Token) []string {
	itself := marks.Agent(audit.Agent{Issuer: h.Issuer, ID: t.Subject})
	switch {
	case t.SID != "":
		return []string{marks.SID(h.Issuer, t.SID)}
	case h.SubjectIsUser: // or a guest, an agent that acts for nobody
		return []string{marks.Subject(h.Issuer, t.Subject), itself}
	}
	return []string{itself}
}

// whose says which sessions a token is about.
func (t *Token) whose() string {
	switch {
	case t.SID == "":
		return "all sessions of " + t.Subject
	case t.Subject == "":
		return "the session " + t.SID
	}
	return "the session " + t.SID + " of " + t.Subject
}
