// Command sitebinary is one instance of a small site, for the test that runs the
// binaries of two commits side by side. It is built against both, so it uses only
// what both have. Its settings are in the environment.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"database/sql"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

func main() {
	log.SetFlags(0)
	rp, err := relyingParty()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr()) // what the test waits for
	log.Fatal(http.Serve(listener, handler(rp)))
}

func relyingParty() (*authagent.RelyingParty, error) {
	db, err := sql.Open(os.Getenv("SITE_DRIVER"), os.Getenv("SITE_DSN"))
	if err != nil {
		return nil, err
	}
	store, err := sqlstore.New(db, sqlstore.Config{Prefix: os.Getenv("SITE_PREFIX")})
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(context.Background()); err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(os.Getenv("SITE_KEY"))
	if err != nil {
		return nil, err
	}
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	c := authagent.Config{
		Issuer: os.Getenv("SITE_ISSUER"), ClientID: os.Getenv("SITE_CLIENT"), ClientSecret: os.Getenv("SITE_SECRET"),
		RedirectURL: os.Getenv("SITE_REDIRECT"),
		SessionKeys: [][]byte{key},
		Scenario:    authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Revocations: store.Revocations(),
		States:      store.States(),
	}
	c.Tokens.Store = store.Tokens() // by the field alone, since the program is built with older versions too
	if os.Getenv("SITE_SESSIONS") == "sqlstore" {
		c.Session.Store = store.Sessions()
	}
	return authagent.New(c)
}

func handler(rp *authagent.RelyingParty) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("POST /auth/agent/logout", rp.LogoutHandler())
	mux.Handle("GET /me", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := authagent.FromContext(r.Context())
		json.NewEncoder(w).Encode(s)
	})))
	mux.Handle("POST /end/{how}", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := end(r.Context(), rp, r.PathValue("how")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})))
	return mux
}

func end(ctx context.Context, rp *authagent.RelyingParty, how string) error {
	s, _ := authagent.FromContext(ctx)
	switch how {
	case "session":
		return rp.EndSession(ctx, s.ID)
	case "agent":
		return rp.EndAgentSessions(ctx, s.Agent)
	case "user":
		return rp.EndUserSessions(ctx, s.UserID)
	}
	return rp.EndAllSessions(ctx)
}
