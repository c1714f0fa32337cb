//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

const repository = "../.."

// TestSmallestSite compiles and runs the README's smallest site, on a free port, with an
// agent and an owner in this process. The command does the same by the README's commands.
func TestSmallestSite(t *testing.T) {
	r, err := read(repository)
	if err != nil {
		t.Fatal(err)
	}
	as := authagenttest.NewServer()
	defer as.Close()
	site := startSite(t, r.program, as)
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	alice := &owner{page: site + "/account/agents/", name: r.name, password: r.password}
	browser := newBrowser(t)
	signIn := func() *http.Response {
		t.Helper()
		resp, err := agent.SignIn(t.Context(), browser, site+"/orders")
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	want(t, "before its owner has decided", signIn(), http.StatusForbidden, r.refused)
	if err := (&owner{page: alice.page, name: alice.name, password: "guessed"}).open(t.Context()); err == nil {
		t.Error("a stranger opens the owner's page")
	}
	if err := alice.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := alice.decide(t.Context(), "approve", nil); err != nil {
		t.Fatal(err)
	}
	want(t, "approved", signIn(), http.StatusOK, r.answer)
	if err := alice.decide(t.Context(), "revoke", nil); err != nil {
		t.Fatal(err)
	}
	resp, err := browser.Get(site + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "revoked", resp, http.StatusUnauthorized, r.revoked)
}

// startSite builds the program as a part of this module, and runs it for a server.
func startSite(t *testing.T, program string, as *authagenttest.Server) (url string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	folder := t.TempDir()
	source, binary := filepath.Join(folder, "main.go"), filepath.Join(folder, "site")
	if err := os.WriteFile(source, []byte(strings.ReplaceAll(program, "127.0.0.1:8080", address)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	callback := "http://" + address + "/auth/agent/callback"
	client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{callback}})
	settings := "AUTH_AGENT_ISSUER=" + as.URL + " AUTH_AGENT_CLIENT_ID=site AUTH_AGENT_CLIENT_SECRET=" + client.Secret +
		" AUTH_AGENT_REDIRECT_URL=" + callback + " AUTH_AGENT_SESSION_KEYS=" + strings.Repeat("0123456789abcdef", 4)
	// The test's context is done before its cleanups.
	site, err := (&shell{io.Discard, folder}).start(context.WithoutCancel(t.Context()), settings+" exec ./site", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.stop)
	return "http://" + address
}

func newBrowser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func want(t *testing.T, when string, resp *http.Response, status int, text string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || !strings.Contains(string(body), text) {
		t.Errorf("%s: %s %s, want %d and %q in it (%v)", when, resp.Status, body, status, text, err)
	}
}

// TestParse: a README that lacks a part which the program follows is an error, and not
// a part that nobody tries.
func TestParse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for what, part := range map[string]string{
		"the heading":       `(?m)^## The smallest site$`,
		"the notice":        `(?m)^## Until the module is published$`,
		"a block":           "(?ms)^```sh\ngo run \\.\n```\n",
		"a command":         `(?m)^go mod tidy\n`,
		"the password":      "with the\\s+password\\s+`",
		"the owner's page":  `in a private\s+window`,
		"the first refusal": "refused with",
		"the last refusal":  "prints a refusal",
		"the answer":        "That prints",
	} {
		changed := regexp.MustCompile(part).ReplaceAllString(string(text), "")
		if changed == string(text) {
			t.Errorf("the README has no %q", part)
		}
		if _, err := parse(changed); err == nil {
			t.Errorf("without %s there is no error", what)
		}
	}
}

// TestParseMCP is TestParse for the README of examples/mcp.
func TestParseMCP(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "examples/mcp/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseMCP(string(text)); err != nil {
		t.Fatal(err)
	}
	for what, part := range map[string]string{
		"the heading":       `(?m)^## Run it$`,
		"a block":           "(?ms)^```sh\ncurl .*?\n```\n",
		"a call":            `(?m)^call place_order.*\n`,
		"the first refusal": "It is refused with",
		"the answer":        "it prints",
		"the grant":         "The second is refused",
		"the approval":      "The third is refused",
		"the balance":       `balance is\s+now`,
		"the one time":      "Call it once more",
		"the end":           `From then on\s+each`,
	} {
		changed := regexp.MustCompile(part).ReplaceAllString(string(text), "")
		if changed == string(text) {
			t.Errorf("the README has no %q", part)
		}
		if _, err := parseMCP(changed); err == nil {
			t.Errorf("without %s there is no error", what)
		}
	}
}
