package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// asMain makes the test's binary the command itself.
const asMain = "AUTHAGENT_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command is the command with these arguments, and with no other settings in its
// environment than env.
func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append([]string{asMain + "=1"}, env...)
	return c
}

// runMain runs the command to its end.
func runMain(t *testing.T, env []string, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := command(t.Context(), env, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	out, errs = stdout.String(), stderr.String()
	if doubled := regexp.MustCompile(`(?m)^.*(\bauthagent\b.*: authagent:|authagenttest:).*$`).FindString(out + errs); doubled != "" {
		t.Errorf("authagent %s says who it is twice: %s", strings.Join(args, " "), doubled)
	}
	return c.ProcessState.ExitCode(), out, errs
}

// site is a site whose agents sign in by as.
func site(t *testing.T, issuer, secret string, redirect func(siteURL string), change ...func(*authagent.Config)) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	redirect(s.URL + "/auth/agent/callback")
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	config := authagent.Config{
		Issuer: issuer, ClientID: "site", ClientSecret: secret, RedirectURL: s.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:    authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Logger:      slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&config)
	}
	rp, err := authagent.New(config)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/orders", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "orders") })))
	mux.HandleFunc("/sign-in", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, string(rp.Button("/orders"))) })
	return s
}

func registered(as *authagenttest.Server) func(string) {
	return func(callback string) {
		as.AddClient(authagenttest.Client{ID: "site", Secret: "cs_secret", RedirectURIs: []string{callback}})
	}
}

const sessionKeys = "AUTH_AGENT_SESSION_KEYS=c2l4dHkgZm91ciBieXRlcyBhcmUgZ29vZCwgdGhpcnR5IHR3byBkbw"

func TestCheck(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	const callback = "http://127.0.0.1:8080/auth/agent/callback"
	registered(as)(callback)
	good := []string{
		"AUTH_AGENT_ISSUER=" + as.URL, "AUTH_AGENT_CLIENT_ID=site", "AUTH_AGENT_CLIENT_SECRET=cs_secret",
		"AUTH_AGENT_REDIRECT_URL=" + callback, sessionKeys,
	}
	with := func(more ...string) []string { return append(good[:len(good):len(good)], more...) } // the later one counts
	for _, test := range []struct {
		name   string
		env    []string
		args   []string
		status int
		out    string // a part of the output
		errs   string // a part of what is said on the error output
	}{
		{"healthy", good, nil, 0, "ok: agents can sign in by " + as.URL, ""},
		{"healthy, JSON", good, []string{"-json"}, 0, "[]\n", ""},
		{"secret", with("AUTH_AGENT_CLIENT_SECRET=cs_wrong"), nil, 1, "error: AUTH_AGENT_CLIENT_SECRET\n", ""},
		{"secret, JSON", with("AUTH_AGENT_CLIENT_SECRET=cs_wrong"), []string{"-json"}, 1, `"setting":"ClientSecret","severity":"ERROR"`, ""},
		{"redirect URL", with("AUTH_AGENT_REDIRECT_URL=" + callback + "2"), nil, 1, "error: AUTH_AGENT_REDIRECT_URL\n", ""},
		{"server down", with("AUTH_AGENT_ISSUER=http://127.0.0.1:1"), nil, 1, "error: AUTH_AGENT_ISSUER\n", ""},
		{"nothing set", nil, nil, 2, "", "authagent check: AUTH_AGENT_ISSUER: is not set"},
		{"a setting that New refuses", with("AUTH_AGENT_ISSUER=http://as.example"), nil, 2, "", "authagent check: AUTH_AGENT_ISSUER: must use https"},
		{"flag's value", good, []string{"-scenario", "both"}, 2, "", `invalid value "both" for flag -scenario`},
		{"flag's type", good, []string{"-timeout", "long"}, 2, "", `invalid value "long" for flag -timeout`},
		{"flag's sign", good, []string{"-timeout", "-1s"}, 2, "", `invalid value -1s for flag -timeout`},
		{"no such flag", good, []string{"-x"}, 2, "", "flag provided but not defined: -x (see authagent help check)"},
		{"argument", good, []string{"now"}, 2, "", `takes no argument, and got "now"`},
		{"two settings that New refuses", with("AUTH_AGENT_ISSUER=http://as.example", "AUTH_AGENT_REDIRECT_URL=http://shop.example/cb"), nil, 2, "",
			"authagent check: AUTH_AGENT_ISSUER: must use https (http only on localhost, 127.0.0.0/8 and ::1)\n" +
				"authagent check: AUTH_AGENT_REDIRECT_URL: must use https (http only on localhost, 127.0.0.0/8 and ::1)\n"},
		{"help", nil, []string{"-h"}, 0, "Usage: authagent check", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, out, errs := runMain(t, test.env, append([]string{"check"}, test.args...)...)
			if status != test.status || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
				t.Errorf("status %d, want %d\n%s%s", status, test.status, out, errs)
			}
			if strings.Contains(out+errs, "cs_") {
				t.Errorf("the output has the secret:\n%s%s", out, errs)
			}
		})
	}
}

// TestCheckSite: -site asks the site, at the paths that the flags say. (CHK-8)
func TestCheckSite_CHK_8(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	var callback string
	s := site(t, as.URL, "cs_secret", func(url string) { callback = url; registered(as)(url) })
	env := []string{
		"AUTH_AGENT_ISSUER=" + as.URL, "AUTH_AGENT_CLIENT_ID=site", "AUTH_AGENT_CLIENT_SECRET=cs_secret",
		"AUTH_AGENT_REDIRECT_URL=" + callback, sessionKeys,
	}
	for _, test := range []struct {
		args      string
		status    int
		out, errs string
	}{
		{"", 0, "ok: agents can sign in", ""},
		{"-site " + s.URL, 1, "error: Paths.Logout\n  LogoutHandler is not mounted at /auth/agent/logout", ""},
		{"-site " + s.URL + " -logout /bye", 1, "not mounted at /bye", ""},
		{"-site " + s.URL + " -login /in", 1, "error: Paths.Login\n", ""},
		{"-site " + s.URL + " -discovery /auth.md", 1, "error: Paths.Discovery\n", ""},
		{"-site " + s.URL + " -owners /account/agents/", 1, "error: Policy.Path\n", ""},
		{"-site " + s.URL + " -resource " + s.URL + "/api", 1, "error: API.Resource\n  ResourceMetadataHandler is not mounted at /.well-known/oauth-protected-resource/api", ""},
		{"-site http://127.0.0.1:1", 1, "error: site\n  The site cannot be reached", ""},
		{"-site shop.example", 2, "", "flag -site"},
		{"-site " + s.URL + " -owners agents", 2, "", "flag -owners"},
		{"-login /in", 2, "", "are for -site"},
	} {
		status, out, errs := runMain(t, env, append([]string{"check"}, strings.Fields(test.args)...)...)
		if status != test.status || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
			t.Errorf("%s: status %d, want %d\n%s%s", test.args, status, test.status, out, errs)
		}
		if strings.Contains(out, "error: RedirectURL") || strings.Contains(out, "LoginHandler is not mounted at /auth/agent/login") {
			t.Errorf("%s: what is mounted is not found:\n%s", test.args, out)
		}
	}
}

// providerToCheck is a server of other people, at which a site signs in people and agents. It knows the
// client "site" by a secret, and "keyed" by the key.
func providerToCheck(t *testing.T, key crypto.PublicKey, change func(*authagenttest.Features)) (as *authagenttest.Server, env []string) {
	t.Helper()
	as = authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{
		IDToken: true, SignedTokens: "ES256", ActorClaim: true, PushedRequests: "offered",
		AuthMethods: []string{"client_secret_basic", "private_key_jwt"},
	}
	change(&as.Features)
	as.Start()
	t.Cleanup(as.Close)
	const callback = "http://127.0.0.1:8080/auth/agent/callback"
	registered(as)(callback)
	as.AddClient(authagenttest.Client{ID: "keyed", Keys: []crypto.PublicKey{key}, RedirectURIs: []string{callback}})
	return as, []string{
		"AUTH_AGENT_ISSUER=" + as.URL, "AUTH_AGENT_CLIENT_ID=site", "AUTH_AGENT_CLIENT_SECRET=cs_secret",
		"AUTH_AGENT_REDIRECT_URL=" + callback, sessionKeys,
	}
}

// TestCheckByKey_CAUTH_10: a key that the command has made is good where its public part is
// registered. What is wrong with keys is said by the variable.
func TestCheckByKey_CAUTH_10(t *testing.T) {
	_, made, _ := runMain(t, nil, "key", "-client")
	block, rest := pem.Decode([]byte(made))
	if block == nil || len(rest) > 0 {
		t.Fatalf("key -client prints %q", made)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signs, ok := key.(*ecdsa.PrivateKey); err != nil || !ok || signs.Curve != elliptic.P256() {
		t.Fatalf("key -client prints a %T, %v", key, err)
	}
	_, another, _ := runMain(t, nil, "key", "-client")
	if made == another {
		t.Fatal("the same key twice")
	}
	weak, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(weak)
	refused := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	file := filepath.Join(t.TempDir(), "client.key")
	if err := os.WriteFile(file, []byte(made), 0o600); err != nil {
		t.Fatal(err)
	}
	as, env := providerToCheck(t, key.(*ecdsa.PrivateKey).Public(), func(*authagenttest.Features) {})
	keyed := append(env, "AUTH_AGENT_CLIENT_ID=keyed", "AUTH_AGENT_CLIENT_SECRET=") // the later one counts
	for _, test := range []struct {
		name, more string
		status     int
		text       string
	}{
		{"in the variable", "AUTH_AGENT_CLIENT_KEYS=" + made, 0, "ok: agents can sign in"},
		{"in a file", "AUTH_AGENT_CLIENT_KEYS_FILE=" + file, 0, "ok: agents can sign in"},
		{"two, the first is new", "AUTH_AGENT_CLIENT_KEYS=" + another + made, 1, "error: AUTH_AGENT_CLIENT_KEYS\n"},
		{"one that New refuses", "AUTH_AGENT_CLIENT_KEYS=" + made + refused, 2, "authagent check: AUTH_AGENT_CLIENT_KEYS[1]: is no RSA key"},
		{"no PEM", "AUTH_AGENT_CLIENT_KEYS=client.key", 2, "authagent check: AUTH_AGENT_CLIENT_KEYS: has no PEM block"},
		{"none", "", 2, "authagent check: AUTH_AGENT_CLIENT_SECRET, AUTH_AGENT_CLIENT_KEYS: neither is set"},
	} {
		status, out, errs := runMain(t, append(keyed[:len(keyed):len(keyed)], test.more), "check")
		if status != test.status || !strings.Contains(out+errs, test.text) {
			t.Errorf("%s: status %d, want %d and %q in\n%s%s", test.name, status, test.status, test.text, out, errs)
		}
	}
	for audience, want := range map[string]int{as.URL: 0, as.URL + authagenttest.PathToken: 0, "https://other.example": 1} {
		if status, out, errs := runMain(t, append(keyed, "AUTH_AGENT_CLIENT_KEYS="+made), "check", "-assertion-audience", audience); status != want {
			t.Errorf("audience %s: status %d, want %d\n%s%s", audience, status, want, out, errs)
		}
	}
}

// TestCheckFlags_API_40: the flags set what the variables cannot, and no more is demanded than the site needs.
func TestCheckFlags_API_40(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	as, env := providerToCheck(t, key.Public(), func(*authagenttest.Features) {})
	_, unpushed := providerToCheck(t, key.Public(), func(f *authagenttest.Features) { f.PushedRequests = "" })
	silent, opaque := providerToCheck(t, key.Public(), func(*authagenttest.Features) {})
	keyless, unread := providerToCheck(t, key.Public(), func(*authagenttest.Features) {})
	for _, path := range []string{authagenttest.PathMetadata, authagenttest.PathDiscovery} {
		silent.Wrap(path, authagenttest.WithoutMember("introspection_endpoint"))
		keyless.Wrap(path, authagenttest.WithoutMember("introspection_endpoint", "jwks_uri"))
	}
	for _, test := range []struct {
		name   string
		env    []string
		args   []string
		status int
		text   string
		asked  string // the scopes of the request to as; empty if it is not looked at
	}{
		{"none", env, nil, 0, "ok: ", "openid profile email"},
		{"subject is user", env, []string{"-subject-is-user"}, 0, "ok: ", "openid"},
		{"subject is user, scopes", env, []string{"-subject-is-user", "-scenario", "full", "-scopes", "openid profile"}, 0, "ok: ", "openid profile"},
		{"sub is the agent, no email", env, []string{"-scopes", "openid profile"}, 2, "authagent check: Provider.Scopes: ", ""},
		{"no scope", env, []string{"-scopes", " "}, 2, `invalid value " " for flag -scopes: names no scope`, ""},
		{"pushed", env, []string{"-push"}, 0, "ok: ", "pushed"},
		{"pushed, and cannot be", unpushed, []string{"-push"}, 1, "error: Provider.PushRequests\n", ""},
		{"a parameter", env, []string{"-param", "ui_locales=de", "-param", "resource=https://api.example"}, 0, "ok: ", "openid profile email"},
		{"a parameter of the protocol's own", env, []string{"-param", "state=mine"}, 2, "authagent check: Provider.AuthorizationParams: ", ""},
		{"a parameter without a value", env, []string{"-param", "prompt"}, 2, `invalid value "prompt" for flag -param: is not name=value`, ""},
		{"an audience, and no keys", env, []string{"-assertion-audience", "https://other.example"}, 2, "authagent check: Provider.AssertionAudience: has no effect", ""},
		{"API-40 resource", env, []string{"-resource", "https://shop.example/api"}, 0, "ok: ", "openid profile email"},
		{"API-40 resource, of nothing that can be verified", unread, []string{"-resource", "https://shop.example/api"}, 1, "error: API.Resource\n", ""},
		{"API-40 scopes that the server does not list", env, []string{"-resource", "https://shop.example/api", "-api-scopes", "orders:read orders:write"}, 0,
			"warning: API.Scopes\n  The server's metadata (scopes_supported) does not list [\"orders:read\" \"orders:write\"]", ""},
		{"API-40 scopes of no API", env, []string{"-api-scopes", "orders:read"}, 2, "authagent check: API.Resource: is required", ""},
		{"API-40 no URL", env, []string{"-resource", "api"}, 2, "authagent check: API.Resource: must use https", ""},
		{"API-40 no scopes", env, []string{"-resource", "https://shop.example/api", "-api-scopes", ""}, 2, "for flag -api-scopes: names no scope", ""},
		{"CHK-9 people", env, []string{"-people"}, 0, "ok: ", "openid"},
		{"CHK-9 people, of a scenario without accounts", env, []string{"-people", "-scenario", "fresh"}, 0, "ok: ", "profile openid"},
		{"CHK-9 people without openid", env, []string{"-people", "-scopes", "profile"}, 2, "authagent check: Provider.Scopes: lacks openid", ""},
		{"CHK-9 people, no introspection", opaque, []string{"-people"}, 0, "warning: Provider.OnPerson\n", ""},
		{"CHK-9 agents alone, no introspection", opaque, []string{"-subject-is-user"}, 0, "ok: ", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			as.Reset()
			status, out, errs := runMain(t, test.env, append([]string{"check"}, test.args...)...)
			if status != test.status || !strings.Contains(out+errs, test.text) {
				t.Errorf("status %d, want %d and %q in\n%s%s", status, test.status, test.text, out, errs)
			}
			var asked []string
			for _, r := range as.Requests(authagenttest.PathAuthorize) {
				asked = append(asked, r.URL.Query().Get("scope"))
			}
			for range as.Requests(authagenttest.PathPushed) {
				asked = []string{"pushed"}
			}
			if test.asked != "" && !slices.Equal(asked, []string{test.asked}) {
				t.Errorf("the server was asked for %q, want %q", asked, test.asked)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		text   string
	}{
		{"", 0, "authagent check "}, {"help", 0, "authagent check "}, {"-h", 0, "authagent check "}, {"--help", 0, "authagent check "},
		{"chek", 2, `no command "chek"`},
		{"help check", 0, "Usage: authagent check"}, {"help dev", 0, "-client id=redirect-URI"}, {"help dev sign-in", 0, "-issuer URL"},
		{"help key", 0, "Usage: authagent key"}, {"help version", 0, "Usage: authagent version"}, {"help help", 0, "authagent help NAME"},
		{"help -h", 0, "authagent check "}, {"help chek", 2, `authagent help: there is no command "chek"`}, {"help key check", 2, `one command, and got "key check"`},
		{"help", 0, "go run " + packagePath + "@latest"}, {"help", 0, "go get -tool " + packagePath},
		{"version", 0, "authagent (devel) " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"}, {"--version", 0, "authagent (devel) "},
		{"version 2", 2, `got "2"`},
		{"key -h", 0, "Usage: authagent key"}, {"key 2", 2, `got "2"`},
		{"dev -h", 0, "-client id=redirect-URI"}, {"dev sign-in -h", 0, "-issuer URL"},
		{"dev -addr 0.0.0.0:9000", 2, `invalid value "0.0.0.0:9000" for flag -addr: is not a loopback address`},
		{"dev -client site", 2, `invalid value "site" for flag -client`},
		{"dev -agent =a@example.com", 2, `invalid value "=a@example.com" for flag -agent`},
		{"dev -config no-such-file", 2, `invalid value "no-such-file" for flag -config: open`},
		{"dev sign-in -timeout 0s http://shop.example", 2, "invalid value 0s for flag -timeout: must be positive"},
		{"dev sign-in -cookies no/such/dir http://shop.example", 2, `invalid value "no/such/dir" for flag -cookies: open`},
		{"dev sign-in -cookies . http://shop.example", 2, `invalid value "." for flag -cookies: is not a file`},
		{"help dev token", 0, "dev token -resource http://127.0.0.1:8080/api"}, {"dev token -h", 0, "-resource URL"}, {"help", 0, "authagent dev token "},
		{"dev token", 2, `invalid value "" for flag -resource`}, {"dev token -resource api", 2, `invalid value "api" for flag -resource`},
		{"dev token -resource http://a.example -issuer x", 2, `invalid value "x" for flag -issuer`}, {"dev token -resource http://a.example x", 2, `takes no argument, and got "x"`},
		{"dev token -issuer http://127.0.0.1:1 -resource http://a.example", 1, "authagent dev token: no token: "},
		{"dev tokens", 2, `authagent dev: takes no argument, and got "tokens"`},
		{"dev sign-in", 2, "takes one URL, and got 0"}, {"dev sign-in shop.example", 2, `"shop.example": is not an http or https URL`},
		{"dev sign-in -issuer x http://shop.example", 2, `invalid value "x" for flag -issuer`},
		{"help key", 0, "authagent key -client >client.key"}, {"help check", 0, "AUTH_AGENT_CLIENT_KEYS "}, {"help", 0, "a client key"},
	} {
		status, out, errs := runMain(t, nil, strings.Fields(test.args)...)
		if status != test.status || !strings.Contains(out+errs, test.text) {
			t.Errorf("authagent %s: status %d, want %d and %q in\n%s%s", test.args, status, test.status, test.text, out, errs)
		}
	}
}

// TestKey: what key prints is what ConfigFromEnv reads.
func TestKey(t *testing.T) {
	_, one, _ := runMain(t, nil, "key")
	_, two, _ := runMain(t, nil, "key")
	if one == two {
		t.Fatal("the same key twice")
	}
	for name, value := range map[string]string{
		"ISSUER": "https://as.example", "CLIENT_ID": "site", "CLIENT_SECRET": "x", "REDIRECT_URL": "https://shop.example/cb",
		"SESSION_KEYS": strings.TrimSpace(one) + "," + strings.TrimSpace(two),
	} {
		t.Setenv("AUTH_AGENT_"+name, value)
	}
	c, err := authagent.ConfigFromEnv()
	if err != nil || len(c.SessionKeys) != 2 || len(c.SessionKeys[0]) != 32 {
		t.Errorf("%d keys, %v", len(c.SessionKeys), err)
	}
}

func TestSignIn(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	s := site(t, as.URL, "cs_secret", registered(as))
	as.AddAgent(authagenttest.Agent{ID: "agent_alice", Secret: secretFor("ags_", "agent_alice"), Email: "alice@example.com"})
	as.AddAgent(authagenttest.Agent{ID: "agent_bob", Secret: "ags_bob", Email: "bob@example.com"})
	for _, test := range []struct {
		name, path string
		env        []string
		args       []string
		status     int
		out        string
	}{
		{"by the sign-in", "/auth/agent/login?return_to=/orders", nil, nil, 0, "signed in: agent_alice landed at " + s.URL + "/orders (200)"},
		{"by a page with the button", "/sign-in", nil, nil, 0, "signed in: agent_alice landed at " + s.URL + "/orders (200)"},
		{"by a refusal", "/orders", nil, nil, 0, "signed in: agent_alice landed at " + s.URL + "/orders (200)"},
		{"no account", "/sign-in", []string{"AUTH_AGENT_AGENT_SECRET=ags_bob"}, []string{"-agent", "agent_bob"}, 1, "no_account: No account."},
		{"wrong secret", "/sign-in", nil, []string{"-agent", "agent_bob"}, 1, "not signed in: agent agent_bob: authenticate: 401 invalid_credentials"},
		{"another server", "/sign-in", nil, []string{"-issuer", "http://127.0.0.1:1"}, 1, "where a redirect to http://127.0.0.1:1/authorize was expected"},
		{"no sign-in", "/nowhere", nil, nil, 1, "404 Not Found at " + s.URL + "/nowhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"dev", "sign-in", "-issuer", as.URL}, test.args...)
			status, out, errs := runMain(t, test.env, append(args, s.URL+test.path)...)
			if status != test.status || !strings.Contains(out, test.out) {
				t.Errorf("status %d, want %d and %q in\n%s%s", status, test.status, test.out, out, errs)
			}
			for _, secret := range []string{"ags_", "ac_", "code_challenge=" + "[^…]"} {
				if regexp.MustCompile(secret).MatchString(out) {
					t.Errorf("the output has a secret like %s:\n%s", secret, out)
				}
			}
		})
	}
}

// TestDev runs the server, with a site and an agent of its own, until it is told
// to end.
func TestDev(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "dev.json")
	config, _ := json.Marshal(directory{Agents: []agentEntry{{ID: "agent_carol", Secret: "ags_carol", Email: "carol@example.com", Name: "Carol <b>"}}})
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	// The site needs to know the server's address and the server the site's, so
	// the server gets an address that was free a moment ago.
	taken := httptest.NewServer(nil)
	addr := strings.TrimPrefix(taken.URL, "http://")
	taken.Close()
	var server *exec.Cmd
	var lines *bufio.Scanner
	s := site(t, "http://"+addr, secretFor("cs_", "site"), func(callback string) {
		server = command(ctx, nil, "dev", "-addr", addr, "-client", "site="+callback, "-agent", "agent_alice=alice@example.com", "-config", file)
		stdout, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		lines = bufio.NewScanner(stdout)
		lines.Scan()
	})
	if want := "Auth Agent server for development at http://" + addr; !strings.Contains(lines.Text(), want) {
		t.Errorf("it says %q, want %q", lines.Text(), want)
	}
	go func() { // or it would wait for somebody to read on
		for lines.Scan() {
		}
	}()

	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{s.URL, secretFor("cs_", "site"), "agent_alice", "Carol &lt;b&gt;", "carol@example.com", "AUTH_AGENT_AGENT_SECRET=ags_carol"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	req, _ := http.NewRequest("GET", "http://"+addr+"/", nil)
	req.Host = "rebound.example"
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for another host: %v, %v", resp, err)
	}
	status, out, errs := runMain(t, nil, "dev", "sign-in", "-issuer", "http://"+addr, s.URL+"/sign-in")
	if status != 0 || !strings.Contains(out, "signed in: agent_alice") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	server.Process.Signal(os.Interrupt)
	if err := server.Wait(); err != nil {
		t.Errorf("when interrupted: %v", err)
	}
}

func TestDevConfig(t *testing.T) {
	for content, want := range map[string]string{
		`{"clients":[{"id":"a","redirect_uris":["http://127.0.0.1/cb","http://127.0.0.1/cb?x"]}]}`: `client 0, "http://127.0.0.1/cb?x": RedirectURL: must not have a query`,
		`{"clients":[{"id":"a"}]}`:       "client 0 needs id and redirect_uris",
		`{"agents":[{"id":"a"}]}`:        "agent 0 needs id and email",
		`{"agent":[]}`:                   `unknown field "agent"`,
		`{"clients":[{"redirect":"x"}]}`: "unknown field",
		`[`:                              "unexpected EOF",
	} {
		file := filepath.Join(t.TempDir(), "dev.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, errs := runMain(t, nil, "dev", "-config", file)
		if status != 2 || !strings.Contains(errs, "flag -config") || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, %s", content, status, errs)
		}
	}
}
