package requirements_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

const (
	logoutPath  = "/auth/agent/backchannel-logout"
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// A logoutBench is a cluster whose server says when its sessions have ended. Beside the server's own
// key, key is published.
type logoutBench struct {
	*bench
	key signer
}

func newLogoutBench(t testing.TB, change ...func(b *bench, c *authagent.Config)) *logoutBench {
	t.Helper()
	setup := func(b *bench, c *authagent.Config) {
		b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
			*q = authagenttest.Quirks{}
			f.IDToken, f.SessionIDs, f.SignedTokens = true, true, "ES256"
		})
		c.Scenario, c.Provider.Scopes = authagent.FreshProfile(b.Profiles), []string{"openid", "profile"}
		c.Revocations, c.States = &memstore.Revocations{}, &memstore.States{}
	}
	b := newCluster(t, append([]func(*bench, *authagent.Config){setup}, change...)...)
	l := &logoutBench{b, newSigner(t, "k", "ES256")}
	b.AS.Wrap(authagenttest.PathJWKS, authagenttest.Rewrite(func(set members) {
		set["keys"] = append(set["keys"].([]any), l.key.jwk())
	}))
	b.AS.AddClient(authagenttest.Client{
		ID: "site", Secret: b.Config.ClientSecret, RedirectURIs: []string{b.Config.RedirectURL}, LogoutURL: b.URL + logoutPath,
	})
	b.Mux("").Handle(logoutPath, b.RP.BackChannelLogoutHandler())
	return l
}

// instance starts another instance, with the handler mounted.
func (l *logoutBench) instance(name string, change ...func(c *authagent.Config)) *authagent.RelyingParty {
	rp := l.Instance(name, change...)
	l.Mux(name).Handle(logoutPath, rp.BackChannelLogoutHandler())
	return rp
}

// claims are those of a good token about the subject agent_alice.
func (l *logoutBench) claims() members {
	return members{
		"iss": l.AS.URL, "aud": "site", "sub": "agent_alice", "iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(),
		"jti": rand.Text(), "events": members{logoutEvent: members{}},
	}
}

// sign signs claims as they are, which may be no JSON.
func (l *logoutBench) sign(header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, l.key.key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		l.T.Fatal(err)
	}
	return input + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (l *logoutBench) post(token string, header ...string) *response {
	l.T.Helper()
	body := url.Values{"logout_token": {token}}.Encode()
	return l.Send(l.Bare(), http.MethodPost, logoutPath, body, append([]string{"Content-Type", formType}, header...)...)
}

// accepted checks what a server is told whose logout is done.
func (l *logoutBench) accepted(what string, resp *response) {
	l.T.Helper()
	if resp.StatusCode != http.StatusOK || resp.Text != "" || resp.Header.Get("Cache-Control") != "no-store" || len(resp.Cookies()) != 0 {
		l.T.Errorf("%s: %d %q %v\nlog: %s", what, resp.StatusCode, resp.Text, resp.Header, l.Log)
	}
}

// rejected checks what a server is told whose logout is not done.
func (l *logoutBench) rejected(what string, resp *response) {
	l.T.Helper()
	var says map[string]string
	err := json.Unmarshal([]byte(resp.Text), &says)
	if resp.StatusCode != http.StatusBadRequest || err != nil || len(says) != 2 || says["error"] != "invalid_request" || says["error_description"] == "" ||
		resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" || len(resp.Cookies()) != 0 {
		l.T.Errorf("%s: %d %q %v", what, resp.StatusCode, resp.Text, resp.Header)
	}
}

// null is null in a token, where nil leaves a member out.
var null = json.RawMessage("null")

// TestGoodLogoutTokens_LOGOUT_2: what servers send is taken in each of its forms.
func TestGoodLogoutTokens_LOGOUT_2(t *testing.T) {
	now := time.Now()
	for name, change := range map[string]struct{ header, claims members }{
		"LOGOUT-2 as it is":           {},
		"LOGOUT-2 typ JWT":            {header: members{"typ": "JWT"}},
		"LOGOUT-2 no typ":             {header: members{"typ": nil}},
		"LOGOUT-2 typ in full":        {header: members{"typ": "application/logout+jwt"}},
		"LOGOUT-2 typ in capitals":    {header: members{"typ": "LOGOUT+JWT"}},
		"LOGOUT-2 several clients":    {claims: members{"aud": []string{"other", "site"}}},
		"LOGOUT-2 no exp":             {claims: members{"exp": nil}},
		"LOGOUT-2 clock ahead":        {claims: members{"iat": now.Add(50 * time.Second).Unix()}},
		"LOGOUT-2 four minutes old":   {claims: members{"iat": now.Add(-4 * time.Minute).Unix()}},
		"LOGOUT-2 just expired":       {claims: members{"exp": now.Add(-30 * time.Second).Unix()}},
		"LOGOUT-2 fraction":           {claims: members{"iat": float64(now.Unix()) - 0.5}},
		"LOGOUT-2 long jti":           {claims: members{"jti": strings.Repeat("j", 255)}},
		"LOGOUT-2 another event, too": {claims: members{"events": members{logoutEvent: members{}, "https://x.example/event": null}}},
		"LOGOUT-2 event with members": {claims: members{"events": members{logoutEvent: members{"x": 1}}}},
		"LOGOUT-2 more claims":        {claims: members{"Nonce": "n", "auth_time": 1, "x": members{}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogoutBench(t)
			c := l.Browser()
			l.MustSignIn(c, l.Agent)
			l.accepted(name, l.post(l.AS.LogoutToken("site", with(members{"sub": "agent_alice"}, change.claims), change.header)))
			if l.Me(c) != nil {
				t.Error("the session goes on")
			}
			if err := l.RP.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			ended := l.Events.Named(audit.SessionsEndedByServer)
			if len(ended) != 1 || ended[0].Detail != "all sessions of agent_alice" || ended[0].Issuer != l.AS.URL || ended[0].Outcome != audit.OK || ended[0].Route != logoutPath {
				t.Errorf("events %+v", ended)
			}
		})
	}
}

// TestLogoutWithTokenKey_LOGOUT_2: HS256 counts with Provider.TokenKey, and with that key alone.
func TestLogoutWithTokenKey_LOGOUT_2(t *testing.T) {
	l := newLogoutBench(t, func(b *bench, c *authagent.Config) { c.Provider.TokenKey = b.AS.JWTSecret })
	l.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens, f.IDToken = "", false })
	c := l.Browser()
	l.MustSignIn(c, l.Agent)
	for name, key := range map[string][]byte{"another secret": []byte(l.Config.ClientSecret), "no secret": nil} {
		l.rejected(name, l.post(signedHS256(key, members{"typ": "logout+jwt"}, l.claims())))
	}
	access := signedHS256(l.AS.JWTSecret, nil, with(l.accessClaims(), members{"aud": "site", "jti": "j"}))
	l.rejected("an access token", l.post(access))
	if l.Me(c) == nil {
		t.Fatal("the session has ended")
	}
	l.accepted("HS256", l.post(l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)))
	if l.Me(c) != nil {
		t.Error("the session goes on")
	}
}

// TestWhoseSessionsEnd_LOGOUT_3: exactly the sessions that a token is about end, at every instance, on
// their next request.
func TestWhoseSessionsEnd_LOGOUT_3(t *testing.T) {
	type browser struct {
		agent *authagenttest.Agent
		*http.Client
		*authagent.Session
	}
	for _, test := range []struct {
		name   string
		user   bool
		claims func(all []browser) members
		ended  []int
	}{
		{"LOGOUT-3 sid", false, func(all []browser) members { return members{"sid": all[1].SID} }, []int{1}},
		{"LOGOUT-3 sid of a user", true, func(all []browser) members { return members{"sid": all[1].SID} }, []int{1}},
		{"LOGOUT-3 sid and sub", true, func(all []browser) members { return members{"sid": all[0].SID, "sub": "user_1"} }, []int{0}},
		{"LOGOUT-3 sid that nobody has", true, func([]browser) members { return members{"sid": "unknown", "sub": "user_1"} }, nil},
		{"LOGOUT-3 sub is the user", true, func([]browser) members { return members{"sub": "user_1"} }, []int{0, 1, 2}},
		{"LOGOUT-3 sub that nobody has", true, func([]browser) members { return members{"sub": "user_10"} }, nil},
		{"LOGOUT-3 sub is the agent", false, func([]browser) members { return members{"sub": "agent_1"} }, []int{0, 1}},
		{"LOGOUT-3 user where sub is the agent", false, func([]browser) members { return members{"sub": "user_1"} }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.Provider.SubjectIsUser = test.user })
			l.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = test.user })
			l.instance("2")
			var all []browser
			one := l.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_1"})
			for _, agent := range []*authagenttest.Agent{
				one, one, l.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_1"}), l.AS.AddAgent(authagenttest.Agent{ID: "agent_3", UserID: "user_2"}),
			} {
				in := browser{agent: agent, Client: l.Browser()}
				in.Session = l.MustSignIn(in.Client, in.agent)
				if in.SID == "" || (in.Subject != "") != test.user {
					t.Fatalf("session %+v", in.Session)
				}
				all = append(all, in)
			}
			l.accepted(test.name, l.post(l.AS.LogoutToken("site", test.claims(all), nil), "X-Instance", "2"))
			for i, in := range all {
				saved := l.Cookies(in.Client)
				for _, instance := range []string{"", "2"} {
					lives := l.Get(l.Bare(), "/me", "Cookie", saved, "X-Instance", instance).StatusCode == http.StatusOK
					if lives == slices.Contains(test.ended, i) {
						t.Errorf("session %d of %s lives at instance %q: %t", i, in.agent.ID, instance, lives)
					}
				}
			}
			for i, in := range all { // who signs in anew is let in, also the one whose session has ended
				if anew := l.Browser(); l.MustSignIn(anew, in.agent) == nil {
					t.Errorf("%d is not let in anew", i)
				}
			}
		})
	}
}

// TestGuestEnds_LOGOUT_3: where sub is the user, a guest's sub is the agent itself.
func TestGuestEnds_LOGOUT_3(t *testing.T) {
	l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.Provider.SubjectIsUser = true })
	l.AS.Wrap(authagenttest.PathToken, onCode(authagenttest.Rewrite(func(body members) {
		asked := l.AS.Requests(authagenttest.PathAuthorize)
		body["id_token"] = l.key.sign("ES256", nil, members{
			"iss": l.AS.URL, "sub": "agent_alice", "sub_profile": "ai_agent", "aud": "site", "nonce": asked[len(asked)-1].URL.Query().Get("nonce"),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sid": "s",
		})
	})))
	c := l.Browser()
	if s := l.MustSignIn(c, l.Agent); s.Subject != "" || s.Agent.ID != "agent_alice" {
		t.Fatalf("no guest: %+v", s)
	}
	l.accepted("another", l.post(l.AS.LogoutToken("site", members{"sub": "agent_bob"}, nil)))
	if l.Me(c) == nil {
		t.Fatal("another guest's session has ended")
	}
	l.accepted("the guest", l.post(l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)))
	if l.Me(c) != nil {
		t.Error("the guest's session goes on")
	}
}

// TestLogoutDuringSignIn_LOGOUT_3: a session at the server that has ended starts none here, however late
// the sign-in comes to its end.
func TestLogoutDuringSignIn_LOGOUT_3(t *testing.T) {
	during := &duringSignIn{}
	l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { during.Scenario, c.Scenario = c.Scenario, during })
	var sid string
	l.AS.Wrap(authagenttest.PathToken, onCode(authagenttest.Rewrite(func(body members) {
		_, rest, _ := strings.Cut(body["id_token"].(string), ".")
		text, _, _ := strings.Cut(rest, ".")
		data, _ := base64.RawURLEncoding.DecodeString(text)
		var says struct{ SID string }
		_ = json.Unmarshal(data, &says)
		sid = says.SID
	})))
	during.then = func(authagent.Principal) {
		l.accepted("during the sign-in", l.post(l.AS.LogoutToken("site", members{"sid": sid}, nil)))
	}
	c := l.Browser()
	l.SignIn(c, l.Agent)
	if sid == "" || l.Me(c) != nil {
		t.Errorf("sid %q: the session goes on", sid)
	}
}

// TestLogoutTokenOnce_LOGOUT_4: a token counts once, at whichever instance, and ends nothing that has
// begun since.
func TestLogoutTokenOnce_LOGOUT_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogoutBench(t)
		l.instance("2")
		c := l.Browser()
		l.MustSignIn(c, l.Agent)
		token := l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)
		l.accepted("first", l.post(token))
		if l.Me(c) != nil {
			t.Error("the session goes on")
		}
		l.MustSignIn(c, l.Agent)
		for range 6 { // until it is too old
			for _, instance := range []string{"", "2"} {
				l.rejected("again at "+instance, l.post(token, "X-Instance", instance))
			}
			time.Sleep(time.Minute)
		}
		l.rejected("same jti", l.post(l.key.sign("ES256", nil, with(l.claims(), members{"jti": "same", "exp": nil, "aud": "other"})))) // of another client
		l.accepted("same jti, first", l.post(l.key.sign("ES256", nil, with(l.claims(), members{"jti": "same", "sub": "x"}))))
		l.rejected("same jti, again", l.post(l.key.sign("ES256", nil, with(l.claims(), members{"jti": "same", "sub": "agent_alice"}))))
		if l.Me(c) == nil {
			t.Error("a token that was used has ended a session that began later")
		}
	})
}

// TestOldTokenAtSlowInstance_LOGOUT_4: an instance whose clock is five minutes behind takes a token for
// longer, and it was used there, too.
func TestOldTokenAtSlowInstance_LOGOUT_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptStates{}
		l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.States = store })
		issued := time.Now()
		l.accepted("first", l.post(l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)))
		if len(store.until) == 0 {
			t.Fatal("the store was not asked")
		}
		for _, until := range store.until {
			if until.Before(issued.Add(10 * time.Minute)) {
				t.Errorf("kept until %v after it was issued", until.Sub(issued))
			}
		}
	})
}

// keptStates notes how long states are to be kept.
type keptStates struct {
	memstore.States
	until []time.Time
}

func (s *keptStates) UseState(ctx context.Context, id string, until time.Time) (bool, error) {
	s.until = append(s.until, until)
	return s.States.UseState(ctx, id, until)
}

// failingStores fail while they are told to, one way or another.
type failingStores struct {
	memstore.Revocations
	states             memstore.States
	fail               error
	revokes, usesState bool // what fails
	calls              int
}

func (f *failingStores) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	if f.revokes && f.fail != nil {
		f.calls++
		if errors.Is(f.fail, errPanics) {
			panic("store")
		}
		return f.fail
	}
	return f.Revocations.Revoke(ctx, key, mark, until)
}

func (f *failingStores) UseState(ctx context.Context, id string, until time.Time) (bool, error) {
	if f.usesState && f.fail != nil {
		f.calls++
		if errors.Is(f.fail, errPanics) {
			panic("store")
		}
		return false, f.fail
	}
	return f.states.UseState(ctx, id, until)
}

var errPanics = errors.New("panics")

// TestLogoutStoreFails_LOGOUT_5: what could not be recorded is not said to be done: the session goes on,
// the log says why, and the same token counts when the store is back, at another instance as well.
func TestLogoutStoreFails_LOGOUT_5(t *testing.T) {
	for _, fail := range []error{errors.New("down"), errPanics} {
		for name, store := range map[string]*failingStores{
			"LOGOUT-5 revocations": {revokes: true, fail: fail}, "LOGOUT-5 states": {usesState: true, fail: fail},
		} {
			t.Run(name+" "+fail.Error(), func(t *testing.T) {
				l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.Revocations = store })
				l.instance("down", func(c *authagent.Config) { c.States = store })
				l.instance("2", func(c *authagent.Config) { c.States = store })
				store.fail = nil
				c := l.Browser()
				l.MustSignIn(c, l.Agent)
				store.fail = fail
				token := l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)
				l.rejected("down", l.post(token, "X-Instance", "down"))
				if store.calls != 1 {
					t.Errorf("the store was asked %d times", store.calls)
				}
				if l.Me(c) == nil {
					t.Error("the session has ended")
				}
				failed := l.Logged(audit.LogoutFailed)
				if len(failed) != 1 || failed[0].Reason != problem.StoreFailed || failed[0].Outcome != audit.Failed {
					t.Errorf("events %+v", failed)
				}
				store.fail = nil
				l.accepted("back", l.post(token, "X-Instance", "2"))
				if l.Me(c) != nil {
					t.Error("the session goes on")
				}
				l.MustSignIn(c, l.Agent)
				l.rejected("again", l.post(token, "X-Instance", "down"))
				l.rejected("again", l.post(token, "X-Instance", "2"))
				if l.Me(c) == nil {
					t.Error("a token that was used has ended a session that began later")
				}
			})
		}
	}
}

// TestServerDoesNotWait_LOGOUT_5: a logout whose server has gone away is done all the same.
func TestServerDoesNotWait_LOGOUT_5(t *testing.T) {
	store := &failingStores{}
	l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.Revocations = &obedient{store} })
	c := l.Browser()
	l.MustSignIn(c, l.Agent)
	body := url.Values{"logout_token": {l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)}}.Encode()
	l.accepted("the keys are known", l.post(l.AS.LogoutToken("site", members{"sub": "another"}, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, l.URL+logoutPath, strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	l.Mux("").ServeHTTP(w, r)
	if w.Code != http.StatusOK || l.Me(c) != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// obedient does nothing when its context has ended, as a database.
type obedient struct{ authagent.RevocationStore }

func (o *obedient) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.RevocationStore.Revoke(ctx, key, mark, until)
}

// TestOnPersonEnded_LOGOUT_6: the site hears whose sessions have ended after the agents' have. What it
// says decides what the server is told.
func TestOnPersonEnded_LOGOUT_6(t *testing.T) {
	var told []provider.Person
	var answer func() error
	var l *logoutBench
	var c *http.Client
	l = newLogoutBench(t, func(_ *bench, cfg *authagent.Config) {
		cfg.Provider.SubjectIsUser, cfg.Provider.OnPerson = true, noPerson
		cfg.Provider.OnPersonEnded = func(_ context.Context, p provider.Person) error {
			told = append(told, p)
			if c != nil && l.Me(c) != nil {
				t.Error("told before the agent's session has ended")
			}
			return answer()
		}
	})
	l.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
	for name, test := range map[string]struct {
		answer func() error
		done   bool
	}{
		"LOGOUT-6 nothing": {func() error { return nil }, true},
		"LOGOUT-6 error":   {func() error { return errors.New("down") }, false},
		"LOGOUT-6 reason":  {func() error { return problem.NotFound }, false},
		"LOGOUT-6 panic":   {func() error { panic("hunter2") }, false},
	} {
		answer = test.answer
		for claim, want := range map[string]provider.Person{
			"sub":      {Issuer: l.AS.URL, Subject: "alice@example.com"},
			"sid":      {Issuer: l.AS.URL, SID: "own"},
			"sub, sid": {Issuer: l.AS.URL, Subject: "alice@example.com", SID: "own"},
		} {
			told, c = nil, nil
			in := l.Browser()
			s := l.MustSignIn(in, l.Agent)
			if want.SID != "" {
				want.SID = s.SID
			}
			c = in
			err := l.AS.Logout(t.Context(), l.Bare(), "site", want.Subject, want.SID)
			if (err == nil) != test.done || err != nil && !strings.Contains(err.Error(), "400 Bad Request") {
				t.Errorf("%s %s: %v", name, claim, err)
			}
			if diff := cmp.Diff([]provider.Person{want}, told); diff != "" {
				t.Errorf("%s %s: %s", name, claim, diff)
			}
		}
	}
	if text := l.Log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "panic=string") {
		t.Error("the panic is not in the log, or more than its type")
	}
	if failed := l.Logged(audit.LogoutFailed); len(failed) != 9 {
		t.Errorf("%d events of failures", len(failed))
	}
}

// noPerson is for a site whose people are not what a test is about.
func noPerson(http.ResponseWriter, *http.Request, provider.Person) error { return nil }

// TestPersonTriedAgain_LOGOUT_6: if the site's own part has failed, the same token counts once more.
func TestPersonTriedAgain_LOGOUT_6(t *testing.T) {
	fails := 1
	calls := 0
	l := newLogoutBench(t, func(_ *bench, c *authagent.Config) {
		c.Provider.SubjectIsUser, c.Provider.OnPerson = true, noPerson
		c.Provider.OnPersonEnded = func(context.Context, provider.Person) error {
			if calls++; calls <= fails {
				return errors.New("down")
			}
			return nil
		}
	})
	l.instance("2")
	token := l.AS.LogoutToken("site", members{"sub": "alice"}, nil)
	l.rejected("down", l.post(token))
	l.accepted("once more", l.post(token, "X-Instance", "2"))
	l.rejected("and no more", l.post(token))
	l.rejected("and no more", l.post(token, "X-Instance", "2"))
	if calls != 2 {
		t.Errorf("told %d times", calls)
	}
	fails, calls = 9, 0
	token = l.AS.LogoutToken("site", members{"sub": "alice"}, nil)
	for range 4 {
		l.rejected("down", l.post(token))
	}
	if calls != 2 {
		t.Errorf("told %d times", calls)
	}
}

// TestLogoutFlood_LOGOUT_8: strangers' tokens are counted as other refusals are, and cost the server one
// request for its keys in ten seconds. Those that are not for this site cost it none.
func TestLogoutFlood_LOGOUT_8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogoutBench(t)
		stranger := newSigner(t, "unknown", "ES256")
		flood := func(claims members, fetched int) {
			t.Helper()
			before := len(l.AS.Requests(authagenttest.PathJWKS))
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() {
					token := stranger.sign("ES256", members{"kid": rand.Text()}, with(with(l.claims(), members{"jti": rand.Text()}), claims))
					l.rejected("stranger", l.post(token))
				})
			}
			all.Wait()
			if n := len(l.AS.Requests(authagenttest.PathJWKS)) - before; n != fetched {
				t.Errorf("%v: the keys are fetched %d times, want %d", claims, n, fetched)
			}
		}
		for name, change := range badClaims {
			if name != "long jti" {
				flood(change(time.Now()), 0)
			}
		}
		before := len(l.AS.Requests(authagenttest.PathJWKS))
		for name, change := range badHeaders {
			if _, said := change["kid"]; !said && name != "alg that is another's" {
				header, _ := json.Marshal(with(members{"alg": "ES256", "kid": "k", "typ": "logout+jwt"}, change))
				claims, _ := json.Marshal(l.claims())
				l.rejected(name, l.post(l.sign(string(header), string(claims))))
			}
		}
		if n := len(l.AS.Requests(authagenttest.PathJWKS)) - before; n != 0 {
			t.Errorf("the keys are fetched %d times for tokens that no key could verify", n)
		}
		flood(nil, 1)
		flood(nil, 0)
		c := l.Browser()
		l.MustSignIn(c, l.Agent)
		time.Sleep(10 * time.Second)
		flood(nil, 1)
		l.accepted("the server's own", l.post(l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)))
		if l.Me(c) != nil {
			t.Error("the session goes on")
		}
		time.Sleep(2 * time.Minute)
		if n := len(l.Events.Named(audit.LogoutFailed)); n == 0 || n > 8 {
			t.Errorf("%d events of a flood", n)
		}
		l.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(503, "", ""))
		l.AS.RotateKeys()
		l.AS.RotateKeys()
		flood(nil, 1)
		flood(nil, 0)
	})
}

// TestServerDown_LOGOUT_8: while the keys cannot be had, a logout is not said to be done.
func TestServerDown_LOGOUT_8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogoutBench(t)
		l.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(503, "", ""))
		token := l.AS.LogoutToken("site", members{"sub": "agent_alice"}, nil)
		l.rejected("down", l.post(token))
		if failed := l.Logged(audit.LogoutFailed); len(failed) != 1 || failed[0].Reason != problem.Reason("server_unavailable") {
			t.Errorf("events %+v", failed)
		}
		l.AS.Wrap(authagenttest.PathJWKS, nil)
		time.Sleep(10 * time.Second)
		l.accepted("back, with the same token", l.post(token))
	})
}

// TestTokensOfEndedLogout_LOGOUT_9: the tokens of a session that the server has ended are given out no
// more, and released on its next request.
func TestTokensOfEndedLogout_LOGOUT_9(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogoutBench(t, func(_ *bench, c *authagent.Config) { c.Tokens.Store, c.Tokens.ConfirmEvery = &memstore.Tokens{}, -1 })
		rp := l.instance("2")
		c, other := l.Browser(), l.Browser()
		s := l.MustSignIn(c, l.Agent)
		time.Sleep(time.Second)
		goesOn := l.MustSignIn(other, l.Agent)
		if err := l.AS.Logout(t.Context(), l.Bare(), "site", "", s.SID); err != nil {
			t.Fatal(err)
		}
		for _, rp := range []*authagent.RelyingParty{l.RP, rp} {
			if _, err := rp.TokenSource(t.Context(), s).Token(); !errors.Is(err, problem.NoSession) {
				t.Errorf("a token of an ended session: %v", err)
			}
			if _, err := rp.TokenSource(t.Context(), goesOn).Token(); err != nil {
				t.Errorf("no token of a session that goes on: %v", err)
			}
		}
		if n := len(l.AS.Requests(authagenttest.PathRevoke)); n != 0 {
			t.Errorf("%d revocations before the next request", n)
		}
		if resp := l.Get(c, "/me", "X-Instance", "2"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d", resp.StatusCode)
		}
		settle()
		if n := len(l.AS.Requests(authagenttest.PathRevoke)); n == 0 {
			t.Error("the tokens are not revoked")
		}
		if _, err := l.RP.TokenSource(t.Context(), goesOn).Token(); err != nil || l.Me(other) == nil {
			t.Errorf("another session has ended with it: %v", err)
		}
	})
}
