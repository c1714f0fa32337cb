package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// A journal prints what it is to keep. Journal of sqlstore.Store keeps it in a database.
type journal struct{ full bool }

func (j *journal) Write(_ context.Context, e audit.Event) error {
	if j.full {
		return errors.New("the disk is full")
	}
	fmt.Println(strings.TrimSpace(fmt.Sprint(e.Name, " ", e.Action, " ", e.Outcome, " ", e.Detail)))
	return nil
}

// What an agent does is on record before it is done. Where that fails, it is not done.
func ExampleJournal() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	journal := &journal{}
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Logger: slog.New(slog.DiscardHandler),
		Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Journal:  journal,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("ordered; the row has the deed:", audit.DeedFrom(r.Context()) != "")
		w.WriteHeader(http.StatusCreated)
	})))

	browser := as.NewBrowser()
	resp, err := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"}).SignIn(context.Background(), browser, site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for _, journal.full = range []bool{false, true} {
		resp, err := browser.Post(site.URL+"/orders", "", nil)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println("status", resp.StatusCode)
	}
	// Output:
	// action_begun orders:create begun
	// ordered; the row has the deed: true
	// action_performed orders:create ok status 201
	// status 201
	// status 500
}
