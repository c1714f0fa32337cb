package requirements_test

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

// This file holds what docs/handlers.md shows of a site's own code, around it the rest of such a
// site. TestQuotedSnippets compares the two.

// A User is an account as the site has it.
type User struct{ ID, Name string }

// An actor is who acts in a request: a person or an agent.
type actor struct{ Agent *authagent.Session } // nil for a person

// currentUser returns whose account a request is about, and who acts. The User is empty for a
// stranger, and for an agent without a user.
func (s *shop) currentUser(r *http.Request) (u User, by actor, err error) {
	id, _ := authagent.HumanFromContext(r.Context())
	agent, isAgent := authagent.FromContext(r.Context())
	if isAgent {
		by.Agent, id = agent, agent.UserID
	} else if id == "" { // Attach and ForbidAgents do not ask who is signed in
		if id, err = s.signedInUser(r); err != nil {
			return u, by, err
		}
	}
	if id != "" {
		u, err = s.user(r.Context(), id)
	}
	return u, by, err
}

// May reports whether a page offers what has this name. Whether it is done, the guard decides.
func (a actor) May(action string) bool { return a.Agent == nil || a.Agent.May(action) }

// Byline says who did something, beside what was done.
func (a actor) Byline(u User) string {
	if a.Agent == nil {
		return "by " + u.Name
	}
	return a.Agent.Byline(u.Name)
}

// LogValue gives the names that the events of authagent have in the log.
func (a actor) LogValue() slog.Value {
	if a.Agent == nil {
		return slog.StringValue("person")
	}
	return a.Agent.LogValue()
}

func (s *shop) placeOrder(w http.ResponseWriter, r *http.Request) {
	u, by, err := s.currentUser(r)
	if err != nil {
		s.rp.ServeError(w, r, err)
		return
	}
	o := order{UserID: u.ID, Byline: by.Byline(u)}
	if by.Agent != nil {
		o.Agent, o.SessionID = by.Agent.Agent, by.Agent.ID
	}
	s.add(o)
	s.log.InfoContext(r.Context(), "order placed", "user", u.ID, "by", by)
	http.Redirect(w, r, "/orders", http.StatusSeeOther)
}

var ordersPage = template.Must(template.New("orders").Parse(`
{{range .Orders}}<li>An order {{.Byline}}</li>{{end}}
{{if .By.May "orders:create"}}<form method="post" action="/orders"><button>Order</button></form>{{end}}
{{if .By.Agent}}<p>{{.By.Byline .User}}</p>{{else}}<a href="/account/password">Change your password</a>{{end}}`))

func (s *shop) showOrders(w http.ResponseWriter, r *http.Request) {
	u, by, err := s.currentUser(r)
	if err != nil {
		s.rp.ServeError(w, r, err)
		return
	}
	page := struct {
		User   User
		By     actor
		Orders []order
	}{u, by, s.of(u.ID)}
	if err := ordersPage.Execute(w, page); err != nil {
		s.log.ErrorContext(r.Context(), "orders page failed", "error", err)
	}
}

func (s *shop) addNote(w http.ResponseWriter, r *http.Request) {
	agent, _ := authagent.FromContext(r.Context()) // RequireAgent is in front of this
	author := agent.ProfileID                      // of an agent with a profile of its own
	if author == "" {
		author = agent.UserID // of an agent that acts as its owner
	}
	fmt.Fprintf(w, "a note of %s, %s", author, agent.Byline(""))
}

// mount puts the guards in front of the handlers.
func (s *shop) mount(mux *http.ServeMux) {
	rp := s.rp
	read := rp.RequireAccess(authagent.AccessRead)
	mux.Handle("GET /home", rp.Attach(http.HandlerFunc(s.showHome)))
	mux.Handle("GET /orders", read(http.HandlerFunc(s.showOrders)))
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(http.HandlerFunc(s.placeOrder)))
	mux.Handle("POST /notes", rp.RequireAgent(http.HandlerFunc(s.addNote)))
	mux.Handle("/account/password", rp.RequireHuman(http.HandlerFunc(s.changePassword)))
}

// A shop is a site with people's sign-in of its own.
type shop struct {
	rp           *authagent.RelyingParty
	users        *memstore.Users
	log          *slog.Logger
	signedInUser func(*http.Request) (string, error) // is Config.Human, too

	mu     sync.Mutex
	orders []order
}

type order struct {
	UserID, Byline, SessionID string
	Agent                     authagent.Agent
}

func (s *shop) user(_ context.Context, id string) (User, error) {
	a, ok := s.users.Get(id)
	if !ok {
		return User{}, authagent.ErrNotFound
	}
	return User{a.ID, a.Name}, nil
}

func (s *shop) add(o order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, o)
}

func (s *shop) of(userID string) (found []order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.UserID == userID {
			found = append(found, o)
		}
	}
	return found
}

// showHome is a page that everybody may see.
func (s *shop) showHome(w http.ResponseWriter, r *http.Request) {
	u, by, err := s.currentUser(r)
	switch {
	case err != nil:
		s.rp.ServeError(w, r, err)
	case u.ID == "" && by.Agent == nil:
		fmt.Fprint(w, "hello, stranger")
	default:
		fmt.Fprint(w, "hello, "+by.Byline(u))
	}
}

func (s *shop) changePassword(w http.ResponseWriter, r *http.Request) {
	u, by, err := s.currentUser(r)
	fmt.Fprint(w, u.Name, by.Agent, err)
}

// A shopBench is a shop that runs.
type shopBench struct {
	*bench
	*shop
}

// newShop starts a shop. Agents get what link says; without a user, a profile of their own.
func newShop(t *testing.T, link authagent.Principal, user bool, change ...func(*bench, *authagent.Config)) *shopBench {
	t.Helper()
	s := &shop{signedInUser: testsite.Human}
	b := newCluster(t, func(b *bench, c *authagent.Config) {
		link.UserID = b.AliceID
		c.Scenario = authagent.FullAccount(b.Users, linkAs(link))
		if !user {
			c.Scenario = authagent.FreshProfile(b.Profiles)
		}
		c.Human, c.SignInPath = s.signedInUser, "/sign-in"
		for _, f := range change {
			f(b, c)
		}
	})
	s.rp, s.users, s.log = b.RP, b.Users, b.Config.Logger
	s.mount(b.Mux(""))
	return &shopBench{b, s}
}

// agent returns a browser in which an agent is signed in.
func (s *shopBench) agentBrowser() *http.Client {
	s.T.Helper()
	c := s.Browser()
	s.MustSignIn(c, s.Agent)
	return c
}

// person returns a browser in which Alice is signed in.
func (s *shopBench) personBrowser() *http.Client {
	c := s.Browser()
	s.SignInPerson(c, s.AliceID)
	return c
}
