package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const devHelp = `Usage: authagent dev [flags]
       authagent dev sign-in [flags] URL
       authagent dev token [flags] -resource URL

Runs an Auth Agent server for development on a loopback address. The server speaks
the published server's protocol, quirks included, and keeps everything in memory.

The server has a page that lists its clients and agents, and the settings for your
site. When an agent would have to prove who it is, you can press a button instead
and play the agent. Whoever can reach the server can sign in as any agent, so it
answers only requests from this machine. Some agents refuse to use 127.0.0.1. For
these, take another loopback address: -addr 127.0.0.2:9000.

Without clients in -client and -config, the server knows the client "site", for a
site at http://127.0.0.1:8080. Without agents there, it knows the agent
"agent_alice" of alice@example.com. A secret that you do not give is made from the
ID, so it is the same each time.

The published server issues no access tokens for the API of a site. This one does:
"authagent dev token" prints one. With -resources, a client of your own can also get one
in a sign-in, by the parameter resource (RFC 8707).

A file for -config:

	{
	  "clients": [{"id": "site", "secret": "cs_1", "redirect_uris": ["http://127.0.0.1:8080/auth/agent/callback"]}],
	  "agents": [{"id": "agent_alice", "secret": "ags_1", "email": "alice@example.com", "name": "Alice", "model": "model-1"}]
	}
`

// dev runs the development server until ctx is done.
func dev(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	addr := flags.String("addr", defaultAddr, "listen on this loopback `address`")
	config := flags.String("config", "", "read clients and agents from this JSON `file`")
	var d directory
	flags.Func("client", "add a client, as `id=redirect-URI`; may be repeated", d.addClient)
	resources := flags.Bool("resources", false, "issue access tokens for the resources that clients ask for (RFC 8707)")
	flags.Func("agent", "add an agent, as `id=e-mail`; may be repeated", d.addAgent)
	if err := parse(flags, args, devHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if err := d.read(*config); err != nil {
		return fmt.Errorf("invalid value %q for flag -config: %w", *config, err)
	}
	d.complete()
	listener, err := listen(ctx, *addr)
	if err != nil {
		return err
	}
	issuer := "http://" + listener.Addr().String()
	server := &http.Server{Handler: d.handler(issuer, *resources), ReadHeaderTimeout: 10 * time.Second}
	d.print(out, issuer)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return failed("serve: %w", err)
	case <-ctx.Done():
		return server.Close()
	}
}

// handler is the server, with a page in front of it.
func (d *directory) handler(issuer string, resources bool) http.Handler {
	as := authagenttest.NewUnstartedServer()
	as.URL = issuer
	as.Attended = true
	as.Features.Resources = resources
	for _, c := range d.Clients {
		as.AddClient(authagenttest.Client{ID: c.ID, Secret: c.Secret, Name: c.Name, RedirectURIs: c.RedirectURIs})
	}
	agents := make(map[string]*authagenttest.Agent)
	for _, a := range d.Agents {
		agents[a.ID] = as.AddAgent(authagenttest.Agent{ID: a.ID, Secret: a.Secret, Email: a.Email, Name: a.Name, Model: a.Model})
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+tokenPath, http.NewCrossOriginProtection().Handler(tokenIssuer{as, agents}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { d.page(w, issuer) })
	mux.Handle("/", as)
	return ownHost(issuer, mux)
}

// ownHost refuses requests for another host: a page elsewhere whose name is made
// to point here (DNS rebinding) would read the secrets.
func ownHost(issuer string, next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(issuer, "http://"))
	own := map[string]bool{strings.TrimPrefix(issuer, "http://"): true, "localhost:" + port: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !own[r.Host] {
			http.Error(w, "This development server answers at "+issuer+" only.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

//go:embed dev.html
var devPage string

var devTemplate = template.Must(template.New("dev").Parse(devPage))

func (d *directory) page(w http.ResponseWriter, issuer string) {
	var body bytes.Buffer
	if err := devTemplate.Execute(&body, struct {
		*directory
		Issuer string
	}{d, issuer}); err != nil {
		http.Error(w, "The page could not be written.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(body.Bytes())
}

// print says where the server is, and how to use it.
func (d *directory) print(out io.Writer, issuer string) {
	fmt.Fprintf(out, "Auth Agent server for development at %s (Ctrl-C ends it)\n", issuer)
	for _, c := range d.Clients {
		fmt.Fprintf(out, "\nClient %s. Settings of its site:\n\n", c.ID)
		for _, line := range c.Environment(issuer) {
			fmt.Fprintf(out, "\texport %s\n", line)
		}
		fmt.Fprint(out, "\nTo sign an agent in to that site:\n\n")
		for _, a := range d.Agents {
			fmt.Fprintf(out, "\t%s\n", c.SignIn(a, issuer))
		}
	}
	fmt.Fprintf(out, "\nFor an access token with which an agent calls the API of a site:\n\n\t%s\n", d.Token(issuer))
	fmt.Fprint(out, "\nAgents, for programs of your own:\n\n")
	for _, a := range d.Agents {
		fmt.Fprintf(out, "\t%s, who acts for %s, with the secret %s\n", a.ID, a.Email, a.Secret)
	}
}

// listen takes loopback addresses only.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err == nil && !tcp.IP.IsLoopback() {
		err = errors.New("is not a loopback address like " + defaultAddr)
	}
	if err != nil {
		return nil, fmt.Errorf("invalid value %q for flag -addr: %w", addr, err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", tcp.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, failed("another program listens on %s: end it, or choose another address with -addr (port 0 is a free one)", tcp)
	case err != nil:
		return nil, failed("cannot listen on %s: %w", tcp, err)
	}
	return listener, nil
}
