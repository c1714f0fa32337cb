package requirements_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
)

// badClaims and badHeaders have one thing wrong each.
var (
	badClaims = map[string]func(now time.Time) members{
		"another issuer":               just(members{"iss": "https://evil.example"}),
		"issuer with a slash":          just(members{"iss": "https://as.example/"}),
		"no issuer":                    just(members{"iss": nil}),
		"list of issuers":              just(members{"iss": []string{"https://as.example"}}),
		"another client":               just(members{"aud": "other"}),
		"other clients":                just(members{"aud": []string{"other", "Site"}}),
		"no client":                    just(members{"aud": nil}),
		"list with a number":           just(members{"aud": []any{"site", 1}}),
		"nonce":                        just(members{"nonce": "n"}),
		"nonce that is null":           just(members{"nonce": null}),
		"no iat":                       just(members{"iat": nil}),
		"iat that is null":             just(members{"iat": null}),
		"iat that is a text":           func(now time.Time) members { return members{"iat": fmt.Sprint(now.Unix())} },
		"iat that is no number":        just(members{"iat": true}),
		"iat before 1970":              just(members{"iat": -1}),
		"old iat":                      func(now time.Time) members { return members{"iat": now.Add(-302 * time.Second).Unix()} },
		"future iat":                   func(now time.Time) members { return members{"iat": now.Add(65 * time.Second).Unix()} },
		"expired":                      func(now time.Time) members { return members{"exp": now.Add(-62 * time.Second).Unix()} },
		"exp that is null":             just(members{"exp": null}),
		"exp that is a text":           func(now time.Time) members { return members{"exp": fmt.Sprint(now.Add(time.Hour).Unix())} },
		"exp out of range":             just(members{"exp": json.RawMessage("1e999")}),
		"no events":                    just(members{"events": nil}),
		"events that are null":         just(members{"events": null}),
		"events that are a list":       just(members{"events": []string{logoutEvent}}),
		"events that are a text":       just(members{"events": logoutEvent}),
		"no event":                     just(members{"events": members{}}),
		"another event":                just(members{"events": members{"https://schemas.openid.net/secevent/risc/event-type/account-disabled": members{}}}),
		"event in another case":        just(members{"events": members{strings.ToUpper(logoutEvent): members{}}}),
		"event that is null":           just(members{"events": members{logoutEvent: null}}),
		"event that is a text":         just(members{"events": members{logoutEvent: ""}}),
		"event that is a list":         just(members{"events": members{logoutEvent: []any{}}}),
		"event that is true":           just(members{"events": members{logoutEvent: true}}),
		"no jti":                       just(members{"jti": nil}),
		"empty jti":                    just(members{"jti": ""}),
		"jti that is a number":         just(members{"jti": 1}),
		"jti with a space":             just(members{"jti": "a b"}),
		"jti with a line break":        just(members{"jti": "a\nb"}),
		"jti that is not ASCII":        just(members{"jti": "ä"}),
		"long jti":                     just(members{"jti": strings.Repeat("j", 256)}),
		"neither sub nor sid":          just(members{"sub": nil}),
		"empty sub":                    just(members{"sub": ""}),
		"sub that is null":             just(members{"sub": null}),
		"sub that is a number":         just(members{"sub": 1}),
		"sub that is null beside sid":  just(members{"sub": null, "sid": "s"}),
		"sub with a space":             just(members{"sub": "agent_alice "}),
		"long sub":                     just(members{"sub": strings.Repeat("s", 256)}),
		"empty sid":                    just(members{"sid": ""}),
		"sid that is null":             just(members{"sid": null}),
		"sid that is a list":           just(members{"sid": []string{"s"}}),
		"sid with a control character": just(members{"sid": "s\x00"}),
		"iss in another case":          just(members{"iss": nil, "ISS": "https://as.example"}),
		"aud in another case":          just(members{"aud": nil, "Aud": "site"}),
		"iat in another case":          func(now time.Time) members { return members{"iat": nil, "IAT": now.Unix()} },
		"jti in another case":          just(members{"jti": nil, "Jti": "j"}),
		"events in another case":       just(members{"events": nil, "Events": members{logoutEvent: members{}}}),
		"sub in another case":          just(members{"sub": nil, "Sub": "agent_alice"}),
		"more than 16 KiB":             just(members{"more": strings.Repeat("x", 16<<10)}),
		"as an id_token": func(now time.Time) members {
			return members{"events": nil, "nonce": "n", "exp": now.Add(time.Hour).Unix()}
		},
		"as an access token": just(members{"events": nil, "jti": nil, "client_id": "site", "scope": "openid"}),
	}
	badHeaders = map[string]members{
		"typ of an access token":   {"typ": "at+jwt"},
		"typ of another event":     {"typ": "secevent+jwt"},
		"typ of a client's word":   {"typ": "application/oauth-authz-req+jwt"},
		"empty typ":                {"typ": ""},
		"typ that is null":         {"typ": null},
		"typ that is a number":     {"typ": 1},
		"typ that folds into JWT":  {"typ": "logout+\u017fwt"},
		"typ with a space":         {"typ": "logout+jwt "},
		"extensions":               {"crit": []string{"x"}, "x": 1},
		"no extensions":            {"crit": []string{}},
		"extensions that are null": {"crit": null},
		"alg none":                 {"alg": "none"},
		"alg none in capitals":     {"alg": "NONE"},
		"alg that is another's":    {"alg": "RS256"},
		"alg that is not accepted": {"alg": "ES256K"},
		"no alg":                   {"alg": nil},
		"alg that is a number":     {"alg": 1},
		"kid of no key":            {"kid": "unknown"},
		"kid that is a number":     {"kid": 1},
	}
)

func just(m members) func(time.Time) members { return func(time.Time) members { return m } }

// badTokens are wrong as a whole.
func (l *logoutBench) badTokens() map[string]string {
	const header = `{"alg":"ES256","kid":"k","typ":"logout+jwt"}`
	text, _ := json.Marshal(l.claims())
	body := strings.TrimSuffix(string(text), "}")
	good := l.sign(header, string(text))
	pieces := strings.Split(good, ".")
	public, _ := x509.MarshalPKIXPublicKey(l.key.key.Public())
	shared := func(key []byte) string { return signedHS256(key, members{"kid": "k", "typ": "logout+jwt"}, l.claims()) }
	return map[string]string{
		"nothing":                   "",
		"no JWT":                    "x",
		"two parts":                 pieces[0] + "." + pieces[1],
		"four parts":                good + ".e30",
		"encrypted":                 "eyJhbGciOiJkaXIifQ..e30.e30.e30",
		"line break":                pieces[0][:8] + "\n" + pieces[0][8:] + "." + pieces[1] + "." + pieces[2],
		"padding":                   good + "=",
		"no signature":              pieces[0] + "." + pieces[1] + ".",
		"another token's signature": pieces[0] + "." + pieces[1] + "." + strings.Split(l.sign(header, body+`,"x":1}`), ".")[2],
		"another key":               newSigner(l.T, "k", "ES256").sign("ES256", members{"typ": "logout+jwt"}, l.claims()),
		"unsigned":                  unsigned(members{"alg": "none", "typ": "logout+jwt"}, l.claims()),
		"public key as a secret":    shared(public),
		"public key as a text":      shared(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"client secret":             shared([]byte(l.Config.ClientSecret)),
		"empty secret":              shared(nil),
		"iss twice":                 l.sign(header, body+`,"iss":"https://as.example"}`),
		"sub twice":                 l.sign(header, body+`,"sub":"agent_alice"}`),
		"sub twice by an escape":    l.sign(header, body+`,"s\u0075b":"agent_alice"}`),
		"event twice":               l.sign(header, strings.Replace(body, `{"`+logoutEvent, `{"`+logoutEvent+`":1,"`+logoutEvent, 1)+"}"),
		"typ twice":                 l.sign(`{"alg":"ES256","kid":"k","typ":"at+jwt","typ":"logout+jwt"}`, string(text)),
		"something after it":        l.sign(header, string(text)+"{}"),
		"list of claims":            l.sign(header, "["+string(text)+"]"),
	}
}

// TestHostileLogoutTokens_LOGOUT_1: a token with one thing wrong ends nothing, whatever that is. The
// log has one line about it, with nothing of it.
func TestHostileLogoutTokens_LOGOUT_1(t *testing.T) {
	l := newLogoutBench(t)
	c := l.Browser()
	s := l.MustSignIn(c, l.Agent)
	bad := make(map[string]func() string) // made when they are sent
	for name, token := range l.badTokens() {
		bad[name] = func() string { return token }
	}
	for name, change := range badClaims {
		of := func(more members) func() string {
			return func() string {
				return l.key.sign("ES256", members{"typ": "logout+jwt"}, with(with(l.claims(), more), change(time.Now())))
			}
		}
		bad[name] = of(nil)
		if !strings.Contains(name, "sub") { // it ends nothing by its sid either
			bad[name+", with a sid"] = of(members{"sid": s.SID})
		}
	}
	for name, change := range badHeaders {
		header, _ := json.Marshal(with(members{"alg": "ES256", "kid": "k", "typ": "logout+jwt"}, change))
		bad[name] = func() string {
			claims, _ := json.Marshal(l.claims())
			return l.sign(string(header), string(claims))
		}
	}
	bad["the id_token"] = l.idToken
	for name, token := range bad {
		t.Run("LOGOUT-1 "+name, func(t *testing.T) {
			l := &logoutBench{&bench{l.For(t)}, l.key}
			token := token()
			before := len(l.Log.String())
			l.rejected(name, l.post(token))
			log := l.Log.String()[before:]
			if l.Me(c) == nil {
				t.Fatal("the session has ended")
			}
			if strings.Count(log, "logout_failed") != 1 || !strings.Contains(log, "outcome=refused reason=invalid_request detail=") {
				t.Errorf("log: %s", log)
			}
			for _, piece := range strings.Split(token, ".") {
				if len(piece) > 8 && strings.Contains(log, piece) {
					t.Errorf("the token is in the log: %s", log)
				}
			}
		})
	}
	if n := len(l.Events.Named(audit.SessionsEndedByServer)); n != 0 {
		t.Errorf("%d times something has ended", n)
	}
}

// idToken has the server give an id_token, and returns it.
func (l *logoutBench) idToken() (token string) {
	l.AS.Wrap(authagenttest.PathToken, onCode(authagenttest.Rewrite(func(body members) { token = body["id_token"].(string) })))
	defer l.AS.Wrap(authagenttest.PathToken, nil)
	l.MustSignIn(l.Browser(), l.Agent)
	return token
}

// TestLogoutRequest_LOGOUT_7: the request is a POST of a form with one token, from a server, which knows
// nothing of cookies, origins and pages.
func TestLogoutRequest_LOGOUT_7(t *testing.T) {
	l := newLogoutBench(t)
	token := func() string { return l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil) }
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp := l.Send(l.Bare(), method, logoutPath+"?logout_token="+token(), "logout_token="+token(), "Content-Type", formType)
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("LOGOUT-7 %s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
	for name, request := range map[string]struct{ query, body, contentType string }{
		"LOGOUT-7 no body":        {"", "", formType},
		"LOGOUT-7 in the query":   {"?logout_token=" + token(), "", formType},
		"LOGOUT-7 two tokens":     {"", "logout_token=" + token() + "&logout_token=" + token(), formType},
		"LOGOUT-7 the same twice": {"", strings.Repeat("&logout_token="+token(), 2), formType},
		"LOGOUT-7 another name":   {"", "Logout_Token=" + token(), formType},
		"LOGOUT-7 no type":        {"", "logout_token=" + token(), ""},
		"LOGOUT-7 JSON":           {"", `{"logout_token":"` + token() + `"}`, "application/json"},
		"LOGOUT-7 text":           {"", "logout_token=" + token(), "text/plain"},
		"LOGOUT-7 the token":      {"", token(), "application/logout+jwt"},
		"LOGOUT-7 parts":          {"", "--x\r\nContent-Disposition: form-data; name=logout_token\r\n\r\n" + token() + "\r\n--x--\r\n", "multipart/form-data; boundary=x"},
		"LOGOUT-7 broken":         {"", "logout_token=" + token() + "&x=%zz", formType},
		"LOGOUT-7 too long":       {"", "logout_token=" + token() + "&x=" + strings.Repeat("x", 64<<10), formType},
	} {
		l.rejected(name, l.Send(l.Bare(), http.MethodPost, logoutPath+request.query, request.body, "Content-Type", request.contentType))
	}
	if n := len(l.Events.Named(audit.SessionsEndedByServer)); n != 0 {
		t.Fatalf("%d times something has ended", n)
	}
	for name, request := range map[string]struct {
		query, more, contentType string
		header                   []string
	}{
		"LOGOUT-7 more fields":       {"", "&state=x&y", formType, nil},
		"LOGOUT-7 charset":           {"", "", "Application/X-WWW-Form-Urlencoded; charset=UTF-8", nil},
		"LOGOUT-7 query":             {"?logout_token=x", "", formType, nil},
		"LOGOUT-7 another origin":    {"", "", formType, []string{"Origin", "https://as.example", "Sec-Fetch-Site", "cross-site"}},
		"LOGOUT-7 asks for a page":   {"", "", formType, []string{"Accept", "text/html"}},
		"LOGOUT-7 cookie of no kind": {"", "", formType, []string{"Cookie", "human=alice"}},
	} {
		header := append([]string{"Content-Type", request.contentType}, request.header...)
		l.accepted(name, l.Send(l.Bare(), http.MethodPost, logoutPath+request.query, "logout_token="+token()+request.more, header...))
	}
}

// TestLogoutBehindMiddleware_LOGOUT_7: Attach lets the server's request through, and a form that
// something outside has read is still there.
func TestLogoutBehindMiddleware_LOGOUT_7(t *testing.T) {
	l := newLogoutBench(t)
	inner := http.NewServeMux()
	inner.Handle("POST /oidc/logout", l.RP.BackChannelLogoutHandler())
	attached := l.RP.Attach(inner)
	l.Mux("").Handle("/oidc/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Reads") != "" {
			_ = r.ParseMultipartForm(1 << 20)
		}
		http.NewCrossOriginProtection().Handler(attached).ServeHTTP(w, r)
	}))
	parts := "--x\r\nContent-Disposition: form-data; name=logout_token\r\n\r\n" + l.AS.LogoutToken("site", members{"sub": "x"}, nil) + "\r\n--x--\r\n"
	l.rejected("parts", l.Send(l.Bare(), http.MethodPost, "/oidc/logout", parts, "Content-Type", "multipart/form-data; boundary=x", "X-Reads", "yes"))
	for _, reads := range []string{"", "yes"} {
		c := l.Browser()
		l.MustSignIn(c, l.Agent)
		body := "logout_token=" + l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)
		l.accepted("behind Attach", l.Send(l.Bare(), http.MethodPost, "/oidc/logout", body, "Content-Type", formType, "X-Reads", reads))
		if l.Me(c) != nil {
			t.Error("the session goes on")
		}
	}
}
