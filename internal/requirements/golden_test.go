package requirements_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// golden compares got with a file in the root's testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(repository, "testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./internal/requirements -run %s -update writes it anew):\n%s", file, t.Name(), diff)
	}
}

// TestAPI shows every change of the public face in review.
func TestAPI(t *testing.T) {
	for _, pkg := range []string{"authagent", "action", "api", "audit", "authagenttest", "grants", "limits", "memstore", "messages", "metrics", "problem", "provider", "sqlstore", "stores", "storetest", "tokens"} {
		t.Run(pkg, func(t *testing.T) {
			path := repository
			if pkg != "authagent" {
				path += "/" + pkg
			}
			doc, err := exec.Command("go", "doc", "-all", path).Output()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "api/"+pkg+".txt", string(doc))
		})
	}
}

// TestWire compares what goes over the wire in one sign-in, its random parts
// replaced by their length, with what it has been.
func TestWire(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(b *bench, c *authagent.Config)
	}{
		{"full-account-published", func(*bench, *authagent.Config) {}},
		{"full-account-rfc", func(b *bench, c *authagent.Config) {
			b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
				*q = authagenttest.Quirks{}
				f.AuthMethods = []string{"client_secret_basic"}
			})
		}},
		{"fresh-profile-published", func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.change)
			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, "?return_to=/orders"))
			resp := b.Get(c, callback)
			if resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("callback: status %d %s", resp.StatusCode, resp.Text)
			}
			var out strings.Builder
			seen := map[string]bool{}
			for _, r := range b.AS.Requests("") {
				line := describe(r)
				// The encoding is learned in the background, so probes have no
				// fixed place; each is shown once, first.
				if strings.HasPrefix(r.Path, "/api/") || seen[line] {
					continue
				}
				seen[line] = true
				out.WriteString(line)
			}
			blocks := strings.SplitAfter(out.String(), "\n\n")
			slices.Sort(blocks)
			got := strings.Join(blocks, "") + "callback -> 303 " + resp.Header.Get("Location") + "\n"
			for from, to := range map[string]string{b.AS.URL: "AS", b.URL: "SITE", url.QueryEscape(b.URL): "SITE"} {
				got = strings.ReplaceAll(got, from, to)
			}
			golden(t, "wire/"+test.name+".txt", got)
		})
	}
}

// describe writes a request with the values that differ each time replaced.
func describe(r authagenttest.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.Path)
	for _, name := range []string{"Accept", "Authorization", "Content-Type"} {
		if v := r.Header.Get(name); v != "" && !(name == "Accept" && r.Path == authagenttest.PathAuthorize) {
			scheme, rest, two := strings.Cut(v, " ")
			if name == "Authorization" && two && rest != "" {
				v = scheme + " …"
			}
			fmt.Fprintf(&b, "  %s: %s\n", name, v)
		}
	}
	describeValues(&b, "?", r.URL.Query())
	body := url.Values{}
	if strings.Contains(r.Header.Get("Content-Type"), "json") {
		var members map[string]string
		json.Unmarshal(r.Body, &members)
		for k, v := range members {
			body.Set(k, v)
		}
	} else {
		body, _ = url.ParseQuery(string(r.Body))
	}
	describeValues(&b, "", body)
	return b.String() + "\n"
}

func describeValues(b *strings.Builder, prefix string, values url.Values) {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := values.Get(name)
		switch name {
		case "state", "nonce", "code_challenge", "code_verifier", "code", "client_secret", "token":
			value = fmt.Sprintf("(%d characters)", len(value))
		}
		fmt.Fprintf(b, "  %s%s = %s\n", prefix, name, value)
	}
}
