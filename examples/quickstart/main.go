// Command quickstart shows "Sign in with Auth Agent" from all sides. It starts
// the development Auth Agent server and a small shop that offers the three
// scenarios side by side, has an agent sign in to each of them and its owner
// approve it, prints and checks what happens, and then serves, so that a person
// can press the buttons.
//
//	go run ./examples/quickstart
//
// With -once it ends after the transcript, with a status that says whether all
// was as it should be. site.go is the part to copy from.
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
	once := flag.Bool("once", false, "end after the transcript")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *addr, *asAddr, *once)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run starts both servers, takes the tour, and serves until ctx is done.
func run(ctx context.Context, out io.Writer, addr, asAddr string, once bool) error {
	// The relying parties log to slog.Default. The transcript tells all of it;
	// afterwards, who clicks likes to see what an operator would.
	slog.SetLogLoggerLevel(slog.LevelWarn)
	defer slog.SetLogLoggerLevel(slog.LevelInfo)

	asListener, err := listen(ctx, out, asAddr)
	if err != nil {
		return fmt.Errorf("listen for the Auth Agent server: %w", err)
	}
	as := startServer(asListener)
	defer as.Close()

	listener, err := listen(ctx, out, addr)
	if err != nil {
		return fmt.Errorf("listen for the shop: %w", err)
	}
	siteURL := "http://" + listener.Addr().String()
	shop := &stage{}
	if err := shop.open(siteURL, as); err != nil {
		listener.Close()
		return err
	}
	web := &http.Server{Handler: shop, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()

	err = tourAll(ctx, out, as, siteURL)
	if err == nil && !once {
		err = shop.open(siteURL, as) // whoever clicks finds nothing approved or ordered by the tour
	}
	if err == nil && !once {
		slog.SetLogLoggerLevel(slog.LevelInfo)
		fmt.Fprintf(out, "\nOpen %s and play the agent and its owner yourself, from the beginning.\n"+
			"Or have a program be the agent, which presses the first button:\n\n"+
			"\tAUTH_AGENT_AGENT_SECRET=%s go run github.com/authagent-go/authagent/cmd/authagent dev sign-in -issuer %s %s\n\n"+
			"Ctrl-C ends it.\n", siteURL, aliceSecret, as.URL, siteURL)
		select {
		case <-ctx.Done():
		case err = <-served:
		}
	}
	return errors.Join(err, shutdown(web))
}

// A stage shows one shop after another at the same address.
type stage struct{ shop atomic.Pointer[http.Handler] }

// open opens a new shop in the place of the one before, if any.
func (s *stage) open(url string, as *authagenttest.Server) error {
	site, err := newSite(url, registration(as))
	if err != nil {
		return err
	}
	handler := site.handler()
	s.shop.Store(&handler)
	return nil
}

// ServeHTTP implements [http.Handler].
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.shop.Load()).ServeHTTP(w, r) }

// shutdown lets the requests in flight finish, for a moment.
func shutdown(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := web.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return web.Close()
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

// startServer starts the development Auth Agent server.
func startServer(listener net.Listener) *authagenttest.Server {
	as := authagenttest.NewUnstartedServer()
	as.Listener = listener
	as.Attended = true // a person may play the agents; for development only
	as.Start()
	return as
}

// registration registers the shop's clients at the server. A real site does that
// once, at the server's console, and has ID and secret in its settings.
func registration(as *authagenttest.Server) registerFunc {
	return func(name, redirectURL string) credentials {
		client := as.AddClient(authagenttest.Client{Name: name, RedirectURIs: []string{redirectURL}})
		return credentials{issuer: as.URL, clientID: client.ID, clientSecret: client.Secret}
	}
}
