package requirements_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/problem"
)

// TestLoginFromTheFuture_TXN_5 is TXN-5 for a login that began at an instance whose clock
// is far ahead: it would be good for longer than a login may take.
func TestLoginFromTheFuture_TXN_5(t *testing.T) {
	k := newCluster(t)
	box, err := seal.NewBox(k.Config.SessionKeys, "authagent", "login", k.Config.Issuer, k.Config.ClientID, k.Config.RedirectURL, k.Config.Scenario.Name())
	if err != nil {
		t.Fatal(err)
	}
	for ahead, good := range map[time.Duration]bool{0: true, 4 * time.Minute: true, 6 * time.Minute: false, 24 * time.Hour: false} {
		c := k.Browser()
		callback := k.Authorize(k.Agent, k.Begin(c, ""))
		for _, cookie := range c.Jar.Cookies(mustParse(t, k.URL)) {
			if !strings.Contains(cookie.Name, "-login-") {
				continue
			}
			plain, err := box.Open(cookie.Value, cookie.Name)
			if err != nil {
				t.Fatal(err)
			}
			fields := seal.NewReader(plain)
			start := fields.Int()
			rest := plain[len(seal.AppendInt(nil, start)):]
			value := append(seal.AppendInt(nil, start+int64(ahead/time.Second)), rest...)
			c.Jar.SetCookies(mustParse(t, k.URL), []*http.Cookie{{Name: cookie.Name, Value: box.Seal(value, cookie.Name), Path: "/", Secure: true}})
		}
		resp := k.Get(c, callback)
		if got := k.Me(c) != nil; got != good || !good && resp.Reason() != problem.Reason("state_expired") {
			t.Errorf("TXN-5: %v ahead: signed in %v, status %d %s", ahead, got, resp.StatusCode, resp.Text)
		}
	}
}
