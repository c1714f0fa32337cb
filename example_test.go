package authagent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
	"github.com/authagent-go/authagent/tokens"
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
		if reason := reasonOf(body); reason != "" {
			return fmt.Sprint(resp.StatusCode, " ", reason)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(body))
	}
	return send, func() { site.Close(); as.Close() }
}

// reasonOf returns the reason code of a refusal that was answered as JSON.
func reasonOf(body []byte) string {
	var refused struct{ Error string }
	json.Unmarshal(body, &refused)
	return refused.Error
}

func exampleSite(scenario authagent.Scenario) (*httptest.Server, *authagenttest.Server, *authagent.RelyingParty, *http.ServeMux) {
	as := authagenttest.NewServer()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{testsite.NewKey()}, Scenario: scenario, Logger: discardLog(),
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

// What a deployment looks at before it lets agents in.
func ExampleRelyingParty_Check() {
	as := authagenttest.NewServer()
	defer as.Close()
	client := as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{"http://127.0.0.1:8080/agent/callback"}})
	rp, err := authagent.New(authagent.Config{
		Issuer:       as.URL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		RedirectURL:  "http://127.0.0.1:8080/auth/agent/callback", // registered without /auth
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range rp.Check(context.Background()) {
		fmt.Println(f.Severity, f.Setting)
		fmt.Println(f.Problem)
		fmt.Println(f.Remedy)
	}
	// Output:
	// ERROR RedirectURL
	// The server refuses the redirect URI "http://127.0.0.1:8080/auth/agent/callback" for client "shop".
	// Register exactly this URL at the server: scheme, host, port, path and last slash count.
}

// The button on a sign-in page, with its style sheet under a strict policy.
func ExampleRelyingParty_Button() {
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	page := template.Must(template.New("sign-in").Funcs(template.FuncMap{
		"signInButton": rp.Button,
		"buttonStyle":  func() template.CSS { return signpost.Style },
	}).Parse(`<style>{{buttonStyle}}</style>
<h1>Sign in</h1>
{{signInButton "/orders"}}
`))
	http.HandleFunc("/sign-in", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+signpost.StyleHash+"'")
		if err := page.Execute(w, nil); err != nil {
			log.Print(err)
		}
	})

	markup := string(rp.Button("/orders"))
	fmt.Println(regexp.MustCompile(`href="[^"]*"`).FindString(markup))
	// Output: href="/auth/agent/login?return_to=%2Forders"
}

// What agents read about signing in.
func ExampleRelyingParty_DiscoveryHandler() {
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your environment",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}),
		Paths:        authagent.Paths{Discovery: "/auth.md"},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth.md", rp.DiscoveryHandler())
	mux.Handle("/auth-agent.json", rp.DiscoveryHandler())

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/auth-agent.json", nil))
	fmt.Print(w.Body)
	// Output:
	// {
	//   "sign_in": {
	//     "kind": "oauth2-code",
	//     "method": "GET",
	//     "url": "https://shop.example/auth/agent/login",
	//     "label": "Sign in with Auth Agent",
	//     "return_to_parameter": "return_to"
	//   },
	//   "sign_out": {
	//     "method": "POST",
	//     "url": "https://shop.example/auth/agent/logout"
	//   },
	//   "issuer": "https://agents.example",
	//   "scenario": "FreshProfile",
	//   "access": "none",
	//   "documentation": "https://shop.example/auth.md"
	// }
}

// Keys from a vault. A new one goes last until all instances have it, then first.
func ExampleParseSessionKeys() {
	const secret = `c2l4dHkgZm91ciBieXRlcyBhcmUgZ29vZCwgdGhpcnR5IHR3byBkbw,
7468697274792074776f2072616e646f6d2062797465732c206173206865782e` // as "authagent key" prints it, and in hex
	keys, err := authagent.ParseSessionKeys(secret)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(keys), "keys")

	_, err = authagent.ParseSessionKeys(secret[:30]) // cut off
	fmt.Println(err)
	// Output:
	// 2 keys
	// authagent: SessionKeys: key 0 has 22 bytes, at least 32 are needed
}

// A site whose settings are in its environment.
func ExampleConfigFromEnv() {
	for name, value := range map[string]string{ // what the deployment does
		"AUTH_AGENT_ISSUER":        "https://agents.example",
		"AUTH_AGENT_CLIENT_ID":     "shop",
		"AUTH_AGENT_CLIENT_SECRET": "cs_from-the-server's-console",
		"AUTH_AGENT_REDIRECT_URL":  "https://shop.example/auth/agent/callback",
		"AUTH_AGENT_SESSION_KEYS":  "c2l4dHkgZm91ciBieXRlcyBhcmUgZ29vZCwgdGhpcnR5IHR3byBkbw",
	} {
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}

	config, err := authagent.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	config.Scenario = authagent.FreshProfile(&memstore.Profiles{})
	rp, err := authagent.New(config)
	fmt.Println(rp, err)
	// Output: authagent.RelyingParty{authagent.Config{Issuer:"https://agents.example" ClientID:"shop" RedirectURL:"https://shop.example/auth/agent/callback"}} <nil>
}

// A site calls an API as the agent that is signed in. The API here is the
// authorization server's own userinfo endpoint.
func ExampleRelyingParty_Client() {
	withTokens(func(rp *authagent.RelyingParty, as *authagenttest.Server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			resp, err := rp.Client(r.Context(), s).Get(as.URL + authagenttest.PathUserInfo)
			if err != nil {
				http.Error(w, "the API does not answer", http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
		}
	})
	// Output: {"sub":"agent_1","email":"alice@example.com"}
}

// A library that wants an access token gets one that is good, every time it asks.
func ExampleRelyingParty_TokenSource() {
	withTokens(func(rp *authagent.RelyingParty, _ *authagenttest.Server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			token, err := rp.TokenSource(r.Context(), s).Token()
			if err != nil {
				http.Error(w, "sign in again", http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, "a %s token, valid: %v, with a refresh token: %v", token.Type(), token.Valid(), token.RefreshToken != "")
		}
	})
	// Output: a Bearer token, valid: true, with a refresh token: false
}

// A site stops: first its server, so that no request comes any more, then what is
// under way in the background.
func ExampleRelyingParty_Shutdown() {
	as := authagenttest.NewServer()
	defer as.Close()
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: "shop", ClientSecret: "secret", RedirectURL: "http://127.0.0.1:8080/auth/agent/callback",
		SessionKeys: [][]byte{testsite.NewKey()}, Scenario: authagent.FreshProfile(&memstore.Profiles{}), Tokens: tokens.Settings{Store: &memstore.Tokens{}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: rp.LoginHandler()}

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fmt.Println(server.Shutdown(ctx), rp.Shutdown(ctx))
	// Output: <nil> <nil>
}

// withTokens runs a site that keeps tokens, signs an agent in and prints what the
// site's /orders answers.
func withTokens(orders func(*authagent.RelyingParty, *authagenttest.Server) http.HandlerFunc) {
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	callback := site.URL + "/auth/agent/callback"
	client := as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{callback}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: callback,
		SessionKeys: [][]byte{testsite.NewKey()},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		Provider:    provider.Settings{Scopes: []string{"openid", "email"}},
		Tokens:      tokens.Settings{Store: &memstore.Tokens{}}, // several instances share one
		Logger:      discardLog(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("GET /orders", rp.RequireAgent(orders(rp, as)))

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	browser := as.NewBrowser()
	resp, err := agent.SignIn(context.Background(), browser, site.URL+"/auth/agent/login?return_to=/orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
}

// A site's frame stands around the package's pages, here around the page of a refusal, in German.
func ExampleRelyingParty_Frame() {
	frame := template.Must(template.New("frame").Parse(`
{{define "header"}}<a href="/">Leaf &amp; Kettle</a>{{end}}
{{define "footer"}}<a href="/imprint">Imprint</a>{{end}}`))
	rp, err := authagent.New(authagent.Config{
		Issuer: "https://as.example", ClientID: "shop", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Scenario: authagent.FreshProfile(&memstore.Profiles{}), Revocations: &memstore.Revocations{},
		Logger: slog.New(slog.DiscardHandler), Pages: frame, Languages: []*messages.Language{messages.English(), messages.German()},
	})
	if err != nil {
		log.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/orders", nil)
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Accept-Language", "de")
	answer := httptest.NewRecorder()
	rp.ServeError(answer, request, problem.NoAccount)
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "<h1>") || strings.HasPrefix(line, "<header>") || strings.HasPrefix(line, "<footer>") {
			fmt.Print(line)
		}
	}
	// Output:
	// <header><a href="/">Leaf &amp; Kettle</a></header>
	// <h1>Kein Konto</h1>
	// <footer><a href="/imprint">Imprint</a></footer>
}

// A site that proves itself with a key instead of a secret publishes the public part, where the
// authorization server reads it.
func ExampleRelyingParty_ClientKeysHandler() {
	as := authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.Features.AuthMethods = []string{"private_key_jwt"}
	as.Start()
	defer as.Close()

	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{
		RedirectURIs: []string{site.URL + "/auth/agent/callback"}, JWKSURL: site.URL + "/auth/agent/keys",
	})

	signs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // or one that a service keeps
	if err != nil {
		log.Fatal(err)
	}
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte(rand.Text() + rand.Text())},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		Provider:    provider.Settings{ClientKeys: []crypto.Signer{signs}},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("GET /auth/agent/keys", rp.ClientKeysHandler())
	mux.Handle("GET /", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := authagent.FromContext(r.Context())
		fmt.Fprint(w, session.Agent.ID)
	})))

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_7"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, len(rp.Check(context.Background())), "findings")
	// Output: 200 OK 0 findings
}
