package authagent_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// A whole site, and an agent that signs in to it. The authorization server is
// one for tests; a site in production has its address, ID and secret from its
// environment.
func Example() {
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})

	users := &memstore.Users{} // your table of users
	users.Add("alice@example.com", "Alice")
	rp, err := authagent.New(authagent.Config{
		Issuer:       as.URL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		RedirectURL:  site.URL + "/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FullAccount(users, authagent.InsecureTrustEmail),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/orders", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := authagent.FromContext(r.Context())
		fmt.Fprintf(w, "%s acts for %s with %s access", s.Agent.ID, s.UserID, s.Access)
	})))

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login?return_to=/orders")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
	// Output: 200 agent_1 acts for user_1 with full access
}

// New names every setting that is wrong, and sends nothing.
func ExampleNew() {
	_, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback?from=agent",
		SessionKeys:  [][]byte{[]byte("too short")},
	})
	fmt.Println(err)
	// Output:
	// authagent: RedirectURL: must not have a query (the server appends ?code=)
	// authagent: SessionKeys: key 0 has 9 bytes, at least 32 are needed
	// authagent: Scenario: is required: FullAccount, ContextualProfile, FreshProfile or one of your own
}

// Every sign-in, refusal and logout, as it goes into an audit trail.
func ExampleConfig_audit() {
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})

	trail := make(chan audit.Event, 16) // events come after the answer, in order
	rp, err := authagent.New(authagent.Config{
		Issuer:       as.URL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		RedirectURL:  site.URL + "/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
		Audit:        func(_ context.Context, e audit.Event) { trail <- e },
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for range 2 {
		e := <-trail
		fmt.Printf("%s agent=%q profile=%q\n", e.Name, e.Agent.ID, e.ProfileID)
	}
	// Output:
	// login_started agent="" profile=""
	// login_succeeded agent="agent_1" profile="profile_1"
}

// The agent acts as its owner, who has an account.
func ExampleFullAccount() {
	users := &memstore.Users{} // your table of users
	users.Add("alice@example.com", "Alice")
	scenario := authagent.FullAccount(users, authagent.InsecureTrustEmail)

	s := signIn(scenario, "alice@example.com") // what the package's example does
	fmt.Printf("user %q, profile %q, access %s\n", s.UserID, s.ProfileID, s.Access)
	// Output: user "user_1", profile "", access full
}

// The agent has a profile of its own, and may read what is its owner's. An owner
// without an account gets one, where the store can create it.
func ExampleContextualProfile() {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	scenario := authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail)

	s := signIn(scenario, "new@example.com")
	fmt.Printf("user %q, profile %q, access %s\n", s.UserID, s.ProfileID, s.Access)
	account, _ := users.Get(s.UserID)
	fmt.Printf("created by %s, address verified: %t\n", account.CreatedBy.ID, account.EmailVerified)
	// Output:
	// user "user_1", profile "profile_1", access read
	// created by agent_1, address verified: false
}

// The agent has a profile of its own, and the site knows of no owner.
func ExampleFreshProfile() {
	profiles := &memstore.Profiles{}
	scenario := authagent.FreshProfile(profiles)

	s := signIn(scenario, "alice@example.com")
	fmt.Printf("user %q, profile %q, access %s\n", s.UserID, s.ProfileID, s.Access)
	// Output: user "", profile "profile_1", access none
}

// One handler for people and agents.
func ExampleFromContext() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := authagent.FromContext(r.Context()); ok {
			fmt.Fprintf(w, "Hello, agent %s.", s.Agent.ID)
			return
		}
		fmt.Fprint(w, "Hello.")
	})
	send, done := withAgent(authagent.FreshProfile(&memstore.Profiles{}), func(rp *authagent.RelyingParty) http.Handler {
		return rp.Attach(hello)
	})
	defer done()
	fmt.Println(send("GET", "/"))
	// Output: 200 Hello, agent agent_1.
}

// An agent that may read is refused everything but GET and HEAD.
func ExampleRelyingParty_RequireAccess() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	scenario := authagent.ContextualProfile(users, &memstore.Profiles{}, authagent.InsecureTrustEmail)
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "two books") })

	send, done := withAgent(scenario, func(rp *authagent.RelyingParty) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/orders", rp.RequireAccess(authagent.AccessRead)(orders))
		mux.Handle("/invoices", rp.RequireAccess(authagent.AccessFull)(orders))
		return mux
	})
	defer done()
	fmt.Println(send("GET", "/orders"))
	fmt.Println(send("POST", "/orders"))
	fmt.Println(send("GET", "/invoices"))
	// Output:
	// 200 two books
	// 403 agent_read_only
	// 403 access_too_low
}

// What a human must do in person. People are let through: that they are signed
// in is checked by what the site has for it.
func ExampleRelyingParty_ForbidAgents() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	scenario := authagent.FullAccount(users, authagent.InsecureTrustEmail)
	password := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "changed") })

	send, done := withAgent(scenario, func(rp *authagent.RelyingParty) http.Handler {
		return rp.ForbidAgents(password)
	})
	defer done()
	fmt.Println(send("POST", "/password"))
	// Output: 403 agent_forbidden
}

// What is not a plain address is none.
func ExampleParseEmail() {
	for _, address := range []string{"Alice@Example.com", "Alice <alice@example.com>", "alice@example.com@evil.example", "alice@localhost"} {
		email, ok := authagent.ParseEmail(address)
		fmt.Printf("%t %q\n", ok, email)
	}
	// Output:
	// true "alice@example.com"
	// false ""
	// false ""
	// false ""
}

// signIn signs an agent in to a site with this scenario, as the package's
// example does, and returns its session.
func signIn(scenario authagent.Scenario, email string) (session authagent.Session) {
	site, as, rp, mux := exampleSite(scenario)
	defer as.Close()
	defer site.Close()
	mux.Handle("/", rp.Attach(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if s, ok := authagent.FromContext(r.Context()); ok {
			session = *s
		}
	})))
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: email})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	return session
}

// withAgent runs a site with this scenario and these routes, signs alice's agent
// in, and returns a function that sends a request as the agent. It says what was
// answered: the status, and the body or the reason of a refusal.
func withAgent(scenario authagent.Scenario, routes func(*authagent.RelyingParty) http.Handler) (send func(method, path string) string, done func()) {
	site, as, rp, mux := exampleSite(scenario)
	mux.Handle("/", routes(rp))
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	browser := as.NewBrowser()
	resp, err := agent.SignIn(context.Background(), browser, site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	send = func(method, path string) string {
		req, err := http.NewRequest(method, site.URL+path, nil)
		if err != nil {
			log.Fatal(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer := &response{resp, string(body)}
		if reason := answer.reason(); reason != "" {
			return fmt.Sprint(resp.StatusCode, " ", string(reason))
		}
		return fmt.Sprint(resp.StatusCode, " ", answer.body)
	}
	return send, func() { site.Close(); as.Close() }
}

func exampleSite(scenario authagent.Scenario) (*httptest.Server, *authagenttest.Server, *authagent.RelyingParty, *http.ServeMux) {
	as := authagenttest.NewServer()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{newKey()}, Scenario: scenario, Logger: discardLog(),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	return site, as, rp, mux
}

// A site's own page for what is refused. Programs still get
// application/problem+json.
func ExampleConfig_pages() {
	pages := template.Must(template.New("").Parse(
		`{{define "refused"}}<h1>{{.Title}}</h1><p>{{.Detail}}</p>{{.Button}}<p><a href="{{.Home}}">Shop</a></p>{{end}}`))
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
		Pages:        pages,
	})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/auth/agent/callback", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	rp.CallbackHandler().ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 405 <h1>Method not allowed</h1><p>This address takes another HTTP method.</p><p><a href="/">Shop</a></p>
}
