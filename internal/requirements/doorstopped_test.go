package requirements_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// TestStopped_API_33: the token of an agent that its owner has stopped is refused at each instance, as one that is not
// good, and stays so when the owner lets the agent in anew. Their consent at the server does not do that: a later token
// has them asked.
func TestStopped_API_33(t *testing.T) {
	for _, form := range []string{"JWT", "opaque"} {
		synctest.Test(t, func(t *testing.T) {
			users, owners := &memstore.SubjectUsers{}, grants.OwnerApproval(&memstore.Grants{})
			alice := users.Put(memstore.Account{Email: "alice@example.com"})
			owners.Logger = discardLog()
			b, agent := newDelegated(t, func(b *bench, c *authagent.Config) {
				users.AddSubject(c.Issuer, "u-alice", alice)
				owners.ApproveByConsent = []string{c.Issuer}
				c.Scenario, c.Revocations = authagent.FullAccount(users, owners), &memstore.Revocations{}
				c.API.Resource = b.URL + "/api"
			})
			b.Instance("unseen")
			token := func() string {
				return b.AS.AccessToken(agent, authagenttest.APIToken{Audience: []string{b.Config.API.Resource}, Form: form})
			}
			want := func(what, instance, token string, status int, challenge string) {
				t.Helper()
				resp := b.Get(b.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", instance)
				if resp.StatusCode != status || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), challenge) {
					t.Errorf("%s, %s: status %d, challenge %q, %s", form, what, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), resp.Text)
				}
			}
			const refused = `Bearer error="invalid_token", `
			decide := func(d grants.Decision) {
				t.Helper()
				o, err := owners.Overview(t.Context(), alice)
				if err != nil || len(o.Grants) != 1 {
					t.Fatalf("%+v: %v", o, err)
				}
				d.GrantID, d.Version = o.Grants[0].ID, o.Grants[0].Version
				if _, err := owners.Decide(t.Context(), alice, d); err != nil {
					t.Fatal(err)
				}
			}
			first, unused := token(), token()
			want("by consent", "", first, http.StatusOK, "")
			decide(grants.Decision{State: grants.Revoked})
			want("stopped", "", first, http.StatusUnauthorized, refused)
			want("stopped, not seen before", "unseen", first, http.StatusUnauthorized, refused)
			want("another token at once", "", token(), http.StatusUnauthorized, refused)
			time.Sleep(2 * time.Minute) // as clocks may differ by a minute
			latest := token()
			want("a later token", "", latest, http.StatusForbidden, "")
			owners.Wait()
			decide(grants.Decision{State: grants.Approved, Access: authagent.AccessRead})
			want("let in anew, by the token that has asked", "", latest, http.StatusOK, "")
			want("let in anew, not seen before", "unseen", latest, http.StatusOK, "")
			want("the first token", "", first, http.StatusUnauthorized, refused)
			want("the first token, not seen before", "unseen", first, http.StatusUnauthorized, refused)
			want("a token from before the stop, used for the first time", "", unused, http.StatusUnauthorized, refused)
		})
	}
}
