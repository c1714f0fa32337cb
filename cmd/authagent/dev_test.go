package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// TestDevTakesWhatNewTakes: a client whose site could not start is refused, in the same
// words as the site's own start would be.
func TestDevTakesWhatNewTakes(t *testing.T) {
	for _, uri := range []string{
		"http://127.0.0.1:8080/cb?next=1", "http://bücher.example/cb", "https://bücher.example/cb", "http://shop.example/cb", "https://shop.example/cb",
		"http://127.0.0.1:8080/", "http://127.0.0.1:8080", "http://127.0.0.1:8080/cb#x", "http://user@127.0.0.1/cb", "ftp://127.0.0.1/cb", "/cb", ":", "http:///cb",
		"http://127.0.0.1:8080/cb", "http://127.8.9.10/cb", "http://localhost:3000/cb", "http://[::1]:8080/cb",
	} {
		_, newErr := authagent.New(authagent.Config{
			Issuer: "http://127.0.0.1:9000", ClientID: "site", ClientSecret: "cs", RedirectURL: uri, Logger: slog.New(slog.DiscardHandler),
			SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Scenario: authagent.FreshProfile(&memstore.Profiles{}),
		})
		var d directory
		err := d.addClient("site=" + uri)
		if (err == nil) != (newErr == nil) {
			t.Errorf("%s: the command says %v, and New %v", uri, err, newErr)
			continue
		}
		if err == nil {
			continue
		}
		lines := strings.Split(newErr.Error(), "\n") // of the issuer first, which is wrong only as the redirect URL has it
		if words := strings.TrimPrefix(lines[len(lines)-1], "authagent: "); !strings.HasSuffix(err.Error(), words) {
			t.Errorf("%s: %q lacks %q", uri, err, words)
		}
		status, _, errs := runMain(t, nil, "dev", "-client", "site="+uri)
		if status != exitUsage || !strings.Contains(errs, "for flag -client: "+err.Error()) {
			t.Errorf("%s: status %d, %s", uri, status, errs)
		}
	}
}

// TestDevPortTaken: that somebody else listens is no mistake in the command line.
func TestDevPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	status, _, errs := runMain(t, nil, "dev", "-addr", taken.Addr().String())
	want := fmt.Sprintf("authagent dev: another program listens on %s: end it, or choose another address with -addr", taken.Addr())
	if status != exitWrong || !strings.Contains(errs, want) || strings.Contains(errs, "flag") {
		t.Errorf("status %d, %s, want %q", status, errs, want)
	}
}

// startDev runs the development server until the test ends, and returns its address and
// what it prints up to its list of agents.
func startDev(t *testing.T, args ...string) (issuer, printed string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	server := command(ctx, nil, append([]string{"dev"}, args...)...)
	out := &lockedBuffer{}
	server.Stdout, server.Stderr = out, out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); server.Wait() })
	for range 1000 {
		if printed = out.String(); strings.HasSuffix(printed, "\n") && strings.Contains(printed, "with the secret") {
			issuer, _, _ = strings.Cut(strings.TrimPrefix(printed, "Auth Agent server for development at "), " ")
			return issuer, printed
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it does not start: %s", printed)
	return "", ""
}

// TestDevSaysItAll: what it prints is enough to set a site up, to sign an agent in to each
// client's site, and to write an agent.
func TestDevSaysItAll(t *testing.T) {
	config := filepath.Join(t.TempDir(), "dev.json")
	if err := os.WriteFile(config, []byte(`{"agents":[{"id":"agent bob","secret":"it's bob","email":"bob@example.com"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, printed := startDev(t, "-addr", "127.0.0.1:0", "-config", config, "-agent", "agent_alice=alice@example.com",
		"-client", "one=http://127.0.0.1:8080/auth/agent/callback", "-client", "two=http://localhost:8081/cb")
	resp, err := http.Get(issuer)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	page := html.UnescapeString(string(body))
	for _, want := range []string{
		"export AUTH_AGENT_CLIENT_ID=one\n", "export AUTH_AGENT_CLIENT_ID=two\n", "AUTH_AGENT_CLIENT_SECRET=" + secretFor("cs_", "two"),
		`AUTH_AGENT_SESSION_KEYS="$(go run ` + packagePath + ` key)"`,
		"go run " + packagePath + " dev sign-in -issuer " + issuer + " http://127.0.0.1:8080/auth/agent/login\n",
		"go run " + packagePath + " dev sign-in -issuer " + issuer + " http://localhost:8081/login\n",
		`AUTH_AGENT_AGENT_SECRET='it'\''s bob' go run ` + packagePath + " dev sign-in -issuer " + issuer + " -agent 'agent bob' http://localhost:8081/login\n",
		"agent_alice", secretFor("ags_", "agent_alice"), "agent bob", "it's bob",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("it does not print %q:\n%s", want, printed)
		}
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// TestDevCommandsRun: a shell takes the lines as they are printed.
func TestDevCommandsRun(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "authagent")); err != nil {
		t.Skip("there are no symbolic links: ", err)
	}
	t.Setenv("PATH", bin)
	t.Setenv(asMain, "1")
	as := authagenttest.NewServer()
	defer as.Close()
	s := site(t, as.URL, "cs_secret", registered(as))
	bob := agentEntry{ID: "agent bob", Secret: "it's $HOME", Email: "alice@example.com"}
	as.AddAgent(authagenttest.Agent{ID: bob.ID, Secret: bob.Secret, Email: bob.Email})
	line := clientEntry{ID: "site", RedirectURIs: []string{s.URL + "/auth/agent/callback"}}.SignIn(bob, as.URL)
	out, err := exec.CommandContext(t.Context(), shell, "-c", line).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("signed in: agent bob landed at")) {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
	keys, err := exec.CommandContext(t.Context(), shell, "-c", clientEntry{RedirectURIs: []string{"x"}}.Environment("x")[4]+`; echo "$AUTH_AGENT_SESSION_KEYS"`).Output()
	if _, parsed := authagent.ParseSessionKeys(string(keys)); err != nil || parsed != nil {
		t.Errorf("%v, %v", err, parsed)
	}
}

// TestDevOnAnotherLoopback: two published SDKs for agents refuse 127.0.0.1, and take
// other addresses of the machine.
func TestDevOnAnotherLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.2:0", "127.255.0.9:0", "[::1]:0"} {
		free, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("this machine has no address %s", addr) // macOS has 127.0.0.1 alone
			continue
		}
		own := free.Addr().String()
		free.Close()
		issuer := "http://" + own
		s := site(t, issuer, secretFor("cs_", "site"), func(callback string) { startDev(t, "-addr", own, "-client", "site="+callback) })
		status, out, errs := runMain(t, nil, "dev", "sign-in", "-issuer", issuer, s.URL+"/sign-in")
		if status != exitOK || !strings.Contains(out, "signed in: agent_alice") {
			t.Errorf("%s: status %d\n%s%s", addr, status, out, errs)
		}
	}
}

// TestSignInByPOST: the form of the button is found and posted.
func TestSignInByPOST(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	s := site(t, as.URL, "cs_secret", registered(as), func(c *authagent.Config) { c.RequirePOST = true })
	as.AddAgent(authagenttest.Agent{ID: "agent_alice", Secret: secretFor("ags_", "agent_alice"), Email: "alice@example.com"})
	for path, landed := range map[string]string{"/sign-in": "/orders (200)", "/auth/agent/login?return_to=/orders": "/orders (200)", "/orders": "/orders (200)"} {
		status, out, errs := runMain(t, nil, "dev", "sign-in", "-issuer", as.URL, s.URL+path)
		if status != exitOK || !strings.Contains(out, "POST "+s.URL+"/auth/agent/login") || !strings.Contains(out, "landed at "+s.URL+landed) {
			t.Errorf("%s: status %d\n%s%s", path, status, out, errs)
		}
	}
}

// TestCookies: the session of the agent is in the file, for curl and for nobody else.
func TestCookies(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	s := site(t, as.URL, "cs_secret", registered(as))
	as.AddAgent(authagenttest.Agent{ID: "agent_alice", Secret: secretFor("ags_", "agent_alice"), Email: "alice@example.com"})
	file := filepath.Join(t.TempDir(), "the cookies.txt")
	if err := os.WriteFile(file, []byte("of last time"), 0o644); err != nil {
		t.Fatal(err)
	}
	signIn := func(path string) (int, string) {
		status, out, errs := runMain(t, nil, "dev", "sign-in", "-issuer", as.URL, "-cookies", file, s.URL+path)
		return status, out + errs
	}
	if status, out := signIn("/nowhere"); status != exitWrong || strings.Contains(out, "curl") {
		t.Errorf("no sign-in: status %d\n%s", status, out)
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != "of last time" {
		t.Errorf("after a sign-in that failed the file has %q, %v", old, err)
	}
	status, out := signIn("/sign-in")
	if want := "curl -b '" + file + "' " + s.URL + "/orders\n"; status != exitOK || !strings.Contains(out, want) {
		t.Fatalf("status %d, want %q in\n%s", status, want, out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(names) > 0 {
		t.Errorf("it leaves %q", names)
	}
	content, _ := os.ReadFile(file)
	if strings.Contains(string(content), "login") || !strings.Contains(string(content), "#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t") {
		t.Errorf("the file has %s", content)
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	orders, err := exec.CommandContext(t.Context(), curl, "-s", "-b", file, s.URL+"/orders").Output()
	if err != nil || string(orders) != "orders" {
		t.Errorf("curl: %v, %s", err, orders)
	}
}

func TestNetscapeFormat(t *testing.T) {
	at := parseURL("https://shop.example/auth/agent/callback")
	past, future := time.Unix(1, 0), time.Unix(4e9, 0)
	got := lines([]setCookie{
		{&http.Cookie{Name: "a", Value: "1"}, at},
		{&http.Cookie{Name: "b", Value: "2", Path: "/", Secure: true, Domain: ".shop.example", Expires: future}, at},
		{&http.Cookie{Name: "c", Value: "3", Path: "/x", Domain: "example", Quoted: true}, at},
		{&http.Cookie{Name: "gone", Value: "4", Path: "/"}, at},
		{&http.Cookie{Name: "gone", Path: "/", MaxAge: -1}, at},
		{&http.Cookie{Name: "past", Value: "5", Expires: past}, at},
		{&http.Cookie{Name: "a", Value: "6", HttpOnly: true}, at},
	})
	const want = "# Netscape HTTP Cookie File\n" +
		"#HttpOnly_shop.example\tFALSE\t/auth/agent\tFALSE\t0\ta\t6\n" +
		".shop.example\tTRUE\t/\tTRUE\t4000000000\tb\t2\n" +
		".example\tTRUE\t/x\tFALSE\t0\tc\t\"3\"\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func parseURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// A lockedBuffer can be read while a program writes it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestDevToken_API_41: the token that is printed opens the API of a site that does not know it, for the
// agent that was asked for. Nothing else is printed.
func TestDevToken_API_41(t *testing.T) {
	addr := freeAddr(t)
	issuer := "http://" + addr
	var resource string
	s := site(t, issuer, secretFor("cs_", "site"), func(callback string) {
		resource = strings.TrimSuffix(callback, "/auth/agent/callback") + "/api"
		startDev(t, "-addr", addr, "-client", "site="+callback, "-agent", "agent_alice=alice@example.com", "-agent", "agent_bob=bob@example.com")
	}, func(c *authagent.Config) {
		c.API = api.Settings{Resource: resource, Scopes: map[string]string{"orders:read": "See orders"}}
		c.Permissions = map[string]authagent.Permission{"orders:read": {Access: authagent.AccessRead}}
		c.Provider.Scopes = []string{"email"}
	})
	get := func(args ...string) int {
		t.Helper()
		status, out, errs := runMain(t, nil, append([]string{"dev", "token", "-issuer", issuer}, args...)...)
		if status != exitOK || strings.Count(out, "\n") != 1 || errs != "" {
			t.Fatalf("%v: status %d\n%s%s", args, status, out, errs)
		}
		resp, err := authagenttest.Bearer(http.DefaultClient, strings.TrimSpace(out)).Get(s.URL + "/orders")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"-resource", resource, "-scope", "orders:read"}, 200},
		{[]string{"-resource", resource, "-agent", "agent_bob"}, 403}, // whose owner has no account
		{[]string{"-resource", resource + "/"}, 401},
	} {
		if got := get(test.args...); got != test.want {
			t.Errorf("%v: %d, want %d", test.args, got, test.want)
		}
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for _, test := range []struct{ issuer, agent, want string }{
		{issuer, "agent_carol", "no token: the server has no agent of this ID"},
		{other.URL, "agent_alice", other.URL + " is no server of authagent dev: it answers with 404 Not Found"},
	} {
		status, out, errs := runMain(t, nil, "dev", "token", "-issuer", test.issuer, "-agent", test.agent, "-resource", resource)
		if status != exitWrong || out != "" || !strings.Contains(errs, test.want) {
			t.Errorf("%s: status %d\n%s%s", test.agent, status, out, errs)
		}
	}
	// A page of another site gets none.
	r, _ := http.NewRequest(http.MethodPost, issuer+tokenPath, strings.NewReader(url.Values{"agent": {"agent_alice"}, "resource": {resource}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if resp, err := http.DefaultClient.Do(r); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: %v, %v", resp, err)
	}
}

// TestDevResources_API_42: with -resources, a client gets a token for the API in a sign-in; without, the server is like
// the published one, which publishes no keys.
func TestDevResources_API_42(t *testing.T) {
	for _, test := range []struct {
		args []string
		keys string
	}{{nil, `{"keys":[]}`}, {[]string{"-resources"}, `"alg":"ES256"`}} {
		issuer, _ := startDev(t, append(test.args, "-addr", "127.0.0.1:0")...)
		resp, err := http.Get(issuer + authagenttest.PathJWKS)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), test.keys) {
			t.Errorf("%v: keys %s", test.args, body)
		}
	}
}

// freeAddr is an address that was free a moment ago, for a server that has to know its site's address and the other
// way round.
func freeAddr(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return free.Addr().String()
}
