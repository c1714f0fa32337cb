// Command shop is a shop in whose accounts AI agents act, within what the
// accounts' owners allow. It is what a site looks like that has users, sessions
// and a database of its own.
//
//	go run .
//
// It brings a development Auth Agent server along. With -issuer it uses another
// one, and takes the client's ID and secret from AUTH_AGENT_CLIENT_ID and
// AUTH_AGENT_CLIENT_SECRET. It keeps everything in the file shop.db, or with
// -postgres in a PostgreSQL database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/examples/shop/site"
)

// options are what the command line says.
type options struct {
	addr, url       string
	file, postgres  string
	keyFile         string
	issuer, devAddr string
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:8080", "listen on this `address`")
	flag.StringVar(&o.url, "url", "", "where browsers reach the shop; http:// and the address by default")
	flag.StringVar(&o.file, "db", "shop.db", "keep everything in this SQLite `file`")
	flag.StringVar(&o.postgres, "postgres", "", "keep everything in the PostgreSQL database with this `DSN` instead")
	flag.StringVar(&o.keyFile, "key", "shop.key", "`file` with the key that encrypts cookies and tokens; it is made if it is not there")
	flag.StringVar(&o.issuer, "issuer", "", "`URL` of your Auth Agent server; a development server is started by default")
	flag.StringVar(&o.devAddr, "dev-addr", "127.0.0.1:9000", "loopback `address` of the development server")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run serves the shop until ctx is done.
func run(ctx context.Context, o options, out io.Writer) error {
	db, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer db.Close()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	if o.url == "" {
		o.url = "http://" + listener.Addr().String()
	}
	server, end, err := authorizationServer(ctx, o, out)
	if err != nil {
		return err
	}
	defer end()
	key, err := readKey(o.keyFile)
	if err != nil {
		return err
	}
	shop, err := site.New(ctx, site.Config{
		URL: o.url, Issuer: server.issuer, ClientID: server.clientID, Secret: server.secret,
		SessionKeys: [][]byte{key}, DB: db, Mail: mailTo(out),
	})
	if err != nil {
		return err
	}
	if err := seed(ctx, db, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "The shop is at %s. Ctrl-C ends it; it remembers everything.\n", o.url)
	return serve(ctx, shop, listener)
}

func open(ctx context.Context, o options) (*database.DB, error) {
	if o.postgres != "" {
		return database.OpenPostgres(ctx, o.postgres)
	}
	return database.OpenSQLite(ctx, o.file)
}

// mailTo stands in for mail.
func mailTo(out io.Writer) func(site.Mail) {
	var mu sync.Mutex
	return func(m site.Mail) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "\nMail to %s: %s\n%s\n\n", m.To, m.Subject, m.Text)
	}
}

// serve lets the requests in flight finish, and what they have left to be done in
// the background, before it returns.
func serve(ctx context.Context, shop *site.Site, listener net.Listener) error {
	web := &http.Server{Handler: shop, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	var tidying sync.WaitGroup
	tidyCtx, stopTidying := context.WithCancel(ctx)
	tidying.Go(func() { shop.Run(tidyCtx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	stopTidying()
	tidying.Wait()
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, web.Shutdown(end), shop.Close(end))
}
