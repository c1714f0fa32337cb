package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

const (
	aliceAgent   = "agent_alice"
	visitorAgent = "agent_visitor"
	aliceSecret  = "ags_quickstart" // a real agent's is random
)

// A tour takes agents through the shop and writes a transcript. Each line of it
// is checked.
type tour struct {
	ctx     context.Context
	out     io.Writer
	site    string // the shop's URL
	as      *authagenttest.Server
	browser *http.Client // the agent's; has its cookies from sign-in to sign-in
	alice   *http.Client // in which Alice is signed in herself
	code    string       // the comparison code that the agent was shown last
	wrong   int          // lines that are not as they should be
}

// tourAll takes the whole tour, with two agents: that of Alice, and one whose
// owner has no account at the shop. Both stay registered. It returns an error if
// anything was not as it should be; the transcript says what.
func tourAll(ctx context.Context, out io.Writer, as *authagenttest.Server, siteURL string) error {
	alice := as.AddAgent(authagenttest.Agent{ID: aliceAgent, Secret: aliceSecret, Email: "alice@example.com", Name: "Alice", Model: "model-1"})
	visitor := as.AddAgent(authagenttest.Agent{ID: visitorAgent, Email: "visitor@example.org", Name: "Victor", Model: "model-2"})
	t := &tour{ctx: ctx, out: out, site: siteURL, as: as, browser: as.NewBrowser(), alice: as.NewBrowser()}

	t.say("Auth Agent server, for development: %s", as.URL)
	t.say("Shop: %s", siteURL)
	t.say("")
	t.say("Anyone can register an agent and write Alice's e-mail address. So nothing opens")
	t.say("to an agent before Alice, signed in to the shop herself, has said yes. A short")
	t.say("code tells her which request is her own agent's.")
	a := t.doIn(t.alice, "POST", "/sign-in", url.Values{})
	t.check("Alice signs in", a.outcome(), "200")

	t.fullAccount(alice)
	t.contextualProfile(alice)
	t.freshProfile(alice)
	t.stranger(visitor)

	t.say("")
	if t.wrong > 0 {
		return fmt.Errorf("lines of the transcript that are not as they should be: %d", t.wrong)
	}
	t.say("All as it should be.")
	return nil
}

func (t *tour) fullAccount(agent *authagenttest.Agent) {
	t.say("\nFullAccount: the agent acts as its owner.")
	t.asks(agent, "/full/")
	t.approves("FullAccount", "and chooses full access", url.Values{"access": {"full"}})
	s, ok := t.signIn(agent, "/full/")
	if !ok {
		return
	}
	t.who(s, "agent agent_alice, user Alice, own profile: no, access full")
	t.see("GET", "/full/orders", nil, "shows Alice's orders", "Coffee beans", "Teapot")
	t.see("POST", "/full/orders", url.Values{"item": {"Tea towel"}}, "places an order; now there are",
		"Coffee beans", "Teapot", "Tea towel")
	t.refused("GET", "/settings", nil, "the account's settings are for Alice in person", problem.AgentForbidden)
	t.signOut("/full/")
}

func (t *tour) contextualProfile(agent *authagenttest.Agent) {
	t.say("\nContextualProfile: the agent has a profile of its own and may read its owner's data.")
	t.asks(agent, "/contextual/")
	t.approves("ContextualProfile", "to read, which is the default", nil)
	s, ok := t.signIn(agent, "/contextual/")
	if !ok {
		return
	}
	t.who(s, "agent agent_alice, user Alice, own profile: yes, access read")
	t.see("GET", "/contextual/orders", nil, "shows Alice's orders", "Coffee beans", "Teapot", "Tea towel")
	t.refused("POST", "/contextual/profile", url.Values{"note": {"Hello"}}, "it may only read", problem.ReadOnly)
	t.refused("POST", "/contextual/orders", url.Values{"item": {"Spoon"}}, "nor order", problem.ActionNotGranted)
	t.decides("change", "ContextualProfile", "allows it to place orders as well, and no more", url.Values{"action": {placeOrders}})
	t.see("POST", "/contextual/orders", url.Values{"item": {"Spoon"}}, "works now; there are",
		"Coffee beans", "Teapot", "Tea towel", "Spoon")
	t.refused("POST", "/contextual/profile", url.Values{"note": {"Hello"}}, "other things do not", problem.ReadOnly)
	t.sendsBack("/contextual/orders/return", "Spoon", "Coffee beans", "Teapot", "Tea towel")
	t.signOut("/contextual/")
	t.again(agent, "/contextual/", s)
	t.decides("revoke", "ContextualProfile", "revokes it", nil)
	t.refused("GET", "/contextual/orders", nil, "from the next request on", problem.NoSession)
}

func (t *tour) freshProfile(agent *authagenttest.Agent) {
	t.say("\nFreshProfile: the agent has a profile of its own, and no user.")
	s, ok := t.signIn(agent, "/fresh/")
	if !ok {
		return
	}
	t.who(s, "agent agent_alice, user nobody, own profile: yes, access none")
	t.refused("GET", "/fresh/orders", nil, "nobody's orders are its business", problem.AccessTooLow)
	t.refused("POST", "/fresh/orders", url.Values{"item": {"Spoon"}}, "nor may it place one", problem.AccessTooLow)
	t.see("POST", "/fresh/profile", url.Values{"note": {"I was here"}}, "posts a note under its own profile", "I was here")
	t.signOut("/fresh/")
	t.again(agent, "/fresh/", s)
	t.see("GET", "/fresh/profile", nil, "still has the note", "I was here")
}

// stranger is an agent whose owner, by e-mail address, has no account here.
func (t *tour) stranger(agent *authagenttest.Agent) {
	t.say("\nAn agent whose owner has no account is told the same, and learns nothing.")
	t.asks(agent, "/full/")
}

// asks has an agent sign in that no owner has approved.
func (t *tour) asks(agent *authagenttest.Agent, entrance string) {
	resp, err := agent.SignIn(t.ctx, t.as.NewBrowser(), t.site+entrance+"login")
	if err != nil {
		t.check(agent.ID+" signs in at "+entrance, err, nil)
		return
	}
	a := read(resp)
	t.check(fmt.Sprintf("%-23s %d %s: nothing opens", agent.ID+" at "+entrance, a.status, a.reason),
		a.outcome(), "403 "+string(problem.ApprovalNeeded))
	t.code = a.compare
	t.check("the agent shows its owner the code "+a.compare, a.compare != "", true)
}

// approves has Alice approve the one request that waits for her. It gets there in
// the background, a moment after the agent has been answered.
func (t *tour) approves(scenario, how string, choice url.Values) {
	for range 100 {
		if g := t.grant(scenario); g.State == grants.Pending {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	shown := strings.Join(t.grant(scenario).Codes, " or ")
	t.check("Alice's page shows the code "+shown+" too: so she knows her own agent from a stranger's", shown, t.code)
	t.decides("approve", scenario, "sees the request, approves it, "+how, choice)
}

// decides has Alice post a decision about her agent at her page.
func (t *tour) decides(what, scenario, line string, choice url.Values) {
	g := t.grant(scenario)
	form := url.Values{"id": {g.ID}, "version": {strconv.FormatInt(g.Version, 10)}}
	maps.Copy(form, choice)
	a := t.doIn(t.alice, "POST", agentsPath+what, form)
	t.check("Alice "+line, a.outcome(), "200")
}

// sendsBack has the agent ask to send an order back, and Alice decide on the sentence in which
// the shop describes that.
func (t *tour) sendsBack(path, item string, left ...string) {
	form := url.Values{"item": {item}}
	a := t.do("POST", path, form)
	t.check(fmt.Sprintf("%-23s %d Alice is asked first", "POST "+path, a.status), a.outcome(), "202")
	var asked grants.Approval
	for _, a := range t.overview().Approvals {
		if a.State == grants.Pending {
			asked = a
		}
	}
	t.check(fmt.Sprintf("Alice is asked: %q", asked.Description), asked.Description, "Send back: "+item)
	decision := url.Values{"id": {asked.ID}, "version": {strconv.FormatInt(asked.Version, 10)}}
	t.check("Alice approves it, this once", t.doIn(t.alice, "POST", agentsPath+"approvals/approve", decision).outcome(), "200")
	t.see("POST", path, form, "works now; there are", left...)
}

// overview returns what Alice's page shows.
func (t *tour) overview() (o overview) {
	resp, err := t.alice.Get(t.site + agentsPath)
	if err != nil {
		return overview{}
	}
	defer resp.Body.Close()
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&o) != nil {
		return overview{}
	}
	return o
}

// An overview is what Alice's page shows, as JSON.
type overview struct {
	Grants    []shownGrant
	Approvals []grants.Approval
}

// A shownGrant is a grant with the comparison codes of its request.
type shownGrant struct {
	grants.Grant
	Codes []string `json:"codes"`
}

// grant returns the grant of her agent that Alice's page shows.
func (t *tour) grant(scenario string) shownGrant {
	for _, g := range t.overview().Grants {
		if g.Scenario == scenario {
			return g
		}
	}
	return shownGrant{}
}

// signIn signs agent in at an entrance, and returns what the shop's page then says.
func (t *tour) signIn(agent *authagenttest.Agent, entrance string) (answer, bool) {
	resp, err := agent.SignIn(t.ctx, t.browser, t.site+entrance+"login")
	if err != nil {
		t.check(agent.ID+" signs in at "+entrance, err, nil)
		return answer{}, false
	}
	a := read(resp)
	return a, t.check(agent.ID+" signs in at "+entrance+" and lands there",
		fmt.Sprintf("%s at %s, signed in: %t", a.outcome(), resp.Request.URL.Path, a.Session != nil),
		"200 at "+entrance+", signed in: true")
}

// who checks as what an agent is signed in.
func (t *tour) who(a answer, want string) {
	owner, profile := a.Owner, "yes"
	if a.Session.UserID == "" {
		owner = "nobody"
	}
	if a.Session.ProfileID == "" {
		profile = "no"
	}
	got := fmt.Sprintf("agent %s, user %s, own profile: %s, access %s", a.Session.Agent.ID, owner, profile, a.Session.Access)
	t.check("the shop knows it as "+got, got, want)
}

// again signs in once more and compares the profile with that of the first time.
func (t *tour) again(agent *authagenttest.Agent, entrance string, first answer) {
	if second, ok := t.signIn(agent, entrance); ok {
		t.check("it finds the profile that it had, "+first.Session.ProfileID, second.Session.ProfileID, first.Session.ProfileID)
	}
}

// signOut ends the session, and tries with the old cookie whether it did.
func (t *tour) signOut(entrance string) {
	root, err := url.Parse(t.site)
	if err != nil {
		t.check("sign out at "+entrance, err, nil)
		return
	}
	before := t.browser.Jar.Cookies(root)
	a := t.do("POST", entrance+"logout", url.Values{})
	t.check("it signs out at "+entrance, fmt.Sprintf("%s, signed in: %t", a.outcome(), a.Session != nil), "200, signed in: false")
	t.browser.Jar.SetCookies(root, before)
	t.refused("GET", entrance+"profile", nil, "the old cookie opens nothing", problem.NoSession)
}

// see requests a page and checks that these, and no others, are its orders or notes.
func (t *tour) see(method, path string, form url.Values, what string, want ...string) {
	a := t.do(method, path, form)
	t.check(fmt.Sprintf("%-23s %d %s: %s", method+" "+path, a.status, what, strings.Join(want, ", ")),
		fmt.Sprintf("%s %q", a.outcome(), slices.Concat(a.Orders, a.Notes)), fmt.Sprintf("200 %q", want))
}

// refused requests a page and checks that it is refused for this reason.
func (t *tour) refused(method, path string, form url.Values, what string, reason problem.Reason) {
	a := t.do(method, path, form)
	status := (&problem.Error{Reason: reason}).Status()
	t.check(fmt.Sprintf("%-23s %d %s: %s", method+" "+path, a.status, a.reason, what),
		a.outcome(), fmt.Sprintf("%d %s", status, string(reason)))
}

// An answer is what the shop answers a program: a view, or a problem (RFC 9457).
type answer struct {
	view
	status int
	reason string
	// compare is the code by which an owner knows the agent that was refused.
	compare string
	err     error // the answer could not be had, or not be read
}

// outcome is the status, with the reason if it is a refusal.
func (a answer) outcome() string {
	if a.err != nil {
		return a.err.Error()
	}
	return strings.TrimSpace(fmt.Sprint(a.status, " ", a.reason))
}

// do sends a request as an agent's program does, with the browser's cookies.
func (t *tour) do(method, path string, form url.Values) answer {
	return t.doIn(t.browser, method, path, form)
}

func (t *tour) doIn(browser *http.Client, method, path string, form url.Values) answer {
	req, err := http.NewRequestWithContext(t.ctx, method, t.site+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{err: err}
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := browser.Do(req)
	if err != nil {
		return answer{err: err}
	}
	return read(resp)
}

func read(resp *http.Response) answer {
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		a.err = err
		return a
	}
	if resp.StatusCode < 400 {
		a.err = json.Unmarshal(body, &a.view)
		return a
	}
	var problem struct {
		Error   string `json:"error"`
		Compare string `json:"compare"`
	}
	a.err = json.Unmarshal(body, &problem)
	a.reason, a.compare = problem.Error, problem.Compare
	return a
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// check writes a line of the transcript, with the difference if there is one.
func (t *tour) check(line string, got, want any) bool {
	if got == want {
		t.say("  ok    %s", line)
		return true
	}
	t.say("  WRONG %s\n        got  %v\n        want %v", line, got, want)
	t.wrong++
	return false
}
