package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// lines is what the program prints, for a test to read while it does.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs the program until stop is called.
func start(t *testing.T, o options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := &lines{}, make(chan error, 1)
	go func() { ended <- run(ctx, o, out) }()
	for !strings.Contains(out.String(), "The shop is at") {
		select {
		case err := <-ended:
			t.Fatalf("the program ended: %v\n%s", err, out)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if !strings.Contains(out.String(), alicePassword) || !strings.Contains(out.String(), agentID) {
		t.Errorf("it does not say as whom to sign in:\n%s", out)
	}
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the program ended with %v", err)
		}
	}
}

// freeAddr is an address that nothing listens on.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRestart: what an owner has decided, who is signed in and what was ordered
// outlive the program.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	o := options{addr: freeAddr(t), devAddr: freeAddr(t), file: filepath.Join(dir, "shop.db"), keyFile: filepath.Join(dir, "shop.key")}
	shop := "http://" + o.addr
	newClient := func() *http.Client {
		jar, _ := cookiejar.New(nil)
		return &http.Client{Jar: jar}
	}
	get := func(c *http.Client, path string) (status int, body string) {
		t.Helper()
		resp, err := c.Get(shop + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		read, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(read)
	}
	post := func(c *http.Client, path string, form url.Values) {
		t.Helper()
		resp, err := c.PostForm(shop+path, form)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(path, resp, err)
		}
		resp.Body.Close()
	}
	alice, agent := newClient(), newClient()

	stop := start(t, o)
	post(alice, "/sign-in", url.Values{"email": {aliceEmail}, "password": {alicePassword}})
	if got := signIn(t, agent, "http://"+o.devAddr, shop); got != http.StatusForbidden {
		t.Fatalf("before it is approved: %d", got)
	}
	var overview grants.Overview
	for len(overview.Grants) == 0 { // it is filed in the background
		_, body := get(alice, "/account/agents/")
		if err := json.Unmarshal([]byte(body), &overview); err != nil {
			t.Fatal(err)
		}
	}
	g := overview.Grants[0]
	post(alice, "/account/agents/approve", url.Values{"id": {g.ID}, "version": {fmt.Sprint(g.Version)}, "access": {"read"}})
	if got := signIn(t, agent, "http://"+o.devAddr, shop); got != http.StatusOK {
		t.Fatalf("once it is approved: %d", got)
	}
	_, before := get(alice, "/orders")
	stop()

	stop = start(t, o)
	defer stop()
	for name, c := range map[string]*http.Client{"Alice": alice, "her agent": agent} {
		if status, after := get(c, "/orders"); status != http.StatusOK || after != before {
			t.Errorf("%s sees %d %s after the restart, and saw %s before", name, status, after, before)
		}
	}
	if got := signIn(t, newClient(), "http://"+o.devAddr, shop); got != http.StatusOK {
		t.Errorf("the agent signs in after the restart: %d", got)
	}
}

// signIn signs Alice's agent in at the program's own development server, of which
// the test has but the address.
func signIn(t *testing.T, browser *http.Client, issuer, shop string) int {
	t.Helper()
	elsewhere := authagenttest.NewUnstartedServer()
	elsewhere.URL = issuer
	agent := elsewhere.AddAgent(authagenttest.Agent{ID: agentID, Secret: agentSecret})
	resp, err := agent.SignIn(t.Context(), browser, shop+"/auth/agent/login?return_to=/orders")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	good := options{addr: "127.0.0.1:0", devAddr: "127.0.0.1:0", file: filepath.Join(dir, "shop.db"), keyFile: filepath.Join(dir, "shop.key")}
	for name, change := range map[string]func(*options){
		"a development server for everybody": func(o *options) { o.devAddr = "0.0.0.0:0" },
		"an issuer without a client":         func(o *options) { o.issuer = "https://auth.example" },
		"a file that cannot be made":         func(o *options) { o.file = filepath.Join(dir, "nowhere", "shop.db") },
		"a PostgreSQL that is not there":     func(o *options) { o.postgres = "postgres://127.0.0.1:1/none?connect_timeout=1" },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			if err := run(t.Context(), o, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
}
