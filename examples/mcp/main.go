// Command mcp shows a shop with three doors: pages for browsers, an API, and an
// MCP server. An agent is the same principal at all of them, and its owner decides
// about it on one page. The command starts the development Auth Agent server and the
// shop, has an agent call tools and its owner decide, prints and checks what happens,
// and then serves, so that a person can go on.
//
//	go run .
//
// With -once it ends after the story, with a status that says whether all was as it
// should be. shop.go and tools.go are the parts to copy from.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "loopback `address` of the shop")
	asAddr := flag.String("as-addr", "127.0.0.1:0", "loopback `address` of the Auth Agent server; port 0 is a free one")
	once := flag.Bool("once", false, "end after the story")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *addr, *asAddr, *once)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// run starts both servers, plays the story, and serves until ctx is done.
func run(ctx context.Context, out io.Writer, addr, asAddr string, once bool) (err error) {
	slog.SetLogLoggerLevel(slog.LevelWarn) // the story tells the rest
	defer slog.SetLogLoggerLevel(slog.LevelInfo)

	asListener, err := listen(ctx, out, asAddr)
	if err != nil {
		return fmt.Errorf("listen for the Auth Agent server: %w", err)
	}
	as := startServer(asListener)
	defer as.Close()
	agent := as.AddAgent(authagenttest.Agent{ID: agentID, UserID: aliceSubject, Model: "model-1"})

	listener, err := listen(ctx, out, addr)
	if err != nil {
		return fmt.Errorf("listen for the shop: %w", err)
	}
	url := "http://" + listener.Addr().String()
	var door atomic.Value // an http.Handler: one shop after another at the same address
	open := func() error {
		s, err := newShop(url, register(as, url))
		if err == nil {
			door.Store(s.handler())
		}
		return err
	}
	if err := open(); err != nil {
		listener.Close()
		return err
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.Load().(http.Handler).ServeHTTP(w, r)
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	defer func() { err = errors.Join(err, shutdown(web)) }()

	if err := play(ctx, out, as, agent, url); err != nil || once {
		return err
	}
	if err := open(); err != nil { // so that nothing is approved or ordered yet
		return err
	}
	slog.SetLogLoggerLevel(slog.LevelInfo)
	invite(out, url, as.AccessToken(agent, authagenttest.APIToken{Audience: []string{resource(url)}}))
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	}
}

// invite says how to be the agent and its owner.
func invite(out io.Writer, url, token string) {
	fmt.Fprintf(out, `
Now it is your turn: the shop is as it was at the start. Play Alice in a browser:

	%[1]s%[2]s

Her agent has an access token, which is good for an hour. Paste this into another terminal:

	export SHOP=%[1]s
	export TOKEN=%[3]s

README.md has the requests to try. Ctrl-C ends the shop.
`, url, agentsPath, token)
}

// startServer starts the development server. The published one issues no tokens for
// APIs, so this one does what other providers do.
func startServer(listener net.Listener) *authagenttest.Server {
	as := authagenttest.NewUnstartedServer()
	as.Listener = listener
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256", Resources: true}
	as.Attended = true // a person may play the agent in a browser; for development only
	as.Start()
	return as
}

// register registers the shop at the server. A real site does that once, at the
// server's console, and has ID and secret in its settings.
func register(as *authagenttest.Server, url string) credentials {
	client := as.AddClient(authagenttest.Client{Name: "MCP shop", RedirectURIs: []string{url + callbackPath}})
	return credentials{issuer: as.URL, clientID: client.ID, clientSecret: client.Secret}
}

// listen listens on addr, or on a free port if that one cannot be had. It takes
// loopback addresses only: whoever reaches these servers can sign in as anyone.
func listen(ctx context.Context, out io.Writer, addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%q is not a loopback address like 127.0.0.1:8080", addr)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", tcp.String())
	if err == nil || tcp.Port == 0 {
		return listener, err
	}
	tcp.Port = 0
	free, freeErr := config.Listen(ctx, "tcp", tcp.String())
	if freeErr != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%v\nTaking %s instead.\n\n", err, free.Addr())
	return free, nil
}

// shutdown lets the requests in flight finish, for a moment.
func shutdown(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := web.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return web.Close()
}
