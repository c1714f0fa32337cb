package grants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// Handler returns the page on which a signed-in human sees the agents that are
// connected to their own account. There the human lets them in or not, changes what
// they may do, and stops them. Mount it at [Policy.Path], for all methods. That is the
// path that browsers ask for, including a prefix that a router takes off
// ([http.StripPrefix]). The page's links and forms lead there, and so do the messages
// to owners and agents. At any other path, Handler refuses every request as a fault of
// the site.
//
//	mux.Handle("/account/agents/", grants.Handler(owners, rp))
//
// The page lists what waits for the human, and one row for each agent that may act, from
// which a link leads to the page of the agent, at agents/ and the ID of one of its grants.
// It has parameters: q searches, page is the number of a page, and past=1 shows the agents
// that may not act, with hidden=1 those that the human has forgotten; waiting=1 shows all
// that waits, and actions=1 the single actions that were decided lately. No page has more
// than 25 rows, however many agents there are.
//
// A client that does not ask for HTML gets all of it as JSON, and at an agent's page all
// of that agent. Each change is a form that is posted to a path below:
//
//	approve, change           id, version, access (read or full), action (any number), days, nickname
//	deny, suspend, revoke     id, version
//	deny-all, revoke-all
//	rename                    id, version, nickname
//	forget                    id, version
//	end-session               session
//	connect                   starts authagent.RelyingParty.ConnectHandler
//	approvals/approve         id, version
//	approvals/deny            id, version
//	approvals/settle          id, version, outcome (performed or nothing_done)
//	allow                     id, action, amount, currency, per (1, 7, 30 or 0), days, seen
//	stop-allowance            id, action
//	settle                    id, action, taking, outcome (performed or nothing_done)
//
// The version is that of the grant or approval that the human has seen. Without access,
// an agent may read. Without days, the time is [Policy.ApprovedFor]; the value "keep"
// leaves the time as it is ([Decision]). The nickname is optional in approve and change
// ([Policy.Rename]). To forget a grant that is over hides it and decides nothing
// ([Policy.Hide]). To undo a revoke is to approve with
// the access and actions that the grant still has. The id of allow, stop-allowance and settle is
// that of the grant. The amount of allow is in main units, as people write it: "50" or "12.50"; it
// is for each per days, or in total for 0. seen is the member "terms" of the allowance that the
// human has seen, and 0 if there was none ([Policy.Allow]). Of the fields of allow, only days may
// be left out. The two that settle say what has become of an action that nobody knows about
// ([Policy.SettleAction], [Policy.SettleTaking]). A browser is sent back to the list or, by the
// field agent, to the page of the agent with that ID. A program gets the grant, approval or
// allowance as it is after the change, and for settle all that Handler shows. If a field is
// missing, repeated or malformed, the answer names it in the member "field".
//
// Handler lets through only humans ([authagent.RelyingParty.RequireHuman]), never an
// agent, not even in a browser where a human is signed in as well. It takes changes
// only from this site's own pages, and runs no script. An agent can see only how the
// approvals stand that it has asked for, each at approvals/ and the approval's ID. In a
// browser, that is a page ([PageStanding]), which looks again by itself. After the
// owner has approved, it has a button that sends the request.
//
// With [Policy.Confirm], the human is asked for a proof that they are there in person before
// approve, change, connect, allow, approvals/approve, and settle with the outcome nothing_done give
// an agent more than it has. A browser gets a page that says what is decided and asks for the proof ([PageConfirm]), the only one with a
// script. A program gets the reason confirmation_needed and, in the member "confirm", what
// [Prompt] has for it. Either posts the same form again, with the field "proof". If the proof is
// not accepted, the reason is confirmation_failed, and nothing was done.
//
// A site with several relying parties puts [authagent.RelyingParty.Attach] of each
// of the others around it, and shares one authagent.RevocationStore between them,
// so that every session can be ended here.
//
// It panics if authagent.Config.Human is not set.
func Handler(p *Policy, rp *authagent.RelyingParty) http.Handler {
	h := &pageHandler{
		policy: p, rp: rp, connectAgent: rp.ConnectHandler(), proofs: limit.New(wrongProofs, wrongPeriod),
		page: p.Template, own: ofSite(PageTemplate(), rp.Host()),
	}
	style, _ := pageFiles.ReadFile("pages/" + styleName)
	sources := "default-src 'none'; style-src " + answer.Hash(string(style)) + " " + answer.Hash(answer.Style())
	h.security, h.framedSecurity = answer.Policy(sources), answer.Policy(answer.WithFrame(sources))
	if h.page == nil {
		h.page = h.own
	} else {
		h.security = h.framedSecurity
	}
	h.forms = h.allForms()
	owners, agents := rp.RequireHuman(http.HandlerFunc(h.serveOwner)), rp.Attach(http.HandlerFunc(h.serveAgent))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.Protect(w.Header())
		answer.AddVary(w.Header(), "Cookie", "Accept")
		r = browser.WithBack(r, p.path())
		switch path := browser.Path(r); {
		case path+"/" == p.path():
			answer.Redirect(w, p.path())
		case !strings.HasPrefix(path, p.path()):
			h.refuse(w, r, fmt.Errorf("grants: Handler is not mounted at Policy.Path: browsers ask for another path than %q", p.path()))
		case rp.CheckOrigin(r) != nil:
			h.refuse(w, r, problem.Reason(reasons.CrossOrigin))
		case h.approvalID(r) != "":
			agents.ServeHTTP(w, r)
		default:
			owners.ServeHTTP(w, r)
		}
	})
}

type pageHandler struct {
	policy       *Policy
	rp           *authagent.RelyingParty
	connectAgent http.Handler
	page, own    *template.Template // what is shown, and what this package has
	forms        []form
	proofs       *limit.Limiter // proofs of the person that were not accepted, by account

	security, framedSecurity string // the Content-Security-Policy, without the site's frame and with it
}

func (h *pageHandler) serveOwner(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil && !h.askForProof(w, r, err) {
		h.refuse(w, r, err)
	}
}

func (h *pageHandler) serve(w http.ResponseWriter, r *http.Request) error {
	human, _ := authagent.HumanFromContext(r.Context())
	h.policy.findHuman(r.Context(), h.rp, human)
	to := h.policy.reader(r.Context(), human, h.rp.Language(r))
	name := strings.TrimPrefix(browser.Path(r), h.policy.path())
	agent, ofAgent := strings.CutPrefix(name, agentsPath)
	f, known := h.form(name)
	switch {
	case name == "":
		return h.serveOverview(w, r, to, human)
	case ofAgent:
		return h.servePageOf(w, r, to, human, agent)
	case name == connectPath:
		return h.confirmConnect(w, r, to, human)
	case !known:
		return problem.NotFound
	case !answer.Allow(w, r, http.MethodPost):
		return problem.Reason(reasons.MethodNotAllowed)
	}
	if err := readForm(w, r); err != nil {
		return err
	}
	result, err := f.post(r, to, human)
	if err != nil {
		if shown, failed := h.showAgain(w, r, to, human, err); shown {
			return failed
		}
		return err
	}
	if answer.WantsHTML(r.Header["Accept"]) {
		answer.Redirect(w, h.backTo(r, f.done))
		return nil
	}
	return answer.WriteJSON(w, result)
}

func (h *pageHandler) serveOverview(w http.ResponseWriter, r *http.Request, to reader, human string) error {
	if !answer.Allow(w, r, http.MethodGet, http.MethodHead) {
		return problem.Reason(reasons.MethodNotAllowed)
	}
	if !answer.WantsHTML(r.Header["Accept"]) {
		overview, err := h.policy.Overview(r.Context(), human)
		if err != nil {
			return err
		}
		return answer.WriteJSON(w, h.policy.newOverviewJSON(to, overview))
	}
	agents, err := h.policy.agentsOf(r.Context(), human)
	if err != nil {
		return err
	}
	page := h.policy.newPage(to, agents, newShown(r.URL.Query()))
	page.Done, page.Site, page.PageFrame = h.done(r), h.rp.Host(), h.frame(w, to)
	return h.show(w, h.page, page)
}

// servePageOf answers with all that there is about the agent of one grant.
func (h *pageHandler) servePageOf(w http.ResponseWriter, r *http.Request, to reader, human, id string) error {
	if !answer.Allow(w, r, http.MethodGet, http.MethodHead) {
		return problem.Reason(reasons.MethodNotAllowed)
	}
	overview, err := h.policy.Overview(r.Context(), human)
	if err != nil {
		return err
	}
	page, found := h.policy.newPageAgent(to, overview, id, number(r.URL.Query().Get("page")))
	switch {
	case !found:
		return problem.NotFound
	case !answer.WantsHTML(r.Header["Accept"]):
		return answer.WriteJSON(w, h.policy.newOverviewJSON(to, overview.of(id)))
	}
	page.Done, page.Site, page.PageFrame = h.done(r), h.rp.Host(), h.frame(w, to)
	return h.show(w, h.lookup("agent.html"), page)
}

// maxLooks bounds how many looks of findHuman are under way.
const maxLooks = 32

// findHuman leaves an event, once an hour, where the site's Human returns an ID that
// its UserStore does not know: no agent's request could ever get to the page.
func (p *Policy) findHuman(ctx context.Context, rp *authagent.RelyingParty, humanID string) {
	if p.humans.Allow(humanID) > 0 {
		return
	}
	if p.looks.Add(1) > maxLooks { // another time will do
		p.looks.Add(-1)
		p.humans.Return(humanID)
		return
	}
	ctx = context.WithoutCancel(ctx)
	p.under.Go(func() {
		defer p.looks.Add(-1)
		p.do(ctx, func(ctx context.Context) error {
			switch _, err := rp.FindUser(ctx, humanID); {
			case errors.Is(err, authagent.ErrNotFound):
				p.auditAside(ctx, audit.Event{
					Name: EventUnknownHuman, HumanID: humanID, Outcome: audit.Failed,
					Detail: "Config.Human returns an ID that the UserStore does not know (UserByID); no agent can ask for an account with it",
				})
			case err != nil && !errors.Is(err, errors.ErrUnsupported):
				return err
			}
			return nil
		})
	})
}

// connect sends the human to the authorization server by way of a page: browsers
// hold the redirect that answers a form to the form-action of the page with the
// form (CSP level 3, section 6.4.1), and the server is another site. The page waits
// for the human, who sees on it where they go and can still go back.
func (h *pageHandler) connect(w http.ResponseWriter, r *http.Request, to reader) error {
	if answer.WantsHTML(r.Header["Accept"]) {
		w = &leaveByPage{w, h, to}
	}
	r = r.Clone(r.Context())
	r.URL.RawQuery = "return_to=" + url.QueryEscape(h.policy.path()+"?done="+doneConnected)
	h.connectAgent.ServeHTTP(w, r)
	return nil
}

// leaveByPage makes a page that leads on out of a redirect.
type leaveByPage struct {
	http.ResponseWriter
	h  *pageHandler
	to reader
}

func (w *leaveByPage) WriteHeader(status int) {
	target := w.Header().Get("Location")
	if status != http.StatusSeeOther || target == "" {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.Header().Del("Location")
	page := PageLeave{
		PageFrame: w.h.frame(w.ResponseWriter, w.to), Texts: Texts{w.to},
		Target: target, Server: hostOf(target), Site: w.h.rp.Host(), Path: w.h.policy.path(),
	}
	if err := w.h.show(w.ResponseWriter, w.h.lookup("leave.html"), page); err != nil {
		w.h.policy.logger().Error("grants: the page to connect an agent could not be made", "err", err)
		w.ResponseWriter.WriteHeader(http.StatusInternalServerError)
	}
}

// hostOf returns the host of an address, as a browser shows it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// ofSite has the package's own pages say which site they are of.
func ofSite(t *template.Template, host string) *template.Template {
	host = template.HTMLEscapeString(host)
	return template.Must(t.Parse(`{{define "title site"}} · ` + host + `{{end}}`))
}

// lookup returns the page of that name beside the one of all agents: the site's, or
// this package's where it has none.
func (h *pageHandler) lookup(name string) *template.Template {
	if t := h.page.Lookup(name); t != nil {
		return t
	}
	return h.own.Lookup(name)
}

// show answers with a page, made before anything is written.
func (h *pageHandler) show(w http.ResponseWriter, t *template.Template, data any) error {
	return h.showAs(w, http.StatusOK, t, data)
}

func (h *pageHandler) showAs(w http.ResponseWriter, status int, t *template.Template, data any) error {
	var body bytes.Buffer
	if err := t.Execute(&body, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", allowScript(h.securityOf(data), data))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // an error means that the client has gone
	return nil
}

// refuse answers with an error, from which a page leads back to this one.
func (h *pageHandler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := &problem.Error{Reason: reason(err), Step: "serve connected agents", Err: err}
	var known *problem.Error
	switch {
	case errors.As(err, &known):
		*e = *known // of this request alone
	case err == e.Reason:
		e.Err = nil // which has nothing to add
	}
	if e.Reason == problem.StoreFailed {
		e.RetryAfter = 5 * time.Second
	}
	e.Back = h.policy.path()
	h.rp.ServeError(w, r, e)
}

// reason returns how an error of this package is answered.
func reason(err error) (reason problem.Reason) {
	switch {
	case errors.As(err, &reason):
		return reason
	case errors.Is(err, authagent.ErrNotFound):
		return problem.NotFound
	case errors.Is(err, authagent.ErrConflict), errors.Is(err, ErrDecision):
		return problem.Conflict
	case errors.Is(err, ErrExpired):
		return problem.Reason(reasons.Gone)
	}
	return problem.StoreFailed
}
