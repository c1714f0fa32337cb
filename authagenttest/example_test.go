package authagenttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/authagent-go/authagent/authagenttest"
)

// A site of thirty lines: real ones verify state, keep a session and trust
// nothing; this one shows what goes over the wire.
type tinySite struct {
	as     *authagenttest.Server
	client authagenttest.Client
	url    string
}

const (
	tinyVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	tinyChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
)

func (s *tinySite) login(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "state", Value: "xyz", Path: "/"})
	http.Redirect(w, r, s.as.URL+authagenttest.PathAuthorize+"?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {s.client.ID},
		"redirect_uri":          {s.url + "/callback"},
		"state":                 {"xyz"},
		"code_challenge":        {tinyChallenge},
		"code_challenge_method": {"S256"},
	}.Encode(), http.StatusFound)
}

func (s *tinySite) callback(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("state")
	if err != nil || cookie.Value != r.FormValue("state") {
		http.Error(w, "state", http.StatusBadRequest)
		return
	}
	body, _ := json.Marshal(map[string]string{
		"grant_type":    "authorization_code",
		"code":          r.FormValue("code"),
		"code_verifier": tinyVerifier,
		"redirect_uri":  s.url + "/callback",
		"client_id":     s.client.ID,
		"client_secret": s.client.Secret,
	})
	resp, err := s.as.Client().Post(s.as.URL+authagenttest.PathToken, "application/json", bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	var token struct {
		Access string `json:"access_token"`
	}
	json.NewDecoder(resp.Body).Decode(&token)

	req, _ := http.NewRequest("GET", s.as.URL+authagenttest.PathUserInfo, nil)
	req.Header.Set("Authorization", "Bearer "+token.Access)
	info, err := s.as.Client().Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer info.Body.Close()
	io.Copy(w, info.Body)
}

func newTinySite(as *authagenttest.Server) (*tinySite, *httptest.Server) {
	s := &tinySite{as: as}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", s.login)
	mux.HandleFunc("GET /callback", s.callback)
	web := httptest.NewServer(mux)
	s.url = web.URL
	s.client = as.AddClient(authagenttest.Client{RedirectURIs: []string{web.URL + "/callback"}})
	return s, web
}

func Example() {
	as := authagenttest.NewServer()
	defer as.Close()
	_, web := newTinySite(as)
	defer web.Close()

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com", Name: "Alice"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), web.URL+"/login")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
	fmt.Println("token requests:", as.Count(authagenttest.PathToken))
	// Output:
	// 200 {"sub":"agent_1","email":"alice@example.com","name":"Alice"}
	// token requests: 1
}

func ExampleServer_Wrap() {
	as := authagenttest.NewServer()
	defer as.Close()

	// The server's health check fails once, then works again.
	failed := false
	as.Wrap(authagenttest.PathHealth, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !failed {
				failed = true
				http.Error(w, "try later", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	for range 2 {
		resp, err := as.Client().Get(as.URL + authagenttest.PathHealth)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 503
	// 200
}

// newExampleAPI asks the server about each token, and lets in those that are for url.
func newExampleAPI(as *authagenttest.Server, url *string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := json.Marshal(map[string]string{"token": strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")})
		resp, err := as.Client().Post(as.URL+authagenttest.PathIntrospect, "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		var token struct {
			Active               bool
			Aud, Sub, Act, Scope any
		}
		json.NewDecoder(resp.Body).Decode(&token)
		if !token.Active || token.Aud != *url {
			http.Error(w, "refused", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, token.Sub, token.Act, token.Scope)
	}
}

func ExampleServer_AccessToken() {
	as := authagenttest.NewServer()
	defer as.Close()
	as.Features.ActorClaim = true
	var url string
	api := httptest.NewServer(newExampleAPI(as, &url))
	defer api.Close()
	url = api.URL

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_1"})
	token := as.AccessToken(agent, authagenttest.APIToken{Audience: []string{url}, Scopes: []string{"orders:read"}})
	elsewhere := as.AccessToken(agent, authagenttest.APIToken{Audience: []string{"https://another.example"}})

	call := func(token string) {
		resp, err := authagenttest.Bearer(as.Client(), token).Get(url)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(resp.StatusCode, strings.TrimSpace(string(body)))
	}
	call(token)
	call(elsewhere)
	as.RevokeToken(token)
	call(token)
	// Output:
	// 200 user_1 map[sub:agent_1] orders:read
	// 401 refused
	// 401 refused
}
