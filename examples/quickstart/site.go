package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// A site is a shop whose customers have orders. Agents come in by three
// entrances, one for each scenario. A real site mostly has one.
type site struct {
	users     *memstore.Users    // in a real site, the table of users that it has
	profiles  *memstore.Profiles // and a table of agents' profiles
	owners    *grants.Policy     // what owners let agents do
	aliceID   string
	signedIn  string // the value of Alice's cookie
	entrances []*entrance

	mu     sync.Mutex
	orders map[string][]string // by user ID
	notes  map[string][]string // by profile ID
}

// An entrance is the pages under one path, which agents enter in one scenario.
type entrance struct {
	Path    string // with slashes around it
	Name    string // of the scenario
	Summary string

	rp   *authagent.RelyingParty
	site *site
}

// credentials are what an authorization server knows a client by.
type credentials struct{ issuer, clientID, clientSecret string }

// A registerFunc registers a client of the site at the authorization server.
type registerFunc func(name, redirectURL string) credentials

// newSite returns the shop that is reached at url, with Alice and her orders.
func newSite(url string, register registerFunc) (*site, error) {
	s := &site{
		users:    &memstore.Users{},
		profiles: &memstore.Profiles{},
		owners:   grants.OwnerApproval(&memstore.Grants{}),
		notes:    make(map[string][]string),
		signedIn: rand.Text(),
	}
	s.aliceID = s.users.Add("alice@example.com", "Alice")
	s.orders = map[string][]string{s.aliceID: {"Coffee beans", "Teapot"}}
	s.owners.Path = agentsPath
	s.owners.Reading = "orders"
	s.owners.Actions = map[string]string{placeOrders: "Place orders"}
	s.owners.Approvals = map[string]string{returnOrders: "Send orders back"}
	s.owners.Describe = s.describe
	german, err := messages.Parse("de", germanTexts)
	if err != nil {
		return nil, err
	}

	ended := &memstore.Revocations{} // what one entrance ends is ended at all of them
	key := make([]byte, 32)
	rand.Read(key) // a real site has its key in its settings
	for _, e := range []struct {
		path, summary string
		scenario      authagent.Scenario
		rules         authagent.Rules
	}{
		{"/full/", "The agent acts as its owner and may do what its owner lets it do.",
			authagent.FullAccount(s.users, s.owners), nil},
		{"/contextual/", "The agent has a profile of its own. It may read its owner's data, and change only what its owner names.",
			authagent.ContextualProfile(s.users, s.profiles, s.owners), nil},
		{"/fresh/", "The agent has a profile of its own and sees nobody's data.",
			authagent.FreshProfile(s.profiles), s.owners}, // which no policy keeps to the site's rules
	} {
		redirectURL := url + e.path + "callback"
		// Each relying party has a client of its own, which keeps their cookies apart.
		client := register("Quickstart shop, "+e.scenario.Name(), redirectURL)
		rp, err := authagent.New(authagent.Config{
			Issuer:       client.issuer,
			ClientID:     client.clientID,
			ClientSecret: client.clientSecret,
			RedirectURL:  redirectURL,
			SessionKeys:  [][]byte{key},
			Scenario:     e.scenario,
			ReturnTo:     e.path,
			Human:        s.human,
			SignInPath:   signInPath,
			Languages:    []*messages.Language{messages.English(), german},
			Pages:        pages, // "header", "footer" and "back" are in it
			Revocations:  ended,
			Rules:        e.rules,
		})
		if err != nil {
			return nil, fmt.Errorf("entrance %s: %w", e.path, err)
		}
		s.entrances = append(s.entrances, &entrance{Path: e.path, Name: e.scenario.Name(), Summary: e.summary, rp: rp, site: s})
	}
	return s, nil
}

// handler returns the whole shop.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /style.css", serveStyle)
	mux.HandleFunc("GET /frame.css", serveStyle)
	mux.HandleFunc("GET "+signInPath, s.signInPage)
	mux.HandleFunc("POST "+signInPath, s.signIn)
	mux.HandleFunc("POST /sign-out", s.signOut)
	for _, e := range s.entrances {
		e.mount(mux)
	}
	mux.Handle("GET /button.css", s.entrances[0].rp.DiscoveryHandler()) // which answers by the ending

	// What a person must do in person is closed to agents, whichever way they
	// came in: it takes the guard of every relying party.
	person := s.entrances[0].rp.RequireHuman // and to strangers
	mux.Handle("/settings", s.humansOnly(person(http.HandlerFunc(s.settings))))
	mux.Handle(agentsPath, s.humansOnly(grants.Handler(s.owners, s.entrances[0].rp)))

	// The shop's own forms have to come from its own pages. The relying party's
	// handlers see to themselves.
	return secure(http.NewCrossOriginProtection().Handler(mux))
}

func (s *site) humansOnly(next http.Handler) http.Handler {
	for _, e := range s.entrances {
		next = e.rp.ForbidAgents(next)
	}
	return next
}

const (
	signInPath   = "/sign-in"      // where authagent sends a browser in which nobody is signed in
	agentsPath   = "/agents/"      // where Alice sees and decides about her agents
	placeOrders  = "orders:create" // an action that she can allow by name
	returnOrders = "orders:return" // one that she is asked about each time
	humanCookie  = "quickstart-human"
)

// germanTexts says in German what the actions are. English words for them are in newSite.
//
//go:embed texts.de.txt
var germanTexts string

// describe says what a single action of an agent would do. Alice decides on that.
func (s *site) describe(ctx context.Context, request action.Request) (string, error) {
	item := request.HTTP(ctx).PostFormValue("item")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.orders[request.UserID], item) {
		return "", problem.NotFound // and Alice is not asked
	}
	return "Send back: " + item, nil
}

// human is how authagent learns which human is signed in. A real site asks its
// own sessions.
func (s *site) human(r *http.Request) (userID string, err error) {
	if c, err := r.Cookie(humanCookie); err == nil && c.Value == s.signedIn {
		return s.aliceID, nil
	}
	return "", nil
}

// signInPage is where people sign in, and agents who came to a page that needs it.
func (s *site) signInPage(w http.ResponseWriter, r *http.Request) {
	v := view{ReturnTo: s.returnTo(r)}
	for _, e := range s.entrances {
		if strings.HasPrefix(v.ReturnTo, e.Path) {
			v.At = e
		}
	}
	write(w, r, "sign-in", v)
}

// returnTo is the page that whoever signs in came from, if it is one of this site.
func (s *site) returnTo(r *http.Request) string {
	if r.URL.Query().Has("return_to") {
		return s.entrances[0].rp.ReturnTo(r)
	}
	return agentsPath
}

// signIn signs Alice in. A real site wants her password.
func (s *site) signIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: humanCookie, Value: s.signedIn, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, s.returnTo(r), http.StatusSeeOther)
}

func (s *site) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: humanCookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// Button is "Sign in with Auth Agent" for this entrance.
func (e *entrance) Button(returnTo string) template.HTML { return e.rp.Button(returnTo) }

// mount is all that it takes to let agents in.
func (e *entrance) mount(mux *http.ServeMux) {
	mux.Handle("GET "+e.Path+"login", e.rp.LoginHandler())
	mux.Handle("GET "+e.Path+"callback", e.rp.CallbackHandler())
	mux.Handle("POST "+e.Path+"logout", e.rp.LogoutHandler())

	// Anybody may look at the first page; it shows who is signed in.
	mux.Handle("GET "+e.Path+"{$}", e.rp.Attach(http.HandlerFunc(e.overview)))

	// Orders are a user's data. The guard lets in the user, and agents that may at
	// least read them; those are held to GET and HEAD, but for what their owner has named.
	orders := e.rp.RequireAccess(authagent.AccessRead)
	mux.Handle("GET "+e.Path+"orders", orders(http.HandlerFunc(e.listOrders)))
	mux.Handle("POST "+e.Path+"orders", e.rp.RequireAction(placeOrders)(orders(http.HandlerFunc(e.placeOrder))))
	mux.Handle("POST "+e.Path+"orders/return", e.rp.RequireApproval(returnOrders, e.site.owners)(orders(http.HandlerFunc(e.returnOrder))))

	// A profile is the agent's own: any agent will do.
	mux.Handle("GET "+e.Path+"profile", e.rp.RequireAgent(http.HandlerFunc(e.showProfile)))
	mux.Handle("POST "+e.Path+"profile", e.rp.RequireAgent(http.HandlerFunc(e.addNote)))
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	human, _ := s.human(r)
	write(w, r, "home", view{Entrances: s.entrances, Human: human != ""})
}

func (s *site) settings(w http.ResponseWriter, r *http.Request) {
	write(w, r, "settings", view{})
}

func (e *entrance) overview(w http.ResponseWriter, r *http.Request) {
	write(w, r, "overview", e.view(r))
}

func (e *entrance) listOrders(w http.ResponseWriter, r *http.Request) {
	v := e.view(r)
	e.site.mu.Lock()
	v.Orders = slices.Clone(e.site.orders[v.UserID])
	e.site.mu.Unlock()
	write(w, r, "orders", v)
}

func (e *entrance) placeOrder(w http.ResponseWriter, r *http.Request) {
	// The guard let the request through, so somebody acts, and by their account the
	// handler finds what belongs to the user, and to nobody else.
	userID := account(r)
	item, ok := formText(w, r, "item")
	if !ok {
		return
	}
	e.site.mu.Lock()
	e.site.orders[userID] = append(e.site.orders[userID], item)
	e.site.mu.Unlock()
	http.Redirect(w, r, e.Path+"orders", http.StatusSeeOther)
}

// returnOrder takes an order back. Of an agent's requests, one gets here for each that Alice
// has approved.
func (e *entrance) returnOrder(w http.ResponseWriter, r *http.Request) {
	userID, item := account(r), r.PostFormValue("item")
	e.site.mu.Lock()
	all := e.site.orders[userID]
	if i := slices.Index(all, item); i >= 0 {
		e.site.orders[userID] = slices.Delete(all, i, i+1)
	}
	e.site.mu.Unlock()
	http.Redirect(w, r, e.Path+"orders", http.StatusSeeOther)
}

// account returns whose account a request is about: that of the agent's user, or of
// the person who is signed in.
func account(r *http.Request) (userID string) {
	if session, ok := authagent.FromContext(r.Context()); ok {
		return session.UserID
	}
	userID, _ = authagent.HumanFromContext(r.Context())
	return userID
}

func (e *entrance) showProfile(w http.ResponseWriter, r *http.Request) {
	v := e.view(r)
	e.site.mu.Lock()
	v.Notes = slices.Clone(e.site.notes[v.Session.ProfileID])
	e.site.mu.Unlock()
	write(w, r, "profile", v)
}

func (e *entrance) addNote(w http.ResponseWriter, r *http.Request) {
	session, _ := authagent.FromContext(r.Context())
	if session.ProfileID == "" { // FullAccount: the agent acts as its owner
		http.Error(w, "This agent has no profile of its own.", http.StatusNotFound)
		return
	}
	note, ok := formText(w, r, "note")
	if !ok {
		return
	}
	e.site.mu.Lock()
	e.site.notes[session.ProfileID] = append(e.site.notes[session.ProfileID], note)
	e.site.mu.Unlock()
	http.Redirect(w, r, e.Path+"profile", http.StatusSeeOther)
}

// formText returns a field of a form that is a short line of text, or answers
// that it is not.
func formText(w http.ResponseWriter, r *http.Request, field string) (string, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	text := strings.TrimSpace(r.PostFormValue(field))
	if text == "" || len(text) > 100 {
		http.Error(w, "The field "+field+" must have between 1 and 100 bytes.", http.StatusBadRequest)
		return "", false
	}
	return text, true
}
