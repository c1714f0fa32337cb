package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/mcpauth"
)

// tools returns the MCP server.
func (s *shop) tools() http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders", Description: "Lists the orders and the balance."},
		mcpauth.RequireAccess(s.rp, authagent.AccessRead), s.listOrdersTool)
	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order", Description: "Places an order."},
		mcpauth.RequireAction(s.rp, placeOrders), s.placeOrderTool)
	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out", Description: "Pays out money. The owner is asked first."},
		mcpauth.RequireApproval(s.rp, payMoney, s.owners), s.payOutTool)

	getServer := func(*http.Request) *mcp.Server { return server }
	// Stateless: any instance of the shop can answer any request. JSONResponse: curl shows answers as they are.
	return mcpauth.Handler(s.rp, mcp.NewStreamableHTTPHandler(getServer, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
}

// The session in a tool is that of the token that came with the call.

func (s *shop) listOrdersTool(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, account, error) {
	session, _ := mcpauth.Session(req)
	return nil, s.of(session.UserID), nil
}

// An item is what the tool place_order is called with.
type item struct {
	Item string `json:"item" jsonschema:"what to order"`
}

func (s *shop) placeOrderTool(_ context.Context, req *mcp.CallToolRequest, in item) (*mcp.CallToolResult, account, error) {
	session, _ := mcpauth.Session(req)
	err := s.order(session.UserID, in.Item)
	return nil, s.of(session.UserID), err
}

// payOutTool runs once for each call that Alice has approved. in is what she has approved.
func (s *shop) payOutTool(ctx context.Context, req *mcp.CallToolRequest, in payout) (*mcp.CallToolResult, account, error) {
	session, _ := mcpauth.Session(req)
	err := s.pay(ctx, session.UserID, in)
	return nil, s.of(session.UserID), err
}

// describe is what Alice reads about a payout, whichever door it came by.
func describe(ctx context.Context, request action.Request) (string, error) {
	if request.Action != payMoney {
		return "", nil
	}
	var p payout
	var err error
	if request.Method == "" { // a call of a tool
		_, err = mcpauth.ReadCall(request, &p)
	} else {
		p, err = payoutIn(request.HTTP(ctx))
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return "", err // and Alice is not asked
	}
	return fmt.Sprintf("Pay %d.%02d EUR to %q", p.Cents/100, p.Cents%100, p.To), nil
}
