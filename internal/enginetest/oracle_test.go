package enginetest_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

const (
	// oracleSamples of each kind are measured in a run. A run that finds a
	// difference by chance is rare; oracleRuns of them in a row are not chance.
	oracleSamples = 100
	oracleRuns    = 4
	halvings      = 1000
)

// oracleKinds are the addresses between which an agent must not tell by time: one
// that no account has, one of an account each, and one of an account whose owner
// has been asked often enough.
var oracleKinds = []string{"unknown", "known", "flooded"}

// TestSameTimeOnEngines_LNK_20 is LNK-20: neither the answer to a sign-in nor the next ones
// take longer because an account has the address. Kinds of addresses come in turn, at
// random. The medians of two kinds differ by less than those of two halves of one
// kind do, but for one in twenty of them.
func TestSameTimeOnEngines_LNK_20(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures")
	}
	onEngines(t, func(t *testing.T, d *database) {
		o := newOracleSite(t, d)
		always := o.differences(t, 0) // found in each run
		for run := 1; run < oracleRuns && len(always) > 0; run++ {
			t.Logf("run %d: %q", run, always)
			found := o.differences(t, run)
			maps.DeleteFunc(always, func(what, _ string) bool { return found[what] == "" })
		}
		for what, difference := range inOrder(always) {
			t.Errorf("LNK-20: an agent can tell by time whether an account has an address, in each of %d runs: %s: %s", oracleRuns, what, difference)
		}
	})
}

type oracleSite struct {
	*site
	owners  *grants.Policy
	cookies string // of an agent that is let in
	agents  int    // that have been added
}

func newOracleSite(t *testing.T, d *database) *oracleSite {
	s, _ := d.migrated(t, d.fast...)
	o := &oracleSite{}
	o.site = newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, users *memstore.Users) {
		p := grants.OwnerApproval(s.Grants())
		p.Logger = slog.New(slog.DiscardHandler)
		c.Scenario = authagent.FullAccount(users, p)
		o.owners = p
	})
	o.Users.Add("flooded@example.com", "")
	for range 5 {
		o.ask(t, "flooded@example.com")
	}
	err := o.owners.LinkByOwner(t.Context(), authagent.LinkRequest{
		Agent: authagent.Agent{Issuer: o.AS.URL, ID: o.Agent.ID}, Email: "alice@example.com", Scenario: "FullAccount", User: &authagent.User{ID: o.Users.All()[0].ID},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.cookies = o.signIn(t, o.Browser())
	return o
}

// start begins a sign-in of another agent, with this address.
func (o *oracleSite) start(t *testing.T, email string) callback {
	t.Helper()
	o.agents++
	agent := o.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprint("asks_", o.agents), Email: email})
	c, at := o.Browser(), o.For(t)
	return callback{at.Authorize(agent, at.Begin(c, "")), o.site.Cookies(c)}
}

func (o *oracleSite) ask(t *testing.T, email string) {
	t.Helper()
	c := o.start(t, email)
	o.timed(t, c.callback, c.cookies, http.StatusForbidden)
	o.owners.Wait()
}

// timed returns how long an answer takes.
func (o *oracleSite) timed(t *testing.T, target, cookies string, want int) time.Duration {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = o.URL + target
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", cookies)
	c := o.Bare()
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
		t.Fatalf("%s: %d, %v", target, resp.StatusCode, err)
	}
	return time.Since(start)
}

// differences measures each kind and returns how those differ that do, by answer and
// kind.
func (o *oracleSite) differences(t *testing.T, run int) (found map[string]string) {
	t.Helper()
	found = make(map[string]string)
	answers := []string{"the callback", "the next request", "the next callback"}
	took := make(map[string]map[string][]float64) // by answer and kind, in milliseconds
	for _, answer := range answers {
		took[answer] = make(map[string][]float64)
	}
	for n := range oracleSamples {
		for _, i := range rand.Perm(len(oracleKinds)) {
			kind := oracleKinds[i]
			email := kind + "@example.com"
			if kind == "known" {
				email = fmt.Sprintf("known_%d_%d@example.com", run, n)
				o.Users.Add(email, "")
			}
			first, second := o.start(t, email), o.start(t, "nobody@example.com")
			for i, took1 := range []time.Duration{
				o.timed(t, first.callback, first.cookies, http.StatusForbidden),
				o.timed(t, "/me", o.cookies, http.StatusOK),
				o.timed(t, second.callback, second.cookies, http.StatusForbidden),
			} {
				took[answers[i]][kind] = append(took[answers[i]][kind], took1.Seconds()*1000)
			}
			o.owners.Wait()
		}
	}
	for _, answer := range answers {
		unknown := took[answer]["unknown"]
		chance := byChance(unknown)
		for _, kind := range oracleKinds[1:] {
			if d := difference(unknown, took[answer][kind]); d >= chance {
				found[answer+", "+kind] = fmt.Sprintf("medians %.2f and %.2f ms, which differ by %.2f; by chance by %.2f",
					median(unknown), median(took[answer][kind]), d, chance)
			}
		}
	}
	return found
}

// byChance is the 95th percentile of how the medians of two halves differ.
func byChance(all []float64) float64 {
	all = slices.Clone(all)
	differences := make([]float64, halvings)
	for i := range differences {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		differences[i] = difference(all[:len(all)/2], all[len(all)/2:])
	}
	slices.Sort(differences)
	return differences[halvings*95/100]
}

func difference(a, b []float64) float64 { return max(median(a)-median(b), median(b)-median(a)) }

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
