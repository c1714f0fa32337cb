package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/authagent-go/authagent/authagenttest"
)

// A server is an Auth Agent server, and what it knows the shop by.
type server struct{ issuer, clientID, secret string }

// Who is registered at the development server: the same each time, as what it
// keeps is gone when the program ends. These are no secrets.
const (
	agentID      = "agent_alice"
	agentSecret  = "ags_of_the_development_server"
	clientSecret = "cs_of_the_development_server"
)

// authorizationServer returns the server that -issuer names, or starts one for
// development, with Alice's agent. end stops it.
func authorizationServer(ctx context.Context, o options, out io.Writer) (s server, end func(), err error) {
	if o.issuer != "" {
		return server{o.issuer, os.Getenv("AUTH_AGENT_CLIENT_ID"), os.Getenv("AUTH_AGENT_CLIENT_SECRET")}, func() {}, nil
	}
	as := authagenttest.NewUnstartedServer()
	as.Listener, err = listenLoopback(ctx, o.devAddr)
	if err != nil {
		return server{}, nil, fmt.Errorf("listen for the development Auth Agent server: %w", err)
	}
	as.Attended = true // a person may play the agent
	as.Start()
	client := as.AddClient(authagenttest.Client{
		ID: "shop", Secret: clientSecret, Name: "Leaf & Kettle", RedirectURIs: []string{o.url + "/auth/agent/callback"},
	})
	as.AddAgent(authagenttest.Agent{ID: agentID, Secret: agentSecret, Email: aliceEmail, Name: "Alice", Model: "development"})
	fmt.Fprintf(out, "Development Auth Agent server at %s, which knows the agent %s (secret %s).\n", as.URL, agentID, agentSecret)
	fmt.Fprintf(out, "Press the button on the sign-in page to play it, or in a copy of this repository:\n")
	fmt.Fprintf(out, "  AUTH_AGENT_AGENT_SECRET=%s go run ./cmd/authagent dev sign-in -issuer %s -agent %s %s/auth/agent/login\n\n",
		agentSecret, as.URL, agentID, o.url)
	return server{as.URL, client.ID, client.Secret}, as.Close, nil
}

// listenLoopback takes loopback addresses only: whoever reaches the development
// server can sign in as anyone.
func listenLoopback(ctx context.Context, addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%q is not a loopback address like 127.0.0.1:9000", addr)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", tcp.String())
}
