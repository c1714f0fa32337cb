package requirements_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

// validConfig is a configuration that New takes.
func validConfig() authagent.Config {
	return authagent.Config{
		Issuer: "https://as.example", ClientID: "site", ClientSecret: "client-secret",
		RedirectURL: "https://rp.example/auth/agent/callback", SessionKeys: [][]byte{testsite.NewKey()},
		Scenario: authagent.FreshProfile(&memstore.Profiles{}), Logger: discardLog(),
	}
}

const devCallback = "http://127.0.0.1:8080/auth/agent/callback"

// TestConfig: what is wrong is refused by an error that names the field.
func TestConfig(t *testing.T) {
	type config = authagent.Config
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	repeated := bytes.Repeat([]byte{7}, 32)
	issuer := func(s string) func(*config) { return func(c *config) { c.Issuer = s } }
	devIssuer := func(s string) func(*config) {
		return func(c *config) { c.Issuer, c.RedirectURL = s, devCallback }
	}
	redirect := func(s string) func(*config) { return func(c *config) { c.RedirectURL = s } }
	keys := func(k ...[]byte) func(*config) { return func(c *config) { c.SessionKeys = k } }
	for _, test := range []struct {
		name   string
		change func(*config)
		field  string // that the error names; empty if there is none
	}{
		{"valid", func(*config) {}, ""},

		{"CFG-1 http", issuer("http://as.example"), "Issuer"},
		{"CFG-1 query", issuer("https://as.example?x"), "Issuer"},
		{"CFG-1 empty query", issuer("https://as.example?"), "Issuer"},
		{"CFG-1 fragment", issuer("https://as.example#f"), "Issuer"},
		{"CFG-1 empty fragment", issuer("https://as.example#"), "Issuer"},
		{"CFG-1 user", issuer("https://u:p@as.example"), "Issuer"},
		{"CFG-1 no scheme", issuer("as.example"), "Issuer"},
		{"CFG-1 empty", issuer(""), "Issuer"},
		{"CFG-1 ftp", issuer("ftp://as.example"), "Issuer"},
		{"CFG-1 no host", issuer("https://"), "Issuer"},
		{"CFG-1 opaque", issuer("https:as.example"), "Issuer"},
		{"CFG-1 control character", issuer("https://as.example\n"), "Issuer"},
		{"CFG-1 loopback without flag", issuer("http://127.0.0.1:9000"), "Issuer"},
		{"CFG-1 loopback with flag", devIssuer("http://127.0.0.1:9000"), ""},
		{"CFG-1 localhost with flag", devIssuer("http://localhost:9000"), ""},
		{"CFG-1 IPv6 loopback with flag", devIssuer("http://[::1]:9000"), ""},
		{"CFG-1 https with flag", devIssuer("https://as.example"), ""},
		{"CFG-1 http with flag", devIssuer("http://as.example"), "Issuer"},
		{"CFG-1 lookalike with flag", devIssuer("http://127.0.0.1.evil.example"), "Issuer"},
		{"CFG-1 lookalike user with flag", devIssuer("http://127.0.0.1@evil.example"), "Issuer"},
		{"CFG-1 localhost subdomain with flag", devIssuer("http://localhost.evil.example"), "Issuer"},
		{"CFG-1 path", issuer("https://as.example/tenant1"), ""},
		{"CFG-1 port", issuer("https://as.example:8443"), ""},

		{"CFG-2 query", redirect("https://rp.example/cb?x=1"), "RedirectURL"},
		{"CFG-2 empty query", redirect("https://rp.example/cb?"), "RedirectURL"},
		{"CFG-2 fragment", redirect("https://rp.example/cb#f"), "RedirectURL"},
		{"CFG-2 empty fragment", redirect("https://rp.example/cb#"), "RedirectURL"},
		{"CFG-2 relative", redirect("/cb"), "RedirectURL"},
		{"CFG-2 http", redirect("http://rp.example/cb"), "RedirectURL"},
		{"CFG-2 user", redirect("https://u@rp.example/cb"), "RedirectURL"},
		{"CFG-2 custom scheme", redirect("app://rp.example/cb"), "RedirectURL"},
		{"CFG-2 lookalike", redirect("http://localhost.evil.example/cb"), "RedirectURL"},
		{"CFG-2 no path", redirect("https://rp.example"), "RedirectURL"},
		{"CFG-2 root", redirect("https://rp.example/"), "RedirectURL"},
		{"CFG-2 empty", redirect(""), "RedirectURL"},
		{"CFG-2 loopback", redirect(devCallback), ""},
		{"CFG-2 https", redirect("https://rp.example/cb"), ""},

		{"CFG-3 nil", keys(), "SessionKeys"},
		{"CFG-3 nil key", keys(nil), "SessionKeys"},
		{"CFG-3 word", keys([]byte("secret")), "SessionKeys"},
		{"CFG-3 31 bytes", keys(testsite.NewKey()[:31]), "SessionKeys"},
		{"CFG-3 zeros", keys(make([]byte, 32)), "SessionKeys"},
		{"CFG-3 one byte repeated", keys(repeated), "SessionKeys"},
		{"CFG-3 second is weak", keys(testsite.NewKey(), make([]byte, 32)), "SessionKeys"},
		{"CFG-3 second is short", keys(testsite.NewKey(), []byte("secret")), "SessionKeys"},
		{"CFG-3 two", keys(testsite.NewKey(), testsite.NewKey()), ""},
		{"CFG-3 longer", keys(append(testsite.NewKey(), testsite.NewKey()...)), ""},

		{"no client ID", func(c *config) { c.ClientID = "" }, "ClientID"},
		{"no client secret", func(c *config) { c.ClientSecret = "" }, "ClientSecret"},
		{"no scenario", func(c *config) { c.Scenario = nil }, "Scenario"},
		{"no users", func(c *config) { c.Scenario = authagent.FullAccount(nil, authagent.InsecureTrustEmail) }, "Scenario"},
		{"no link policy", func(c *config) { c.Scenario = authagent.FullAccount(users, nil) }, "Scenario"},
		{"no profiles", func(c *config) { c.Scenario = authagent.FreshProfile(nil) }, "Scenario"},
		{"no profiles beside users", func(c *config) { c.Scenario = authagent.ContextualProfile(users, nil, authagent.InsecureTrustEmail) }, "Scenario"},
		{"scopes without email", func(c *config) {
			c.Scenario, c.Provider.Scopes = authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail), []string{"profile"}
		}, "Provider.Scopes"},
		{"two scopes in one", func(c *config) { c.Provider.Scopes = []string{"profile email"} }, "Provider.Scopes"},
		{"endpoint over http", func(c *config) { c.Provider.Endpoints.Token = "http://as.example/token" }, "Provider.Endpoints.Token"},
		{"endpoint relative", func(c *config) { c.Provider.Endpoints.JWKS = "/keys" }, "Provider.Endpoints.JWKS"},
		{"origin with path", func(c *config) { c.Provider.EndpointOrigins = []string{"https://login.example/"} }, "Provider.EndpointOrigins"},
		{"origin over http", func(c *config) { c.Provider.EndpointOrigins = []string{"http://login.example"} }, "Provider.EndpointOrigins"},
		{"origin", func(c *config) { c.Provider.EndpointOrigins = []string{"https://login.example"} }, ""},
		{"short token key", func(c *config) { c.Provider.TokenKey = []byte("short") }, "Provider.TokenKey"},
		{"unknown encoding", func(c *config) { c.Provider.TokenEncoding = "json" }, "Provider.TokenEncoding"},
		{"return to another site", func(c *config) { c.ReturnTo = "//evil.example" }, "ReturnTo"},
		{"return to the callback", func(c *config) { c.ReturnTo = "/auth/agent/callback" }, "ReturnTo"},
		{"logout at the login", func(c *config) { c.Paths.Login, c.Paths.Logout = "/auth/agent", "/auth/agent" }, "Paths.Logout"},
		{"login at the callback", func(c *config) { c.Paths.Login = "/auth/agent/callback" }, "Paths.Login"},
		{"registration by script", func(c *config) { c.RegistrationURL = "javascript:alert(1)" }, "RegistrationURL"},
		{"registration elsewhere", func(c *config) { c.RegistrationURL = "https://join.example/agents" }, ""},
		{"negative lifetime", func(c *config) { c.Session.Lifetime = -time.Second }, "Session.Idle, Session.Lifetime"},
		{"sessions kept twice", func(c *config) {
			c.Session.Own, c.Session.Store = &keptSession{}, sessions.NewCookieStore(testsite.NewKey())
		}, "Session.Own, Session.Store"},
		{"negative idle time", func(c *config) { c.Session.Idle = -time.Second }, "Session.Idle"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := validConfig()
			test.change(&c)
			rp, err := authagent.New(c)
			switch {
			case test.field == "" && (err != nil || rp == nil):
				t.Fatalf("New: %v", err)
			case test.field != "" && err == nil:
				t.Fatalf("New took it, want an error about %s", test.field)
			case test.field != "" && !strings.Contains(err.Error(), "authagent: "+test.field):
				t.Fatalf("error %q does not name %s", err, test.field)
			}
			if err != nil {
				testsite.NoSecrets(t, "the error", err.Error(), &c)
			}
		})
	}
}

// TestConfigAllErrors: everything that is wrong is said at once. (CFG-1, CFG-2, CFG-3)
func TestConfigAllErrors(t *testing.T) {
	_, err := authagent.New(authagent.Config{})
	if err == nil {
		t.Fatal("New took an empty Config")
	}
	for _, field := range []string{"Issuer", "ClientID", "ClientSecret", "RedirectURL", "SessionKeys", "Scenario"} {
		if !strings.Contains(err.Error(), "authagent: "+field+": ") {
			t.Errorf("the error does not name %s:\n%v", field, err)
		}
	}
}

// TestConfigIsCopied: the caller's list of keys can change after New. (CFG-3)
func TestConfigIsCopied(t *testing.T) {
	c := validConfig()
	rp, err := authagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	c.SessionKeys[0] = nil
	if got := fmt.Sprint(rp); !strings.Contains(got, c.ClientID) {
		t.Errorf("prints as %q", got)
	}

	as := quickServer(t)
	other := httptest.NewTLSServer(as)
	defer other.Close()
	b := newBenchOn(t, as, func(b *bench, c *authagent.Config) {
		c.Provider.TokenKey, c.Provider.EndpointOrigins = bytes.Clone(as.JWTSecret), []string{other.URL}
		c.Provider.Scopes = []string{"openid", "profile", "email"}
	})
	as.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint", other.URL+authagenttest.PathToken))
	b.Config.Provider.TokenKey[0]++
	b.Config.Provider.Scopes[2], b.Config.Provider.EndpointOrigins[0] = "profile", "https://login.example"
	if got := mustParse(t, b.Begin(b.Browser(), "")).Query().Get("scope"); got != "openid profile email" {
		t.Errorf("asks for scope %q", got)
	}
	b.MustSignIn(b.Browser(), b.Agent)
}

// TestNoSecretPrints: CFG-8.
func TestNoSecretPrints(t *testing.T) {
	c := validConfig()
	c.Provider.TokenKey = []byte("token-key-token-key-token-key-token-key")
	rp, err := authagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	marshal := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	outputs := map[string]string{
		"json of Config": marshal(c), "json of *Config": marshal(&c), "json of RelyingParty": marshal(rp),
		"json within": marshal(map[string]any{"config": c, "rp": rp}),
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("settings", "config", c, "pointer", &c, "rp", rp)
	outputs["log"] = log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T"} {
		outputs[verb+" Config"] = fmt.Sprintf(verb, c)
		outputs[verb+" *Config"] = fmt.Sprintf(verb, &c)
		outputs[verb+" RelyingParty"] = fmt.Sprintf(verb, rp)
		outputs[verb+" within"] = fmt.Sprintf(verb, []any{c, &c, rp, struct{ C authagent.Config }{c}})
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		t.Run("CFG-8 "+name, func(t *testing.T) { testsite.NoSecrets(t, "the output", outputs[name], &c) })
	}
	if !strings.Contains(outputs["%v Config"], c.Issuer) {
		t.Errorf("the issuer may print, and helps: %q", outputs["%v Config"])
	}
}

// TestHostIsASCII is CFG-11: a host name that is not ASCII is refused in every
// setting that has one, and its xn-- form is named, however it is spelled.
func TestHostIsASCII(t *testing.T) {
	const form = "xn--mnchen-3ya.example"
	for _, host := range []string{"münchen.example", "MÜNCHEN.example", "m%C3%BCnchen.example", "münchen。example", "münchen．example", "münchen.example:443"} {
		for setting, set := range map[string]func(c *authagent.Config, address string){
			"RedirectURL":              func(c *authagent.Config, a string) { c.RedirectURL = a + "/auth/agent/callback" },
			"Issuer":                   func(c *authagent.Config, a string) { c.Issuer = a },
			"RegistrationURL":          func(c *authagent.Config, a string) { c.RegistrationURL = a + "/join" },
			"Provider.EndpointOrigins": func(c *authagent.Config, a string) { c.Provider.EndpointOrigins = []string{a} },
			"Provider.Endpoints.Token": func(c *authagent.Config, a string) { c.Provider.Endpoints.Token = a + "/token" },
			"Provider.Endpoints.JWKS":  func(c *authagent.Config, a string) { c.Provider.Endpoints.JWKS = a + "/jwks" },
		} {
			t.Run("CFG-11 "+setting+" "+host, func(t *testing.T) {
				c := validConfig()
				set(&c, "https://"+host)
				_, err := authagent.New(c)
				if err == nil || !strings.Contains(err.Error(), "authagent: "+setting+": ") || !strings.Contains(err.Error(), form) {
					t.Errorf("CFG-11: %v", err)
				}
				c = validConfig()
				set(&c, "https://"+form)
				if _, err := authagent.New(c); err != nil {
					t.Errorf("CFG-11: as it is to be written: %v", err)
				}
			})
		}
	}
}

// TestNoVerbPrints_CFG_9_CFG_10 is CFG-9 and CFG-10: what New keeps prints by no verb, wherever it
// is and copied by value too; a Config prints by none for which package fmt calls its
// methods.
func TestNoVerbPrints_CFG_9_CFG_10(t *testing.T) {
	k := newKept(t, func(b *bench, c *authagent.Config) {
		c.Provider.TokenKey = b.AS.JWTSecret
		c.Scenario = authagent.FreshProfile(b.Profiles)
	})
	c := k.Browser()
	s := k.MustSignIn(c, k.Agent)
	check := func(id string, outputs map[string]string) {
		if len(outputs) < 1500 {
			t.Errorf("%s: only %d outputs", id, len(outputs))
		}
		for name, text := range outputs {
			testsite.NoSecrets(t, id+" "+name, text, &k.Config)
		}
	}
	rp := k.RP
	check("CFG-9 *RelyingParty", testsite.Printed(rp, false))
	check("CFG-9 RelyingParty", testsite.Printed(*rp, false))
	check("CFG-9 Session", testsite.Printed(s, false))
	check("CFG-9 Scenario", testsite.Printed(k.Config.Scenario, false))
	check("CFG-9 TokenSource", testsite.Printed(rp.TokenSource(t.Context(), s), false))
	check("CFG-9 Client", testsite.Printed(rp.Client(t.Context(), s), false))
	check("CFG-9 LoginHandler", testsite.Printed(rp.LoginHandler(), false))
	check("CFG-9 DiscoveryHandler", testsite.Printed(rp.DiscoveryHandler(), false))
	check("CFG-10 Config", testsite.Printed(k.Config, true))

	var coded bytes.Buffer
	if err := gob.NewEncoder(&coded).Encode(rp); err == nil {
		t.Errorf("CFG-9: gob encodes a RelyingParty: %q", coded.String())
	}
}
