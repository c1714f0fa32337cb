package oidctest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

// A panvaAPI is what the provider knows of the site's API.
type panvaAPI struct {
	Resource string `json:"resource"`
	Other    string `json:"other"` // another API, for which there are tokens too
	Scope    string `json:"scope"`
}

// A panvaAgent is the client of an agent that comes to the API.
type panvaAgent struct {
	Client   string `json:"client"`
	Secret   string `json:"secret,omitempty"` // empty for a public client
	Redirect string `json:"redirect"`
}

// What the scopes of the API allow, and in words.
var (
	apiPermissions = map[string]authagent.Permission{
		"orders:read":  {Access: authagent.AccessRead},
		"orders:write": {Actions: []string{"orders:create"}},
		"refunds":      {Actions: []string{"refunds:create"}},
	}
	apiScopes = map[string]string{"orders:read": "See orders", "orders:write": "Place orders", "refunds": "Refund orders"}
)

func newPanvaAPI(site string) *panvaAPI {
	return &panvaAPI{Resource: site + "/api", Other: site + "/other", Scope: strings.Join(slices.Sorted(maps.Keys(apiScopes)), " ")}
}

// An apiSite is a site at panva's whose API is open, at three instances, and an agent that comes to it
// without a browser. It acts for a user of the provider, whose account here has the same ID.
type apiSite struct {
	*site
	owners *grants.Policy // of the first instance
	as     panvaAgent
	jwt    bool
	ran    atomic.Int32 // actions
}

// letIn is how the agent comes to its rights.
type letIn int8

const (
	byConsent letIn = iota // of the owner, at the provider
	byOwner                // who decides at the site
	byItself               // it has no owner: sub is the agent
)

const (
	account       = "agent-7"         // the user
	second, third = "second", "third" // instances
	agentClient   = "an-agent"        // the agent's own, and no client of the site's
	agentRedirect = "http://127.0.0.1/callback"
)

// apiAtPanva is the site with one kind of access tokens, and an agent with one kind of client.
func apiAtPanva(t *testing.T, accessToken, agentSecret string, by letIn) *apiSite {
	t.Helper()
	s := &apiSite{jwt: accessToken != "", as: panvaAgent{Client: agentClient, Secret: agentSecret, Redirect: agentRedirect}}
	at := panva{Auth: "client_secret_basic", IDToken: "RS256", AccessToken: accessToken, Actor: "agent-of-7", API: &panvaAPI{}, Agent: &s.as}
	if by == byItself {
		at.Actor = ""
		s.site = atPanva(t, at, func(own *site, c *authagent.Config) {
			c.Scenario, c.API.Resource = authagent.FreshProfile(own.Profiles), own.URL+"/api"
		})
		s.open("", s.RP, grants.OwnerApproval(&memstore.Grants{}))
		return s
	}
	kept, users := &memstore.Grants{}, &memstore.SubjectUsers{}
	users.Put(memstore.Account{User: authagent.User{ID: account}})
	s.site = atPanva(t, at, func(own *site, c *authagent.Config) {
		users.AddSubject(c.Issuer, account, account)
		s.owners = newOwners(kept, c.Issuer, by)
		c.Scenario, c.Provider.SubjectIsUser = authagent.FullAccount(users, s.owners), true
		c.Revocations = &memstore.Revocations{} // which the instances share
		c.API = api.Settings{Resource: own.URL + "/api", Scopes: apiScopes}
		c.Permissions = apiPermissions
	})
	s.open("", s.RP, s.owners)
	for _, instance := range []string{second, third} {
		owners := newOwners(kept, s.Config.Issuer, by)
		s.open(instance, s.Instance(instance, func(c *authagent.Config) {
			c.Scenario = authagent.FullAccount(users, owners)
			c.API.IntrospectEvery = 200 * time.Millisecond
		}), owners)
	}
	return s
}

// newOwners is the policy of an instance.
func newOwners(kept grants.Store, issuer string, by letIn) *grants.Policy {
	owners := grants.OwnerApproval(kept)
	owners.Actions = map[string]string{"orders:create": "Place orders"}
	owners.Approvals = map[string]string{"refunds:create": "Refund orders"}
	if by == byConsent {
		owners.ApproveByConsent = []string{issuer}
	}
	return owners
}

// open mounts the API at an instance: a read, an action, and one that is approved each time.
func (s *apiSite) open(instance string, rp *authagent.RelyingParty, owners *grants.Policy) {
	acts := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			s.ran.Add(1)
		}
		session, _ := authagent.FromContext(r.Context())
		json.NewEncoder(w).Encode(session)
	})
	mux := s.Mux(instance)
	mux.Handle("GET /api/orders", rp.RequireAccess(authagent.AccessRead)(acts))
	mux.Handle("POST /api/orders", rp.RequireAction("orders:create")(acts))
	mux.Handle("POST /api/refunds", rp.RequireApproval("refunds:create", owners)(acts))
	mux.Handle(api.MetadataPath(s.Config.API.Resource), rp.ResourceMetadataHandler())
}

// call sends a request to an instance with a token, and no cookie.
func (s *apiSite) call(instance, token, method, path string) *testsite.Response {
	s.T.Helper()
	return s.Send(authagenttest.Bearer(s.Bare(), token), method, path, "", "X-Instance", instance)
}

// want checks what a request with a token is answered with.
func (s *apiSite) want(instance, token, method, path string, status int) *testsite.Response {
	s.T.Helper()
	resp := s.call(instance, token, method, path)
	if resp.StatusCode != status {
		s.T.Fatalf("%s %s at %q: status %d, want %d\n%v\n%s", method, path, instance, resp.StatusCode, status, resp.Header, resp.Text)
	}
	return resp
}

// read is want for the read.
func (s *apiSite) read(instance, token string, status int) *testsite.Response {
	s.T.Helper()
	return s.want(instance, token, http.MethodGet, "/api/orders", status)
}

// ended checks that a token is refused as one that is not good.
func (s *apiSite) ended(instance, token string) {
	s.T.Helper()
	resp := s.want(instance, token, http.MethodGet, "/me", http.StatusUnauthorized)
	if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="invalid_token", `) || resp.Reason() != "invalid_token" {
		s.T.Errorf("challenge %q, %s", got, resp.Text)
	}
}

// A discovered API is what an agent finds out that knows nothing but its address.
type discovered struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`

	server struct {
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
		Revoke    string `json:"revocation_endpoint"`
	}
}

var quoted = regexp.MustCompile(`(\w+)="([^"]*)"`)

// challenge returns the parameters of the one challenge of an answer, which is of the scheme Bearer.
func (s *apiSite) challenge(resp *testsite.Response) map[string]string {
	s.T.Helper()
	params := make(map[string]string)
	for _, line := range resp.Header["Www-Authenticate"] {
		if !strings.HasPrefix(line, "Bearer ") {
			continue
		}
		for _, pair := range quoted.FindAllStringSubmatch(line, -1) {
			params[pair[1]] = pair[2]
		}
	}
	if len(params) == 0 {
		s.T.Fatalf("no Bearer challenge: %d %v", resp.StatusCode, resp.Header)
	}
	return params
}

// discover follows a 401 without credentials to the metadata of the API, and on to those of its server.
func (s *apiSite) discover(address string) *discovered {
	s.T.Helper()
	bare := s.Get(s.Bare(), address)
	challenge := s.challenge(bare)
	if _, wrong := challenge["error"]; bare.StatusCode != http.StatusUnauthorized || wrong {
		s.T.Fatalf("status %d, challenge %v", bare.StatusCode, challenge)
	}
	found := new(discovered)
	s.decode(challenge["resource_metadata"], found)
	if !strings.HasPrefix(s.URL+address, found.Resource+"/") || len(found.Servers) != 1 {
		s.T.Fatalf("metadata %+v", found)
	}
	issuer := found.Servers[0]
	if s.Get(s.Bare(), issuer+"/.well-known/oauth-authorization-server").StatusCode == http.StatusOK {
		s.T.Fatal("the provider has metadata by RFC 8414 now: ask for those first")
	}
	s.decode(issuer+"/.well-known/openid-configuration", &found.server)
	return found
}

func (s *apiSite) decode(address string, into any) {
	s.T.Helper()
	resp := s.Get(s.Bare(), address)
	if err := json.Unmarshal([]byte(resp.Text), into); err != nil || resp.StatusCode != http.StatusOK {
		s.T.Fatalf("%s: %d %s: %v", address, resp.StatusCode, resp.Text, err)
	}
}

// authorize signs the agent in at the provider that it has found, for a resource, with these scopes.
func (s *apiSite) authorize(found *discovered, resource string, scopes ...string) *oauth2.Token {
	s.T.Helper()
	return s.authorizeBy(http.DefaultClient, found, resource, scopes...)
}

// authorizeBy is authorize with the client that redeems the code.
func (s *apiSite) authorizeBy(client *http.Client, found *discovered, resource string, scopes ...string) *oauth2.Token {
	s.T.Helper()
	config := oauth2.Config{
		ClientID: s.as.Client, ClientSecret: s.as.Secret, RedirectURL: s.as.Redirect, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: found.server.Authorize, TokenURL: found.server.Token, AuthStyle: oauth2.AuthStyleInHeader},
	}
	if s.as.Secret == "" {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	verifier, forResource := oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("resource", resource)
	back, err := url.Parse(s.throughPanva(config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier), forResource), s.as.Redirect, account))
	if err != nil || back.Query().Get("code") == "" || back.Query().Get("state") != "state" {
		s.T.Fatalf("callback %v: %v", back, err)
	}
	token, err := config.Exchange(context.WithValue(s.T.Context(), oauth2.HTTPClient, client), back.Query().Get("code"), oauth2.VerifierOption(verifier), forResource)
	if err != nil {
		s.T.Fatal(err)
	}
	if isJWT := strings.Count(token.AccessToken, ".") == 2; isJWT != s.jwt {
		s.T.Fatalf("the access token is a JWT: %v, want %v", isJWT, s.jwt)
	}
	return token
}

// signIn is what an agent does that knows nothing but the address of the API.
func (s *apiSite) signIn(scopes ...string) (token string) {
	s.T.Helper()
	found := s.discover("/api/orders")
	return s.authorize(found, found.Resource, scopes...).AccessToken
}

// grant returns the one grant of the agent.
func (s *apiSite) grant() grants.Grant {
	s.T.Helper()
	o, err := s.owners.Overview(s.T.Context(), account)
	if err != nil || len(o.Grants) != 1 {
		s.T.Fatalf("overview %+v: %v", o, err)
	}
	return o.Grants[0]
}

// decide has the owner decide about the agent.
func (s *apiSite) decide(d grants.Decision) {
	s.T.Helper()
	g := s.grant()
	d.GrantID, d.Version = g.ID, g.Version
	if _, err := s.owners.Decide(s.T.Context(), account, d); err != nil {
		s.T.Fatal(err)
	}
}

// eachToken runs a test with both kinds of access tokens, and with both kinds of clients.
func eachToken(t *testing.T, by letIn, f func(t *testing.T, s *apiSite)) {
	for name, kind := range map[string]struct{ accessToken, secret string }{
		"JWT, public client":      {"ES256", ""},
		"opaque, client's secret": {"", "s3cret-of-the-agent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, apiAtPanva(t, kind.accessToken, kind.secret, by))
		})
	}
}

// TestPanvaDiscovered_API_30: an agent that knows the address of the API alone comes in, by either kind of
// token and with either kind of client, and is the same agent at each instance.
func TestPanvaDiscovered_API_30(t *testing.T) {
	eachToken(t, byConsent, func(t *testing.T, s *apiSite) {
		found := s.discover("/api/orders")
		if want := slices.Sorted(maps.Keys(apiScopes)); found.Resource != s.URL+"/api" || found.Servers[0] != s.Config.Issuer || !slices.Equal(found.Scopes, want) {
			t.Fatalf("found %+v", found)
		}
		token := s.authorize(found, found.Resource, found.Scopes...).AccessToken
		var ids []string
		for _, instance := range []string{"", "", "", second} {
			session := s.read(instance, token, http.StatusOK).Session(t)
			if session.Agent != (authagent.Agent{Issuer: s.Config.Issuer, ID: "agent-of-7"}) || session.UserID != account || session.Access != authagent.AccessRead {
				t.Errorf("session %+v", session)
			}
			ids = append(ids, session.ID)
		}
		if ids = slices.Compact(ids); len(ids) != 1 {
			t.Errorf("sessions %q of one token", ids)
		}
		if n := len(s.provider.got("/token/introspection")); s.jwt && n != 0 || !s.jwt && n != 2 {
			t.Errorf("introspected %d times at two instances", n)
		}
		if n := len(s.provider.got("/me")); n != 0 {
			t.Errorf("userinfo was asked %d times", n)
		}
	})
}

// TestPanvaOthers_API_30: what else the provider issues to the agent opens nothing: a token for another
// API, a refresh token and an id_token. Where sub is the agent, nothing but the audience tells them apart.
func TestPanvaOthers_API_30(t *testing.T) {
	for name, by := range map[string]letIn{"for an owner": byConsent, "by itself": byItself} {
		t.Run(name, func(t *testing.T) {
			eachToken(t, by, func(t *testing.T, s *apiSite) {
				found := s.discover("/api/orders")
				good := s.authorize(found, found.Resource, "orders:read")
				other := s.authorize(found, s.URL+"/other", "orders:read")
				idToken, _ := s.authorize(found, found.Resource, "openid").Extra("id_token").(string)
				for what, token := range map[string]string{
					"for another API": other.AccessToken, "a refresh token": good.RefreshToken, "an id_token": idToken,
					"a token that is cut off": good.AccessToken[:len(good.AccessToken)-1],
				} {
					if token == "" {
						t.Fatalf("%s: there is none", what)
					}
					s.ended("", token)
				}
				s.want("", good.AccessToken, http.MethodGet, "/me", http.StatusOK)
			})
		})
	}
}

// A prover sends a proof of possession with each request (RFC 9449), so that tokens are bound to its key.
type prover struct{ key *ecdsa.PrivateKey }

// RoundTrip implements [http.RoundTripper].
func (p prover) RoundTrip(r *http.Request) (*http.Response, error) {
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, options)
	if err != nil {
		return nil, err
	}
	claims, _ := json.Marshal(map[string]any{"jti": rand.Text(), "htm": r.Method, "htu": r.URL.String(), "iat": time.Now().Unix()})
	proof, err := signer.Sign(claims)
	if err != nil {
		return nil, err
	}
	text, err := proof.CompactSerialize()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("DPoP", text)
	return http.DefaultTransport.RoundTrip(r)
}

// TestPanvaBound_API_30: a token that is bound to a key opens nothing when it comes as Bearer, since whoever
// has stolen it could send it.
func TestPanvaBound_API_30(t *testing.T) {
	eachToken(t, byConsent, func(t *testing.T, s *apiSite) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		found := s.discover("/api/orders")
		token := s.authorizeBy(&http.Client{Transport: prover{key}}, found, found.Resource, "orders:read")
		if token.TokenType != "DPoP" {
			t.Fatalf("the token is of type %q", token.TokenType)
		}
		s.ended("", token.AccessToken)
	})
}

// TestPanvaScopes_API_31: the owner lets the agent in. What its scopes do not allow is refused with all
// that it needs, and with a token that has those it goes on.
func TestPanvaScopes_API_31(t *testing.T) {
	eachToken(t, byOwner, func(t *testing.T, s *apiSite) {
		token := s.signIn("orders:read")
		if got := s.read("", token, http.StatusForbidden); got.Reason() != "approval_needed" || !strings.Contains(got.Text, s.URL+"/account/agents/") {
			t.Fatalf("before the owner has decided: %s", got.Text)
		}
		eventually(t, "the owner is asked", func() bool {
			o, err := s.owners.Overview(t.Context(), account)
			return err == nil && len(o.Grants) == 1
		})
		s.decide(grants.Decision{State: grants.Approved, Access: authagent.AccessRead, Actions: []string{"orders:create"}})
		s.read("", token, http.StatusOK)
		for path, want := range map[string]string{"/api/orders": "orders:read orders:write", "/api/refunds": "orders:read refunds"} {
			refused := s.want(second, token, http.MethodPost, path, http.StatusForbidden)
			challenge := s.challenge(refused)
			if challenge["error"] != "insufficient_scope" || challenge["scope"] != want || challenge["resource_metadata"] == "" || s.ran.Load() != 0 {
				t.Fatalf("%s: challenge %v, %s", path, challenge, refused.Text)
			}
			more := s.signIn(strings.Fields(challenge["scope"])...)
			status := map[string]int{"/api/orders": http.StatusOK, "/api/refunds": http.StatusAccepted}[path]
			s.want(second, more, http.MethodPost, path, status)
			s.ran.Store(0)
		}
		s.read("", token, http.StatusOK) // the lesser one has not ended
	})
}

// TestPanvaActions_API_32: the agent performs an action that its scopes allow, and one that its owner
// approves, which happens once, however often and wherever it comes at the same moment.
func TestPanvaActions_API_32(t *testing.T) {
	eachToken(t, byConsent, func(t *testing.T, s *apiSite) {
		token := s.signIn("orders:read", "orders:write", "refunds")
		s.read("", token, http.StatusOK)
		s.want("", token, http.MethodPost, "/api/orders", http.StatusOK)
		s.want(second, token, http.MethodPost, "/api/orders", http.StatusOK)
		if n := s.ran.Swap(0); n != 2 {
			t.Fatalf("%d orders, want 2", n)
		}
		const refund = "/api/refunds?order=1"
		asked := s.want("", token, http.MethodPost, refund, http.StatusAccepted)
		if asked.Header.Get("Location") == "" || asked.Header.Get("Retry-After") == "" || s.ran.Load() != 0 {
			t.Fatalf("asked: %v, ran %d times", asked.Header, s.ran.Load())
		}
		s.want(second, token, http.MethodPost, refund, http.StatusAccepted)
		waiting, err := s.owners.Overview(t.Context(), account)
		if err != nil || len(waiting.Approvals) != 1 {
			t.Fatalf("waiting %+v: %v", waiting.Approvals, err)
		}
		a := waiting.Approvals[0]
		if _, err := s.owners.DecideAction(t.Context(), account, a.ID, a.Version, true); err != nil {
			t.Fatal(err)
		}
		if got := s.atOnce(token, refund); got[http.StatusOK] != 1 || got[http.StatusConflict] != atOnce-1 {
			t.Errorf("at once: %v", got)
		}
		s.want("", token, http.MethodPost, refund, http.StatusConflict)
		s.want(second, token, http.MethodPost, refund, http.StatusConflict)
		if n := s.ran.Load(); n != 1 {
			t.Errorf("refunded %d times", n)
		}
	})
}

// atOnce is how many requests atOnce sends.
const atOnce = 6

// atOnce sends one action to both instances several times, and counts the answers by their status.
func (s *apiSite) atOnce(token, path string) map[int]int {
	statuses := make(chan int, atOnce)
	for i := range atOnce {
		r, err := http.NewRequest(http.MethodPost, s.URL+path, nil)
		if err != nil {
			s.T.Fatal(err)
		}
		r.Header.Set("X-Instance", []string{"", second}[i%2])
		go func() {
			resp, err := authagenttest.Bearer(s.Bare(), token).Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	got := make(map[int]int)
	for range atOnce {
		got[<-statuses]++
	}
	return got
}

// TestPanvaStopped_API_33: once the owner has stopped the agent, its token is good nowhere on the next
// call: neither at an instance that remembers it, nor at one that sees it for the first time. Nor does
// another token bring it back at once, although the owner has consented at the provider.
func TestPanvaStopped_API_33(t *testing.T) {
	eachToken(t, byConsent, func(t *testing.T, s *apiSite) {
		token := s.signIn("orders:read")
		s.read("", token, http.StatusOK)
		s.read(second, token, http.StatusOK)
		s.decide(grants.Decision{State: grants.Revoked})
		for _, instance := range []string{third, second, ""} {
			s.ended(instance, token)
		}
		if fresh := s.signIn("orders:read"); s.call(second, fresh, http.MethodGet, "/api/orders").StatusCode == http.StatusOK {
			t.Error("another token has brought the agent back")
		}
		if g := s.grant(); g.State != grants.Revoked && g.State != grants.Pending {
			t.Errorf("the grant is %s", g.State)
		}
	})
}

// TestPanvaRevoked_API_34: an opaque token that is revoked at the provider is good until it is introspected
// again, and then nowhere: the instance that has asked ends it for all.
func TestPanvaRevoked_API_34(t *testing.T) {
	t.Parallel()
	s := apiAtPanva(t, "", "", byConsent)
	token := s.signIn("orders:read")
	s.read("", token, http.StatusOK)
	s.read(second, token, http.StatusOK)
	resp, err := http.PostForm(s.discover("/api/orders").server.Revoke, url.Values{"client_id": {s.as.Client}, "token": {token}})
	if status, _, text := s.answered(resp, err); status != http.StatusOK {
		t.Fatalf("revocation: %d %s", status, text)
	}
	s.read("", token, http.StatusOK) // which asks every 30 seconds
	eventually(t, "the token is introspected again", func() bool {
		return s.call(second, token, http.MethodGet, "/api/orders").StatusCode == http.StatusUnauthorized
	})
	s.ended(second, token)
	s.ended("", token)
}
