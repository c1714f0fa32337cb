// Package refuse answers the requests that a site does not serve: it sends browsers to
// where one signs in, and says to all others why they were refused.
package refuse

import (
	"cmp"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/door"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/returnpath"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// A Refuser answers the requests of one site that are refused. Make one with
// New.
type Refuser struct {
	Site
	challenges []string        // the signpost's
	links      []string        // the signpost's
	nobody     answer.Prepared // that no agent is signed in
}

// A Site is what answers depend on.
type Site struct {
	Signpost *signpost.Site
	Pages    *answer.Pages
	Logger   *slog.Logger
	Callback string // the path of CallbackHandler
	Link     string // the path of LinkHandler; empty for none
	SignIn   string // the path of the site's own sign-in page; empty for none
	ReturnTo string // where to land by default

	// Own answers in place of what follows, and reports whether it has. It may be nil.
	Own func(http.ResponseWriter, *http.Request, *problem.Error) (answered bool)

	// Page returns what a page's template is executed with, and Framed what the parts of the
	// site's frame are executed with.
	Page   func(Refusal) any
	Framed func(*messages.Language) any

	// Languages are those of the pages. ChooseLanguage, which may be nil, is the site's own, and
	// names the one of a request; empty for none.
	Languages      []*messages.Language
	ChooseLanguage func(*http.Request) string
	Panics         failure.Panics
	Meter          *meter.Meter // nil for none
}

// Language returns the language of the pages for a request.
func (s *Site) Language(r *http.Request) *messages.Language {
	if s.ChooseLanguage != nil {
		var tag string
		err := s.Panics.Protect("choose language", func() error { tag = s.ChooseLanguage(r); return nil })
		if chosen := messages.Find(tag, s.Languages); err == nil && chosen != nil {
			return chosen
		}
	}
	return messages.Choose(r.Header["Accept-Language"], s.Languages)
}

// A Refusal is what a page says of a request that was refused.
type Refusal struct {
	*failure.Failure
	Lang      *messages.Language
	Heading   string
	Text      string        // says what the matter is
	Home      string        // the path of the way back
	Button    template.HTML // signs in; empty where that is not what to do next
	SignIn    string        // the path of the site's own sign-in page, if that is what to do next
	SignOut   string        // the path to POST to, if an agent is to be signed out
	Approval  string        // the path where the agent sees how its request stands; the page leads on to it
	OwnerPage string        // the address where the agent's owner decides about it
}

// A Visitor is whose request is refused.
type Visitor struct {
	Human   bool        // a person is recognised
	IsAgent func() bool // an agent is, or was, signed in in this browser
}

// New returns the Refuser of a site. nobody is why a request is refused that
// comes without a session.
func New(s Site, nobody *problem.Error) *Refuser {
	a := &Refuser{Site: s, challenges: s.Signpost.Challenges(), links: s.Signpost.Links()}
	a.nobody = answer.Prepare(a.problem(&failure.Failure{Cause: nobody}, true))
	return a
}

// Nobody gives the answer that was prepared, if the request is one of a program that
// has not signed in. Each agent begins as one, and so does whoever floods the site.
// It is what Refuse would write, but for the request's ID.
func (a *Refuser) Nobody(w http.ResponseWriter, r *http.Request) (answered bool) {
	if a.Own != nil || wantsPage(r) {
		return false
	}
	a.Meter.Refused(string(problem.NoSession), string(problem.Agent))
	a.demandSignIn(w.Header())
	a.nobody.Write(w, failure.NewRequestID())
	return true
}

// Lead sends a browser that shows a page, and in which nobody is signed in, to where one
// signs in, if that is what to do next. human says that a person is recognised.
func (a *Refuser) Lead(w http.ResponseWriter, r *http.Request, f *failure.Failure, human bool) (led bool) {
	target := a.signInPage(r, f, human)
	if target == "" || !isPageLoad(r) {
		return false
	}
	answer.Redirect(w, target)
	return true
}

// Refuse says why a request was refused: in a page for a browser, or in a problem for a
// program.
func (a *Refuser) Refuse(w http.ResponseWriter, r *http.Request, f *failure.Failure, v Visitor) {
	failure.Refused(a.Meter, f)
	h := w.Header()
	answer.AddVary(h, "Accept")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if f.Location != "" {
		h.Set("Location", f.Location)
	}
	token := a.hasToken(r)
	switch status := f.Status(); {
	case a.refuseToken(h, token, f):
	case f.Reason == problem.HumanRequired: // RFC 9110 section 15.5.2 demands a challenge, and no agent is to try
		h.Set("WWW-Authenticate", "Human")
	case status == http.StatusUnauthorized:
		a.demandSignIn(h)
	case status == http.StatusForbidden && !token:
		h["Link"] = append(h["Link"], a.links...)
	}
	if wantsPage(r) {
		a.varyLanguage(h)
	}
	mayTell := !v.Human || f.Reason == reasons.AgentRequired // others who are signed in as a human are not to sign in as an agent
	said := a.problem(f, mayTell)
	if token { // the agent has signed in, at the server
		said.SignIn, said.SignInMethod = "", ""
	}
	switch {
	case a.Own != nil && a.Own(w, r, f.Cause):
	case wantsPage(r):
		page := a.refusal(r, f, v, said.SignIn != "")
		if page.Approval != "" {
			answer.Refresh(h, pendingFor, page.Approval)
		}
		a.Show(w, answer.Page{Name: answer.Refused, Status: f.Status(), Lang: page.Lang, Data: a.Page(page)})
	default:
		answer.WriteProblem(w, said)
	}
}

func (a *Refuser) refusal(r *http.Request, f *failure.Failure, v Visitor, mayStart bool) Refusal {
	p := Refusal{Failure: f, Lang: a.Language(r), Home: cmp.Or(f.Back, browser.Back(r), a.ReturnTo), OwnerPage: a.ownerPage(f)}
	p.Heading, p.Text = p.Lang.Reason(string(f.Reason))
	if mayStart {
		p.Button = a.Signpost.OwnButton(a.returnFrom(r, f))
	}
	if a.SignIn != "" {
		p.SignIn = a.signInPage(r, f, v.Human)
	}
	if a.SignIn != "" && f.OwnerPage != "" { // the owner may be who looks at it
		p.SignIn = a.signInFor(a.ReturnPath(f.OwnerPage))
	}
	if f.Reason == reasons.AgentInBrowser || (f.Reason == reasons.OtherAgentInBrowser || f.Reason == problem.AgentForbidden) && v.IsAgent() {
		p.SignOut = a.Signpost.LogoutPath + "?return_to=" + url.QueryEscape(a.backFrom(r, f))
	}
	if f.Reason == problem.ApprovalPending && f.Location != "" {
		p.Text, p.Approval = p.Lang.Text("refused.pending"), a.approval(r, f)
	}
	return p
}

// pendingFor is after what time the page leads on that says that a request waits for its
// owner. Everybody has read it by then (WCAG 2.2.1 asks to be told, and it has a link). The
// texts of the page name the time.
const pendingFor = 10 * time.Second

// ownerPage is the address where the owner of an agent decides about it.
func (a *Refuser) ownerPage(f *failure.Failure) string {
	if f.OwnerPage == "" {
		return ""
	}
	return a.Signpost.Origin + f.OwnerPage
}

// approval is where the agent sees how its request stands, with the page that it came
// from, for the way back.
func (a *Refuser) approval(r *http.Request, f *failure.Failure) string {
	from, err := url.Parse(r.Referer())
	if err != nil || browser.Origin(from) != a.Signpost.Origin || a.ReturnPath(from.RequestURI()) != from.RequestURI() {
		return f.Location
	}
	if from.Path == f.Location { // which has sent the request again, too late
		return from.RequestURI()
	}
	separator := "?"
	if strings.Contains(f.Location, "?") {
		separator = "&"
	}
	return f.Location + separator + "from=" + url.QueryEscape(from.RequestURI())
}

// Show answers with a page. A mistake in the site's template is for its log.
func (a *Refuser) Show(w http.ResponseWriter, page answer.Page) {
	page.Framed = func() any { return a.Framed(page.Lang) }
	if err := a.Pages.Write(w, page); err != nil {
		a.Logger.Error("authagent: page failed", "page", page.Name, "error", err)
	}
}

// varyLanguage says that a page depends on the language that the browser prefers.
func (a *Refuser) varyLanguage(h http.Header) {
	if len(a.Languages) > 1 {
		answer.AddVary(h, "Accept-Language")
	}
}

// Frame returns the site's frame for a page of package grants in this language, and says in
// the answer's header which language it is.
func (a *Refuser) Frame(h http.Header, lang *messages.Language) answer.Frame {
	a.varyLanguage(h)
	h.Set("Content-Language", lang.Tag())
	frame, err := a.Pages.Frame(a.Framed(lang))
	if err != nil {
		a.Logger.Error("authagent: page failed", "error", err)
	}
	return frame
}

// Tell shows a page to a browser. A program gets what is said there as JSON.
func (a *Refuser) Tell(w http.ResponseWriter, r *http.Request, page answer.Page, said any) error {
	answer.AddVary(w.Header(), "Accept", "Cookie")
	if wantsPage(r) {
		a.varyLanguage(w.Header())
		a.Show(w, page)
		return nil
	}
	return answer.WriteJSON(w, said)
}

// A Standing tells a program who is signed in.
type Standing struct {
	Account  string       `json:"account,omitempty"` // what the site calls the account that the agent acts in
	Agent    *audit.Agent `json:"agent,omitempty"`   // nil where none is signed in
	SignIn   string       `json:"sign_in"`           // where to sign in
	SignedIn bool         `json:"signed_in"`
	UserID   string       `json:"user_id,omitempty"`
}

// problem is what a program is told. With mayTell it says where to sign in.
func (a *Refuser) problem(f *failure.Failure, mayTell bool) answer.Problem {
	row := reasons.Of(string(f.Reason))
	p := answer.Problem{
		Status: row.Status, Title: row.Title, Detail: row.Detail, Code: row.Code, RequestID: f.RequestID,
		Retry: f.RetryAfter > 0, Action: f.Action, Approval: f.Location, Field: f.Field, Compare: f.Compare, OwnerPage: a.ownerPage(f),
		Scopes: f.Scopes,
	}
	if f.Reason == problem.ReadOnly {
		p.Allowed = signpost.ReadMethods()
	}
	if !mayTell {
		return p
	}
	p.Type = a.Signpost.ProblemType(row.Code)
	if f.Reason == problem.HumanRequired {
		return p
	}
	if p.Status == http.StatusUnauthorized {
		p.Issuer = a.Signpost.Issuer
	}
	if p.Status == http.StatusUnauthorized || row.Has(reasons.Again) {
		p.SignIn = a.Signpost.LoginURL()
		if a.Signpost.POST {
			p.SignInMethod = http.MethodPost
		}
	}
	return p
}

// demandSignIn sets the challenge that RFC 9110 section 15.5.2 demands of status
// 401, and where to sign in.
func (a *Refuser) demandSignIn(h http.Header) {
	answer.AddVary(h, "Accept")
	h["Www-Authenticate"] = slices.Clone(a.challenges)
	h["Link"] = append(h["Link"], a.links...)
}

// hasToken reports whether a request has an access token for the API.
func (a *Refuser) hasToken(r *http.Request) bool {
	_, came, _ := door.Token(r)
	return came && a.Signpost.Resource.ID != ""
}

// refuseToken sets the challenge for a request whose access token is not good or not good enough (RFC 6750
// section 3.1), and reports whether it has.
func (a *Refuser) refuseToken(h http.Header, token bool, f *failure.Failure) bool {
	wrong := map[problem.Reason]string{reasons.InvalidToken: "invalid_token", reasons.InvalidCredentials: "invalid_request"}[f.Reason]
	if token && f.Reason == reasons.InsufficientScope {
		wrong = "insufficient_scope"
	}
	challenge := a.Signpost.Resource.Challenge(wrong, f.Scopes)
	if wrong == "" || challenge == "" {
		return false
	}
	h["Www-Authenticate"] = []string{challenge}
	return true
}

// signInPage returns where a stranger signs in, and comes back from: the site's own
// page if there is one, else LoginHandler for an agent. It is empty for whoever is
// signed in already, and on the site's page itself.
func (a *Refuser) signInPage(r *http.Request, f *failure.Failure, human bool) string {
	if human || f.Stay || f.Reason != problem.NoSession && f.Reason != problem.HumanRequired {
		return ""
	}
	switch {
	case a.SignIn != "" && browser.Path(r) == a.SignIn:
		return ""
	case a.SignIn != "":
		return a.signInFor(a.backFrom(r, f))
	case f.Reason == problem.HumanRequired || a.Signpost.POST:
		return ""
	}
	if back := a.returnFrom(r, f); back != "" {
		return a.Signpost.LoginPath + "?return_to=" + url.QueryEscape(back)
	}
	return a.Signpost.LoginPath
}

// signInFor returns the site's own sign-in page, to land on a path afterwards.
func (a *Refuser) signInFor(path string) string {
	return a.SignIn + "?return_to=" + url.QueryEscape(path)
}

// backFrom is where to land after what a refusal leads to: on the page that was
// refused, if it can be shown by a GET.
func (a *Refuser) backFrom(r *http.Request, f *failure.Failure) string {
	if r.Method == http.MethodGet {
		return a.ReturnPath(browser.Target(r))
	}
	return cmp.Or(f.Back, browser.Back(r), a.ReturnTo)
}

// returnFrom is where to land after signing in from the page that a refusal is
// answered with: where the agent wanted to be, if it can be there by a GET.
func (a *Refuser) returnFrom(r *http.Request, f *failure.Failure) string {
	if f.Reason != problem.NoSession && f.Reason != reasons.AgentRequired || r.Method != http.MethodGet {
		return ""
	}
	if back := a.ReturnPath(browser.Target(r)); back != a.ReturnTo {
		return back
	}
	return ""
}

// ReturnPath returns target if it is a path on this site to land on, and the
// default if it is not.
func (s *Site) ReturnPath(target string) string {
	if target == "" || target == s.ReturnTo || returnpath.Check(target, s.Signpost.LoginPath, s.Signpost.LogoutPath, s.Callback, s.Link, s.SignIn) != nil {
		return s.ReturnTo
	}
	return target
}

// Allow refuses a request whose method is none of these.
func Allow(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if answer.Allow(w, r, methods...) {
		return nil
	}
	return failure.New(reasons.MethodNotAllowed, "check method", "%s is not allowed", answer.Token(r.Method))
}

// CrossOrigin refuses what a browser sends for a page of another origin.
func CrossOrigin(r *http.Request, origin string) error {
	if browser.CrossOrigin(r, origin) {
		return failure.New(reasons.CrossOrigin, "check origin", "the request comes from another site's page")
	}
	return nil
}

// Changes refuses what may change something, in the name of a guard. allowed says that the session may perform what the
// request is for.
func Changes(r *http.Request, guard string, allowed bool) error {
	const step = "enforce read-only access"
	if !browser.Reads(r) && !allowed {
		return failure.New(problem.ReadOnly, step, "%s refused: the session may read, and %s is not GET or HEAD; "+
			"where the route has RequireAction or RequireApproval, put that outside of %[1]s", guard, answer.Token(r.Method))
	}
	if browser.Upgrades(r) {
		return failure.New(problem.ReadOnly, step, "%s refused: the session may read, and not upgrade the connection", guard)
	}
	return nil
}

// AllowOpened is Allow for what nobody but an agent or a person may open: it refuses a
// prefetch, and what is for something embedded in a page, unless ownScript says that a
// script of the site's own has sent it.
func AllowOpened(w http.ResponseWriter, r *http.Request, step string, ownScript bool, methods ...string) error {
	if err := Allow(w, r, methods...); err != nil {
		return err
	}
	if browser.Prefetched(r) || browser.Embedded(r) && !ownScript {
		return failure.New(reasons.NotNavigation, step, "the request is a prefetch or for something embedded")
	}
	return nil
}

// isPageLoad reports whether a browser is showing a page, which it can show a
// sign-in page instead of. htmx asks for HTML too, in the mode "same-origin" since
// version 4, and puts whatever page it is sent to into a part of the one that is there.
func isPageLoad(r *http.Request) bool {
	if r.Method != http.MethodGet || len(r.Header["Upgrade"]) > 0 || len(r.Header["Hx-Request"]) > 0 || !wantsPage(r) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "", "navigate":
		return true
	case "same-origin": // what Firefox makes of a page that a service worker passes on
		return !browser.Embedded(r)
	}
	return false
}

// wantsPage reports whether the client is a browser that wants HTML. A program
// that says nothing gets JSON.
func wantsPage(r *http.Request) bool { return answer.WantsHTML(r.Header["Accept"]) }

// KeepPrivate says that what an agent sees is nobody else's, in no cache. byToken says that agents come with access tokens,
// too: where the site's own handler allows a cache, one agent's answer is not another's.
func KeepPrivate(h http.Header, byToken bool) {
	if byToken {
		values := [...]string{"no-store", "Cookie", "Authorization", ""} // in one place, with room for another Vary
		keepPrivate(h, values[0:1:1], values[1:3:4])
		return
	}
	values := [...]string{"no-store", "Cookie", ""}
	keepPrivate(h, values[0:1:1], values[1:2:3])
}

func keepPrivate(h http.Header, cache, vary []string) {
	h["Cache-Control"] = cache
	if len(h["Vary"]) == 0 {
		h["Vary"] = vary
		return
	}
	answer.AddVary(h, vary...)
}
