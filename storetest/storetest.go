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
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/stores"
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

// forgetAgent calls a Forgetter, twice: the second time there is nothing to forget.
func forgetAgent(t *testing.T, f authagent.Forgetter, agent authagent.Agent) {
	t.Helper()
	for range 2 {
		if err := f.ForgetAgent(t.Context(), "operator", agent); err != nil {
			t.Errorf("ForgetAgent(%+v): %v", agent, err)
		}
	}
}

// eraseUser calls an Eraser, twice: the second time there is nothing to erase. The first says that it has deleted
// so many rows of a kind.
func eraseUser(t *testing.T, eraser authagent.Eraser, userID, kind string, rows int64) {
	t.Helper()
	for i := range 2 {
		e := erasure(t, userID)
		if err := eraser.EraseUser(t.Context(), e); err != nil {
			t.Errorf("EraseUser(%q): %v", userID, err)
		}
		if got := erasedOf(e, kind); i == 0 && got != rows || i == 1 && got != 0 {
			t.Errorf("ERA-2: EraseUser(%q), call %d, says that it has deleted %d of %s", userID, i+1, got, kind)
		}
	}
	if eraser.EraseUser(t.Context(), &authagent.Erasure{Pseudonym: "p"}) == nil {
		t.Error(`EraseUser("") returned no error`)
	}
}

func erasure(t *testing.T, userID string) *authagent.Erasure {
	t.Helper()
	e, err := stores.NewErasure("operator", userID)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// erasedOf returns how many rows of a kind were deleted.
func erasedOf(e *authagent.Erasure, kind string) (rows int64) {
	for _, s := range e.Receipt().Stores {
		rows += s.Rows[kind]
	}
	return rows
}

// exported returns what an Exporter writes of an account, by kind.
func exported(t *testing.T, exporter authagent.Exporter, userID string) map[string][]json.RawMessage {
	t.Helper()
	var b bytes.Buffer
	x, err := stores.NewExport(&b, userID)
	if err == nil {
		err = exporter.ExportUser(t.Context(), x)
	}
	if err == nil {
		err = x.Close()
	}
	if err != nil {
		t.Fatalf("ExportUser(%q): %v", userID, err)
	}
	var document struct {
		Data []struct {
			Kind    string
			Records []json.RawMessage
		}
	}
	if err := json.Unmarshal(b.Bytes(), &document); err != nil {
		t.Fatalf("ERA-7: the document is no JSON: %v\n%s", err, b.Bytes())
	}
	all := make(map[string][]json.RawMessage)
	for _, section := range document.Data {
		all[section.Kind] = append(all[section.Kind], section.Records...)
	}
	return all
}
