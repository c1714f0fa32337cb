package site

import (
	"context"
	_ "embed"
	"html/template"
	"net/http"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/tokens"
)

// The actions that an owner can allow an agent by name, beside reading. The last
// one they are asked about each time.
const (
	changeCart   = "cart:change"
	createOrders = "orders:create"
	cancelOrders = "orders:cancel"
	payRefunds   = "refunds:pay"
)

// offered are the actions that an owner can allow by name, in words.
var offered = map[string]string{
	changeCart:   "Fill the cart",
	createOrders: "Place orders",
	cancelOrders: "Cancel orders",
}

// reading is what an agent sees that may read, in words: "See your ...".
const reading = "orders, cart, name and e-mail address"

// germanTexts has the same words in German.
//
//go:embed texts.de.txt
var germanTexts string

// approvedEach are the actions that an owner approves one by one, in words.
var approvedEach = map[string]string{payRefunds: "Pay a refund to a bank account"}

// allowedUpTo are those of approvedEach that an owner can allow up to an amount.
var allowedUpTo = map[string][]grants.Currency{payRefunds: {euro}}

var euro = grants.Currency{Code: "EUR", Digits: 2}

const agentsPath = "/account/agents/"

// admitAgents is all that it takes to let agents in, but for the routes.
func (s *Site) admitAgents(ctx context.Context) (err error) {
	if s.store, err = sqlstore.New(s.db.DB, sqlstore.Config{Logger: s.logger}); err != nil {
		return err
	}
	if err := s.store.Migrate(ctx); err != nil {
		return err
	}
	s.owners = grants.OwnerApproval(s.store.Grants())
	s.owners.Path = agentsPath
	s.owners.Logger = s.logger
	s.owners.Notify = s.tellOwner
	s.owners.Reading = reading
	s.owners.Actions = offered
	s.owners.Approvals = approvedEach
	s.owners.Describe = s.describe
	s.owners.Amount = s.amountOf
	s.owners.Allowances = allowedUpTo
	s.owners.InTransaction = []string{payRefunds}
	s.owners.Locale = s.locale
	german, err := messages.Parse("de", germanTexts)
	if err != nil {
		return err
	}
	s.rp, err = authagent.New(authagent.Config{
		Issuer:       s.config.Issuer,
		ClientID:     s.config.ClientID,
		ClientSecret: s.config.Secret,
		RedirectURL:  s.config.URL + "/auth/agent/callback",
		SessionKeys:  s.config.SessionKeys,
		Scenario:     authagent.FullAccount(s.db, s.owners),
		Paths:        authagent.Paths{Discovery: "/auth.md"},
		SignInPath:   "/sign-in",
		Languages:    []*messages.Language{messages.English(), german},
		Human:        s.human,
		Audit:        s.store.Audit,
		Revocations:  s.store.Revocations(),
		States:       s.store.States(),
		Tokens:       tokens.Settings{Store: s.store.Tokens()},
		Pages:        around,
		Logger:       s.logger,
	})
	return err
}

// mountAgents mounts what agents sign in and out by, what they read about it, and
// the page on which their owners decide.
func (s *Site) mountAgents(mux *http.ServeMux) {
	mux.Handle("/auth/agent/login", s.rp.LoginHandler())
	mux.Handle("/auth/agent/callback", s.rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", s.rp.LogoutHandler())
	mux.Handle(agentsPath, grants.Handler(s.owners, s.rp))
	for _, path := range []string{"/auth.md", "/auth.json", "/button.css"} {
		mux.Handle(path, s.rp.DiscoveryHandler())
	}
}

// human is how authagent learns which human is signed in.
func (s *Site) human(r *http.Request) (userID string, err error) {
	u, err := s.signedIn(r)
	return u.ID, err
}

// tellOwner mails an owner that there is something to decide, or that something
// has happened. No link in the mail decides anything.
func (s *Site) tellOwner(ctx context.Context, n grants.Notice) {
	u, err := s.db.User(ctx, n.UserID)
	if err != nil {
		s.logger.Error("shop: tell owner", "err", err)
		return
	}
	s.config.Mail(Mail{To: u.Email, Subject: n.Subject, Text: n.Text, HTML: n.HTML})
}

// around is the shop's frame around authagent's pages: those of owners, and refusals.
var around = template.Must(template.ParseFS(files, "pages/frame.html", "pages/around.html"))
