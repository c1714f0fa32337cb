package requirements_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// metadataOf returns the document that the server publishes.
func metadataOf(t testing.TB, as *authagenttest.Server) members {
	t.Helper()
	resp, err := as.Client().Get(as.URL + authagenttest.PathMetadata)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var m members
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func documentOf(m members) wrapper { return documentAs("application/json", m) }

func documentAs(contentType string, m members) wrapper {
	body, _ := json.Marshal(m)
	return authagenttest.Reply(200, contentType, string(body))
}

// TestSecondAddress_NET_20: NET-20. Whatever is at the first well-known address, a good
// document at the second one is found, and where there is none, the first error is
// the one that is reported, and no path is guessed.
func TestSecondAddress_NET_20(t *testing.T) {
	evil, hits := newEvil(t)
	for _, test := range []struct {
		name  string
		first func(good members) wrapper
		log   string // what is reported where the second is missing; empty where paths are guessed
	}{
		{"404", func(members) wrapper { return authagenttest.Reply(404, "text/plain", "404") }, ""},
		{"401 page", func(members) wrapper { return authagenttest.Reply(401, "text/html", "<p>Sign in") }, ""},
		{"a page", func(members) wrapper { return authagenttest.Reply(200, "text/html", "<p>Welcome") }, ""},
		{"redirect to another host", func(members) wrapper { return authagenttest.RedirectTo(302, evil.URL+"/x") }, "redirects are not followed"},
		{"redirect to a login page", func(members) wrapper { return authagenttest.RedirectTo(307, "/login") }, "redirects are not followed"},
		{"500", func(members) wrapper { return authagenttest.Reply(500, "application/json", `{"error":"server_error"}`) }, "status 500"},
		{"502 page", func(members) wrapper { return authagenttest.Reply(502, "text/html", "<h1>Bad Gateway") }, "status 502"},
		{"429", func(members) wrapper { return authagenttest.Reply(429, "", "") }, "status 429"},
		{"cut", func(members) wrapper { return abort }, "EOF"},
		{"empty object", func(members) wrapper { return documentOf(members{}) }, "issuer is not the configured one"},
		{"error object", func(members) wrapper { return documentOf(members{"error": "not_found"}) }, "a success that carries an error"},
		{"another issuer's", func(m members) wrapper { return documentOf(with(m, members{"issuer": "https://other.example"})) }, "issuer is not the configured one"},
		{"array", func(members) wrapper { return authagenttest.Reply(200, "application/json", "[]") }, "metadata request: status 200"},
		{"junk", func(members) wrapper { return authagenttest.Reply(200, "application/json", "{") }, "metadata request: status 200"},
		{"no endpoints", func(m members) wrapper { return documentOf(members{"issuer": m["issuer"]}) }, "are required"},
		{"endpoint elsewhere", func(m members) wrapper { return documentOf(with(m, members{"token_endpoint": evil.URL + "/token"})) }, "another origin"},
		{"no S256", func(m members) wrapper {
			return documentOf(with(m, members{"code_challenge_methods_supported": []string{"plain"}}))
		}, "lacks S256"},
		{"wrong media type", func(m members) wrapper { return documentAs("text/plain", m) }, "not sent as application/json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			as := rfcServer(t)
			good := metadataOf(t, as)
			as.Wrap(authagenttest.PathMetadata, test.first(good))
			t.Run("second good", func(t *testing.T) {
				as.Wrap(authagenttest.PathDiscovery, documentOf(good))
				b := newBenchOn(t, as)
				b.MustSignIn(b.Browser(), b.Agent)
			})
			for name, second := range map[string]func(good members) wrapper{
				"second missing": func(members) wrapper { return authagenttest.Reply(404, "text/plain", "404") },
				"second is another issuer's, too": func(m members) wrapper {
					return documentOf(with(m, members{"issuer": "https://evil.example"}))
				},
				"second is a fault of another kind": func(members) wrapper { return authagenttest.Reply(503, "text/html", "later") },
			} {
				t.Run(name, func(t *testing.T) {
					as := rfcServer(t)
					good := metadataOf(t, as)
					as.Wrap(authagenttest.PathMetadata, test.first(good))
					as.Wrap(authagenttest.PathDiscovery, second(good))
					b := newBenchOn(t, as)
					resp := b.Get(b.Browser(), "/auth/agent/login")
					if test.log == "" && name == "second missing" {
						if resp.StatusCode != http.StatusSeeOther {
							t.Errorf("status %d %s", resp.StatusCode, resp.Text)
						}
						return
					}
					b.notReady(resp)
					if !strings.Contains(b.Log.String(), test.log) {
						t.Errorf("the log does not say %q: %s", test.log, b.Log)
					}
				})
			}
		})
	}
	if n := hits.Count(); n != 0 {
		t.Errorf("%d requests to another host", n)
	}
}

// TestSlashRedirect: NET-21. A redirect of metadata to the same path of the same
// origin with a slash is followed, once; no other is (NET-3).
func TestSlashRedirect(t *testing.T) {
	const path = authagenttest.PathMetadata
	evil, hits := newEvil(t)
	for _, test := range []struct {
		name   string
		to     func(origin string) string
		beyond bool // the address with the slash redirects, too
		ok     bool
	}{
		{"absolute", func(origin string) string { return origin + path + "/" }, false, true},
		{"absolute path", func(string) string { return path + "/" }, false, true},
		{"relative", func(string) string { return "oauth-authorization-server/" }, false, true},
		{"host in upper case", func(origin string) string { return strings.Replace(origin, "https", "HTTPS", 1) + path + "/" }, false, true},
		{"twice", func(origin string) string { return origin + path + "/" }, true, false},
		{"another path", func(origin string) string { return origin + "/metadata/" }, false, false},
		{"two slashes", func(origin string) string { return origin + path + "//" }, false, false},
		{"a query", func(origin string) string { return origin + path + "/?x=1" }, false, false},
		{"a user", func(origin string) string { return strings.Replace(origin, "//", "//u:p@", 1) + path + "/" }, false, false},
		{"plain http", func(origin string) string { return strings.Replace(origin, "https", "http", 1) + path + "/" }, false, false},
		{"another origin", func(string) string { return evil.URL + path + "/" }, false, false},
		{"the same", func(origin string) string { return origin + path }, false, false},
	} {
		for _, status := range []int{301, 302, 307, 308} {
			t.Run(fmt.Sprint("NET-21 ", test.name, " ", status), func(t *testing.T) {
				as := quickServer(t)
				good := documentOf(metadataOf(t, as))
				as.Wrap(path, authagenttest.RedirectTo(status, test.to(as.URL)))
				as.Wrap(path+"/", good)
				as.Wrap(path+"//", good)
				as.Wrap("/metadata/", good)
				if test.beyond {
					as.Wrap(path+"/", authagenttest.RedirectTo(status, path+"//"))
				}
				b := newBenchOn(t, as)
				if !test.ok {
					b.notReady(b.Get(b.Browser(), "/auth/agent/login"))
					return
				}
				b.MustSignIn(b.Browser(), b.Agent)
			})
		}
	}
	if n := hits.Count(); n != 0 {
		t.Errorf("%d requests to another origin", n)
	}
}

// TestMetadataNull: NET-22. Every optional member of metadata may be null, which
// is as good as absent.
func TestMetadataNull(t *testing.T) {
	as := quickServer(t)
	all := metadataOf(t, as)
	for _, name := range []string{
		"authorization_response_iss_parameter_supported", "id_token_signing_alg_values_supported", "subject_types_supported",
	} {
		all[name] = nil
	}
	every := maps.Clone(all)
	for name := range all {
		switch name {
		case "issuer", "authorization_endpoint", "token_endpoint":
			continue
		case "userinfo_endpoint": // FullAccount needs it
		default:
			every[name] = nil
		}
		t.Run("NET-22 "+name, func(t *testing.T) {
			as.Wrap(authagenttest.PathMetadata, documentOf(with2(all, name, nil)))
			b := newBenchOn(t, as, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
			b.MustSignIn(b.Browser(), b.Agent)
		})
	}
	t.Run("NET-22 all of them", func(t *testing.T) {
		as.Wrap(authagenttest.PathMetadata, documentOf(every))
		// As a default, RFC 8414 has Basic, which the published server does not read.
		b := newBenchOn(t, as)
		b.MustSignIn(b.Browser(), b.Agent)
	})
	for _, name := range []string{"issuer", "authorization_endpoint", "token_endpoint"} {
		t.Run("NET-22 required: "+name, func(t *testing.T) {
			as.Wrap(authagenttest.PathMetadata, documentOf(with2(all, name, nil)))
			as.Reset()
			b := newBenchOn(t, as)
			b.notReady(b.Get(b.Browser(), "/auth/agent/login"))
		})
	}
}

// with2 is with for one member, which may be null.
func with2(m members, name string, value any) members {
	m = maps.Clone(m)
	m[name] = value
	return m
}

// TestMediaType: NET-23. A good document that is sent as something else is said to
// be that, by the log and by Check, and no path is guessed over it.
func TestMediaType(t *testing.T) {
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", "application/octet-stream", ""} {
		for _, path := range []string{authagenttest.PathMetadata, authagenttest.PathDiscovery} {
			t.Run("NET-23 "+contentType+" "+path, func(t *testing.T) {
				as := quickServer(t)
				good := metadataOf(t, as)
				as.Wrap(authagenttest.PathMetadata, authagenttest.Reply(404, "", ""))
				as.Wrap(path, documentAs(contentType, good))
				as.Reset()
				b := newBenchOn(t, as)
				b.notReady(b.Get(b.Browser(), "/auth/agent/login"))
				if !strings.Contains(b.Log.String(), "not sent as application/json") {
					t.Errorf("log: %s", b.Log)
				}
				findings := b.RP.Check(t.Context())
				if len(findings) != 1 || !strings.Contains(findings[0].Problem, "media type") {
					t.Errorf("findings %v", findings)
				}
			})
		}
	}
}

// TestOrigins: NET-24. Origins are compared as such, wherever they are written,
// and each part of one counts.
func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		issuer, allowed, endpoint string
		ok                        bool
	}{
		{"https://as.example", "", "https://as.example/token", true},
		{"https://as.example", "", "https://AS.example/token", true},
		{"https://as.example", "", "https://as.example:443/token", true},
		{"https://as.example", "", "HTTPS://AS.EXAMPLE:443/token", true},
		{"https://AS.example:443", "", "https://as.example/token", true},
		{"https://as.example:8443", "", "https://AS.example:8443/token", true},
		{"https://[2001:db8::A]", "", "https://[2001:DB8::a]:443/token", true},
		{"https://as.example", "https://login.example", "https://LOGIN.example:443/token", true},
		{"https://as.example", "https://LOGIN.example:443", "https://login.example/token", true},
		{"https://as.example", "https://login.example:8443", "https://login.example:8443/token", true},
		{"https://as.example", "", "https://as.example:80/token", false},
		{"https://as.example", "", "https://as.example:8443/token", false},
		{"https://as.example:8443", "", "https://as.example/token", false},
		{"https://as.example", "", "http://as.example:443/token", false},
		{"https://as.example", "", "https://as.example./token", false},
		{"https://as.example", "", "https://as.example.evil.example/token", false},
		{"https://as.example", "https://login.example", "https://login.example:8443/token", false},
		{"https://as.example", "https://login.example:8443", "https://login.example/token", false},
		{"https://as.example", "https://login.example", "https://xlogin.example/token", false},
	} {
		t.Run("NET-24 "+test.issuer+" "+test.allowed+" "+test.endpoint, func(t *testing.T) {
			body, _ := json.Marshal(members{
				"issuer": test.issuer, "authorization_endpoint": test.issuer + "/authorize", "token_endpoint": test.endpoint,
			})
			c := validConfig()
			c.Issuer = test.issuer
			if test.allowed != "" {
				c.Provider.EndpointOrigins = []string{test.allowed}
			}
			c.Provider.HTTPClient = &http.Client{Transport: authagenttest.Hosts{
				mustParse(t, test.issuer).Host: authagenttest.Reply(200, "application/json", string(body))(nil),
			}}
			rp, err := authagent.New(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := authorizationURL(t.Context(), rp); (err == nil) != test.ok {
				t.Errorf("error %v, want one %v", err, !test.ok)
			}
		})
	}
	for origin, ok := range map[string]bool{
		"https://login.example": true, "https://LOGIN.example": true, "https://login.example:443": true, "https://[2001:db8::a]": true,
		"https://login.example/": false, "https://login.example/x": false, "https://login.example?": false, "https://login.example#": false,
		"https://u@login.example": false, "http://login.example": false, "login.example": false, "": false,
	} {
		c := validConfig()
		c.Provider.EndpointOrigins = []string{origin}
		if _, err := authagent.New(c); (err == nil) != ok {
			t.Errorf("NET-24 EndpointOrigins %q: %v", origin, err)
		}
	}
}
