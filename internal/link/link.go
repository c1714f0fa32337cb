// Package link lets an agent that has come to a site's API with an access token go on in a browser. The agent is
// given an address that is good for a minute and for one time. Whoever opens it gets a page with a button, and the
// button starts the session. What the session may do and when it ends is the relying party's business: here it is a
// sealed value.
package link

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/refuse"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/visit"
	"github.com/authagent-go/authagent/problem"
)

// goodFor is for how long an address can be used.
const goodFor = 60 * time.Second

// ticketField is the parameter of an address, and the field of the page's form, that has the sealed value.
const ticketField = "ticket"

const step = "continue in browser"

// A Desk gives and takes the addresses of one relying party. Its fields are set before its first use.
type Desk[S any] struct {
	Open    bool   // the site's API is
	Address string // of the desk: scheme, host and path
	Path    string // of the desk
	Home    string // the path of the way back
	Box     *seal.Box
	States  *once.States
	Refuser *refuse.Refuser

	// Of a request: whether it has an agent's access token, that token's session, and whether its client may have
	// another address now. SameOrigin refuses what a page of another site sends.
	Token      func(*http.Request) (token string, came bool, err error)
	Session    func(*http.Request) (*S, error)
	Count      func(*http.Request) error
	SameOrigin func(*http.Request) error

	// Of a browser: who is signed in, whether the site's other relying parties have, or had, a session in it, and
	// whether a person is known there.
	Look      func(*http.Request) (visit.Visitor[S], error)
	Another   func(*http.Request) bool
	Recognise func(*http.Request, visit.Visitor[S]) (visit.Visitor[S], error)

	// Of a session: what is kept of it, what there is to say of it, the name of its account, and the session as it is
	// now, or problem.NoSession.
	Seal    func(*S) []byte
	Parse   func(kept string, remoteAddr string) (*S, error)
	Facts   func(*S) Facts
	Account func(context.Context, *S) (string, error)
	Still   func(context.Context, *S) (*S, error)

	// Start starts the session that goes on with s in a browser. Facts says of it that it began with the address of
	// this ID.
	Start func(w http.ResponseWriter, r *http.Request, s *S, id string) error

	Record func(*http.Request, audit.Event, *S, *failure.Failure)
}

// Facts are what there is to say of a session.
type Facts struct {
	Agent      audit.Agent
	UserID     string
	RemoteAddr string
	Until      time.Time
	Address    string // the ID of the address that it began with; empty for none
}

// Serve gives an address to a POST with an access token, shows the page of an address to a GET, and takes the address
// at the page's own POST.
func (d *Desk[S]) Serve(w http.ResponseWriter, r *http.Request) error {
	if !d.Open {
		return failure.New(problem.NotFound, step, "the site's API is closed")
	}
	if r.Method != http.MethodPost {
		return d.show(w, r)
	}
	switch _, came, err := d.Token(r); {
	case err != nil:
		return err
	case came:
		return d.give(w, r)
	}
	return d.take(w, r)
}

// An Answer is what an agent gets that has asked for an address.
type Answer struct {
	URL       string `json:"url"`
	ExpiresIn int    `json:"expires_in"` // seconds
}

// give makes an address. Only where it leads and what the agent says of it come from the request.
func (d *Desk[S]) give(w http.ResponseWriter, r *http.Request) error {
	if err := d.Count(r); err != nil {
		return err
	}
	s, err := d.Session(r)
	if err != nil {
		return err
	}
	asked, err := readWish(w, r)
	if err != nil {
		return err
	}
	if d.Refuser.ReturnPath(asked.path) != asked.path {
		return wrong("path", "path is none on this site to land on")
	}
	own := *s
	t := ticket{
		until: time.Now().Add(goodFor), id: rand.Text(), path: asked.path, description: asked.description,
		remoteAddr: d.Facts(s).RemoteAddr, session: string(d.Seal(&own)),
	}
	d.Record(r, audit.Event{Name: audit.AddressMade, Detail: asked.description}, s, nil)
	query := url.Values{ticketField: {t.seal(d.Box)}}
	return answer.WriteJSON(w, Answer{d.Address + "?" + query.Encode(), int(goodFor / time.Second)})
}

// show shows whose address it is and where it leads. It uses nothing up, whoever looks.
func (d *Desk[S]) show(w http.ResponseWriter, r *http.Request) error {
	if err := refuse.AllowOpened(w, r, step, false, http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		return err
	}
	sealed := r.URL.Query()[ticketField]
	t, s, err := d.open(r, sealed)
	if err != nil {
		return err
	}
	if s == nil {
		answer.Redirect(w, d.Refuser.ReturnPath(t.path))
		return nil
	}
	facts := d.Facts(s)
	account, err := d.Account(r.Context(), s)
	if err != nil {
		return err
	}
	lang := d.Refuser.Language(r)
	page := newPage(lang, facts, t)
	page.Account, page.Home, page.Action, page.Ticket = account, d.Home, d.Path, sealed[0]
	said := said{Agent: facts.Agent, UserID: facts.UserID, Account: account, Path: t.path, Description: t.description, ExpiresAt: facts.Until.UTC()}
	return d.Refuser.Tell(w, r, answer.Page{Name: answer.Continue, Status: http.StatusOK, Lang: lang, Data: page}, said)
}

// said is the page for a program.
type said struct {
	Agent       audit.Agent `json:"agent"`
	UserID      string      `json:"user_id,omitempty"`
	Account     string      `json:"account,omitempty"` // what the site calls it
	Path        string      `json:"path"`
	Description string      `json:"description,omitempty"` // the agent's own words
	ExpiresAt   time.Time   `json:"expires_at"`            // when the session ends
}

// take uses an address up, starts the session, and sends the browser to where the address leads.
func (d *Desk[S]) take(w http.ResponseWriter, r *http.Request) error {
	if err := d.SameOrigin(r); err != nil {
		return err
	}
	sealed, err := readTicket(w, r)
	if err != nil {
		return err
	}
	if len(sealed) == 0 {
		return d.noToken(r)
	}
	t, s, err := d.open(r, sealed)
	if err == nil && s != nil {
		if err = d.use(r.Context(), t); err == nil {
			err = d.Start(w, r, s, t.id)
		}
		if err != nil {
			err = failure.OfAgent(d.Facts(s).Agent, step, err)
		}
	}
	if err != nil {
		return err
	}
	answer.Redirect(w, d.Refuser.ReturnPath(t.path))
	return nil
}

// noToken is why a request gets no address that has no access token.
func (d *Desk[S]) noToken(r *http.Request) error {
	v, err := d.Look(r)
	if err == nil {
		err = d.free(r, v)
	}
	switch reason, _ := failure.ReasonOf(err); reason {
	case reasons.OtherAgentInBrowser:
		return failure.New(reasons.InvalidCredentials, step, "the agent has a cookie and no access token")
	case reasons.PersonInBrowser:
		return failure.New(reasons.AgentRequired, step, "a person is signed in, and no agent")
	case "":
		return failure.New(problem.NoSession, step, "the request has no access token")
	}
	return err
}

// open returns the ticket of an address and the session that it is for, if that may go on in this browser. The
// session is nil if it does already.
func (d *Desk[S]) open(r *http.Request, sealed []string) (*ticket, *S, error) {
	t, err := openTicket(d.Box, sealed)
	if err != nil {
		return nil, nil, err
	}
	v, err := d.Look(r)
	switch {
	case err != nil:
		return nil, nil, err
	case v.Session != nil && d.Facts(v.Session).Address == t.id:
		return t, nil, nil // a reload, or the back button
	case !time.Now().Before(t.until):
		return nil, nil, failure.New(reasons.AddressExpired, step, "the address was made more than %v ago", goodFor)
	}
	s, err := d.Parse(t.session, t.remoteAddr)
	if err != nil {
		return nil, nil, failure.New(reasons.AddressUnknown, step, "%w", err)
	}
	if err = d.free(r, v); err == nil {
		err = d.holds(r.Context(), s)
	}
	if err != nil {
		return nil, nil, failure.OfAgent(d.Facts(s).Agent, step, err)
	}
	return t, s, nil
}

// holds refuses a session of an access token that has ended since.
func (d *Desk[S]) holds(ctx context.Context, s *S) error {
	_, err := d.Still(ctx, s)
	if errors.Is(err, problem.NoSession) {
		return failure.New(reasons.AccessEnded, step, "the session of the access token has ended")
	}
	return err
}

// free refuses a browser that is somebody's: an agent's who is, or was, signed in there, or a person's.
func (d *Desk[S]) free(r *http.Request, v visit.Visitor[S]) error {
	if v.Session != nil || v.Ended || d.Another(r) {
		return failure.New(reasons.OtherAgentInBrowser, step, "the browser has the cookie of an agent's session, which may have ended, or an access token")
	}
	v, err := d.Recognise(r, v)
	if err == nil && v.Human != "" {
		err = failure.New(reasons.PersonInBrowser, step, "a person is signed in")
	}
	return err
}

// use uses an address up, at all instances.
func (d *Desk[S]) use(ctx context.Context, t *ticket) error {
	switch found, err := d.States.Use(ctx, "link "+t.id, t.until, false); {
	case errors.Is(err, memory.ErrFull):
		return failure.New(reasons.Overloaded, step, "%w", err)
	case err != nil:
		return failure.OfSite(step, err)
	case found != once.First:
		return failure.New(reasons.AddressUsed, step, "the address was used")
	}
	return nil
}
