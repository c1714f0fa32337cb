package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/mcpauth"
)

const agentID = "agent_alice"

// A story has an agent and its owner at the shop, and writes what happens. Each line
// of it is checked.
type story struct {
	ctx   context.Context
	out   io.Writer
	shop  string             // its URL
	agent *http.Client       // sends the access token
	tools *mcp.ClientSession // the agent's, at the MCP server
	wrong int                // lines that are not as they should be

	browser, alice *http.Client // the agent's browser, and Alice's
}

// play plays the whole story. It returns an error if anything was not as it should
// be; the transcript says what.
func play(ctx context.Context, out io.Writer, as *authagenttest.Server, agent *authagenttest.Agent, shop string) error {
	s := &story{ctx: ctx, out: out, shop: shop, browser: as.NewBrowser(), alice: as.NewBrowser()}
	s.say("Auth Agent server, for development: %s", as.URL)
	s.say("Shop: %s, with its API at %s/api and its MCP server at %s%s\n", shop, shop, shop, mcpPath)
	for _, part := range []func(*authagenttest.Server, *authagenttest.Agent) error{s.signsIn, s.isLetIn, s.orders, s.isPaid, s.isStopped} {
		if err := part(as, agent); err != nil {
			return fmt.Errorf("the story cannot go on: %w", err)
		}
	}
	if s.tools.Close(); s.wrong > 0 {
		return fmt.Errorf("lines of the story that are not as they should be: %d", s.wrong)
	}
	s.say("\nAll as it should be.")
	return nil
}

// signsIn: the agent knows the address of the MCP server, and nothing else.
func (s *story) signsIn(as *authagenttest.Server, agent *authagenttest.Agent) error {
	s.say("The agent finds the server that issues access tokens, and gets one.")
	a := s.do(http.DefaultClient, "GET", mcpPath, nil)
	s.check("GET /mcp", a, "401 no_session", "")
	where := s.shop + api.MetadataPath(resource(s.shop))
	s.is("the challenge leads to "+where, strings.Contains(a.challenge, where), true)
	token, err := agent.SignInToAPI(s.ctx, as.NewBrowser(), s.shop+mcpPath)
	s.agent = authagenttest.Bearer(http.DefaultClient, token)
	return err
}

// isLetIn: the token alone opens nothing.
func (s *story) isLetIn(*authagenttest.Server, *authagenttest.Agent) error {
	s.say("\nAlice has not approved the agent yet. Once she has, the token is good at both doors.")
	s.is("the agent cannot connect to the MCP server", s.connect() != nil, true)
	a := s.do(s.agent, "GET", "/api/orders", nil)
	s.check("GET /api/orders", a, "403 approval_needed", "")
	s.check("Alice signs in", s.do(s.alice, "POST", signInPath, url.Values{}), "200", "")
	g, err := s.grant(grants.Pending)
	if err != nil {
		return err
	}
	s.is("Alice's page shows the code that the agent was shown, "+a.compare, slices.Contains(g.Codes, a.compare), true)
	s.decides("approve", g.ID, g.Version, nil, "Alice approves the agent, to read")
	return s.connect()
}

func (s *story) orders(as *authagenttest.Server, agent *authagenttest.Agent) error {
	s.say("\nThe agent reads, and orders when Alice allows that.")
	s.calls("list_orders", nil, "", "Coffee beans, Teapot; 5000 cents")
	s.check("GET /api/orders", s.do(s.agent, "GET", "/api/orders", nil), "200", "Coffee beans, Teapot; 5000 cents")
	resp, err := agent.SignIn(s.ctx, s.browser, s.shop+"/orders")
	if err != nil {
		return err
	}
	resp.Body.Close()
	s.check("GET /orders", s.do(s.browser, "GET", "/orders", nil), "200", "Coffee beans, Teapot; 5000 cents")
	s.calls("place_order", item{"Spoon"}, "action_not_granted", "")
	g, err := s.grant(grants.Approved)
	if err != nil {
		return err
	}
	s.decides("change", g.ID, g.Version, url.Values{"action": {placeOrders}}, "Alice allows it to place orders")
	s.calls("place_order", item{"Spoon"}, "", "Coffee beans, Teapot, Spoon; 5000 cents")
	s.check("POST /api/orders", s.do(s.agent, "POST", "/api/orders", url.Values{"item": {"Tea towel"}}), "200",
		"Coffee beans, Teapot, Spoon, Tea towel; 5000 cents")
	return nil
}

func (s *story) isPaid(*authagenttest.Server, *authagenttest.Agent) error {
	s.say("\nAlice is asked about each single payment, and the agent may make it once.")
	pay := payout{To: "Bob", Cents: 1200}
	s.calls("pay_out", pay, "approval_pending", "")
	o, err := s.overview()
	if err != nil || len(o.Approvals) != 1 {
		return fmt.Errorf("on Alice's page there are %d payments and not one: %w", len(o.Approvals), err)
	}
	asked := o.Approvals[0]
	s.is("Alice is asked: "+asked.Description, asked.Description, `Pay 12.00 EUR to "Bob"`)
	s.decides("approvals/approve", asked.ID, asked.Version, nil, "Alice approves it")
	s.calls("pay_out", pay, "", "Coffee beans, Teapot, Spoon, Tea towel; 3800 cents")
	s.calls("pay_out", pay, "approval_used", "")
	return nil
}

func (s *story) isStopped(*authagenttest.Server, *authagenttest.Agent) error {
	s.say("\nAlice stops the agent. That counts from the next request on, at all doors.")
	g, err := s.grant(grants.Approved)
	if err != nil {
		return err
	}
	s.decides("revoke", g.ID, g.Version, nil, "Alice stops the agent")
	s.calls("list_orders", nil, "Unauthorized", "")
	s.check("GET /api/orders", s.do(s.agent, "GET", "/api/orders", nil), "401 invalid_token", "")
	s.check("GET /orders", s.do(s.browser, "GET", "/orders", nil), "401 no_session", "")
	return nil
}

// connect connects the agent's MCP client.
func (s *story) connect() (err error) {
	transport := &mcp.StreamableClientTransport{Endpoint: s.shop + mcpPath, HTTPClient: s.agent}
	s.tools, err = mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(s.ctx, transport, nil)
	return err
}

// calls has the agent call a tool, which is refused for a reason or answers with the account.
func (s *story) calls(tool string, arguments any, wantRefusal, wantAccount string) {
	result, err := s.tools.CallTool(s.ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	var a answer
	var refusal mcpauth.Refusal
	if err == nil {
		err = errors.Join(remarshal(result.Meta[mcpauth.MetaKey], &refusal), remarshal(result.StructuredContent, &a.account))
	}
	a.outcome = string(refusal.Code)
	if err != nil { // such as "... Unauthorized", from the SDK
		a.outcome = err.Error()[strings.LastIndex(err.Error(), " ")+1:]
	}
	s.check(tool, a, wantRefusal, wantAccount)
}

// remarshal reads a value that the SDK has read from JSON as another type.
func remarshal(from, to any) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	return err
}

// An answer is what the shop answers a program.
type answer struct {
	account
	outcome   string // the status, and the reason if it is a refusal
	compare   string // the code by which an owner knows the agent that was refused
	challenge string
}

// do sends a request, with a form if there is one.
func (s *story) do(client *http.Client, method, path string, form url.Values) (a answer) {
	body, status, challenge, err := s.send(client, method, path, form)
	if err != nil {
		return answer{outcome: err.Error()}
	}
	var refusal struct{ Error, Compare string }
	if status < 400 {
		json.Unmarshal(body, &a.account) // what is no account has no orders
	} else if err := json.Unmarshal(body, &refusal); err != nil {
		refusal.Error = err.Error()
	}
	a.outcome = strings.TrimSpace(fmt.Sprint(status, " ", refusal.Error))
	a.compare, a.challenge = refusal.Compare, challenge
	return a
}

func (s *story) send(client *http.Client, method, path string, form url.Values) (body []byte, status int, challenge string, err error) {
	req, err := http.NewRequestWithContext(s.ctx, method, s.shop+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return body, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), err
}

// decides has Alice press a button on her page.
func (s *story) decides(what, id string, version int64, choice url.Values, line string) {
	form := url.Values{"id": {id}, "version": {strconv.FormatInt(version, 10)}}
	maps.Copy(form, choice)
	s.is(line, s.do(s.alice, "POST", agentsPath+what, form).outcome, "200")
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

func (s *story) overview() (o overview, err error) {
	body, _, _, err := s.send(s.alice, "GET", agentsPath, nil)
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	return o, err
}

// grant returns what Alice's page shows of her agent. A request gets there in the
// background, a moment after the agent has been answered.
func (s *story) grant(state grants.State) (shownGrant, error) {
	for range 100 {
		o, err := s.overview()
		if err != nil {
			return shownGrant{}, err
		}
		for _, g := range o.Grants {
			if g.State == state {
				return g, nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return shownGrant{}, fmt.Errorf("on Alice's page there is no agent that is %v", state)
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// check writes what a request or a call of a tool came to.
func (s *story) check(what string, a answer, wantOutcome, wantAccount string) {
	got := a.outcome
	if wantAccount != "" {
		wantOutcome = strings.TrimSpace(wantOutcome + " " + wantAccount)
		got = strings.TrimSpace(fmt.Sprintf("%s %s; %d cents", got, strings.Join(a.Orders, ", "), a.Balance))
	}
	s.is(fmt.Sprintf("%-16s %s", what, got), got, wantOutcome)
}

// is writes a line, with the difference if there is one.
func (s *story) is(line string, got, want any) {
	if got == want {
		s.say("  ok    %s", line)
		return
	}
	s.say("  WRONG %s\n        got  %v\n        want %v", line, got, want)
	s.wrong++
}
