package authagent_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// mayOrder lets agents read, and place orders.
type mayOrder struct{}

func (mayOrder) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if r.User == nil {
		return authagent.Principal{}, problem.NoAccount
	}
	return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead, Actions: []string{"orders:create"}}, nil
}

// An agent that may read, and do one thing more by name.
func ExampleRelyingParty_RequireAction() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := authagent.FromContext(r.Context())
		fmt.Fprint(w, "done ", s.Byline("Alice"))
	})

	send, end := withAgent(authagent.FullAccount(users, mayOrder{}), func(rp *authagent.RelyingParty) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("POST /orders", rp.RequireAction("orders:create")(done))
		mux.Handle("DELETE /orders/{id}", rp.RequireAction("orders:delete")(done))
		mux.Handle("POST /address", rp.RequireAgent(done))
		return mux
	})
	defer end()
	fmt.Println(send("POST", "/orders"))
	fmt.Println(send("DELETE", "/orders/7"))
	fmt.Println(send("POST", "/address"))
	// Output:
	// 200 done by agent_1 for Alice
	// 403 action_not_granted
	// 403 agent_read_only
}

// What a human alone may do, and how the site says who that is.
func ExampleRelyingParty_RequireHuman() {
	rp, err := authagent.New(authagent.Config{
		Issuer: "https://agents.example", ClientID: "shop", ClientSecret: "from your environment",
		RedirectURL: "https://shop.example/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		Human: func(r *http.Request) (string, error) { // your own sessions
			if c, err := r.Cookie("shop_session"); err == nil && c.Value == "alice's" {
				return "user_1", nil
			}
			return "", nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	password := rp.RequireHuman(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		userID, _ := authagent.HumanFromContext(r.Context())
		fmt.Fprint(w, "changed the password of ", userID)
	}))
	for _, cookie := range []string{"", "shop_session=alice's"} {
		r := httptest.NewRequest("POST", "https://shop.example/password", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		password.ServeHTTP(w, r)
		if reason := reasonOf(w.Body.Bytes()); reason != "" {
			fmt.Println(w.Code, reason)
			continue
		}
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 401 human_required
	// 200 changed the password of user_1
}

// A human connects an agent to their own account. The agent's e-mail address at
// the server is another, and plays no part in it.
func ExampleRelyingParty_ConnectHandler() {
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})

	users := &memstore.Users{} // your table of users
	alice := users.Add("alice@example.com", "Alice")
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Logger: discardLog(),
		Scenario: authagent.FullAccount(users, owners),
		Human:    humanCookie, // your own sessions
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("POST /account/connect", rp.ConnectHandler())

	// Alice presses the button, in her browser, and her agent answers at the server.
	browser := as.NewBrowser()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	address, _ := http.NewRequest("POST", site.URL+"/account/connect?return_to=/account/agents/", nil)
	browser.Jar.SetCookies(address.URL, []*http.Cookie{{Name: "human", Value: alice, Path: "/"}})
	resp, err := browser.Do(address)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@home.example"})
	callback, err := agent.Authorize(context.Background(), as.Client(), resp.Header.Get("Location"))
	if err != nil {
		log.Fatal(err)
	}
	if resp, err = browser.Get(callback); err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Location"))

	overview, err := owners.Overview(context.Background(), alice)
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range overview.Grants {
		fmt.Println(g.Agent.ID, g.State, g.Access)
	}
	// Output:
	// 303 /account/agents/
	// agent_1 approved read
}

// humanCookie is a site's own sign-in of people.
func humanCookie(r *http.Request) (string, error) {
	if c, err := r.Cookie("human"); err == nil {
		return c.Value, nil
	}
	return "", nil
}

// What a request would do, in one sentence that its owner decides on. The handler reads the request
// by the same function.
func ExampleRelyingParty_RequireApproval_describe() {
	prices := map[string]string{"2": "$12.50"} // your table of orders
	refundOf := func(r *http.Request) (string, error) {
		price, ok := prices[r.PathValue("id")]
		if !ok {
			return "", problem.NotFound
		}
		return fmt.Sprintf("Refund order %s, %s, to account %s", r.PathValue("id"), price, r.FormValue("to")), nil
	}
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	owners.Approvals = map[string]string{"refunds:pay": "Pay a refund"}
	owners.Describe = func(ctx context.Context, request action.Request) (string, error) {
		switch request.Action {
		case "refunds:pay":
			return refundOf(request.HTTP(ctx))
		}
		return "", nil // the owner is shown the raw request
	}

	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	send, end := withAgent(authagent.FullAccount(users, mayOrder{}), func(rp *authagent.RelyingParty) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("POST /orders/{id}/refund", rp.RequireApproval("refunds:pay", owners)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			done, _ := refundOf(r)
			fmt.Fprint(w, done)
		})))
		return mux
	})
	defer end()
	fmt.Println(send("POST", "/orders/1/refund?to=7"))
	fmt.Println(send("POST", "/orders/2/refund?to=7"))

	overview, err := owners.Overview(context.Background(), alice)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range overview.Approvals {
		fmt.Println(a.Description)
		if _, err := owners.DecideAction(context.Background(), alice, a.ID, a.Version, true); err != nil {
			log.Fatal(err)
		}
	}
	prices["2"] = "$99.00"
	fmt.Println(send("POST", "/orders/2/refund?to=7"))
	prices["2"] = "$12.50"
	fmt.Println(send("POST", "/orders/2/refund?to=7"))
	// Output:
	// 404 not_found
	// 202 approval_pending
	// Refund order 2, $12.50, to account 7
	// 202 approval_pending
	// 200 Refund order 2, $12.50, to account 7
}

// A tool that an agent calls asks the owner about each call, and performs it once.
func ExampleRelyingParty_Approve() {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	owners.Approvals = map[string]string{"files:delete": "Delete a file"}
	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	send, end := withAgent(authagent.FullAccount(users, mayOrder{}), func(rp *authagent.RelyingParty) http.Handler {
		deleteFile := func(ctx context.Context, s *authagent.Session, name string) error {
			reserved, _, err := rp.Approve(ctx, s, "files:delete", []byte(name), owners)
			if err != nil {
				return err // with problem.ApprovalPending: call the tool again, later
			}
			fmt.Println("deleting", name)
			return reserved.End(ctx)
		}
		return rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // your server of tools
			s, _ := authagent.FromContext(r.Context())
			err := deleteFile(r.Context(), s, "notes.txt")
			var refused *problem.Error
			switch {
			case errors.As(err, &refused):
				fmt.Fprint(w, string(refused.Reason))
			case err == nil:
				fmt.Fprint(w, "done")
			}
		}))
	})
	defer end()
	fmt.Println(send("GET", "/tool"))

	overview, err := owners.Overview(context.Background(), alice)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range overview.Approvals { // on the page of agents
		if _, err := owners.DecideAction(context.Background(), alice, a.ID, a.Version, true); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(send("GET", "/tool"))
	fmt.Println(send("GET", "/tool"))
	// Output:
	// 200 approval_pending
	// deleting notes.txt
	// 200 done
	// 200 approval_used
}
