// Package authagent lets AI agents sign in to a website: "Sign in with Auth Agent". It is the relying
// party of an OAuth 2.1 authorization code flow with PKCE, made for agents rather than for people.
//
// A site makes a [RelyingParty], mounts three handlers, and guards its routes:
//
//	rp, err := authagent.New(authagent.Config{
//		Issuer:       os.Getenv("AUTH_AGENT_ISSUER"),
//		ClientID:     os.Getenv("AUTH_AGENT_CLIENT_ID"),
//		ClientSecret: os.Getenv("AUTH_AGENT_CLIENT_SECRET"),
//		RedirectURL:  "https://shop.example/auth/agent/callback",
//		SessionKeys:  [][]byte{key},
//		Scenario:     authagent.FullAccount(users, grants.OwnerApproval(store)),
//		Human:        signedInUser,
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
//	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
//	mux.Handle("POST /auth/agent/logout", rp.LogoutHandler())
//	mux.Handle("GET /orders", rp.RequireAccess(authagent.AccessRead)(orders))
//	mux.Handle("POST /orders", rp.RequireAction("orders:create")(newOrder))
//
// A handler behind the middleware asks who acts, an agent or a person:
//
//	s, ok := authagent.FromContext(r.Context())
//	userID, ok := authagent.HumanFromContext(r.Context())
//
// # Guards
//
// A guard whose name begins with Require lets through only those it recognises: agents by their session
// or, with Config.API, their access token, and people by Config.Human. While a browser has the cookie of an
// agent's session, live or ended, nobody in it counts as a person. The table of guards is in docs/guards.md.
//
// # Who is who
//
// An agent is named by its issuer and its ID there. Its owner, the human for whom it acts, may have an
// account at the site. The [Scenario] decides how the two meet. With [FullAccount] the agent acts as
// its owner. With [ContextualProfile] it has a profile of its own and may read its owner's data. With
// [FreshProfile] it has a profile and no owner. A [LinkPolicy] decides whether an agent may enter an
// account at all. Package grants has the policy that asks the account's owner, and the owners' page.
//
// # What is guaranteed
//
// A sign-in is finished only in the browser that began it, once, and with PKCE. The code is sent to the
// token endpoint at most once. No token is kept unless the site sets a store for tokens, and none reaches a
// log, an error or a URL. A read-only session can only read, and perform the actions that it is allowed by
// name. If something cannot be checked, the request is refused.
//
// # What is left to the site
//
// The site serves over TLS and keeps its keys. It puts [RelyingParty.RequireHuman] in front of what no agent
// may do, and protects what people do against other sites ([net/http.CrossOriginProtection]). Behind a proxy, it says
// who the client is. Several instances share a [RevocationStore], a [StateStore] and, if tokens are kept, a
// [tokens.Store]. Package sqlstore has all three.
package authagent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/client"
	"github.com/authagent-go/authagent/internal/compare"
	"github.com/authagent-go/authagent/internal/deed"
	"github.com/authagent-go/authagent/internal/door"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/kept"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/link"
	"github.com/authagent-go/authagent/internal/logout"
	"github.com/authagent-go/authagent/internal/logs"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/permit"
	"github.com/authagent-go/authagent/internal/refuse"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/trail"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
	"github.com/authagent-go/authagent/tokens"
)

// This file holds the settings, New, and login, callback and logout: the steps, in order.

// Config holds the settings of a [RelyingParty]. The zero values are safe defaults; required settings say so. Those that most
// sites set come first, and the rest in groups.
//
// A Config is printed, logged and marshaled to JSON without its secrets. But package fmt prints them for %p, %w and a Config
// in an unexported field, and encoding/gob encodes them. Nothing prints or encodes those of a RelyingParty.
type Config struct {
	// Issuer is the authorization server's issuer identifier (RFC 8414 section 2): an https URL,
	// exactly as the server spells it. Required.
	Issuer string

	// ClientID and ClientSecret are what the server knows the site by. Required; keys can replace
	// the secret (Provider.ClientKeys).
	ClientID     string
	ClientSecret string

	// RedirectURL is where CallbackHandler is mounted, as registered at the server: an absolute https URL without
	// query, since the server appends "?code=". A host name that is not ASCII is written in its xn-- form. An http
	// URL on localhost, 127.0.0.0/8 or ::1 means development: only then, Issuer may be such a URL too, and cookies work without TLS. Required.
	RedirectURL string

	// SessionKeys encrypt the cookies and the tokens that are kept. Each is at least 32 random bytes. The first
	// encrypts and all decrypt. All instances need the same keys. The command "authagent key" makes one, and
	// ParseSessionKeys reads what it prints. Required.
	//
	// To replace a key, put the new one last, then first, and remove the old one after Session.Lifetime.
	// Finish each step at all instances before the next: one that lacks a key ends its sessions.
	SessionKeys [][]byte

	// Scenario decides which identity an agent acts under. Required.
	Scenario Scenario

	// Human says, by the site's own means, which human is signed in to the site in this request: the account's ID, as the
	// UserStore has it, or "" for nobody. The middlewares recognise people by it: without it, those whose names begin with
	// Require let no person through. RequireHuman and ConnectHandler need it. It is called concurrently, at most once in a
	// request, and not if an agent is signed in or has sent an access token (API). An error refuses the request.
	Human func(*http.Request) (userID string, err error)

	// SignInPath is the path of the site's own sign-in page, with the agents' button. A browser that opens a page while
	// nobody is signed in is sent there, with ?return_to= (see ReturnTo). By default it is sent to LoginHandler.
	SignInPath string

	// ReturnTo is the path that an agent lands on after signing in or out, unless the request names
	// another with ?return_to=. The default is "/".
	ReturnTo string

	// Permissions say what each scope of the server allows at this site. With them, an agent has at most what its granted
	// scopes allow together. Other scopes allow nothing. A server that says nowhere what it has granted has granted
	// nothing, unless requests are pushed. By default none limits anything.
	Permissions map[string]Permission

	// RegistrationURL is where an agent is sent whose owner has no account: a path on this site or
	// an https URL. By default it is refused with problem.NoAccount.
	RegistrationURL string

	// CreateUsers lets FullAccount create an account for an owner who has none, by a UserCreator.
	CreateUsers bool

	// RequirePOST makes LoginHandler take only POST, from this site's own pages. Then a planted
	// link that an agent follows cannot sign it in.
	RequirePOST bool

	// Revocations remembers the sessions that were ended early, and States the logins that were finished.
	// The defaults are in memory. Several instances must share one of each. With the default Revocations, a
	// restart undoes every logout and every End…Sessions: a copy of an ended session's cookie is good again.
	// Set a store that lasts: New warns if RedirectURL is https.
	Revocations RevocationStore
	States      StateStore

	// ClientAddr returns the address of a request's client, for Limits, sessions and events. The default
	// is the other end of the connection. Behind a proxy, read what only that proxy can set. Port,
	// brackets and zone are removed; what is then no IP address is none.
	ClientAddr func(*http.Request) string

	// Logger gets what an operator wants to know; nil means slog.Default().
	Logger *slog.Logger

	// Rules apply to all agents, for a scenario whose LinkPolicy has none, such as FreshProfile:
	// grants.OwnerApproval(store) has those of the store and its kill switch.
	Rules Rules

	// Audit gets every event, also those of grants.Policy without a Policy.Audit. It is called concurrently. If it is slow or
	// broken, it holds up no sign-in, but loses events when 4096 wait. Refusals, and no other events, are counted, so that a
	// client cannot flood the trail. The first of a kind is passed on at once. Those of the next minute become one event, with
	// their number in Count and the context of no request. Any other event has the context of its request, but does not end with
	// it. Logger gets each refusal, with its request ID. See [audit.Event].
	Audit func(context.Context, audit.Event)

	// Erasers are further stores that know accounts, for EraseUser and, if they are [Exporter], ExportUser. A site whose Audit is
	// that of a sqlstore.Store adds its Trail. Stores that are set elsewhere are asked without it. [Eraser] says how to name one.
	Erasers []Eraser

	// Journal keeps on record what agents change: before it is done, and then how it has ended. While it cannot be written,
	// nothing is changed. These events do not go to Audit. By default Audit hears of actions, and may lose some: docs/journal.md.
	Journal audit.Journal

	// Metrics gets the numbers that an operator watches, see docs/metrics.md. It has to be quick. Nil means that none is taken.
	Metrics metrics.Recorder

	// Pages puts the site's frame around all pages of this package and of package grants: its templates
	// "header", "footer" and "back", a link above the heading. Its templates "refused" and "signed-out" replace
	// the page that says why a request was refused and the one of SignedOutHandler. Such pages may use the
	// site's style sheets, images and fonts, but no script. A part that fails is left out, or the package's own is shown. See Page and docs/pages.md.
	Pages *template.Template

	// Languages are those of the package's pages and its mails to owners; the default is English. A
	// browser gets the one that its Accept-Language prefers, or else the first. JSON is in English.
	// Language, which may be nil, says by the site's own means the tag for a request; "" if it cannot.
	Languages []*messages.Language
	Language  func(*http.Request) string

	// ErrorHandler answers refused requests, which by default get a page or application/problem+json,
	// and reports whether it has. Headers that the answer needs, such as Retry-After, are already set.
	ErrorHandler func(http.ResponseWriter, *http.Request, *problem.Error) (answered bool)

	// Paths are where the handlers are mounted, if not in the usual places.
	Paths Paths

	// API opens the site's API to agents that come with an access token. By default it is closed.
	API api.Settings

	// Limits bound how often clients and agents may do something. Humans are not counted.
	Limits limits.Settings

	// Session is how sessions are kept, and for how long.
	Session SessionSettings

	// Tokens says whether the tokens of sessions are kept. By default none is.
	Tokens tokens.Settings

	// Provider is what the site must know of the authorization server and cannot learn from it.
	Provider provider.Settings
}

// Format prints the settings without the secrets, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "authagent.Config{Issuer:%q ClientID:%q RedirectURL:%q}", c.Issuer, c.ClientID, c.RedirectURL)
}

// MarshalJSON returns the settings without the secrets.
func (c Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"issuer": c.Issuer, "client_id": c.ClientID, "redirect_url": c.RedirectURL})
}

// A RelyingParty lets agents sign in to a site at one authorization server. It is safe for concurrent use.
type RelyingParty struct {
	*opaque
}

// opaque keeps a relying party from being printed. Package fmt prints a pointer inside of anything
// as a number, but for a verb that is not for pointers it prints what is there, one pointer deep.
type opaque struct{ *relyingParty }

// Format prints the relying party without its secrets, for every verb.
func (rp *relyingParty) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "authagent.RelyingParty{%v}", rp.config)
}

type relyingParty struct {
	config           Config // complete, with the defaults
	origin, callback string // of RedirectURL, and its path
	pending          pendingLogins
	sessions         Sessions
	cookies          browser.Names
	deleted          string                 // the attributes of a cookie that is deleted
	states           once.States            // of logins, each to be used once
	tokens           *kept.Tokens[*Session] // nil if none are kept
	register         marks.Register         // of sessions that were ended
	panics           failure.Panics         // of the site's code
	server           *wire.Server
	identity         *identity.Verifier
	actions          wiring.Actions       // that routes are guarded by
	finishing        *once.Group[outcome] // logins, by their state
	trail            *trail.Trail
	book             deed.Book    // of what agents change
	meter            *meter.Meter // nil if nothing is measured
	refuser          *refuse.Refuser
	entered          func(ctx context.Context, userID string, err error) error // see personal.Site
	signpost         *signpost.Site
	limits           limit.Set
	permits          permit.Map[Access] // by scopes
	compare          *compare.Teller
	door             *door.Door[Session] // of the site's API; nil if it is closed
	links            *link.Desk[Session]
	requests         wire.AuthorizationRequests
}

// New returns a RelyingParty. It checks every setting, and joins all that is wrong into one error.
// It sends nothing over the network, so a site starts while its authorization server is down.
func New(c Config) (*RelyingParty, error) {
	c = c.withDefaults()
	redirectURL, err := c.check()
	if err != nil {
		return nil, err
	}
	c.Scenario = obeying(c.Rules, c.Scenario)
	if _, forgets := c.Revocations.(*memory.Revocations); forgets && redirectURL.Scheme != "http" {
		c.Logger.Warn("authagent: Config.Revocations is not set: a restart of this process undoes logouts and ended sessions")
	}
	panics := failure.Panics{Logger: c.Logger}
	meter := panics.Meter(c.Metrics)
	hear := trail.Observed(c.Audit, linkPolicy(c.Scenario), c.Rules) // c.Audit stays the site's own
	rp := &RelyingParty{&opaque{&relyingParty{
		config: c,
		origin: browser.Origin(redirectURL), callback: redirectURL.Path,
		panics: panics, meter: meter,
		register:  marks.Register{Store: c.Revocations, Lifetime: c.Session.Lifetime + 3*clockSkew, Meter: meter, Expecters: marks.Expecters(c.Revocations, linkPolicy(c.Scenario), c.Rules, c.Session.Store)},
		limits:    limit.NewSet(c.Limits, limit.Site{Issuer: c.Issuer, ClientID: c.ClientID, Panics: panics, Meter: meter}),
		permits:   permit.Of[Access](c.Permissions),
		finishing: once.New[outcome](min(finishedFor, c.Session.Idle)),
		states:    once.States{Shared: c.States, Panics: panics, Skew: clockSkew, Task: finishTimeout, Meter: meter},
		requests:  wire.AuthorizationRequests{Inquiry: settings.Inquiry(c.ClientID, c.RedirectURL, c.Provider)},
		trail:     trail.New(c.Issuer, c.Logger, hear, meter, c.Session.Lifetime),
		identity: &identity.Verifier{
			Issuer: c.Issuer, ClientID: c.ClientID, SubjectIsUser: c.Provider.SubjectIsUser, People: c.Provider.OnPerson != nil,
			TokenKey: c.Provider.TokenKey, Introspect: c.Provider.Introspect,
		},
	}}}
	rp.server = client.Client{
		Settings: c.Provider, Issuer: c.Issuer, ID: c.ClientID, Secret: c.ClientSecret, RedirectURL: c.RedirectURL, Dev: redirectURL.Scheme == "http",
		Panics: panics, Meter: meter,
	}.Server()
	rp.book = deed.Book{Journal: c.Journal, Trail: rp.trail, Panics: panics, Meter: meter, Uncount: rp.limits.GiveBack}
	rp.door, rp.signpost = rp.newDoor(), rp.newSignpost()
	rp.refuser = rp.newRefuser()
	if wrong := rp.openCookies(redirectURL); wrong != nil {
		return nil, wrong
	}
	rp.entered = rp.personal().Entered
	if policy, ok := linkPolicy(c.Scenario).(interface{ Introduce(Site) }); ok {
		policy.Introduce(Site{Origin: rp.origin, Issuer: c.Issuer, BySubject: c.bySubject(), Languages: c.Languages, Compare: rp.compare.Codes, Metrics: c.Metrics})
	}
	return rp, nil
}

func (c Config) withDefaults() Config {
	c.SessionKeys, c.Provider = slices.Clone(c.SessionKeys), settings.Own(c.Provider)
	c.ReturnTo, c.Languages = cmp.Or(c.ReturnTo, "/"), settings.Languages(c.Languages)
	c.Paths.Login = settings.Beside(c.RedirectURL, c.Paths.Login, "login")
	c.Paths.Logout = settings.Beside(c.RedirectURL, c.Paths.Logout, "logout")
	if c.Provider.Scopes == nil && c.Scenario != nil {
		c.Provider.Scopes = c.defaultScopes()
	}
	c.Session.Idle, c.Session.Lifetime = cmp.Or(c.Session.Idle, 30*time.Minute), cmp.Or(c.Session.Lifetime, 12*time.Hour)
	c.Tokens.ConfirmEvery = cmp.Or(c.Tokens.ConfirmEvery, 15*time.Minute)
	c.Logger, c.ClientAddr = logs.Safe(cmp.Or(c.Logger, slog.Default())), limit.Client(c.ClientAddr)
	if c.Revocations == nil {
		c.Revocations = &memory.Revocations{Logger: c.Logger}
	}
	return c
}

// defaultScopes are what is asked for: what the scenario needs, and what permissions rest on.
func (c *Config) defaultScopes() []string {
	scopes := slices.Clone(c.Scenario.Scopes())
	if c.bySubject() {
		scopes = []string{"openid"}
	} else if c.Provider.OnPerson != nil && !slices.Contains(scopes, "openid") {
		scopes = append(scopes, "openid")
	}
	return append(scopes, permit.Of[Access](c.Permissions).Scopes()...)
}

// check returns the parsed RedirectURL, or all that is wrong with the settings, in their order.
func (c Config) check() (*url.URL, error) {
	bad, dev := new(settings.Problems), settings.Development(c.RedirectURL)
	bad.Issuer("Issuer", c.Issuer, dev)
	bad.Required("ClientID", c.ClientID)
	bad.Secret(c.ClientSecret, c.Provider)
	redirectURL := bad.RedirectURL("RedirectURL", c.RedirectURL)
	paths := settings.Paths{
		Login: c.Paths.Login, Logout: c.Paths.Logout, Link: c.Paths.Link, Discovery: c.Paths.Discovery, SignIn: c.SignInPath, ReturnTo: c.ReturnTo,
	}
	if redirectURL != nil {
		paths.Callback = redirectURL.Path
	}
	bad.Keys("SessionKeys", c.SessionKeys)
	c.checkScenario(bad)
	_, has := linkPolicy(c.Scenario).(Rules)
	bad.Rules(c.Rules, c.Rules != nil, has)
	bad.Pages(paths)
	bad.PathOrURL("RegistrationURL", c.RegistrationURL, dev)
	if c.Pages != nil && !answer.Effective(c.Pages) {
		bad.Add("Pages", "has none of the templates that are used: refused, signed-out, header, footer, back")
	}
	bad.NotNil("Journal", c.Journal)
	bad.NotNil("Metrics", c.Metrics)
	settings.NoNil(bad, "Erasers", c.Erasers)
	bad.Languages("Languages", c.Languages)
	bad.Handlers(paths)
	bad.Link(c.Paths.Link, c.API)
	bad.API(c.API, c.ClientID, func(scope string) bool { _, has := c.Permissions[scope]; return has }, dev)
	bad.Limits(c.Limits)
	bad.Sessions(c.Session.Idle, c.Session.Lifetime, c.Session.Own != nil && c.Session.Store != nil)
	bad.Tokens(c.Tokens)
	bad.Provider(c.Provider, dev)
	return redirectURL, bad.Err()
}

func (c Config) checkScenario(bad *settings.Problems) {
	if c.Scenario == nil {
		bad.Add("Scenario", "is required: FullAccount, ContextualProfile, FreshProfile or one of your own")
	}
	if s, ok := scenario.As[interface{ check() error }](c.Scenario); ok {
		bad.Found("Scenario", cmp.Or(s.check(), compare.Check(linkPolicy(c.Scenario))))
	}
	if s, ok := scenario.As[interface{ neededScope() string }](c.Scenario); ok && !c.bySubject() {
		bad.Scope("Provider.Scopes", c.Provider.Scopes, s.neededScope())
	}
	most := AccessFull
	if s, ok := scenario.As[interface{ access() Access }](c.Scenario); ok {
		most = s.access()
	}
	bad.Found("Permissions", permit.Of[Access](c.Permissions).Check(AccessFull, most, linkPolicy(c.Scenario)))
}

// LoginHandler starts a sign-in: it keeps the login's secrets in the browser and sends the browser to the authorization
// server. ?return_to= names the path on this site to land on; without one that is acceptable, it is Config.ReturnTo.
func (rp *RelyingParty) LoginHandler() http.Handler {
	return &endpoint{rp, audit.LoginFailed, rp.serveLogin}
}

func (rp *RelyingParty) serveLogin(w http.ResponseWriter, r *http.Request) error {
	if err := rp.mayStart(w, r); err != nil {
		return err
	}
	return rp.startLogin(w, r, newLogin(rp.ReturnTo(r)))
}

func (rp *RelyingParty) startLogin(w http.ResponseWriter, r *http.Request, login *login) error {
	if err := rp.limits.Login(r.Context(), rp.config.ClientAddr(r)); err != nil {
		return err
	}
	if rp.config.Provider.OnPerson == nil || login.HumanID != "" { // otherwise it may be a person's, whom nothing of this stops
		if err := rp.checkLogin(r.Context()); err != nil {
			return err
		}
	}
	request, err := rp.authorizationRequest(r.Context())
	if err != nil {
		return err
	}
	address, err := login.url(r.Context(), rp.server, request)
	if err != nil {
		return err
	}
	rp.pending.put(w, r, login)
	rp.record(r, audit.LoginStarted, nil, "", nil)
	rp.server.Learn(request.Metadata) // while the agent is away at the server
	answer.Redirect(w, address)
	return nil
}

// checkLogin asks the scenario whether agents may sign in.
func (rp *RelyingParty) checkLogin(ctx context.Context) error {
	if checker, ok := scenario.As[loginChecker](rp.config.Scenario); ok {
		return failure.OfSite("start login", rp.panics.Protect("start login", func() error { return checker.CheckLogin(ctx) }))
	}
	return nil
}

// mayStart keeps a login from being started by anything but an agent or a person who wants it.
func (rp *RelyingParty) mayStart(w http.ResponseWriter, r *http.Request) error {
	if rp.config.RequirePOST || r.Method == http.MethodPost {
		return rp.mayPost(w, r)
	}
	return refuse.AllowOpened(w, r, "start login", browser.FetchedBySelf(r), http.MethodGet, http.MethodPost)
}

// mayPost checks a request that changes something.
func (rp *RelyingParty) mayPost(w http.ResponseWriter, r *http.Request) error {
	if err := refuse.Allow(w, r, http.MethodPost); err != nil {
		return err
	}
	return rp.CheckOrigin(r)
}

// ConnectHandler lets a human connect an agent to their own account: it starts a login in the human's own browser. The agent
// that completes it is linked to that account, whatever e-mail address it has. The login signs nobody in; afterwards the agent
// signs in by itself. It takes POST from this site's own pages. Config.Human must know the same human when the login comes
// back. The Scenario must have the method Connect, as those here have with grants.OwnerApproval. Attach of each other relying
// party of the site goes around it.
func (rp *RelyingParty) ConnectHandler() http.Handler {
	return &endpoint{rp, audit.LoginFailed, func(w http.ResponseWriter, r *http.Request) error {
		if err := rp.mayPost(w, r); err != nil {
			return err
		}
		human, err := rp.human(w, r)
		if err != nil {
			return err
		}
		login := newLogin(rp.ReturnTo(r))
		login.HumanID = human
		return rp.startLogin(w, r, login)
	}}
}

// CallbackHandler finishes a sign-in: the authorization server sends the browser here with a code.
// It starts the agent's session and sends the browser on to the path that the login named.
func (rp *RelyingParty) CallbackHandler() http.Handler {
	return &endpoint{rp, audit.LoginFailed, rp.serveCallback}
}

func (rp *RelyingParty) serveCallback(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := refuse.AllowOpened(w, r, "finish login", false, http.MethodGet); err != nil {
		return err
	}
	if err := rp.limits.Callback(ctx, rp.config.ClientAddr(r)); err != nil {
		return err
	}
	response, err := wire.ParseResponse(r.URL.RawQuery)
	if err != nil {
		return failure.New(problem.InvalidRequest, "read response", "%w", err)
	}
	login, err := rp.pending.take(r, response.State)
	if err != nil {
		if rp.isFinished(r, response.State) {
			answer.Redirect(w, rp.config.ReturnTo) // a reload, or the back button, after all went well
			return nil
		}
		return err
	}
	// Up to here, and until the server is ready, nothing is used up.
	metadata, err := rp.ready(ctx, response)
	if err != nil {
		return err
	}
	if err := rp.sameHuman(w, r, login); err != nil {
		return err
	}
	done, again, err := rp.finishing.Do(ctx, login.State, func() (outcome, bool) {
		return rp.redeem(w, r, login, response, metadata)
	})
	if err != nil {
		return errUnderWay
	}
	if again {
		done.err = rp.repeat(w, r, login, done)
	}
	if done.err != nil {
		return done.err
	}
	answer.Redirect(w, rp.refuser.ReturnPath(login.ReturnTo))
	return nil
}

// redeem uses a response up. From then on nothing can be repeated, so the work goes on, in bounds, when
// the browser goes away, and its outcome lasts for those who ask again.
func (rp *RelyingParty) redeem(w http.ResponseWriter, r *http.Request, l *login, response *wire.Response, m *wire.Metadata) (done outcome, lasts bool) {
	ctx, cancel := wire.WithDeadline(context.WithoutCancel(r.Context()), finishTimeout)
	defer cancel()
	done.err = rp.use(ctx, l, response.Code != "")
	if done.err == nil || failure.As(done.err).RetryAfter == 0 { // a retry needs the cookie
		rp.pending.drop(w, l)
	}
	if done.err != nil {
		return done, false
	}
	if done.err = cmp.Or(rp.checkIssuer(m, response), failure.OfResponse(response)); done.err != nil {
		return done, response.Code != "" // whoever floods the site with these takes no room from others
	}
	token, err := rp.exchange(ctx, response.Code, l)
	if err != nil {
		done.err = err
		return done, true
	}
	return rp.finish(w, r.WithContext(ctx), l, token), true
}

// finish does what a login was begun for: an agent or a person signs in, or a human connects an
// agent. A token that nobody will use is revoked.
func (rp *RelyingParty) finish(w http.ResponseWriter, r *http.Request, l *login, t *wire.Token) (done outcome) {
	id, fresh, err := rp.identify(r.Context(), t, l)
	if err != nil {
		rp.revokeUnused(t)
		return outcome{err: err}
	}
	if id.Kind == identity.Person {
		done = rp.greet(w, r, l, id)
		rp.server.Discard(fresh, true)
		return done
	}
	in := rp.newSignIn(r, id, t, fresh)
	if l.HumanID != "" {
		done.err = rp.connect(r.Context(), in, l)
	} else {
		done.session, done.err = rp.signIn(w, r, in, l)
	}
	if done.session == nil {
		rp.revokeUnused(in.token)
	}
	return done
}

// signIn starts the session of an agent.
func (rp *RelyingParty) signIn(w http.ResponseWriter, r *http.Request, in *SignIn, l *login) (*Session, error) {
	if rp.config.Provider.OnPerson != nil { // the login began without
		if err := rp.checkLogin(r.Context()); err != nil {
			return nil, err
		}
	}
	session, err := rp.admit(r.Context(), in)
	if err != nil {
		return nil, err
	}
	session.loginID = l.ID()
	if err := rp.start(w, r, session, in); err != nil {
		return nil, err
	}
	rp.recordEvent(r, audit.Event{Name: audit.LoginSucceeded, Detail: identity.History(in.prior)}, session, nil)
	return session, nil
}

// LogoutHandler ends the agent's session, for every copy of its cookie, and asks the server to revoke the tokens if any
// are kept. It also removes the cookies of ended sessions and of the site's other relying parties, so the browser is a
// person's again. It takes POST from this site's own pages and from programs, as does every middleware at Config.Paths.Logout.
func (rp *RelyingParty) LogoutHandler() http.Handler {
	return &endpoint{rp, audit.LogoutFailed, rp.serveLogout}
}

func (rp *RelyingParty) serveLogout(w http.ResponseWriter, r *http.Request) error {
	if err := rp.mayPost(w, r); err != nil {
		return err
	}
	v, err := rp.look(r)
	if err != nil {
		return err
	}
	s := cmp.Or(v.Session, v.Former)
	err = rp.panics.Protect("end session", func() error {
		if s != nil {
			if err := rp.EndSession(r.Context(), s.ID); err != nil {
				return err
			}
		}
		return rp.sessions.End(w, r)
	})
	if err != nil {
		return failure.OfSite("end session", err)
	}
	rp.cookies.Remove(w, r, rp.deleted)
	if s != nil {
		rp.tokens.Revoke(r.Context(), s)
		rp.record(r, audit.SessionEnded, s, "", nil)
	}
	answer.Redirect(w, rp.ReturnTo(r))
	return nil
}

// BackChannelLogoutHandler is where the server says that a session has ended there, or all of a subject (OpenID Connect
// Back-Channel Logout 1.0). The sessions here that came from it end on their next request, at every instance that shares
// Revocations, and give no more tokens. Then Provider.OnPersonEnded is called. Mount it outside of the guards and of the
// site's checks against forged requests, and register its address at the server (backchannel_logout_uri).
//
// A logout token with a sid ends the sessions of that sid. One with a sub alone ends all of that subject: the user's with
// Provider.SubjectIsUser, else the agent's. The answer is status 200 once all is recorded, and 400 otherwise. A token counts
// once, or once more if that has failed.
func (rp *RelyingParty) BackChannelLogoutHandler() http.Handler {
	c := rp.config
	return &logout.Handler{
		Verifier:      logout.Verifier{Issuer: c.Issuer, ClientID: c.ClientID, TokenKey: c.Provider.TokenKey, Server: rp.server},
		SubjectIsUser: c.Provider.SubjectIsUser, States: &rp.states, Register: &rp.register, Panics: rp.panics, OnPersonEnded: c.Provider.OnPersonEnded,
		Record: func(r *http.Request, e audit.Event, f *failure.Failure) {
			failure.Refused(rp.meter, f)
			rp.recordEvent(r, e, nil, f)
		},
	}
}

// An endpoint is one of the package's own handlers: they have the headers in common, and what
// becomes of an error. Attach knows them by the type.
type endpoint struct {
	rp     *RelyingParty
	failed audit.Name
	serve  func(http.ResponseWriter, *http.Request) error
}

// ServeHTTP implements [http.Handler].
func (h *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer.Protect(w.Header())
	err := h.serve(w, r)
	if err == nil {
		return
	}
	e := failure.As(err)
	e.RequestID = failure.NewRequestID()
	h.rp.record(r, h.failed, nil, "", e)
	if e.Reason == problem.NoAccount && h.rp.config.RegistrationURL != "" {
		failure.Refused(h.rp.meter, e) // in the other case the refuser does that
		answer.Redirect(w, h.rp.config.RegistrationURL)
		return
	}
	h.rp.refuser.Refuse(w, r, e, h.rp.asVisitor(r))
}
