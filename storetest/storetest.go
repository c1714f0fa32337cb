// Package storetest checks implementations of package authagent's stores, and of
// its Sessions, as testing/slogtest does for handlers of log/slog.
//
//	func TestProfiles(t *testing.T) {
//		storetest.Profiles(t, func() authagent.ProfileStore { return newProfiles(t) })
//	}
//
// Each function runs subtests, and calls its second argument for the store of each.
// That may return the same store every time, even one that is in use, because the tests
// use random names. For [Sessions] it must be over the same store every time. A subtest
// that stands for a requirement of authagent has the requirement's ID in its name.
//
// [Grants] is for the store of package grants, and needs an empty one each time.
//
// A store may do what it likes with text that a database may not accept, such as
// invalid UTF-8, as long as it does not confuse it with another text.
package storetest

import (
	"crypto/rand"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
)

// atOnce is how many calls the tests make at once.
const atOnce = 100

// together calls f that often at once and returns what it returned.
func together[T any](f func(i int) T) []T {
	results := make([]T, atOnce)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return results
}

// inOrder visits what is in a map in the order of the names.
func inOrder[T any](all map[string]T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(name, all[name]) {
				return
			}
		}
	}
}

// alike are pairs of names that are different, and that databases and careless
// code take for the same. %s is a random part.
var alike = []struct{ what, one, other string }{
	{"letter case", "Agent_%sA", "agent_%sa"},
	{"trailing space", "agent_%s", "agent_%s "},
	{"leading space", "agent_%s", " agent_%s"},
	{"same last eight characters", "aaaa%s12345678", "bbbb%s12345678"},
	{"same first 254 bytes", "%[1]s" + strings.Repeat("x", 254-26) + "y", "%[1]s" + strings.Repeat("x", 254-26) + "z"},
	{"accent", "%s\u00e9", "%se"},
	{"composition", "%s\u00e9", "%se\u0301"},
	{"sharp s", "%s\u00df", "%sss"},
	{"wildcard", "%s_", "%sx"},
	{"number", "%s1", "%s01"},
	{"backslash", `%s\\`, `%s\`},
	{"quote", `%s''`, `%s'`},
}

// twoAgents are different, and alike in some way.
type twoAgents struct {
	what       string
	one, other authagent.Agent
}

// agents returns pairs of different agents. All issuers and IDs are as long as
// they can be or shorter.
func agents() []twoAgents {
	issuer := "https://" + strings.ToLower(rand.Text()) + ".example"
	pairs := []twoAgents{
		{"same ID at two issuers", authagent.Agent{Issuer: issuer, ID: "a"}, authagent.Agent{Issuer: issuer + "2", ID: "a"}},
		{"slash at the issuer", authagent.Agent{Issuer: issuer, ID: "a"}, authagent.Agent{Issuer: issuer + "/", ID: "a"}},
		{"same text together", authagent.Agent{Issuer: issuer + "/x", ID: "y"}, authagent.Agent{Issuer: issuer + "/", ID: "xy"}},
		{"same text with a space", authagent.Agent{Issuer: issuer, ID: "x y"}, authagent.Agent{Issuer: issuer + " x", ID: "y"}},
		{
			"issuers of 2048 bytes",
			authagent.Agent{Issuer: issuer + "/" + strings.Repeat("x", 2047-len(issuer)), ID: "a"},
			authagent.Agent{Issuer: issuer + "/" + strings.Repeat("x", 2046-len(issuer)) + "y", ID: "a"},
		},
	}
	for _, a := range alike {
		random := rand.Text()
		pairs = append(pairs, twoAgents{
			a.what, authagent.Agent{Issuer: issuer, ID: fmt.Sprintf(a.one, random)}, authagent.Agent{Issuer: issuer, ID: fmt.Sprintf(a.other, random)},
		})
	}
	return pairs
}

func newAgent() authagent.Agent {
	return authagent.Agent{Issuer: "https://as.example", ID: "agent_" + rand.Text()}
}

// forgetAgent and forgetUser call a Forgetter, twice: the second time there is nothing
// to forget.
func forgetAgent(t *testing.T, f authagent.Forgetter, agent authagent.Agent) {
	t.Helper()
	for range 2 {
		if err := f.ForgetAgent(t.Context(), "operator", agent); err != nil {
			t.Errorf("ForgetAgent(%+v): %v", agent, err)
		}
	}
}

func forgetUser(t *testing.T, f authagent.Forgetter, userID string) {
	t.Helper()
	for range 2 {
		if err := f.ForgetUser(t.Context(), "", userID); err != nil {
			t.Errorf("ForgetUser(%q): %v", userID, err)
		}
	}
	if f.ForgetUser(t.Context(), "", "") == nil {
		t.Error(`ForgetUser("") returned no error`)
	}
}
