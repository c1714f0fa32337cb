package grants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// newBank is a site whose payouts have an amount, the field "cents" of the form, and can be
// allowed up to one. A payout to "nobody" panics.
func newBank(t testing.TB, change ...func(*site, *authagent.Config)) *site {
	t.Helper()
	s := newSite(t, append([]func(*site, *authagent.Config){func(s *site, _ *authagent.Config) {
		s.owners.Approvals = map[string]string{"payouts:create": "Pay out money", "names:change": "Change your name"}
		s.owners.Amount = func(ctx context.Context, r action.Request) (grants.Amount, error) {
			form := r.HTTP(ctx)
			cents, _ := strconv.ParseInt(form.FormValue("cents"), 10, 64)
			currency := form.FormValue("in")
			if currency == "" {
				currency = "USD"
			}
			return grants.Amount{Value: cents, Currency: currency}, nil
		}
		s.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}, {Code: "JPY"}}}
	}}, change...)...)
	s.shared.Mux("").Handle("POST /panics", s.rp.RequireApproval("payouts:create", s.owners)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})))
	return s
}

// terms are the fields of the form "allow" for the grant g1, with others in their place.
func terms(change ...string) url.Values {
	v := url.Values{
		"id": {"g1"}, "action": {"payouts:create"}, "amount": {"50.00"}, "currency": {"USD"}, "per": {"30"}, "days": {"7"}, "seen": {"0"}, "agent": {"g1"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
	}
	return v
}

// formAt returns the hidden fields of the form that a page has for a path, and its names of others.
func formAt(t *testing.T, page, path string) url.Values {
	t.Helper()
	m := regexp.MustCompile(`(?s)<form method="post" action="` + agents + path + `">(.*?)</form>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no form for %s:\n%s", path, page)
	}
	v := url.Values{}
	for _, in := range inputTag.FindAllStringSubmatch(m[1], -1) {
		v.Add(in[1], in[2])
	}
	return v
}

func (s *site) allowancesOf(id string) []grants.Allowance {
	s.t.Helper()
	o, err := s.owners.Overview(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return o.Allowances
}

// TestAllowPage_ALW_21: an owner allows an amount by the page, and sees there what is left of it.
func TestAllowPage_ALW_21(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	alice, agent := s.human(s.alice), s.signedInAgent("agent_1")
	before := s.at(alice, "agents/g1")
	has(t, before, "Without asking you", "Pay out money</b>: It asks you each time.", "Allow it up to an amount", `inputmode="decimal"`, `<option value="USD">`,
		`<option value="JPY">`, `<option value="30" selected>in 30 days</option>`,
		`name="days"><option value="1">1 day</option><option value="7">7 days</option><option value="30">30 days</option><option value="90" selected>90 days</option></select></p>
<p class="soft small" id="h-g1-0">`, "It has to ask you</strong> each time to <bdi>change your name and pay out money<", "!Change your name</b>", "!stop-allowance")
	v := formAt(t, before, "allow")
	for name, values := range terms("seen", v.Get("seen")) {
		v[name] = values
	}
	resp := s.do(alice, "POST", agents+"allow", v.Encode(), "Accept", htmlOnly)
	if resp.StatusCode != 303 || resp.Header.Get("Location") != agents+"agents/g1?done=allowed" {
		t.Fatalf("allow: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if got := s.do(agent, "POST", "/payouts", "cents=1250&to=bob").StatusCode; got != 200 {
		t.Fatalf("within: %d", got)
	}
	s.payout(agent, "cents=5000&to=eve")
	s.payout(agent, "cents=10&in=JPY&to=eve")
	s.payout(agent, "cents=1000&in=EUR&to=eve")
	after := s.at(alice, "agents/g1?done=allowed")
	has(t, after, "Up to <strong>50.00 USD</strong> in 30 days, until", "12.50 USD used, 37.50 USD left.", `value="50.00"`, `<option value="USD" selected>`, "Change the amount",
		`name="seen" value="1"`, "stop-allowance", "Up to this amount the agent does not ask you", "It has to ask you</strong> each time to <bdi>change your name<")
	list := s.page(alice)
	has(t, list, "See your account. Without asking you: pay out money, up to 50.00 USD in 30 days", `<p class="cost">50.00 USD</p>`, "more than what is left of what you allow without asking: 37.50 USD",
		`<p class="cost">10 JPY</p>`, "in another currency: 50.00 USD", "!1000 EUR")
	var o struct {
		Allowances []struct {
			grants.Allowance
			Text string
			Left int64
		}
	}
	if err := json.Unmarshal([]byte(s.do(alice, "GET", agents+"agents/g1", "").body), &o); err != nil || len(o.Allowances) != 1 {
		t.Fatal(err, o)
	}
	if a := o.Allowances[0]; a.Left != 3750 || a.Taken != 1250 || a.Text != "Pay out money, up to 50.00 USD in 30 days" || a.Days != 30 {
		t.Errorf("JSON: %+v", a)
	}
	resp = s.do(alice, "POST", agents+"stop-allowance", formAt(t, after, "stop-allowance").Encode(), "Accept", htmlOnly)
	if resp.StatusCode != 303 || resp.Header.Get("Location") != agents+"agents/g1?done=allowance-stopped" {
		t.Fatalf("stop: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	has(t, s.at(alice, "agents/g1?done=allowance-stopped"), "From now on, the agent asks you each time", "It asks you each time.", `name="seen" value="2"`, "!Up to <strong>")
	has(t, s.page(alice), ">See your account<")
	s.payout(agent, "cents=1&to=bob")
}

// TestNotAllowedAnyMore_ALW_21: what the site takes out of its allowances is asked about each time,
// whatever was allowed before.
func TestNotAllowedAnyMore_ALW_21(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	alice := s.human(s.alice)
	if got := s.do(alice, "POST", agents+"allow", terms().Encode()).StatusCode; got != 200 {
		t.Fatalf("allow: %d", got)
	}
	a := s.allowancesOf(s.alice)[0]
	a.Taken, a.Open = 700, []grants.Taking{{ID: "t", Value: 700, At: time.Now(), Unknown: true}}
	if _, err := s.store.UpdateAllowance(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	has(t, s.at(alice, "agents/g1"), "It has to ask you</strong> each time to <bdi>change your name<", "We do not know")
	delete(s.owners.Allowances, "payouts:create")
	has(t, s.at(alice, "agents/g1"), "It has to ask you</strong> each time to <bdi>change your name and pay out money<", "!Up to <strong>", "!We do not know")
	has(t, s.page(alice), "!Without asking you", "!We do not know")
}

// TestAllowForms_ALW_22: the forms take what the page has, of the account's own grants, and nothing else.
func TestAllowForms_ALW_22(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.State = "g2", "agent_2", grants.Revoked })
	alice := s.human(s.alice)
	post := func(c *http.Client, path string, v url.Values, status int, reason problem.Reason, field string) {
		t.Helper()
		resp := s.do(c, "POST", agents+path, v.Encode())
		if got, in := resp.reason(); resp.StatusCode != status || got != reason || in != field {
			t.Errorf("%s %v: %d %s %s, want %d %s %s", path, v, resp.StatusCode, got, in, status, reason, field)
		}
	}
	for _, test := range []struct{ field, value string }{
		{"id", ""}, {"action", "names:change"}, {"action", "orders:create"}, {"action", ""}, {"currency", "EUR"}, {"currency", ""}, {"per", "2"}, {"per", "-1"}, {"per", ""}, {"per", "030"},
		{"days", "5"}, {"days", "keep"}, {"days", "366"}, {"days", ""}, {"seen", ""}, {"seen", "-1"}, {"seen", "x"}, {"amount", "1,000"}, {"amount", "-1"}, {"amount", ""}, {"amount", "1e3"},
	} {
		post(alice, "allow", terms(test.field, test.value), 400, problem.InvalidRequest, test.field)
		twice := terms()
		twice.Add(test.field, twice.Get(test.field))
		post(alice, "allow", twice, 400, problem.InvalidRequest, test.field)
	}
	post(alice, "allow", terms("seen", "1"), 409, problem.Conflict, "")
	post(alice, "allow", terms("id", "g2"), 409, problem.Conflict, "")
	post(alice, "allow", terms("id", "none"), 404, problem.NotFound, "")
	post(s.human(s.bob), "allow", terms(), 404, problem.NotFound, "")
	post(s.human(""), "allow", terms(), 401, problem.HumanRequired, "")
	post(s.signedInAgent("agent_1"), "allow", terms(), 403, problem.AgentForbidden, "")
	if all := s.allowancesOf(s.alice); len(all) > 0 {
		t.Fatalf("allowed all the same: %+v", all)
	}
	post(alice, "allow", terms(), 200, "", "")
	post(alice, "allow", terms("amount", "99"), 409, problem.Conflict, "") // what was seen is another
	post(alice, "allow", terms("amount", "1000", "currency", "JPY", "per", "0", "seen", "1"), 200, "", "")
	if a := s.allowancesOf(s.alice)[0]; a.Limit != (grants.Amount{Value: 1000, Currency: "JPY"}) || a.Days != 0 || time.Until(a.ExpiresAt) > 7*24*time.Hour {
		t.Errorf("allowed %+v", a)
	}
	post(s.human(s.bob), "stop-allowance", terms(), 404, problem.NotFound, "")
	post(s.signedInAgent("agent_1"), "stop-allowance", terms(), 403, problem.AgentForbidden, "")
	post(alice, "stop-allowance", terms("action", "names:change"), 400, problem.InvalidRequest, "action")
	post(alice, "stop-allowance", terms("id", ""), 400, problem.InvalidRequest, "id")
	for _, path := range []string{"allow", "stop-allowance", "settle", "approvals/settle"} {
		if resp := s.do(alice, "POST", agents+path, terms().Encode(), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
			t.Errorf("%s from another site: %d", path, resp.StatusCode)
		}
		if resp := s.do(alice, "GET", agents+path, ""); resp.StatusCode == 200 {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		}
	}
	if a := s.allowancesOf(s.alice)[0]; a.Stopped {
		t.Error("stopped")
	}
}

// TestAmountAgain_ALW_23: an amount that cannot be read is shown again with what is wrong, beside
// all else that was chosen, and nothing is allowed.
func TestAmountAgain_ALW_23(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	for i := range 11 {
		s.store.AddDeed(context.Background(), grants.Deed{GrantID: "g1", UserID: s.alice, Event: "action_performed", Action: fmt.Sprint("n:", i), At: time.Now()})
	}
	alice := s.human(s.alice)
	for typed, want := range map[string]string{
		"1,000": "without marks between thousands", "12.5051": "USD have no more than 2 digits", "0": "more than 0", "$5": "in digits", "99999999999999999999": "more than any amount",
		`"><script>`: "in digits", strings.Repeat("7x", 5000): "in digits",
	} {
		resp := s.do(alice, "POST", agents+"allow", terms("amount", typed, "per", "7").Encode(), "Accept", htmlOnly)
		if resp.StatusCode != 400 || len(resp.body) > 60<<10 {
			t.Fatalf("%.20q: %d, %d bytes", typed, resp.StatusCode, len(resp.body))
		}
		checkPage(t, "again", resp)
		checkAccessible(t, "again", resp.body)
		has(t, resp.body, want, `aria-invalid="true"`, "<details open>\n<summary>Allow it up", `<option value="7" selected>in 7 days</option>`,
			`name="days"><option value="1">1 day</option><option value="7" selected>7 days</option><option value="30">30 days</option><option value="90">90 days</option></select>`,
			`<option value="USD" selected>`, "!<script", "!"+strings.Repeat("7x", 30), `href="/account/agents/agents/g1?page=2#deeds"`)
		if typed == "1,000" {
			has(t, resp.body, `value="1,000"`)
		}
	}
	has(t, s.do(alice, "POST", agents+"allow", terms("amount", "1.5", "currency", "JPY").Encode(), "Accept", htmlOnly).body, "JPY have no more than 0 digits", `<option value="JPY" selected>`)
	for _, test := range []struct {
		who  *http.Client
		form url.Values
		want int
	}{
		{alice, terms("amount", "x", "id", "none"), 400}, {s.human(s.bob), terms("amount", "x"), 400}, {s.human(""), terms("amount", "x"), 401},
	} {
		if resp := s.do(test.who, "POST", agents+"allow", test.form.Encode(), "Accept", htmlOnly); resp.StatusCode != test.want || strings.Contains(resp.body, "agent_1") {
			t.Errorf("%v: %d", test.form, resp.StatusCode)
		}
	}
	if all := s.allowancesOf(s.alice); len(all) > 0 {
		t.Errorf("allowed all the same: %+v", all)
	}
}

// TestUnknownCards_ALW_24: what nobody knows about waits for the owner on the list and on the page
// of the agent, and the owner says how it has ended: once.
func TestUnknownCards_ALW_24(t *testing.T) {
	for _, outcome := range []string{"performed", "nothing_done"} {
		s := newBank(t, func(s *site, _ *authagent.Config) {
			s.owners.Describe = func(ctx context.Context, r action.Request) (string, error) {
				return "Pay to " + r.HTTP(ctx).FormValue("to"), nil
			}
		})
		s.grant(nil)
		alice, agent := s.human(s.alice), s.signedInAgent("agent_1")
		s.do(alice, "POST", agents+"allow", terms("amount", "30").Encode())
		breaks := func(body string) {
			t.Helper()
			resp, err := agent.Post(s.server.URL+"/panics", urlencoded, strings.NewReader(body))
			if err == nil {
				resp.Body.Close()
				t.Fatalf("it answers %d", resp.StatusCode)
			}
		}
		breaks("cents=1250&to=carol")
		s.ask(agent, "POST", "/panics", "cents=9900&to=dave")
		s.decideAll(true)
		breaks("cents=9900&to=dave")
		for _, below := range []string{"", "?waiting=1", "agents/g1"} {
			page := s.at(alice, below)
			has(t, page, "We do not know whether this was done", "!being done now", "<bdi>Pay to carol</bdi>", `<p class="cost">12.50 USD</p>`, "<bdi>Pay to dave</bdi>", `<p class="cost">99.00 USD</p>`,
				"Check on", "It was done</button>", "It was not done</button>", "nothing is done twice", "the amount is free again", "the agent may ask you for it again", "!deny-all")
			if n := strings.Count(page, "<article"); n != 2 {
				t.Errorf("%q: %d cards", below, n)
			}
			checkAccessible(t, below, page)
			checkPage(t, below, &answered{Response: s.do(alice, "GET", agents+below, "", "Accept", htmlOnly).Response, body: page})
		}
		has(t, s.at(alice, "?actions=1"), "allowed, and we do not know whether it was done")
		if body := s.do(alice, "GET", agents, "").body; !strings.Contains(body, `"state":"unknown"`) || !strings.Contains(body, `"unknown":true`) {
			t.Errorf("JSON: %s", body)
		}
		page := s.at(alice, "agents/g1")
		for _, path := range []string{"settle", "approvals/settle"} {
			v := formAt(t, page, path)
			bad := func(c *http.Client, want int, change ...string) {
				t.Helper()
				w := url.Values{"outcome": {outcome}}
				for name := range v {
					w.Set(name, v.Get(name))
				}
				for i := 0; i < len(change); i += 2 {
					w.Set(change[i], change[i+1])
				}
				if resp := s.do(c, "POST", agents+path, w.Encode()); resp.StatusCode != want {
					t.Errorf("%s %v: %d, want %d", path, change, resp.StatusCode, want)
				}
			}
			bad(alice, 400, "outcome", "")
			bad(alice, 400, "outcome", "unknown")
			bad(alice, 400, "outcome", "in_transaction")
			bad(s.human(s.bob), 404)
			bad(agent, 403)
			bad(alice, 404, "id", "other")
			if path == "settle" {
				bad(alice, 404, "taking", "other")
				bad(alice, 400, "taking", "")
				bad(alice, 400, "action", "names:change")
			} else {
				bad(alice, 409, "version", "99")
				bad(alice, 400, "version", "")
			}
			v.Set("outcome", outcome)
			resp := s.do(alice, "POST", agents+path, v.Encode(), "Accept", htmlOnly)
			if resp.StatusCode != 303 || resp.Header.Get("Location") != agents+"agents/g1?done=settled" {
				t.Fatalf("%s: %d %q", path, resp.StatusCode, resp.Header.Get("Location"))
			}
			if again := s.do(alice, "POST", agents+path, v.Encode()); again.StatusCode != 404 && again.StatusCode != 409 {
				t.Errorf("%s twice: %d", path, again.StatusCode)
			}
		}
		done := outcome == "performed"
		has(t, s.at(alice, "agents/g1?done=settled"), "Saved. Nothing else was done.", "!We do not know", map[bool]string{true: "12.50 USD used", false: "0.00 USD used"}[done])
		resp := s.do(agent, "POST", "/panics", "cents=9900&to=dave")
		if want := map[bool]int{true: 409, false: 202}[done]; resp.StatusCode != want {
			t.Errorf("%s: asked again: %d, want %d", outcome, resp.StatusCode, want)
		}
	}
}

// TestManyUnknown_ALW_24: no number of unknown actions makes a page long, and all can be reached.
func TestManyUnknown_ALW_24(t *testing.T) {
	s := newBank(t)
	g := s.grant(nil)
	for i := range 60 {
		s.store.CreateApproval(context.Background(), grants.Approval{
			ID: fmt.Sprintf("u%d.", i), Version: 1, UserID: s.alice, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: fmt.Sprint(i), State: grants.Unknown,
			Method: "POST", Target: "/payouts", Reservation: "r", ReservedAt: time.Now(), RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		})
	}
	alice := s.human(s.alice)
	found := make(map[string]bool)
	for page := range 6 {
		body := s.at(alice, fmt.Sprintf("?waiting=1&page=%d", page+1))
		for _, m := range regexp.MustCompile(`name="id" value="(u\d+\.)"`).FindAllStringSubmatch(body, -1) {
			found[m[1]] = true
		}
		if len(body) > 60<<10 {
			t.Errorf("%d bytes", len(body))
		}
	}
	if len(found) != 60 {
		t.Errorf("%d of 60 are found", len(found))
	}
	first := s.page(alice)
	if n := strings.Count(first, "<article"); n != 3 || !strings.Contains(first, "57 more wait") {
		t.Errorf("%d cards on the list", n)
	}
	if n := strings.Count(s.at(alice, "agents/g1"), "<article"); n != 10 {
		t.Errorf("%d cards on the page of the agent", n)
	}
}

// TestHostileAllowance_WEB_4: nothing of an agent's words gets into the cards as more than text.
func TestHostileAllowance_WEB_4(t *testing.T) {
	s := newBank(t)
	g := s.grant(func(g *grants.Grant) { g.Name = hostile })
	s.store.CreateApproval(context.Background(), grants.Approval{
		ID: "u", Version: 1, UserID: s.alice, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: "d", State: grants.Unknown, Description: hostile,
		Method: "POST", Target: "/payouts", Reservation: "r", ReservedAt: time.Now(), RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Amount: grants.Amount{Value: 1, Currency: "USD"},
	})
	alice := s.human(s.alice)
	for _, below := range []string{"", "agents/g1"} {
		resp := s.do(alice, "GET", agents+below, "", "Accept", htmlOnly)
		checkPage(t, below, resp)
		has(t, resp.body, "!<script", "!\u202e", "We do not know")
	}
}

// TestAllowGerman_ALW_21: amounts and words are in the owner's language.
func TestAllowGerman_ALW_21(t *testing.T) {
	s := newBank(t, func(s *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), messages.German()}
	})
	s.grant(nil)
	alice := s.human(s.alice)
	if got := s.do(alice, "POST", agents+"allow", terms("amount", "12,5", "per", "1").Encode()).StatusCode; got != 200 {
		t.Fatalf("allow: %d", got)
	}
	german := s.do(alice, "GET", agents+"agents/g1", "", "Accept", htmlOnly, "Accept-Language", "de").body
	has(t, german, "Bis zu <strong>12,50 USD</strong> am Tag, bis", "0,00 USD verbraucht, 12,50 USD übrig.", `value="12,50"`, "!12.50 USD")
	has(t, s.do(alice, "POST", agents+"allow", terms("amount", "1.000", "seen", "1").Encode(), "Accept", htmlOnly, "Accept-Language", "de").body, "ohne Zeichen zwischen den Tausendern")
}

// TestWhoCanBeAllowed_ALW_25: only an agent that may act is offered it, and a site without
// allowances has nothing of them.
func TestWhoCanBeAllowed_ALW_25(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	for i, state := range []grants.State{grants.Pending, grants.Denied, grants.Revoked, grants.Suspended} {
		s.grant(func(g *grants.Grant) {
			g.ID, g.Agent.ID, g.State = fmt.Sprint("other", i), fmt.Sprint("agent_other", i), state
		})
	}
	s.grant(func(g *grants.Grant) {
		g.ID, g.Agent.ID, g.ExpiresAt = "late", "agent_late", time.Now().Add(-time.Hour)
	})
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Access = "none", "agent_none", authagent.AccessNone })
	alice := s.human(s.alice)
	for _, id := range []string{"other0", "other1", "other2", "other3", "late", "none"} {
		has(t, s.at(alice, "agents/"+id), "!Without asking you")
	}
	has(t, s.at(alice, "agents/g1"), "Without asking you")
	plain := newSite(t)
	plain.grant(nil)
	has(t, plain.at(plain.human(plain.alice), "agents/g1"), "!Without asking you", "!agents/allow")
}

// TestAllowanceOfEach_ALW_21: each agent's page has what that agent is allowed, for each action.
func TestAllowanceOfEach_ALW_21(t *testing.T) {
	s := newBank(t, func(s *site, _ *authagent.Config) {
		s.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}, "names:change": {{Code: "EUR", Digits: 2}}}
	})
	s.grant(nil)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
	alice := s.human(s.alice)
	before := s.at(alice, "agents/g1")
	has(t, before, `<input type="hidden" name="currency" value="USD">`, `<input type="hidden" name="currency" value="EUR">`, ">Up to how much, in USD</label>", `!<select id="c-`, `<option value="0">in total</option>`)
	if got := s.do(alice, "POST", agents+"allow", terms("per", "0").Encode()).StatusCode; got != 200 {
		t.Fatalf("allow: %d", got)
	}
	has(t, s.at(alice, "agents/g1"), "Change your name</b>: It asks you each time.", "Pay out money</b>: Up to <strong>50.00 USD</strong> in total, until", `<option value="0" selected>in total</option>`)
	has(t, s.at(alice, "agents/g2"), "Change your name</b>: It asks you each time.", "Pay out money</b>: It asks you each time.")
	has(t, s.page(alice), "Without asking you: pay out money, up to 50.00 USD in total")
	a := s.allowancesOf(s.alice)[0]
	a.ExpiresAt = time.Now().Add(-time.Minute)
	if _, err := s.store.UpdateAllowance(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	has(t, s.at(alice, "agents/g1"), "Pay out money</b>: It asks you each time.", `name="seen" value="1"`, "!Up to <strong>")
	has(t, s.page(alice), "!Without asking you")
}

// TestRowsOfAllowances_ALW_21: the row of an agent has what that agent is allowed by grants that are in
// force.
func TestRowsOfAllowances_ALW_21(t *testing.T) {
	s := newBank(t)
	for _, id := range []string{"alone", "both", "other"} {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Name = id, "agent_"+id, id })
	}
	second := s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Scenario = "second", "agent_both", "ContextualProfile" })
	alice := s.human(s.alice)
	for id, amount := range map[string]string{"alone": "10", "both": "20", "second": "30"} {
		if resp := s.do(alice, "POST", agents+"allow", terms("id", id, "amount", amount).Encode()); resp.StatusCode != 200 {
			t.Fatalf("allow: %d %s", resp.StatusCode, resp.body)
		}
	}
	row := func(name string) string {
		t.Helper()
		_, row, found := strings.Cut(s.page(alice), "“"+name+"”")
		if !found {
			t.Fatalf("no row for %s", name)
		}
		row, _, _ = strings.Cut(row, "</li>")
		return "<body>" + row
	}
	has(t, row("alone"), "Without asking you: pay out money, up to 10.00 USD in 30 days<")
	has(t, row("both"), "pay out money, up to 20.00 USD in 30 days", "pay out money, up to 30.00 USD in 30 days", "!10.00")
	has(t, row("other"), "!Without asking you")
	second.State = grants.Revoked // as an older release does, which does not know of allowances
	if _, err := s.store.UpdateGrant(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	has(t, row("both"), "pay out money, up to 20.00 USD in 30 days", "!30.00")
}

// TestWhyItWaits_ALW_21: a card says why an action waits only where the owner has allowed something that
// does not cover it.
func TestWhyItWaits_ALW_21(t *testing.T) {
	const above, other = "more than what is left", "in another currency"
	for name, test := range map[string]struct {
		change func(*grants.Allowance)
		amount grants.Amount
		want   []string
	}{
		"above":            {func(*grants.Allowance) {}, grants.Amount{Value: 5001, Currency: "USD"}, []string{above, "!" + other}},
		"other currency":   {func(*grants.Allowance) {}, grants.Amount{Value: 1, Currency: "JPY"}, []string{"!" + above, other}},
		"asked before":     {func(*grants.Allowance) {}, grants.Amount{Value: 5000, Currency: "USD"}, []string{"!" + above, "!" + other}},
		"no amount":        {func(*grants.Allowance) {}, grants.Amount{}, []string{"!" + above, "!" + other}},
		"stopped":          {func(a *grants.Allowance) { a.Stopped = true }, grants.Amount{Value: 5001, Currency: "USD"}, []string{"!" + above, "!" + other}},
		"over":             {func(a *grants.Allowance) { a.ExpiresAt = time.Now() }, grants.Amount{Value: 1, Currency: "JPY"}, []string{"!" + above, "!" + other}},
		"of another agent": {func(a *grants.Allowance) { a.ID, a.GrantID = "a", "g2" }, grants.Amount{Value: 1, Currency: "JPY"}, []string{"!" + above, "!" + other}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBank(t)
			g := s.grant(nil)
			s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
			a := grants.Allowance{
				ID: "a", Version: 1, UserID: s.alice, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Terms: 1, Limit: grants.Amount{Value: 5000, Currency: "USD"},
				ExpiresAt: time.Now().Add(time.Hour),
			}
			test.change(&a)
			_, _, err := s.store.CreateAllowance(t.Context(), a)
			if err == nil {
				_, _, err = s.store.CreateApproval(t.Context(), grants.Approval{
					ID: "w", Version: 1, UserID: s.alice, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: "d", State: grants.Pending, Method: "POST",
					Target: "/payouts", Amount: test.amount, RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			has(t, s.at(s.human(s.alice), "?waiting=1"), append(test.want, `id="h-w"`)...)
		})
	}
}

// TestUnknownSince_ALW_24: what nobody knows about is shown with the time when it began, and not when it
// was asked for.
func TestUnknownSince_ALW_24(t *testing.T) {
	s := newBank(t)
	g := s.grant(nil)
	now := time.Now()
	alice := s.human(s.alice)
	s.do(alice, "POST", agents+"allow", terms().Encode())
	a := s.allowancesOf(s.alice)[0]
	a.Open = []grants.Taking{{ID: "t", Value: 1, At: now.Add(-2 * time.Hour), Unknown: true}}
	_, err := s.store.UpdateAllowance(t.Context(), a)
	if err == nil {
		_, _, err = s.store.CreateApproval(t.Context(), grants.Approval{
			ID: "u", Version: 1, UserID: s.alice, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: "d", State: grants.Unknown, Method: "POST",
			Target: "/payouts", Reservation: "r", RequestedAt: now.Add(-5 * time.Hour), ReservedAt: now.Add(-3 * time.Hour), ExpiresAt: now.Add(time.Hour),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	has(t, s.at(alice, "?waiting=1"), ">2 hours ago</time>", ">3 hours ago</time>", "!5 hours ago")
}

// TestOwnTemplateAllows_ALW_25: a template of the site's own is told of no allowance of an agent that
// may not act.
func TestOwnTemplateAllows_ALW_25(t *testing.T) {
	s := newBank(t, func(s *site, _ *authagent.Config) {
		s.owners.Template = template.Must(grants.PageTemplate().Parse(`{{define "one agent"}}{{range .Grants}}{{.ID}}: {{range .Allowances}}{{.Action}}{{end}}{{end}}{{end}}`))
	})
	for id, state := range map[string]grants.State{"in": grants.Approved, "out": grants.Revoked, "waits": grants.Pending, "paused": grants.Suspended} {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.State = id, "agent_"+id, state })
	}
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Access = "none", "agent_none", authagent.AccessNone })
	alice := s.human(s.alice)
	has(t, s.at(alice, "agents/in"), "in: payouts:create")
	for _, id := range []string{"out", "waits", "paused", "none"} {
		has(t, s.at(alice, "agents/"+id), id+": ", "!payouts:create")
	}
}

// TestReservedIsShown_ALW_26: an action that is being done is told to its owner and its agent.
func TestReservedIsShown_ALW_26(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	alice, agent := s.human(s.alice), s.signedInAgent("agent_1")
	begun, release := make(chan bool), make(chan bool)
	s.shared.Mux("").Handle("POST /slow", s.rp.RequireApproval("payouts:create", s.owners)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- true
		<-release
	})))
	run := func(body string) chan bool {
		ended := make(chan bool)
		go func() {
			if resp, err := agent.Post(s.server.URL+"/slow", urlencoded, strings.NewReader(body)); err == nil {
				resp.Body.Close()
			}
			close(ended)
		}()
		<-begun
		return ended
	}
	standing := s.ask(agent, "POST", "/slow", "cents=100")
	s.decideAll(true)
	ended := run("cents=100")
	has(t, s.at(alice, "?actions=1"), "being done now")
	page := s.standingOf(agent, standing)
	has(t, page.body, "<h1>Being done now</h1>", "it is not done twice", "looks again by itself every 10 seconds, until it is done", "!Send it now")
	if page.Header.Get("Refresh") != "10" {
		t.Errorf("Refresh %q", page.Header.Get("Refresh"))
	}
	release <- true
	<-ended
	s.do(alice, "POST", agents+"allow", terms().Encode())
	ended = run("cents=200")
	has(t, s.at(alice, "agents/g1"), "2.00 USD used, 48.00 USD left. 1 is being done now.", "!We do not know")
	release <- true
	<-ended
	has(t, s.at(alice, "agents/g1"), "2.00 USD used, 48.00 USD left.", "!being done now")
}

// TestUnknownStanding_ALW_26: an agent is told that nobody knows, and nothing is sent again.
func TestUnknownStanding_ALW_26(t *testing.T) {
	s := newBank(t)
	s.grant(nil)
	agent := s.signedInAgent("agent_1")
	standing := s.ask(agent, "POST", "/panics", "cents=100")
	s.decideAll(true)
	if resp, err := agent.Post(s.server.URL+"/panics", urlencoded, strings.NewReader("cents=100")); err == nil {
		resp.Body.Close()
	}
	page := s.standingOf(agent, standing)
	has(t, page.body, "<h1>Not known whether it was done</h1>", "It is not done again by itself", "!Send it now", "!looks again")
	if page.Header.Get("Refresh") != "" {
		t.Errorf("Refresh %q", page.Header.Get("Refresh"))
	}
}

// TestAllowanceIsTold_ALW_27: agents are told beforehand which actions can be allowed up to an amount.
func TestAllowanceIsTold_ALW_27(t *testing.T) {
	s := newBank(t)
	s.shared.Mux("").Handle("POST /name", s.rp.RequireApproval("names:change", s.owners)(http.NotFoundHandler()))
	for _, path := range []string{"/auth.md", "/auth.json"} {
		s.shared.Mux("").Handle(path, s.rp.DiscoveryHandler())
	}
	text := s.do(s.human(""), "GET", "/auth.md", "").body
	if !strings.Contains(text, "- `names:change`\n- `payouts:create`: asked each time, or within an amount that your owner allows.") {
		t.Errorf("told: %s", text)
	}
	var told struct{ Approvals, Allowances []string }
	if err := json.Unmarshal([]byte(s.do(s.human(""), "GET", "/auth.json", "").body), &told); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"names:change", "payouts:create"}, {"payouts:create"}}, [][]string{told.Approvals, told.Allowances}); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
