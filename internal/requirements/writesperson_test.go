package requirements_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// TestOnPersonWrites_ACT_15: a site that answers by itself, as its former callback did, has no answer sent: a refusal
// takes its cookie back all the same, and who is let in lands where the login says.
func TestOnPersonWrites_ACT_15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSharedDoor(t, func(b *bench, c *authagent.Config) {
			start := c.Provider.OnPerson
			c.Provider.OnPerson = func(w http.ResponseWriter, r *http.Request, p provider.Person) error {
				err := start(w, r, p)
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return err
			}
		})
		c := d.Browser()
		resp := d.Get(c, d.Authorize(d.alice, d.Begin(c, "?return_to=/humans")))
		if resp.StatusCode != 303 || resp.Header.Get("Location") != "/humans" || !strings.Contains(d.Cookies(c), "human=") {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		d.after = func() error { return problem.Blocked }
		c = d.Browser()
		d.refused(c, d.SignIn(c, d.alice), 403, problem.Blocked)
	})
}
