package requirements_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// TestPersonEndedMeanwhile_LOGOUT_10: a session that the server has ended starts none at the site, neither while its
// sign-in is on its way nor by a request that is repeated.
func TestPersonEndedMeanwhile_LOGOUT_10(t *testing.T) {
	for _, by := range []string{"sid", "sub"} {
		synctest.Test(t, func(t *testing.T) {
			d := newSharedDoor(t, func(b *bench, c *authagent.Config) {
				b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SessionIDs = true })
				c.Revocations, c.States = &memstore.Revocations{}, &memstore.States{}
			})
			d.Mux("").Handle(logoutPath, d.RP.BackChannelLogoutHandler())
			end := func(sid string) error {
				claims := map[string]any{"sid": sid}
				if by == "sub" {
					claims = map[string]any{"sub": "u-alice"}
				}
				body := url.Values{"logout_token": {d.AS.LogoutToken("site", claims, nil)}}.Encode()
				if resp := d.Send(d.Bare(), http.MethodPost, logoutPath, body, "Content-Type", formType); resp.StatusCode != 200 {
					t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
				}
				return nil
			}
			sidOf := func(claims []byte) string {
				var c struct{ SID string }
				json.Unmarshal(claims, &c)
				return c.SID
			}
			// A repeated request.
			c := d.Browser()
			callback := d.Authorize(d.alice, d.Begin(c, ""))
			cookies := d.Cookies(c)
			if resp := d.Get(d.Bare(), callback, "Cookie", cookies); resp.StatusCode != 303 {
				t.Fatalf("%d %s", resp.StatusCode, resp.Text)
			}
			end(sidOf(d.people[0].Claims))
			if resp := d.Get(d.Bare(), callback, "Cookie", cookies); resp.StatusCode < 400 || len(resp.Header["Set-Cookie"]) > 1 {
				t.Errorf("%s: again, after the session has ended: %d %v", by, resp.StatusCode, resp.Header)
			}
			// While it is on its way.
			d.after = func() error { return end(sidOf(d.people[len(d.people)-1].Claims)) }
			c = d.Browser()
			if resp := d.Get(c, d.Authorize(d.alice, d.Begin(c, ""))); resp.StatusCode < 400 {
				t.Errorf("%s: ended meanwhile: %d %s", by, resp.StatusCode, d.Cookies(c))
			}
			d.after = nil
			if resp := d.SignIn(d.Browser(), d.alice); resp.StatusCode != 303 {
				t.Errorf("%s: anew: %d %s", by, resp.StatusCode, resp.Text)
			}
		})
	}
}

// TestTokenForTwoClients_LOGOUT_4: a logout token for two clients of one site, which share a StateStore, counts once at each.
func TestTokenForTwoClients_LOGOUT_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogoutBench(t)
		rp := l.instance("other", func(c *authagent.Config) {
			client := l.AS.AddClient(authagenttest.Client{ID: "other", RedirectURIs: []string{c.RedirectURL}})
			c.ClientID, c.ClientSecret = client.ID, client.Secret
		})
		_ = rp
		claims := l.claims()
		claims["aud"] = []string{"site", "other"}
		text, _ := json.Marshal(claims)
		token := l.sign(`{"alg":"ES256","kid":"k","typ":"logout+jwt"}`, string(text))
		l.accepted("the first", l.post(token))
		l.accepted("the other", l.post(token, "X-Instance", "other"))
		l.rejected("the other, again", l.post(token, "X-Instance", "other"))
	})
}
