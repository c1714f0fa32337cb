package grants_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// exampleSite is a site at which agent_1 signs in and sends requests: send returns
// the status and, of a refusal, the reason.
func exampleSite(scenario func(users *memstore.Users) authagent.Scenario, routes func(*http.ServeMux, *authagent.RelyingParty)) (signIn func() int, send func(method, path string) string, done func()) {
	as := authagenttest.NewServer()
	as.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false }) // which would make it wait
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	users := &memstore.Users{} // your table of users
	users.Add("alice@example.com", "Alice")
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Scenario: scenario(users),
		Logger: quiet, Human: signedIn,
	})
	if err != nil {
		panic(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	routes(mux, rp)
	agent, browser := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"}), as.NewBrowser()
	signIn = func() int {
		resp, err := agent.SignIn(context.Background(), browser, site.URL+"/auth/agent/login?return_to=/hello")
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	send = func(method, path string) string {
		req, err := http.NewRequest(method, site.URL+path, strings.NewReader("amount=10"))
		if err != nil {
			panic(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			panic(err)
		}
		return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", string(read(resp).reason())))
	}
	return signIn, send, func() { site.Close(); as.Close() }
}

// An agent asks to enter an account by signing in. Nothing is open to it until
// the account's owner has said yes, on the page that Handler serves, and nothing
// afterwards but what was said yes to.
func ExampleOwnerApproval() {
	store := &memstore.Grants{} // or a shared one
	owners := grants.OwnerApproval(store)
	owners.Logger = quiet
	owners.Notify = func(_ context.Context, n grants.Notice) {
		if n.Kind == grants.EventPending {
			_, what, _ := strings.Cut(n.Subject, ": ") // after the site's host
			fmt.Println("mail to", n.UserID+":", what)
		}
	}

	signIn, send, done := exampleSite(
		func(users *memstore.Users) authagent.Scenario { return authagent.FullAccount(users, owners) },
		func(mux *http.ServeMux, rp *authagent.RelyingParty) { mux.Handle("/hello", rp.RequireAgent(hello)) },
	)
	defer done()
	status := signIn()
	owners.Wait()
	fmt.Println("sign-in:", status)

	overview, _ := owners.Overview(context.Background(), "user_1")
	asked := overview.Grants[0]
	_, err := owners.Decide(context.Background(), "user_1", grants.Decision{
		GrantID: asked.ID, Version: asked.Version, State: grants.Approved, Access: authagent.AccessRead,
	})
	fmt.Println(err, "sign-in:", signIn())
	fmt.Println("write:", send("POST", "/hello"))
	// Output:
	// mail to user_1: The agent agent_1 asks to act in your account
	// sign-in: 403
	// <nil> sign-in: 200
	// write: 403 agent_read_only
}

// What an owner decides, at once with effect: to read and to place orders, and
// later nothing any more. A decision is about the version that was seen.
func ExamplePolicy_Decide() {
	ctx := context.Background()
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = quiet
	owners.Actions = map[string]string{"orders:create": "Place orders"}

	signIn, send, done := exampleSite(
		func(users *memstore.Users) authagent.Scenario { return authagent.FullAccount(users, owners) },
		func(mux *http.ServeMux, rp *authagent.RelyingParty) {
			mux.Handle("/hello", rp.RequireAgent(hello))
			mux.Handle("POST /orders", rp.RequireAction("orders:create")(hello))
		},
	)
	defer done()
	signIn()
	owners.Wait()
	overview, _ := owners.Overview(ctx, "user_1")
	seen := overview.Grants[0]
	approved, err := owners.Decide(ctx, "user_1", grants.Decision{
		GrantID: seen.ID, Version: seen.Version, State: grants.Approved, Access: authagent.AccessRead, Actions: []string{"orders:create"},
	})
	fmt.Println(approved.State, approved.Access, approved.Actions, err)
	signIn()
	fmt.Println(send("POST", "/orders"))

	_, err = owners.Decide(ctx, "user_1", grants.Decision{GrantID: seen.ID, Version: seen.Version, State: grants.Revoked})
	fmt.Println(err)
	revoked, err := owners.Decide(ctx, "user_1", grants.Decision{GrantID: seen.ID, Version: approved.Version, State: grants.Revoked})
	fmt.Println(revoked.State, err)
	fmt.Println(send("GET", "/hello"))
	// Output:
	// approved read [orders:create] <nil>
	// 200
	// authagent: changed in the meantime
	// revoked <nil>
	// 401 no_session
}

// The site's own rules, above what owners approve: whom it lets in, and a switch
// that keeps all agents out.
func ExamplePolicy_SetRules() {
	ctx := context.Background()
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = quiet

	signIn, send, done := exampleSite(
		func(users *memstore.Users) authagent.Scenario { return authagent.FullAccount(users, owners) },
		func(mux *http.ServeMux, rp *authagent.RelyingParty) { mux.Handle("/hello", rp.RequireAgent(hello)) },
	)
	defer done()
	signIn()
	owners.Wait()
	overview, _ := owners.Overview(ctx, "user_1")
	owners.Decide(ctx, "user_1", grants.Decision{GrantID: overview.Grants[0].ID, Version: 1, State: grants.Approved, Access: authagent.AccessRead})
	fmt.Println("sign-in:", signIn())
	if err := owners.SetRules(ctx, "staff_7", grants.Rules{Paused: true}); err != nil {
		panic(err)
	}
	fmt.Println(send("GET", "/hello"))
	fmt.Println(send("GET", "/auth/agent/login"))
	if err := owners.SetRules(ctx, "staff_7", grants.Rules{DenyDomains: []string{"spam.example"}}); err != nil {
		panic(err)
	}
	fmt.Println("sign-in:", signIn())
	// Output:
	// sign-in: 200
	// 503 agents_paused
	// 503 agents_paused
	// sign-in: 200
}

// A payout waits for the account's owner to approve exactly this one, and is let
// through once.
func ExamplePolicy_Approve() {
	ctx := context.Background()
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"} // as its owner reads it
	owners.Logger = quiet

	signIn, send, done := exampleSite(
		func(users *memstore.Users) authagent.Scenario { return authagent.FullAccount(users, owners) },
		func(mux *http.ServeMux, rp *authagent.RelyingParty) {
			mux.Handle("/hello", rp.RequireAgent(hello))
			mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", owners)(hello))
		},
	)
	defer done()
	signIn()
	owners.Wait()
	overview, _ := owners.Overview(ctx, "user_1")
	owners.Decide(ctx, "user_1", grants.Decision{GrantID: overview.Grants[0].ID, Version: 1, State: grants.Approved, Access: authagent.AccessRead})
	signIn()

	fmt.Println(send("POST", "/payouts"))
	overview, _ = owners.Overview(ctx, "user_1")
	waiting := overview.Approvals[0]
	fmt.Println(waiting.Agent.ID, "wants", waiting.Action, waiting.Method, waiting.Target, string(waiting.Body))
	if _, err := owners.DecideAction(ctx, "user_1", waiting.ID, waiting.Version, true); err != nil {
		panic(err)
	}
	fmt.Println(send("POST", "/payouts"))
	fmt.Println(send("POST", "/payouts"))
	// Output:
	// 202 approval_pending
	// agent_1 wants payouts:create POST /payouts amount=10
	// 200
	// 409 approval_used
}

// signedIn is the site's own sign-in of humans.
func signedIn(r *http.Request) (string, error) {
	if c, err := r.Cookie("human"); err == nil {
		return c.Value, nil
	}
	return "", nil
}
