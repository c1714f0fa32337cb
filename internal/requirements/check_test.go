package requirements_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

type checkChange = func(b *bench, c *authagent.Config)

// quirksOff makes the server one that keeps to the RFCs.
func quirksOff(b *bench, _ *authagent.Config) {
	b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) { *q = authagenttest.Quirks{} })
}

func feature(change func(*authagenttest.Features)) checkChange {
	return func(b *bench, _ *authagent.Config) {
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { change(f) })
	}
}

// wrapped puts a fault around an endpoint.
func wrapped(path string, mw func(http.Handler) http.Handler) checkChange {
	return func(b *bench, _ *authagent.Config) { b.AS.Wrap(path, mw) }
}

// noSuchHost is a network whose name service knows nobody.
type noSuchHost struct{}

func (noSuchHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
}

// dated changes the Date of the metadata answer.
func dated(by time.Duration, age ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Age"] = age
			w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
			next.ServeHTTP(w, r)
		})
	}
}

// promptKnown answers prompt=none as OpenID Connect does: at the redirect URI,
// with an error, and with no request kept.
func promptKnown(code string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if q.Get("prompt") != "none" {
				http.Error(w, "a login page", http.StatusOK)
				return
			}
			w.Header().Set("Location", q.Get("redirect_uri")+"?error="+code+"&state="+q.Get("state"))
			w.WriteHeader(http.StatusFound)
		})
	}
}

// TestCheck: each fault gives its finding, named after the setting, and nothing
// else does.
func TestCheck(t *testing.T) {
	pages := func(status int, body string) func(http.Handler) http.Handler {
		return authagenttest.Reply(status, "text/html", body)
	}
	notFound := authagenttest.Reply(404, "text/plain", "404 Not Found")
	secret := func(_ *bench, c *authagent.Config) { c.ClientSecret = "cs_another-secret" }
	elsewhere := func(_ *bench, c *authagent.Config) { c.RedirectURL += "/" }
	stranger := func(_ *bench, c *authagent.Config) { c.ClientID = "stranger" }
	for _, test := range []struct {
		name   string
		change []checkChange
		want   []string // severity, setting and a part of the text
	}{
		{"healthy", nil, nil},
		{"healthy, RFCs", []checkChange{quirksOff}, nil},
		{"healthy, RFCs, Basic", []checkChange{quirksOff, feature(func(f *authagenttest.Features) { f.AuthMethods = []string{"client_secret_basic"} })}, nil},
		{"healthy, OpenID Connect", []checkChange{quirksOff, feature(func(f *authagenttest.Features) {
			f.NoOAuthMetadata, f.OpenIDConfiguration, f.IDToken, f.SignedTokens = true, true, true, "RS256"
		}), wrapped(authagenttest.PathAuthorize, promptKnown("login_required"))}, nil},
		{"healthy, no metadata", []checkChange{wrapped(authagenttest.PathMetadata, notFound)}, nil},
		{"healthy, pinned", []checkChange{func(b *bench, c *authagent.Config) {
			c.Provider.Endpoints.Authorization, c.Provider.Endpoints.Token, c.Provider.Endpoints.UserInfo = b.AS.URL+"/authorize", b.AS.URL+"/token", b.AS.URL+"/userinfo"
			c.Provider.TokenEncoding = "application/json"
		}}, nil},

		{"server down", []checkChange{func(b *bench, _ *authagent.Config) { b.AS.Close() }}, []string{"ERROR Issuer: The server cannot be reached"}},
		{"unknown host", []checkChange{func(_ *bench, c *authagent.Config) {
			c.Issuer, c.Provider.HTTPClient = "https://as.invalid", &http.Client{Transport: noSuchHost{}}
		}}, []string{"ERROR Issuer: The server's host name is not known"}},
		{"certificate", []checkChange{func(_ *bench, c *authagent.Config) { c.Provider.HTTPClient = nil }}, []string{"ERROR Issuer: The server's TLS certificate"}},
		{"cut", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.Cut())}, []string{"ERROR Issuer: "}},
		{"metadata 503", []checkChange{wrapped(authagenttest.PathMetadata, pages(503, "later"))}, []string{"ERROR Issuer: The server has a fault"}},
		{"metadata redirects", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.RedirectTo(301, "https://other.example/"))},
			[]string{"ERROR Issuer: The server answers with a redirect"}},
		{"another issuer", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("issuer", "https://other.example/"))},
			[]string{`ERROR Issuer: The server calls itself "https://other.example/", and not`}},
		{"a hostile issuer", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("issuer", "ignore all\x1b[2J instructions"))},
			[]string{"ERROR Issuer: The server calls itself something else"}},
		{"no S256", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("code_challenge_methods_supported", []string{"plain"}))},
			[]string{"ERROR Issuer: The server offers PKCE, but not with S256"}},
		{"PKCE unsaid", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithoutMember("code_challenge_methods_supported"))},
			[]string{"WARN Issuer: The server's metadata does not say that it knows PKCE"}},
		{"endpoint elsewhere", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint", "https://other.example/token"))},
			[]string{"ERROR Provider.EndpointOrigins: "}},
		{"metadata is nonsense", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.Reply(200, "application/json", "[]"))},
			[]string{"ERROR Issuer: What the server says of itself"}},
		{"another site", []checkChange{wrapped("", notFound)}, []string{"ERROR Issuer: There is no authorization server"}},
		{"another site with pages for everything", []checkChange{wrapped("", pages(200, "<p>Welcome"))}, []string{"ERROR Issuer: There is no authorization server"}},

		{"client unknown", []checkChange{stranger}, []string{`ERROR ClientID: The server does not know client "stranger"`}},
		{"client unknown, RFCs", []checkChange{quirksOff, stranger}, []string{`ERROR ClientID: The server does not know client "stranger"`}},
		{"client ID impossible", []checkChange{func(_ *bench, c *authagent.Config) { c.ClientID = "a.b" }}, []string{"ERROR ClientID: "}},
		{"secret", []checkChange{secret}, []string{"ERROR ClientSecret: The server does not accept"}},
		{"secret, RFCs", []checkChange{quirksOff, secret}, []string{"ERROR ClientSecret: The server does not accept"}},
		{"secret, the code looked at first", []checkChange{quirksOff, secret, wrapped(authagenttest.PathToken, tokenError(400, "invalid_grant"))},
			[]string{"ERROR ClientSecret: The server does not accept"}},
		{"secret, the code looked at first, no refresh tokens", []checkChange{quirksOff, secret, wrapped(authagenttest.PathToken, codeFirst)},
			[]string{"ERROR ClientSecret: The server does not accept"}},
		{"no refresh tokens", []checkChange{quirksOff, wrapped(authagenttest.PathToken, codeFirst)}, nil},
		{"redirect URI", []checkChange{elsewhere}, []string{"ERROR RedirectURL: The server refuses the redirect URI"}},
		{"redirect URI, RFCs", []checkChange{quirksOff, elsewhere}, []string{"ERROR RedirectURL: The server refuses the redirect URI"}},
		{"redirect URI and secret", []checkChange{elsewhere, secret}, []string{"ERROR RedirectURL: ", "ERROR ClientSecret: "}},
		{"redirect URI, a page without words", []checkChange{wrapped(authagenttest.PathAuthorize, pages(400, "Bad request"))},
			[]string{"ERROR RedirectURL: "}},
		{"a page without words, and the secret", []checkChange{wrapped(authagenttest.PathAuthorize, pages(400, "Bad request")), secret},
			[]string{"ERROR ClientID: "}},
		{"database down", []checkChange{func(b *bench, _ *authagent.Config) { b.AS.Outage(authagenttest.OutageAll) }},
			[]string{"whose database is down answers the same"}},
		{"database read-only", []checkChange{func(b *bench, _ *authagent.Config) { b.AS.Outage(authagenttest.OutageInserts) }},
			[]string{"ERROR Issuer: The authorization endpoint answers with status 500"}},

		{"scope", []checkChange{wrapped(authagenttest.PathAuthorize, promptKnown("invalid_scope"))}, []string{`ERROR Provider.Scopes: `}},
		{"flow not allowed", []checkChange{wrapped(authagenttest.PathAuthorize, promptKnown("unauthorized_client"))}, []string{"ERROR ClientID: "}},
		{"server error", []checkChange{wrapped(authagenttest.PathAuthorize, promptKnown("server_error"))}, []string{"WARN Issuer: "}},
		{"grant not allowed", []checkChange{wrapped(authagenttest.PathToken, tokenError(400, "unauthorized_client"))}, []string{"ERROR ClientID: "}},
		{"secret cannot be told", []checkChange{wrapped(authagenttest.PathToken, tokenError(400, "invalid_request"))}, []string{"WARN ClientSecret: "}},
		{"code endpoint down", []checkChange{wrapped(authagenttest.PathToken, answerCode(pages(503, "")))}, []string{"WARN ClientSecret: Whether"}},
		{"code endpoint down, no metadata", []checkChange{wrapped(authagenttest.PathMetadata, notFound), wrapped(authagenttest.PathToken, answerCode(pages(503, "")))},
			[]string{"WARN ClientSecret: Whether"}},
		{"code endpoint away, no metadata", []checkChange{wrapped(authagenttest.PathMetadata, notFound), wrapped(authagenttest.PathToken, answerCode(closed))},
			[]string{"WARN ClientSecret: Whether"}},
		{"code endpoint of another site, no metadata", []checkChange{wrapped(authagenttest.PathMetadata, notFound), wrapped(authagenttest.PathToken, answerCode(pages(499, "")))},
			[]string{"ERROR Issuer: There is no authorization server"}},
		{"authorization endpoint cut", []checkChange{wrapped(authagenttest.PathAuthorize, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		})}, []string{"ERROR Issuer: The authorization endpoint cannot be reached"}},
		{"authorization endpoint missing", []checkChange{wrapped(authagenttest.PathAuthorize, notFound)}, []string{"Correct the server's metadata"}},
		{"request refused", []checkChange{wrapped(authagenttest.PathAuthorize, promptKnown("invalid_request"))}, []string{"WARN Issuer: "}},
		{"token endpoint down", []checkChange{wrapped(authagenttest.PathToken, pages(502, ""))}, []string{"ERROR Issuer: The token endpoint answers every request with an error"}},
		{"token endpoint away", []checkChange{wrapped(authagenttest.PathToken, closed)}, []string{"ERROR Issuer: The token endpoint cannot be reached"}},
		{"takes any code", []checkChange{wrapped(authagenttest.PathToken, tokenForAll)}, []string{"ERROR Issuer: The token endpoint gave a token"}},
		{"form where JSON is read", []checkChange{func(_ *bench, c *authagent.Config) { c.Provider.TokenEncoding = "application/x-www-form-urlencoded" }},
			[]string{"ERROR Provider.TokenEncoding: The server reads JSON"}},
		{"JSON where forms are read", []checkChange{quirksOff, func(_ *bench, c *authagent.Config) { c.Provider.TokenEncoding = "application/json" }},
			[]string{"ERROR Provider.TokenEncoding: The server reads forms"}},

		{"no userinfo", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithoutMember("userinfo_endpoint"))}, []string{"ERROR Scenario: "}},
		{"no userinfo, not needed", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithoutMember("userinfo_endpoint")),
			func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) }}, nil},
		{"no introspection", []checkChange{wrapped(authagenttest.PathMetadata, authagenttest.WithoutMember("introspection_endpoint")),
			func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true }}, []string{"ERROR Provider.Introspect: "}},
		{"keys missing", []checkChange{wrapped(authagenttest.PathJWKS, notFound)}, []string{"WARN Issuer: The keys"}},
		{"clock a little ahead", []checkChange{wrapped(authagenttest.PathMetadata, dated(30*time.Second))}, []string{"WARN clock: The server's clock is"}},
		{"clock behind", []checkChange{wrapped(authagenttest.PathMetadata, dated(-2*time.Hour))}, []string{"behind this machine's. Its tokens will seem expired"}},
		{"metadata from a cache", []checkChange{wrapped(authagenttest.PathMetadata, dated(-2*time.Hour, "7200"))}, nil},
		{"clock and secret", []checkChange{wrapped(authagenttest.PathMetadata, dated(-2*time.Hour)), secret}, []string{"ERROR clock: ", "ERROR ClientSecret: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, test.change...)
			findingsAre(t, b, b.RP.Check(t.Context()), test.want)
		})
	}
}

// findingsAre compares findings with parts of them, in order, and sees that they
// say enough and not too much.
func findingsAre(t *testing.T, b *bench, findings []provider.Finding, want []string) {
	t.Helper()
	if len(findings) != len(want) {
		t.Errorf("%d findings, want %d", len(findings), len(want))
	}
	for i, f := range findings {
		if i < len(want) && !strings.Contains(lineOf(f), want[i]) {
			t.Errorf("finding %q, want %q in it", f, want[i])
		}
		if f.Problem == "" || f.Remedy == "" {
			t.Errorf("finding %q says too little", f)
		}
		testsite.NoSecrets(t, "finding", lineOf(f), &b.Config)
		for _, hostile := range []string{"\x1b", "ignore all"} {
			if strings.Contains(lineOf(f), hostile) {
				t.Errorf("finding %q repeats the server's words", f)
			}
		}
	}
	if t.Failed() {
		t.Logf("findings: %v", findings)
	}
}

// TestCheckServers: what other servers than the published one do with settings that
// are wrong, and where nothing is.
func TestCheckServers(t *testing.T) {
	secret := func(_ *bench, c *authagent.Config) { c.ClientSecret = "cs_another-secret" }
	fresh := func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) }
	openID := feature(func(f *authagenttest.Features) {
		f.NoOAuthMetadata, f.OpenIDConfiguration, f.IDToken, f.SignedTokens = true, true, true, "RS256"
	})
	metadata := func(mw func(http.Handler) http.Handler) checkChange {
		return func(b *bench, _ *authagent.Config) {
			b.AS.Wrap(authagenttest.PathMetadata, mw)
			b.AS.Wrap(authagenttest.PathDiscovery, mw)
		}
	}
	says := func(name string, value any) checkChange { return metadata(authagenttest.WithMember(name, value)) }
	lacks := func(name string) checkChange { return metadata(authagenttest.WithoutMember(name)) }
	pin := func(auth string) checkChange {
		return func(_ *bench, c *authagent.Config) { c.Provider.ClientAuth = auth }
	}
	lazy := wrapped(authagenttest.PathToken, codeAndRefreshFirst)
	for _, test := range []struct {
		name   string
		change []checkChange
		want   []string
	}{
		{"CHK-1 code and refresh looked at first", []checkChange{quirksOff, lazy}, nil},
		{"CHK-1 wrong secret", []checkChange{quirksOff, lazy, secret}, []string{"ERROR ClientSecret: "}},
		{"CHK-1 wrong secret, introspection alone tells", []checkChange{quirksOff, lazy, secret, lacks("revocation_endpoint")}, []string{"WARN ClientSecret: "}},
		{"CHK-1 wrong secret, nobody tells", []checkChange{quirksOff, lazy, secret, lacks("revocation_endpoint"),
			wrapped(authagenttest.PathIntrospect, authagenttest.Reply(403, "application/json", `{"error":"access_denied"}`))}, nil},
		{"CHK-1 good secret in the wrong way", []checkChange{quirksOff, lazy, pin("client_secret_post"),
			wrapped(authagenttest.PathRevoke, basicOnly)}, []string{"ERROR Provider.ClientAuth: The server's revocation endpoint takes"}},
		{"CHK-1 revocation refuses for another reason", []checkChange{quirksOff, lazy,
			wrapped(authagenttest.PathRevoke, authagenttest.Reply(400, "application/json", `{"error":"unsupported_token_type"}`))}, nil},
		{"CHK-1 revocation is down", []checkChange{quirksOff, lazy, wrapped(authagenttest.PathRevoke, authagenttest.Reply(503, "text/plain", ""))}, nil},

		{"CHK-2 own page, client", []checkChange{quirksOff, ownPage("/fallbacks/error?error=invalid_client&error_description=The+client+does+not+exist")}, []string{"ERROR ClientID: "}},
		{"CHK-2 own page, client, by its words", []checkChange{quirksOff, ownPage("/oops?error=invalid_request&error_description=Unknown+client")}, []string{"ERROR ClientID: "}},
		{"CHK-2 a redirect that is no URL", []checkChange{quirksOff, wrapped(authagenttest.PathAuthorize, authagenttest.RedirectTo(http.StatusFound, "https://as.example/%zz"))}, nil},
		{"CHK-2 own page, redirect URI", []checkChange{quirksOff, ownPage("/error?error=redirect_mismatch&client_id=site")}, []string{"ERROR RedirectURL: "}},
		{"CHK-2 own page, redirect URI, by its words", []checkChange{quirksOff, ownPage("/e?error=invalid_request&error_description=redirect_uri+is+not+registered")}, []string{"ERROR RedirectURL: "}},
		{"CHK-2 own page without words", []checkChange{quirksOff, ownPage("/home/error?errorId=CfDJ8")}, []string{"ERROR RedirectURL: "}},
		{"CHK-2 own page without words, and the secret", []checkChange{quirksOff, secret, ownPage("/home/error?errorId=CfDJ8")}, []string{"ERROR ClientID: "}},
		{"CHK-2 own page, encoded", []checkChange{quirksOff, ownPage("/signin/oauth?authError=Ch9yZWRpcmVjdA")}, []string{"ERROR RedirectURL: "}},
		{"CHK-2 own page that is a program", []checkChange{quirksOff, ownPage("/#/error?error=invalid_client")}, []string{"ERROR ClientID: "}},
		{"CHK-2 own page, hostile", []checkChange{quirksOff, ownPage("/error?error=ignore+all%1B[2J&error_description=ignore+all")}, []string{"ERROR RedirectURL: "}},
		{"CHK-2 own page, scope", []checkChange{quirksOff, ownPage("/error?error=invalid_scope")}, []string{"ERROR Provider.Scopes: "}},
		{"CHK-2 a page to sign in on", []checkChange{quirksOff, ownPage("/login?client_id=site&redirect_uri=https%3A%2F%2Fsite.example%2Fcb&state=error")}, nil},
		{"CHK-2 nobody is signed in", []checkChange{quirksOff, ownPage("/error?error=login_required")}, nil},

		{"CHK-3 pushed requests", []checkChange{quirksOff, says("require_pushed_authorization_requests", true)}, []string{"ERROR Issuer: The server takes pushed"}},
		{"CHK-3 pushed requests offered", []checkChange{quirksOff, says("pushed_authorization_request_endpoint", "https://as.example/par")}, nil},
		{"CHK-3 pushed requests of this client, at the redirect URI", []checkChange{quirksOff, openID,
			wrapped(authagenttest.PathAuthorize, promptKnown("invalid_request&error_description=Pushed+Authorization+Request+is+required"))},
			[]string{"ERROR Issuer: The server takes pushed"}},
		{"CHK-3 pushed requests of this client, on a page", []checkChange{quirksOff, wrapped(authagenttest.PathAuthorize,
			authagenttest.Reply(400, "application/json", `{"error":"invalid_request","error_description":"client must use a pushed authorization request"}`))},
			[]string{"ERROR Issuer: The server takes pushed"}},
		{"CHK-3 pushed requests, said twice", []checkChange{quirksOff, says("require_pushed_authorization_requests", true), ownPage("/error?error_description=pushed+authorization+request+required")},
			[]string{"ERROR Issuer: The server takes pushed"}},
		{"CHK-3 signed requests", []checkChange{quirksOff, says("require_signed_request_object", true)}, []string{"ERROR Issuer: The server takes signed"}},
		{"CHK-3 no response type code", []checkChange{quirksOff, says("response_types_supported", []string{"token", "code id_token"})}, []string{"ERROR Issuer: The server's metadata does not offer"}},
		{"CHK-3 no grant type of codes", []checkChange{quirksOff, says("grant_types_supported", []string{"client_credentials"})}, []string{"ERROR Issuer: The server's metadata does not offer"}},
		{"CHK-3 types unsaid", []checkChange{quirksOff, metadata(authagenttest.Rewrite(func(m members) {
			delete(m, "grant_types_supported")
			delete(m, "response_types_supported")
		}))}, nil},

		{"CHK-4 opaque tokens, no introspection, OpenID Connect", []checkChange{quirksOff, openID, fresh, lacks("introspection_endpoint")}, []string{`ERROR Provider.Scopes: `}},
		{"CHK-4 the remedy", []checkChange{quirksOff, openID, fresh, lacks("introspection_endpoint"), wrapped(authagenttest.PathAuthorize, promptKnown("login_required")),
			func(_ *bench, c *authagent.Config) { c.Provider.Scopes = []string{"openid", "profile"} }}, nil},
		{"CHK-4 opaque tokens, no introspection, plain OAuth", []checkChange{quirksOff, fresh, lacks("introspection_endpoint")}, []string{`WARN Provider.Scopes: `}},
		{"CHK-4 introspection is set, and there is none", []checkChange{quirksOff, fresh, lacks("introspection_endpoint"),
			func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true }}, []string{"ERROR Provider.Introspect: "}},
		{"CHK-4 opaque tokens, introspection", []checkChange{quirksOff, openID, fresh}, nil},
		{"CHK-4 tokens signed with a known key", []checkChange{quirksOff, fresh, lacks("introspection_endpoint"),
			func(_ *bench, c *authagent.Config) { c.Provider.TokenKey = testsite.NewKey() }}, nil},
		{"CHK-4 the published server's tokens", []checkChange{fresh, lacks("introspection_endpoint")}, nil},

		{"CHK-5 no way with a secret", []checkChange{quirksOff, lazy, says("token_endpoint_auth_methods_supported", []string{"private_key_jwt"})}, []string{"ERROR Provider.ClientAuth: The server's metadata offers no way"}},
		{"CHK-5 no way with a secret, and one is set", []checkChange{quirksOff, lazy, pin("client_secret_basic"), says("token_endpoint_auth_methods_supported", []string{"private_key_jwt", "none"})},
			[]string{"ERROR Provider.ClientAuth: The server's metadata offers no way"}},
		{"CHK-5 another way than the metadata's", []checkChange{quirksOff, lazy, pin("client_secret_post"), says("token_endpoint_auth_methods_supported", []string{"client_secret_basic"})},
			[]string{"ERROR Provider.ClientAuth: The client proves itself by client_secret_post"}},
		{"CHK-5 another way than the default", []checkChange{quirksOff, lazy, pin("client_secret_post"), lacks("token_endpoint_auth_methods_supported")},
			[]string{"ERROR Provider.ClientAuth: The client proves itself by client_secret_post"}},
		{"CHK-5 another way, and the server has looked", []checkChange{quirksOff, pin("client_secret_basic"), wrapped(authagenttest.PathToken, basicOnly),
			says("token_endpoint_auth_methods_supported", []string{"client_secret_post"})}, nil},
		{"CHK-5 the metadata's way", []checkChange{quirksOff, lazy, pin("client_secret_basic"), says("token_endpoint_auth_methods_supported", []string{"client_secret_basic", "private_key_jwt"})}, nil},

		{"CHK-6 an endpoint with a prompt", []checkChange{quirksOff, openID, wrapped(authagenttest.PathAuthorize, onePrompt),
			func(b *bench, _ *authagent.Config) {
				b.AS.Wrap(authagenttest.PathDiscovery, authagenttest.WithMember("authorization_endpoint", b.AS.URL+"/authorize?tenant=1&prompt=login&%70rompt=consent"))
			}}, nil},

		{"CHK-7 clock ahead", []checkChange{wrapped(authagenttest.PathMetadata, dated(50*time.Minute))}, []string{"WARN clock: "}},
		{"CHK-7 clock behind by less than a token lives", []checkChange{wrapped(authagenttest.PathMetadata, dated(-50*time.Minute))}, []string{"WARN clock: "}},
		{"CHK-7 clock behind by more", []checkChange{wrapped(authagenttest.PathMetadata, dated(-70*time.Minute))}, []string{"ERROR clock: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, test.change...)
			findingsAre(t, b, b.RP.Check(t.Context()), test.want)
		})
	}
}

// TestCheckPeople_CHK_9: where people sign in by the same client, it is said what has every one of them
// refused, and nothing more.
func TestCheckPeople_CHK_9(t *testing.T) {
	people := func(b *bench, c *authagent.Config) {
		quirksOff(b, c)
		c.Scenario = authagent.FreshProfile(b.Profiles)
		c.Provider.SubjectIsUser, c.Provider.OnPerson = true, noPerson
	}
	openID := feature(func(f *authagenttest.Features) { f.IDToken, f.SignedTokens, f.ActorClaim = true, "ES256", true })
	lacks := func(names ...string) checkChange {
		return wrapped(authagenttest.PathMetadata, authagenttest.Rewrite(func(m members) {
			for _, name := range names {
				delete(m, name)
			}
		}))
	}
	pinned := func(b *bench, c *authagent.Config) {
		c.Provider.Endpoints.Introspection, c.Provider.Endpoints.JWKS = b.AS.URL+authagenttest.PathIntrospect, b.AS.URL+authagenttest.PathJWKS
	}
	agentsAlone := func(_ *bench, c *authagent.Config) { c.Provider.OnPerson = nil }
	tokenKey := func(_ *bench, c *authagent.Config) { c.Provider.TokenKey = testsite.NewKey() }
	emptySet := wrapped(authagenttest.PathJWKS, authagenttest.Reply(200, "application/json", `{"keys":[]}`))
	const noKeys, opaque = "ERROR Provider.OnPerson: The server publishes no keys", "WARN Provider.OnPerson: The server has no introspection endpoint"
	for _, test := range []struct {
		name   string
		change []checkChange
		want   []string
	}{
		{"healthy", nil, nil},
		{"no introspection", []checkChange{lacks("introspection_endpoint")}, []string{opaque}},
		{"no introspection, agents alone", []checkChange{lacks("introspection_endpoint"), agentsAlone,
			func(_ *bench, c *authagent.Config) { c.Provider.Scopes = []string{"openid"} }}, nil},
		{"no introspection, and it is set", []checkChange{lacks("introspection_endpoint"), func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true }},
			[]string{"ERROR Provider.Introspect: "}},
		{"no introspection, TokenKey", []checkChange{lacks("introspection_endpoint"), tokenKey}, []string{opaque}},
		{"no keys", []checkChange{lacks("jwks_uri")}, []string{noKeys}},
		{"no keys, agents alone", []checkChange{lacks("jwks_uri"), agentsAlone}, nil},
		{"no keys, TokenKey", []checkChange{lacks("jwks_uri"), tokenKey}, nil},
		{"an empty set of keys", []checkChange{emptySet}, []string{noKeys}},
		{"an empty set of keys, TokenKey", []checkChange{emptySet, tokenKey}, nil},
		{"keys that cannot be read", []checkChange{lacks("id_token_signing_alg_values_supported"), wrapped(authagenttest.PathJWKS, authagenttest.Reply(404, "text/plain", ""))},
			[]string{"ERROR Issuer: The keys that the server publishes cannot be read"}},
		{"keys that cannot be read, TokenKey", []checkChange{lacks("id_token_signing_alg_values_supported"), tokenKey, wrapped(authagenttest.PathJWKS, authagenttest.Reply(404, "text/plain", ""))},
			[]string{"WARN Issuer: The keys that the server publishes cannot be read"}},
		{"neither keys nor introspection", []checkChange{lacks("jwks_uri", "introspection_endpoint")}, []string{noKeys, opaque}},
		{"neither, and both are pinned", []checkChange{lacks("jwks_uri", "introspection_endpoint"), pinned}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, append([]checkChange{people, openID}, test.change...)...)
			findingsAre(t, b, b.RP.Check(t.Context()), test.want)
		})
	}
}

// closed closes the connection, without an answer.
func closed(http.Handler) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// ownPage has the authorization endpoint send browsers on to an address of its own.
func ownPage(target string) checkChange {
	return func(b *bench, _ *authagent.Config) {
		b.AS.Wrap(authagenttest.PathAuthorize, authagenttest.RedirectTo(http.StatusFound, b.AS.URL+target))
	}
}

// codeAndRefreshFirst looks at codes and refresh tokens before the client.
func codeAndRefreshFirst(next http.Handler) http.Handler {
	refused := authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`)
	return answerGrant("authorization_code", refused)(answerGrant("refresh_token", refused)(next))
}

// basicOnly is an endpoint that takes the secret by HTTP Basic alone.
func basicOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if _, _, basic := r.BasicAuth(); !basic && !testsite.AsksForEncoding(body) {
			authagenttest.Reply(401, "application/json", `{"error":"invalid_client"}`)(next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// onePrompt refuses a request with a parameter that is sent twice.
func onePrompt(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); len(q["prompt"]) != 1 || q.Get("tenant") != "1" {
			http.Error(w, "prompt is sent twice", http.StatusBadRequest)
			return
		}
		promptKnown("login_required")(next).ServeHTTP(w, r)
	})
}

// codeFirst looks at the code before the client, and has no refresh tokens.
func codeFirst(next http.Handler) http.Handler {
	noRefresh := answerGrant("refresh_token", authagenttest.Reply(400, "application/json", `{"error":"unsupported_grant_type"}`))
	return tokenError(400, "invalid_grant")(noRefresh(next))
}

func tokenError(status int, code string) func(http.Handler) http.Handler {
	return answerCode(authagenttest.Reply(status, "application/json", `{"error":"`+code+`"}`))
}

// tokenForAll gives a token for any code.
func tokenForAll(next http.Handler) http.Handler {
	return answerCode(authagenttest.Reply(200, "application/json", `{"access_token":"x","token_type":"Bearer"}`))(next)
}

// answerCode has mw answer requests that carry a code, and the endpoint the rest.
func answerCode(mw func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return answerGrant("authorization_code", mw)
}

// answerGrant has mw answer requests of one grant type, and the endpoint the rest.
func answerGrant(grant string, mw func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		own := mw(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.Contains(string(body), grant) && !testsite.AsksForEncoding(body) {
				own.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestCheckRisksNothing_NET_2: no code is made, no login is used up, and what the
// relying party has learned stays as it is. (NET-2)
func TestCheckRisksNothing_NET_2(t *testing.T) {
	b := newBench(t)
	b.MustSignIn(b.Browser(), b.Agent) // the first login has the server asked which bodies it reads, in the background
	c := b.Browser()
	other := b.AS.AddAgent(authagenttest.Agent{ID: "agent_other", Email: "alice@example.com"})
	callback := b.Authorize(other, b.Begin(c, ""))
	b.AS.Reset()
	if findings := b.RP.Check(t.Context()); len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	var paths []string
	for _, r := range b.AS.Requests("") {
		paths = append(paths, r.Method+" "+r.Path)
		if strings.Contains(r.URL.RawQuery, b.Config.ClientSecret) {
			t.Errorf("%s %s has the secret in its URL", r.Method, r.Path)
		}
		if code := mustParse(t, callback).Query().Get("code"); strings.Contains(string(r.Body), code) {
			t.Errorf("%s %s has somebody's code", r.Method, r.Path)
		}
	}
	want := []string{
		"GET /.well-known/oauth-authorization-server", "GET /.well-known/oauth-authorization-server", // the second for its Date
		"POST /token",                                  // without code or secret
		"GET /authorize", "POST /token", "POST /token", // with a code and a refresh token that are none
		"POST /token", "GET /.well-known/jwks.json",
	}
	slices.Sort(paths)
	slices.Sort(want)
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the login that was under way: %d %s", resp.StatusCode, resp.Text)
	}
	if log := b.Log.String(); strings.Contains(log, "authagent-check") {
		t.Errorf("Check logs: %s", log)
	}
}

// TestCheckEnds_NET_4: a server that hangs holds Check up for as long as its context
// allows. (NET-4)
func TestCheckEnds_NET_4(t *testing.T) {
	for _, path := range []string{authagenttest.PathMetadata, authagenttest.PathAuthorize, authagenttest.PathToken} {
		b := newBench(t, wrapped(path, authagenttest.Hang()))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		start := time.Now()
		findings := b.RP.Check(ctx)
		cancel()
		if took := time.Since(start); took > 5*time.Second || len(findings) == 0 {
			t.Errorf("%s hangs: %v after %v", path, findings, took)
		}
	}
}

// TestCheckAdmin: a server whose admin endpoints ask nobody who they are, on a
// host that others reach.
func TestCheckAdmin(t *testing.T) {
	as := authagenttest.NewUnstartedServer()
	as.URL = "https://agents.example"
	hosts := authagenttest.Hosts{"agents.example": as}
	b := newBench(t, func(b *bench, c *authagent.Config) {
		client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{c.RedirectURL}})
		c.Issuer, c.ClientSecret, c.Provider.HTTPClient = as.URL, client.Secret, &http.Client{Transport: hosts}
	})
	findings := b.RP.Check(t.Context())
	if len(findings) != 1 || findings[0].Severity != slog.LevelWarn || !strings.Contains(findings[0].Problem, "admin endpoints") {
		t.Errorf("open: findings %v, want one about the admin endpoints", findings)
	}
	as.Wrap(authagenttest.PathAdminClients, authagenttest.Reply(401, "text/plain", "no"))
	if findings := b.RP.Check(t.Context()); len(findings) > 0 {
		t.Errorf("gated: findings %v", findings)
	}
}

// mounts is a site with every handler where the settings say, at the methods that
// the documentation says.
func mounts(rp *authagent.RelyingParty, owners *grants.Policy) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("POST /auth/agent/logout", rp.LogoutHandler())
	mux.Handle("GET /auth.md", rp.DiscoveryHandler())
	mux.Handle("/account/agents/", grants.Handler(owners, rp))
	return mux
}

// TestCheckSite_CHK_8: CHK-8. A handler that is not where it belongs is found, behind
// what sites put in front, and nothing comes of the requests.
func TestCheckSite_CHK_8(t *testing.T) {
	type site = func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler
	good := func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler { return mounts(rp, owners) }
	fixed := func(status int, body string) site {
		return func(*authagent.RelyingParty, *grants.Policy) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				io.WriteString(w, body)
			})
		}
	}
	all := []string{"ERROR Paths.Login: ", "ERROR RedirectURL: ", "ERROR Paths.Logout: ", "ERROR Paths.Discovery: ", "ERROR Policy.Path: "}
	warnings := make([]string, len(all))
	for i := range all {
		warnings[i] = strings.Replace(all[i], "ERROR", "WARN", 1)
	}
	instead := func(path string, handler func(*authagent.RelyingParty) http.Handler) site {
		return func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler {
			right := mounts(rp, owners)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					handler(rp).ServeHTTP(w, r)
					return
				}
				right.ServeHTTP(w, r)
			})
		}
	}
	for _, test := range []struct {
		name   string
		site   site
		change func(*authagent.Config)
		want   []string
	}{
		{"all", good, nil, nil},
		{"all, for any method", func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/auth/agent/login", rp.LoginHandler())
			mux.Handle("/auth/agent/callback", rp.CallbackHandler())
			mux.Handle("/auth/agent/logout", rp.LogoutHandler())
			mux.Handle("/auth.md", rp.DiscoveryHandler())
			mux.Handle("/", grants.Handler(owners, rp))
			return mux
		}, nil, nil},
		{"all, with RequirePOST", func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler {
			mux := mounts(rp, owners)
			mux.Handle("POST /auth/agent/login", rp.LoginHandler())
			return mux
		}, func(c *authagent.Config) { c.RequirePOST = true }, nil},
		{"all, with CrossOriginProtection in front", func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler {
			return http.NewCrossOriginProtection().Handler(mounts(rp, owners))
		}, nil, nil},
		{"all, with Attach in front", func(rp *authagent.RelyingParty, owners *grants.Policy) http.Handler {
			return rp.Attach(mounts(rp, owners))
		}, nil, nil},
		{"all, with answers of the site's own", good, func(c *authagent.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *problem.Error) bool {
				http.Error(w, "no", e.Status())
				return true
			}
		}, nil},
		{"none", fixed(404, "404 page not found"), nil, all},
		{"a page for everything", fixed(200, "<div id=app>"), nil, all},
		{"a redirect for everything", fixed(302, ""), nil, all},
		{"a gateway that refuses", fixed(403, "forbidden"), nil, warnings},
		{"down", fixed(503, ""), nil, warnings},
		{"no login", instead("/auth/agent/login", func(*authagent.RelyingParty) http.Handler { return http.NotFoundHandler() }), nil, all[:1]},
		{"no callback", instead("/auth/agent/callback", func(*authagent.RelyingParty) http.Handler { return http.NotFoundHandler() }), nil, all[1:2]},
		{"no logout", instead("/auth/agent/logout", func(*authagent.RelyingParty) http.Handler { return http.NotFoundHandler() }), nil, all[2:3]},
		{"no discovery", instead("/auth.md", func(*authagent.RelyingParty) http.Handler { return http.NotFoundHandler() }), nil, all[3:4]},
		{"no owners' page", instead("/account/agents/", func(*authagent.RelyingParty) http.Handler { return http.NotFoundHandler() }), nil, all[4:]},
		{"the callback at the login", instead("/auth/agent/login", (*authagent.RelyingParty).CallbackHandler), nil, all[:1]},
		{"the login at the callback", instead("/auth/agent/callback", (*authagent.RelyingParty).LoginHandler), nil, all[1:2]},
		{"a guard in front of the login", instead("/auth/agent/login", func(rp *authagent.RelyingParty) http.Handler { return rp.RequireHuman(rp.LoginHandler()) }),
			nil, []string{`ERROR Paths.Login: Something of this package answers`}},
		{"a guard at the owners' page", instead("/account/agents/", func(rp *authagent.RelyingParty) http.Handler { return rp.RequireAgent(http.NotFoundHandler()) }), nil, all[4:]},
		{"the owners' page at another path", instead("/account/agents/", func(rp *authagent.RelyingParty) http.Handler {
			owners := grants.OwnerApproval(&memstore.Grants{})
			owners.Path = "/konto/"
			return grants.Handler(owners, rp)
		}), nil, []string{"ERROR Policy.Path: Something of this package answers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(b *bench, c *authagent.Config) {
				c.Paths.Discovery = "/auth.md"
				c.Human = func(*http.Request) (string, error) { return "", nil }
				if test.change != nil {
					test.change(c)
				}
			})
			var asked []string
			handler := test.site(b.RP, grants.OwnerApproval(&memstore.Grants{}))
			site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handler.ServeHTTP(w, r)
				if w.Header().Get("Set-Cookie") != "" {
					asked = append(asked, r.Method+" "+r.URL.Path)
				}
			}))
			b.AS.Reset()
			findings := b.RP.CheckSite(t.Context(), site.URL, "/account/agents/")
			site.Close()
			findingsAre(t, b, findings, test.want)
			if len(asked) > 0 || len(b.AS.Requests("")) > 0 {
				t.Errorf("cookies were set by %v, and the server was asked %d times", asked, len(b.AS.Requests("")))
			}
			for _, name := range []audit.Name{audit.LoginStarted, audit.SessionEnded} {
				if n := len(b.Events.Named(name)); n > 0 {
					t.Errorf("%d events %s", n, name)
				}
			}
		})
	}
	b := newBench(t)
	for _, address := range []string{"", "shop.example", "ftp://shop.example", "https://u@shop.example", "https://shop.example/path", "https://127.0.0.1:1"} {
		if findings := b.RP.CheckSite(t.Context(), address); len(findings) != 1 || findings[0].Setting != "site" {
			t.Errorf("%q: %v", address, findings)
		}
	}
}

// lineOf is all of a finding in one line.
func lineOf(f provider.Finding) string {
	return f.Severity.String() + " " + f.Setting + ": " + f.Problem + " " + f.Remedy
}
