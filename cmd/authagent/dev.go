package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const devHelp = `Usage: authagent dev [flags]
       authagent dev sign-in [flags] URL

Runs an Auth Agent server for development on a loopback address. It speaks the
published server's protocol, quirks included, and keeps everything in memory. Its
page lists what it knows, with the settings for your site; where an agent would
prove itself, a person can press a button and be the agent. Whoever reaches it can
sign in as anyone, so it answers to this machine alone.

Without -client and -config it knows the client "site", for a site at
http://127.0.0.1:8080; without -agent and -config the agent "agent_alice" of
alice@example.com. Secrets that are not given are made from the ID, and so are the
same each time.

A file for -config:

	{
	  "clients": [{"id": "site", "secret": "cs_1", "redirect_uris": ["http://127.0.0.1:8080/auth/agent/callback"]}],
	  "agents": [{"id": "agent_alice", "secret": "ags_1", "email": "alice@example.com", "name": "Alice", "model": "model-1"}]
	}
`

const (
	defaultAddr     = "127.0.0.1:9000"
	defaultRedirect = "http://127.0.0.1:8080/auth/agent/callback"
	defaultAgent    = "agent_alice"
)

// A directory is whom the server knows.
type directory struct {
	Clients []clientEntry `json:"clients"`
	Agents  []agentEntry  `json:"agents"`
}

type clientEntry struct {
	ID           string   `json:"id"`
	Secret       string   `json:"secret"`
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
}

type agentEntry struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Email  string `json:"email"`
	Name   string `json:"name"`
	Model  string `json:"model"`
}

// dev runs the development server until ctx is done.
func dev(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	addr := flags.String("addr", defaultAddr, "listen on this loopback `address`")
	config := flags.String("config", "", "read clients and agents from this JSON `file`")
	var d directory
	flags.Func("client", "know a client, as `id=redirect-URI`; may be repeated", d.addClient)
	flags.Func("agent", "know an agent, as `id=e-mail`; may be repeated", d.addAgent)
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
		return fmt.Errorf("invalid value %q for flag -addr: %w", *addr, err)
	}
	issuer := "http://" + listener.Addr().String()
	server := &http.Server{Handler: d.handler(issuer), ReadHeaderTimeout: 10 * time.Second}
	d.print(out, issuer)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

func (d *directory) addClient(value string) error {
	id, redirectURI, ok := strings.Cut(value, "=")
	if u, err := url.Parse(redirectURI); !ok || id == "" || err != nil || u.Host == "" {
		return errors.New("is not an ID, = and a redirect URI")
	}
	d.Clients = append(d.Clients, clientEntry{ID: id, RedirectURIs: []string{redirectURI}})
	return nil
}

func (d *directory) addAgent(value string) error {
	id, email, ok := strings.Cut(value, "=")
	if !ok || id == "" || email == "" {
		return errors.New("is not an ID, = and an e-mail address")
	}
	d.Agents = append(d.Agents, agentEntry{ID: id, Email: email})
	return nil
}

// read adds what is in a file.
func (d *directory) read(file string) error {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var more directory
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&more); err != nil {
		return err
	}
	for i, c := range more.Clients {
		if c.ID == "" || len(c.RedirectURIs) == 0 {
			return fmt.Errorf("client %d needs id and redirect_uris", i)
		}
	}
	for i, a := range more.Agents {
		if a.ID == "" || a.Email == "" {
			return fmt.Errorf("agent %d needs id and email", i)
		}
	}
	d.Clients, d.Agents = append(d.Clients, more.Clients...), append(d.Agents, more.Agents...)
	return nil
}

// complete fills in what was not given.
func (d *directory) complete() {
	if len(d.Clients) == 0 {
		d.Clients = []clientEntry{{ID: "site", RedirectURIs: []string{defaultRedirect}}}
	}
	if len(d.Agents) == 0 {
		d.Agents = []agentEntry{{ID: defaultAgent, Email: "alice@example.com", Name: "Alice"}}
	}
	for i, c := range d.Clients {
		if c.Secret == "" {
			d.Clients[i].Secret = secretFor("cs_", c.ID)
		}
	}
	for i, a := range d.Agents {
		if a.Secret == "" {
			d.Agents[i].Secret = secretFor("ags_", a.ID)
		}
	}
}

// secretFor makes a secret that is the same each time, so that a site's settings
// outlive a restart. It is no secret: the server is for development.
func secretFor(prefix, id string) string {
	sum := sha256.Sum256([]byte("authagent dev " + prefix + id))
	return prefix + hex.EncodeToString(sum[:])
}

// handler is the server, with a page in front of it.
func (d *directory) handler(issuer string) http.Handler {
	as := authagenttest.NewUnstartedServer()
	as.URL = issuer
	as.Attended = true
	for _, c := range d.Clients {
		as.AddClient(authagenttest.Client{ID: c.ID, Secret: c.Secret, Name: c.Name, RedirectURIs: c.RedirectURIs})
	}
	for _, a := range d.Agents {
		as.AddAgent(authagenttest.Agent{ID: a.ID, Secret: a.Secret, Email: a.Email, Name: a.Name, Model: a.Model})
	}
	mux := http.NewServeMux()
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
		fmt.Fprintf(out, "\nSettings of client %s:\n\n", c.ID)
		for _, line := range c.Environment(issuer) {
			fmt.Fprintf(out, "\texport %s\n", line)
		}
	}
	fmt.Fprint(out, "\nTo sign an agent in to a site:\n\n")
	for _, a := range d.Agents {
		fmt.Fprintf(out, "\t%s\n", d.Command(a, issuer))
	}
}

// Environment is the settings of a site, ready for a shell.
func (c clientEntry) Environment(issuer string) []string {
	return []string{
		"AUTH_AGENT_ISSUER=" + issuer, "AUTH_AGENT_CLIENT_ID=" + c.ID, "AUTH_AGENT_CLIENT_SECRET=" + c.Secret,
		"AUTH_AGENT_REDIRECT_URL=" + c.RedirectURIs[0], `AUTH_AGENT_SESSION_KEYS="$(authagent key)"`,
	}
}

// Command is how to sign an agent in to the first client's site.
func (d *directory) Command(a agentEntry, issuer string) string {
	command := "authagent dev sign-in"
	if issuer != "http://"+defaultAddr {
		command += " -issuer " + issuer
	}
	if a.ID != defaultAgent {
		command += " -agent " + a.ID
	}
	if a.Secret != secretFor("ags_", a.ID) {
		command = "AUTH_AGENT_AGENT_SECRET=" + a.Secret + " " + command
	}
	callback, _ := url.Parse(d.Clients[0].RedirectURIs[0]) // what is no URL makes a command to be mended by hand
	if callback == nil {
		callback = &url.URL{}
	}
	return command + " " + callback.ResolveReference(&url.URL{Path: "login"}).String()
}

// listen takes loopback addresses only.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() {
		return nil, errors.New("is not a loopback address like " + defaultAddr)
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", tcp.String())
}
