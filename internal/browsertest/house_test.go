package browsertest_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

const formType = "application/x-www-form-urlencoded"

// A house is a site that shows the package's own pages, in English and German. Its store
// is filled with what people and their agents have done.
type house struct {
	*shop
	site   *testsite.Site
	owners *grants.Policy
	store  *memstore.Grants
	now    time.Time

	passkeys *passkey.Passkeys // nil where owners do not confirm
}

// apiPath is where the house's API is.
const apiPath = "/api"

// houseForms are forms of a site, each with one button.
const houseForms = `<!doctype html><html lang="en"><title>Forms</title><main><h1>Forms</h1>
<form method="post" action="/data"><button>Open to members</button></form>
<form method="post" action="/pay?order=4711"><input type="hidden" name="to" value="DE02 1203 0000 0000 2020 51"><input type="hidden" name="amount" value="120.00"><button>Pay</button></form>
</main>`

// houseGerman are the house's own words in German.
const houseGerman = `
reading = Bestellungen, Adressen und Rechnungen
action.orders:create = Bestellungen aufgeben
action.orders:cancel = Bestellungen stornieren
action.orders:export = Bestellungen herunterladen
action.payouts:create = Geld auszahlen
`

// houseFrame is a site's frame. Its style sheet is houseStyle.
var houseFrame = template.Must(template.New("frame").Parse(`
{{define "header"}}<link rel="stylesheet" href="/frame.css"><a class="house" href="/forms">Pine &amp; Co.</a>{{end}}
{{define "footer"}}<a class="house" href="/forms">{{if eq .Lang.Tag "de"}}Impressum{{else}}Imprint{{end}}</a>{{end}}
{{define "back"}}<a class="house" href="/forms">{{if eq .Lang.Tag "de"}}Zurück zu Ihrem Konto{{else}}Back to your account{{end}}</a>{{end}}`))

const houseStyle = `.house { display: inline-block; padding: .6rem 0; }`

// newHouse returns a house with a frame around its pages, nil for none.
func newHouse(t *testing.T, frame *template.Template) *house {
	t.Helper()
	return newHouseWith(t, frame, func(*house, *testsite.Site, *authagent.Config) {})
}

// newHouseWith is newHouse with other settings.
func newHouseWith(t *testing.T, frame *template.Template, change func(*house, *testsite.Site, *authagent.Config)) *house {
	t.Helper()
	as := authagenttest.NewServer()
	t.Cleanup(as.Close)
	h := &house{shop: &shop{t: t, as: as}, store: &memstore.Grants{}, now: time.Now().Truncate(time.Second)}
	german, err := messages.Parse("de", houseGerman)
	if err != nil {
		t.Fatal(err)
	}
	h.owners = grants.OwnerApproval(h.store)
	h.owners.Logger = slog.New(slog.DiscardHandler)
	h.owners.Reading = "orders, addresses and invoices"
	h.owners.Actions = map[string]string{"orders:create": "Place orders", "orders:cancel": "Cancel orders", "orders:export": "Export orders"}
	h.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	h.site = testsite.NewPlain(t, as, func(s *testsite.Site, c *authagent.Config) {
		c.Scenario, c.Human, c.SignInPath = authagent.FullAccount(s.Users, h.owners), testsite.Human, "/sign-in"
		c.Limits.Actions = map[string]limits.Rate{"orders:export": {N: 1, Per: time.Hour}}
		c.Languages, c.Pages = []*messages.Language{messages.English(), german}, frame
		c.API.Resource, c.Paths.Link = s.URL+apiPath, "/auth/agent/link"
		change(h, s, c)
	})
	h.url = h.site.URL
	mux, rp := h.site.Mux(""), h.site.RP
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	mux.Handle("/account/agents/", grants.Handler(h.owners, rp))
	mux.Handle("/signed-out", rp.SignedOutHandler())
	mux.Handle("/pay", rp.RequireApproval("payouts:create", h.owners)(done))
	mux.Handle("/export", rp.RequireAction("orders:export")(done))
	mux.HandleFunc("/forms", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, houseForms)
	})
	mux.HandleFunc("/frame.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		io.WriteString(w, houseStyle)
	})
	staying := http.NewServeMux()
	staying.Handle("/", stayWhere(mux))
	h.site.SetMux("", staying)
	return h
}

// stayWhere takes Refresh out of the answers to those who want to stay.
func stayWhere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(stay) != "" {
			w = stayWriter{w}
		}
		next.ServeHTTP(w, r)
	})
}

type stayWriter struct{ http.ResponseWriter }

func (w stayWriter) WriteHeader(status int) {
	w.Header().Del("Refresh")
	w.ResponseWriter.WriteHeader(status)
}

func (w stayWriter) Write(p []byte) (int, error) {
	w.Header().Del("Refresh")
	return w.ResponseWriter.Write(p)
}

func (w stayWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// person opens an account and returns its ID.
func (h *house) person(name string) string { return h.site.Users.Add(name+"@example.com", name) }

// owner returns the browser of a person who is signed in.
func (h *house) owner(id string) *tab {
	h.t.Helper()
	return h.browser([]*http.Cookie{{Name: "human", Value: id}})
}

// browser returns a browser that has these cookies of the site.
func (h *house) browser(cookies []*http.Cookie) *tab {
	h.t.Helper()
	b := newTab(h.t, h.url)
	var params []*network.CookieParam
	for _, c := range cookies {
		params = append(params, &network.CookieParam{Name: c.Name, Value: c.Value, URL: h.url, HTTPOnly: true})
	}
	if _, err := chromedp.Call(b.ctx, network.SetCookies, network.SetCookiesParams{Cookies: params}); err != nil {
		h.t.Fatal(err)
	}
	return b
}

// grant keeps what an agent may do in an account, or asks for. Its times are counted from
// the beginning of the tests.
func (h *house) grant(user, agent string, state grants.State, change ...func(*grants.Grant)) grants.Grant {
	h.t.Helper()
	account, _ := h.site.Users.Get(user)
	g := grants.Grant{
		ID: "grant-" + agent, Version: 1, UserID: user, Scenario: "FullAccount", State: state, Access: authagent.AccessRead,
		Agent: authagent.Agent{Issuer: h.as.URL, ID: agent}, Name: "Order watcher", Model: "model-1", Email: account.Email,
		RequestedAt: h.now.Add(-9 * 24 * time.Hour), RequestedFrom: "198.51.100.7", DecidedAt: h.now.Add(-8 * 24 * time.Hour), ExpiresAt: h.now.Add(81 * 24 * time.Hour),
	}
	if state == grants.Pending {
		g.RequestedAt, g.DecidedAt, g.ExpiresAt = h.now.Add(-12*time.Minute), time.Time{}, h.now.Add(23*time.Hour)
	}
	for _, c := range change {
		c(&g)
	}
	if _, created, err := h.store.CreateGrant(h.t.Context(), g); err != nil || !created {
		h.t.Fatalf("no grant: %v", err)
	}
	return g
}

// Changes of a grant.
var (
	full     = func(g *grants.Grant) { g.Access = authagent.AccessFull }
	soon     = func(g *grants.Grant) { g.ExpiresAt = time.Now().Add(5 * 24 * time.Hour) }
	hidden   = func(g *grants.Grant) { g.Hidden = true }
	over     = func(g *grants.Grant) { g.ExpiresAt = g.DecidedAt.Add(24 * time.Hour) }
	restored = func(g *grants.Grant) { g.Cause = grants.CauseRestored }
	itself   = func(g *grants.Grant) { g.Scenario, g.ID = "ContextualProfile", g.ID+"-itself" }
)

func called(nickname string) func(*grants.Grant) {
	return func(g *grants.Grant) { g.Nickname = nickname }
}

func names(name string) func(*grants.Grant) { return func(g *grants.Grant) { g.Name = name } }

func may(actions ...string) func(*grants.Grant) {
	return func(g *grants.Grant) { g.Actions = actions }
}

// thousand keeps a thousand agents of an account, and returns its owner's browser.
func (h *house) thousand(state grants.State) *tab {
	h.t.Helper()
	user := h.person("thousand-" + string(state))
	for i := range 1000 {
		h.grant(user, fmt.Sprintf("agent_%s_%04d", state, i), state, names(fmt.Sprintf("Order watcher %d", i)), may("orders:create", "orders:cancel"))
	}
	return h.owner(user)
}

// lives has the agent of a grant have a session by each door, and do things.
func (h *house) lives(g grants.Grant) {
	h.t.Helper()
	for i, address := range []string{"198.51.100.7", "203.0.113.88"} {
		seen := h.now.Add(-time.Duration(1+60*i) * 2 * time.Minute)
		a := grants.Activity{
			SessionID: g.ID + address, GrantID: g.ID, UserID: g.UserID, RemoteAddr: address, Network: address,
			StartedAt: seen.Add(-time.Hour), SeenAt: seen, ExpiresAt: h.now.Add(5 * time.Hour),
			Door: []audit.Door{audit.Browser, audit.API}[i],
		}
		if _, err := h.store.Touch(h.t.Context(), a); err != nil {
			h.t.Fatal(err)
		}
	}
	for i, d := range []grants.Deed{
		{Event: audit.LoginSucceeded, Route: "/auth/agent/callback"},
		{Event: audit.SessionEnded, Route: "/auth/agent/logout"},
		{Event: audit.LoginSucceeded, Route: "/auth/agent/callback"},
		{Event: audit.ActionPerformed, Action: "orders:create", Route: "POST /orders"},
		{Event: audit.PermissionDenied, Route: "POST /account/password", Outcome: "refused", Reason: problem.AgentForbidden},
		{Event: audit.PermissionDenied, Action: "orders:cancel", Route: "POST /orders/{id}/cancel", Outcome: "refused", Reason: problem.ActionNotGranted},
		{Event: audit.ActionPending, Action: "payouts:create", Route: "POST /payouts", Outcome: "pending", Reason: problem.ApprovalPending},
	} {
		d.UserID, d.GrantID, d.At = g.UserID, g.ID, h.now.Add(time.Duration(i-8)*20*time.Minute)
		if err := h.store.AddDeed(h.t.Context(), d); err != nil {
			h.t.Fatal(err)
		}
	}
}

// asked keeps a single action that the agent of a grant has asked for, with the site's
// description of it, if there is one.
func (h *house) asked(g grants.Grant, id string, state grants.State, described, target, contentType, body string, change ...func(*grants.Approval)) {
	h.t.Helper()
	a := grants.Approval{
		ID: id, Version: 1, UserID: g.UserID, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: id, State: state, Description: described,
		Method: "POST", Target: target, ContentType: contentType, Body: []byte(body),
		RequestedAt: h.now.Add(-30 * time.Minute), ExpiresAt: h.now.Add(23 * time.Hour),
	}
	for _, c := range change {
		c(&a)
	}
	if _, _, err := h.store.CreateApproval(h.t.Context(), a); err != nil {
		h.t.Fatal(err)
	}
}

// An actor is an agent that is signed in.
type actor struct {
	h      *house
	client *http.Client
	user   string
	in     *tab
}

// signedIn signs the agent of a grant in, in a browser of its own.
func (h *house) signedIn(g grants.Grant) *actor {
	h.t.Helper()
	a := &actor{h: h, client: h.site.Browser(), user: g.UserID}
	h.site.MustSignIn(a.client, h.as.AddAgent(authagenttest.Agent{ID: g.Agent.ID, Email: g.Email, Name: g.Name, Model: g.Model}))
	of, err := url.Parse(h.url)
	if err != nil {
		h.t.Fatal(err)
	}
	a.in = h.browser(a.client.Jar.Cookies(of))
	return a
}

// asks has the agent send a request that its owner has to approve, and returns the path
// that says how it stands.
func (a *actor) asks(order, contentType, body string) string {
	a.h.t.Helper()
	resp := a.h.site.Send(a.client, http.MethodPost, "/pay?order="+order, body, "Content-Type", contentType, "Origin", a.h.url, "Sec-Fetch-Site", "same-origin")
	path := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || path == "" {
		a.h.t.Fatalf("%d to %q: %s", resp.StatusCode, path, resp.Text)
	}
	return path
}

// standing is asks, and what becomes of the request.
func (a *actor) standing(state grants.State) string {
	a.h.t.Helper()
	t, body := a.h.t, "to=DE02+1203&amount=120.00"
	path := a.asks(string(state), formType, body)
	if state == grants.Pending {
		return path
	}
	ctx := context.Background()
	approval := a.approval(path)
	if _, err := a.h.owners.DecideAction(ctx, a.user, approval.ID, approval.Version, state != grants.Denied); err != nil {
		t.Fatal(err)
	}
	if state == grants.Reserved || state == grants.Unknown {
		approval = a.approval(path)
		approval.State = state
		reserved(&approval)
		if _, err := a.h.store.UpdateApproval(ctx, approval); err != nil {
			t.Fatal(err)
		}
	}
	if state == grants.Used {
		resp := a.h.site.Send(a.client, http.MethodPost, "/pay?order="+string(state), body, "Content-Type", formType, "Origin", a.h.url, "Sec-Fetch-Site", "same-origin")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d: %s", resp.StatusCode, resp.Text)
		}
	}
	return path
}

// approved is asks, approved, for a request that a page cannot send.
func (a *actor) approved(contentType, body string) string {
	a.h.t.Helper()
	path := a.asks("by-program", contentType, body)
	approval := a.approval(path)
	if _, err := a.h.owners.DecideAction(context.Background(), a.user, approval.ID, approval.Version, true); err != nil {
		a.h.t.Fatal(err)
	}
	return path
}

// approval returns the approval whose page is at this path.
func (a *actor) approval(path string) grants.Approval {
	a.h.t.Helper()
	all, err := a.h.store.OwnerApprovals(context.Background(), a.user)
	if err != nil {
		a.h.t.Fatal(err)
	}
	for _, one := range all {
		if path == "/account/agents/approvals/"+one.ID {
			return one
		}
	}
	a.h.t.Fatalf("no approval is at %s", path)
	return grants.Approval{}
}
