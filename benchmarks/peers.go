package benchmarks

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/dghubble/gologin/v2"
	gologinoauth "github.com/dghubble/gologin/v2/oauth2"
	pkgz "github.com/go-pkgz/auth/v2"
	pkgzprovider "github.com/go-pkgz/auth/v2/provider"
	"github.com/go-pkgz/auth/v2/token"
	"github.com/gorilla/sessions"
	cap "github.com/hashicorp/cap/oidc"
	"github.com/hashicorp/cap/oidc/callback"
	"github.com/markbates/goth"
	"github.com/markbates/goth/gothic"
	"github.com/markbates/goth/providers/openidConnect"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	zitadelhttp "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// Peers that bring no sessions are given the cheapest there is, the floor's, so
// that nothing is held against them that is not theirs. Their own HTTP clients
// are left as they come.

// finished starts the floor's session and sends the browser on.
func finished(f *floor, w http.ResponseWriter, subject, address string) {
	if subject == "" || address != email {
		http.Error(w, "account", http.StatusForbidden)
		return
	}
	cookies := w.Header()["Set-Cookie"] // the library's own, such as the ones that it deletes
	f.start(w, subject)
	h := w.Header()
	h["Set-Cookie"] = append(h["Set-Cookie"], cookies...)
	h["Location"] = []string{"/"}
	w.WriteHeader(http.StatusFound)
}

// zitadelSite: github.com/zitadel/oidc/v3/pkg/client/rp, set up as in its example.
func zitadelSite(p *provider) *site {
	f := newFloor(p)
	cookies := zitadelhttp.NewCookieHandler(key(), key(), zitadelhttp.WithUnsecure())
	party := must(rp.NewRelyingPartyOIDC(context.Background(), p.URL, oidcClientID, clientSecret, origin+callbackPath,
		[]string{"openid", "profile", "email"}, rp.WithPKCE(cookies), rp.WithSigningAlgsFromDiscovery(),
		rp.WithAuthStyle(oauth2.AuthStyleInParams), // not to be guessed, which costs a request
		rp.WithVerifierOpts(rp.WithIssuedAtOffset(5*time.Second), rp.WithSupportedSigningAlgorithms(p.alg),
			rp.WithNonce(func(context.Context) string { return nonce }))))
	done := func(w http.ResponseWriter, _ *http.Request, _ *oidc.Tokens[*oidc.IDTokenClaims], _ string, _ rp.RelyingParty, info *oidc.UserInfo) {
		finished(f, w, info.Subject, info.Email)
	}
	return &site{
		pkce: true, server: p,
		login:  rp.AuthURLHandler(rand.Text, party),
		finish: rp.CodeExchangeHandler(rp.UserinfoCallback(done), party),
	}
}

// pendingRequests is what hashicorp/cap leaves to the site: a map of the logins
// under way, as in its example.
type pendingRequests struct {
	mu sync.Mutex
	m  map[string]cap.Request
}

func (p *pendingRequests) add(r cap.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[r.State()] = r
}

// Read returns the login of a state, once.
func (p *pendingRequests) Read(_ context.Context, state string) (cap.Request, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.m[state]
	delete(p.m, state)
	if !ok {
		return nil, cap.ErrNotFound
	}
	return r, nil
}

// capSite: github.com/hashicorp/cap/oidc and its callback package.
func capSite(p *provider) *site {
	f := newFloor(p)
	config := must(cap.NewConfig(p.URL, oidcClientID, clientSecret, []cap.Alg{cap.Alg(p.alg)}, []string{origin + callbackPath}))
	party := must(cap.NewProvider(config))
	pending := &pendingRequests{m: make(map[string]cap.Request)}
	done := func(_ string, t cap.Token, w http.ResponseWriter, r *http.Request) {
		var id, info struct{ Sub, Email string }
		err := t.IDToken().Claims(&id)
		if source, ok := t.(cap.StaticTokenSource); err == nil && ok {
			err = party.UserInfo(r.Context(), source.StaticTokenSource(), id.Sub, &info)
		}
		if err != nil {
			http.Error(w, "userinfo", http.StatusBadGateway)
			return
		}
		finished(f, w, info.Sub, info.Email)
	}
	failed := func(_ string, _ *callback.AuthenErrorResponse, err error, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "sign-in", http.StatusBadGateway)
	}
	return &site{
		pkce: true, server: p,
		login: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			verifier, err := cap.NewCodeVerifier()
			if err != nil {
				http.Error(w, "verifier", http.StatusInternalServerError)
				return
			}
			request, err := cap.NewRequest(2*time.Minute, origin+callbackPath, cap.WithPKCE(verifier),
				cap.WithScopes("profile", "email"), cap.WithNonce(nonce))
			if err != nil {
				http.Error(w, "request", http.StatusInternalServerError)
				return
			}
			pending.add(request)
			address, err := party.AuthURL(r.Context(), request)
			if err != nil {
				http.Error(w, "url", http.StatusInternalServerError)
				return
			}
			http.Redirect(w, r, address, http.StatusFound)
		}),
		finish: must(callback.AuthCode(context.Background(), party, pending, done, failed)),
	}
}

// gothSite: github.com/markbates/goth with its OpenID Connect provider. It has
// no PKCE of its own.
func gothSite(p *provider) *site {
	f := newFloor(p)
	party := must(openidConnect.New(oidcClientID, clientSecret, origin+callbackPath, p.URL+"/.well-known/openid-configuration", "profile", "email"))
	goth.UseProviders(party)
	store := sessions.NewCookieStore(key())
	store.Options.HttpOnly = true
	gothic.Store = store
	gothic.GetProviderName = func(*http.Request) (string, error) { return party.Name(), nil }
	return &site{
		server: p,
		login:  http.HandlerFunc(gothic.BeginAuthHandler),
		finish: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, err := gothic.CompleteUserAuth(w, r)
			if err != nil {
				http.Error(w, "sign-in", http.StatusBadGateway)
				return
			}
			finished(f, w, user.UserID, user.Email)
		}),
	}
}

// gologinSite: github.com/dghubble/gologin/v2/oauth2. It has no PKCE.
func gologinSite(p *provider) *site {
	f := newFloor(p)
	config := oauthConfig(p, clientID)
	cookies := gologin.DefaultCookieConfig
	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := gologinoauth.TokenFromContext(r.Context())
		if err != nil {
			http.Error(w, "token", http.StatusBadGateway)
			return
		}
		subject, address, err := userInfo(r.Context(), config.Client(r.Context(), t), p.URL+"/userinfo")
		if err != nil {
			http.Error(w, "userinfo", http.StatusBadGateway)
			return
		}
		finished(f, w, subject, address)
	})
	return &site{
		server: p,
		login:  gologinoauth.StateHandler(cookies, gologinoauth.LoginHandler(&config, nil)),
		finish: gologinoauth.StateHandler(cookies, gologinoauth.CallbackHandler(&config, done, nil)),
	}
}

// pkgzSite: github.com/go-pkgz/auth/v2. It has no PKCE. Its tokens live for
// lifetime, after which the next check renews them.
func pkgzSite(p *provider, lifetime time.Duration) *site {
	service := pkgzService(lifetime)
	config := oauthConfig(p, clientID)
	service.AddCustomProvider("agent", pkgz.Client{Cid: clientID, Csecret: clientSecret}, pkgzprovider.CustomHandlerOpt{
		Endpoint: config.Endpoint, InfoURL: p.URL + "/userinfo", Scopes: config.Scopes,
		MapUserFn: func(data pkgzprovider.UserData, _ []byte) token.User {
			return token.User{ID: data.Value("sub"), Email: data.Value("email"), Name: data.Value("name")}
		},
	})
	handlers, _ := service.Handlers()
	middleware := service.Middleware()
	return &site{
		server: p, login: handlers, finish: handlers,
		orders: middleware.Auth(http.HandlerFunc(pkgzOrders)),
	}
}

func pkgzService(lifetime time.Duration) *pkgz.Service {
	secret := string(key())
	return pkgz.NewService(pkgz.Opts{
		SecretReader:  token.SecretFunc(func(string) (string, error) { return secret, nil }),
		TokenDuration: lifetime, CookieDuration: 12 * time.Hour, SecureCookies: true, SameSiteCookie: http.SameSiteLaxMode,
		Issuer: "site", URL: origin, DisableXSRF: true, // a page that an agent opens has no script to send the header
	})
}

func pkgzOrders(w http.ResponseWriter, r *http.Request) {
	if user, err := token.GetUserInfo(r); err == nil && user.Email == email {
		w.WriteHeader(http.StatusOK)
	}
}
