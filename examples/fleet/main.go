// Command fleet is a site that runs as any number of instances side by side:
// they share a PostgreSQL database, or beside it a Redis, and nothing else. It is
// to be copied from; README.md says what to set.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var r redisSettings
	flag.StringVar(&r.addresses, "redis", "", "`address` of a Redis that keeps sessions, states, revocations, tokens and limits in place of the database")
	flag.StringVar(&r.primary, "redis-primary", "", "the `name` that Redis Sentinels have for it; -redis then has the Sentinels' addresses, with commas between")
	flag.IntVar(&r.replicas, "redis-replicas", 0, "how many replicas have a write before it counts as done: all that may be promoted")
	person := flag.String("person", "", "add the person with this `e-mail` address, print a code to sign in with, and end")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, r, *person)
	stop()
	if err != nil {
		slog.Error("fleet", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, r redisSettings, person string) error {
	settings, err := settingsFromEnv()
	if err != nil {
		return err
	}
	stores, err := openStores(ctx, settings.database, r)
	if err != nil {
		return err
	}
	defer stores.close()
	if person != "" {
		code, err := (&people{db: stores.db}).invite(ctx, person)
		fmt.Println(code)
		return err
	}
	site, err := newSite(settings, stores)
	if err != nil {
		return err
	}
	return serve(ctx, settings, stores, site)
}

// serve serves until ctx ends or a listener fails, and then stops: nothing that
// was begun is cut off, unless it takes longer than stopping may.
func serve(ctx context.Context, settings settings, stores *stores, site *site) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	health := &health{stores: stores, rp: site.rp}
	public, internal := newServer(site.handler), newServer(health.handler())
	for _, s := range []struct {
		addr   string
		server *http.Server
	}{{settings.addr, public}, {settings.internalAddr, internal}} {
		listener, err := net.Listen("tcp", s.addr)
		if err != nil {
			return err
		}
		go func() { cancel(s.server.Serve(listener)) }()
	}
	go stores.cleanUp(ctx)
	slog.Info("serving", "addr", settings.addr, "internal", settings.internalAddr)
	<-ctx.Done()
	failed := context.Cause(ctx)
	if errors.Is(failed, context.Canceled) {
		failed = nil
	}

	// The proxy sees that this instance is not ready, and sends nothing new.
	health.stopping.Store(true)
	time.Sleep(settings.drain)

	stopping, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	return errors.Join(failed,
		public.Shutdown(stopping),  // requests, and then what they have left in the background:
		site.rp.Shutdown(stopping), // refreshes, revocations and events,
		site.wait(stopping),        // requests to owners, and notices
		internal.Shutdown(stopping),
	)
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}
