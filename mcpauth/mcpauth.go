// Package mcpauth puts sign-ins of agents before an MCP server that is built with the Go MCP SDK
// (github.com/modelcontextprotocol/go-sdk). An agent comes to the server with an access token, as to any API of
// the site (authagent.Config.API), and is the same principal there: the same session, limits, grants, approvals and
// events hold for it, and its owner stops it on the same page.
//
//	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders"}, mcpauth.RequireAccess(rp, authagent.AccessRead), listOrders)
//	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order"}, mcpauth.RequireAction(rp, "orders:create"), placeOrder)
//	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out"}, mcpauth.RequireApproval(rp, "payouts:create", owners), payOut)
//	mux.Handle("/mcp", mcpauth.Handler(rp, mcp.NewStreamableHTTPHandler(getServer, &mcp.StreamableHTTPOptions{Stateless: true})))
//	mux.Handle("GET "+api.MetadataPath(resource), rp.ResourceMetadataHandler())
//
// Here resource is Config.API.Resource: the address of the MCP server, such as "https://shop.example/mcp", or an address
// above it that ends in a slash.
//
// A panic in a tool ends the call, and not the process.
//
// A tool that is added with mcp.AddTool has no guard: every agent that has a session can call it. A guard looks at the
// session of the request that carries the call, and asks at each call whether that still holds. [Session] returns it.
//
// docs/mcp.md has more.
package mcpauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// Handler lets only agents through to next, which is what mcp.NewStreamableHTTPHandler returns: those that send an access
// token of which a session holds (authagent.RelyingParty.SessionByToken). Everybody else gets the answer that the guards
// of rp give: a constant text, and a challenge that leads to the metadata of the API.
//
// A stream by which the server tells clients of changes ends at the latest a minute after the session has.
//
// Put the SDK's option Stateless on. A server with sessions of its own works too, and lets each of its sessions be used
// by one agent for one user only. But it does not speak the protocol of 2026-07-28.
func Handler(rp *authagent.RelyingParty, next http.Handler) http.Handler {
	// The SDK answers in its own words what its verifier refuses, so nothing is left for it to refuse: a token
	// that expires just now has passed.
	next = auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{ClockSkew: time.Hour})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		s, err := rp.SessionByToken(r)
		if err != nil {
			rp.ServeError(w, r, err)
			return
		}
		came := &carrier{session: s, again: func() error { _, err := rp.SessionByToken(r); return err }}
		ctx, end := while(context.WithValue(r.Context(), key{}, came), rp, s)
		defer end()
		if r.Method == http.MethodGet { // a stream, which would go on for as long as the client likes
			until, cancel := context.WithDeadline(ctx, s.ExpiresAt)
			defer cancel()
			ctx = until
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// lookEvery is how often it is asked whether the session of an answer that takes its time still holds.
const lookEvery = time.Minute

// while returns a context that ends soon after the session of a request has. An answer to a POST can be a stream, too, by
// which a client listens for changes, and would go on for as long as the client likes.
func while(ctx context.Context, rp *authagent.RelyingParty, s *authagent.Session) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(lookEvery, func() {
		for ctx.Err() == nil && holds(ctx, rp, s) {
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
		cancel()
	})
	return ctx, func() { timer.Stop(); cancel() }
}

// holds reports whether a session holds, as far as that is known. A client that comes back while agents are paused is told so.
func holds(ctx context.Context, rp *authagent.RelyingParty, s *authagent.Session) bool {
	err := rp.Reach(context.WithoutCancel(ctx), s, authagent.AccessNone)
	return !errors.Is(err, problem.NoSession) && !errors.Is(err, problem.Paused)
}

// key finds the carrier of a request on its way to the SDK's middleware.
type key struct{}

// carrierKey names the carrier in auth.TokenInfo.Extra.
const carrierKey = "authagent.carrier"

// A carrier is the HTTP request by which calls of tools have come: several, in a batch.
type carrier struct {
	session *authagent.Session
	counted atomic.Bool
	again   func() error // counts a request as this one was
}

// count counts a call in Limits. The first is counted with its request.
func (c *carrier) count() error {
	if c.counted.CompareAndSwap(false, true) {
		return nil
	}
	return c.again()
}

// verify hands on the session that Handler has found. Its error has a constant text, since the SDK shows it to everybody.
func verify(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	c, ok := ctx.Value(key{}).(*carrier)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	s := c.session
	return &auth.TokenInfo{
		Scopes: s.Scopes, Expiration: s.ExpiresAt, UserID: holder(s), Extra: map[string]any{carrierKey: c},
	}, nil
}

// holder names an agent and for whom it acts. The SDK lets nobody else use a session of the MCP server. Quotes keep
// the parts apart, in each of which there can be any character.
func holder(s *authagent.Session) string {
	return strconv.Quote(s.Agent.Issuer) + " " + strconv.Quote(s.Agent.ID) + " " + strconv.Quote(s.UserID)
}

// Session returns the agent's session of a request to an MCP server behind [Handler], such as the call of a tool, and
// whether there is one. It is the session of the access token that came with this very request, as it was then. Do not
// use authagent.FromContext in a tool: the context of a tool can be that of an earlier request, with another token.
func Session(req mcp.Request) (*authagent.Session, bool) {
	c, ok := carrierOf(req)
	if !ok {
		return nil, false
	}
	return c.session, true
}

func carrierOf(req mcp.Request) (*carrier, bool) {
	extra := req.GetExtra()
	if extra == nil || extra.TokenInfo == nil {
		return nil, false
	}
	c, ok := extra.TokenInfo.Extra[carrierKey].(*carrier)
	return c, ok
}
