package signpost_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/provider"
)

// A policy that names the style sheet by its hash has to have the right one.
func TestStyleHash(t *testing.T) {
	sum := sha256.Sum256([]byte(signpost.Style))
	if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); signpost.StyleHash != want {
		t.Errorf("StyleHash is %s, want %s", signpost.StyleHash, want)
	}
}

// TestMethods: the document is read only, and names the method that signs in.
func TestMethods(t *testing.T) {
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 405} {
		w := httptest.NewRecorder()
		(&signpost.Site{}).ServeHTTP(w, httptest.NewRequest(method, "/agents.json", nil))
		if w.Code != want || want == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for post, want := range map[bool]string{false: "GET", true: "POST"} {
		s := &signpost.Site{Origin: "https://shop.example", LoginPath: "/login", POST: post}
		if got := string(s.JSON()); !strings.Contains(got, `"method": "`+want+`",`+"\n    "+`"url": "https://shop.example/login"`) {
			t.Errorf("POST %v: %s", post, got)
		}
		if got := string(s.Text()); !strings.Contains(got, "- Sign-in: "+want+" https://shop.example/login\n") {
			t.Errorf("POST %v: %s", post, got)
		}
	}
}

// TestActions: of actions a site says what its agents need to know, and no more.
func TestActions(t *testing.T) {
	byName, each := []string{"orders:create"}, []string{"payouts:create"}
	const refused, excepted = "Every other method is refused.", "Every other method is refused, but for the actions below."
	for _, test := range []struct {
		name, access    string
		byName, each    []string
		within          []string
		want, wantNever []string
	}{
		{"reads", "read", nil, nil, nil, []string{refused}, []string{"## Actions", "## Approvals"}},
		{"reads, by name", "read", byName, nil, nil, []string{excepted, "You need your owner's permission", "- `orders:create`\n"}, []string{refused, "## Approvals"}},
		{"reads, each", "read", nil, each, nil, []string{excepted, "- `payouts:create`\n", "202", "Idempotency-Key"}, []string{refused, "## Actions", "within an amount"}},
		{"reads, within", "read", nil, []string{"names:change", "payouts:create"}, each, []string{"- `names:change`\n- `payouts:create`: asked each time, or within an amount that your owner allows."}, nil},
		{"all", "full", byName, each, nil, []string{"If your owner has not given you full access", "- `orders:create`\n", "- `payouts:create`\n"}, []string{"Every other method"}},
		{"nothing", "none", byName, each, each, []string{"see nobody's data"}, []string{"within an amount", "## Actions", "## Approvals", "orders:create"}},
		{"own scenario", "", byName, each, nil, []string{"- `orders:create`\n"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &signpost.Site{Access: test.access, Actions: func(guard string) []string {
				return map[string][]string{wiring.ByName: test.byName, wiring.Each: test.each, wiring.Within: test.within}[guard]
			}}
			text, _, _ := strings.Cut(string(s.Text()), "## When you are refused")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			for _, never := range test.wantNever {
				if strings.Contains(text, never) {
					t.Errorf("it says %q:\n%s", never, text)
				}
			}
		})
	}
}

// TestScopes_WEB_17: what scopes allow is said in order, and of actions only those that some scope allows.
func TestScopes_WEB_17(t *testing.T) {
	type scopes = map[string]signpost.Scope
	const nothing, section = "Nothing: no scope allows anything at this site.", "The scopes that the authorization server grants you limit this"
	for _, test := range []struct {
		name, access    string
		owner           bool
		scopes          scopes
		want, wantNever []string
	}{
		{"no limits", "full", true, nil, []string{"- `orders:create`\n- `orders:delete`\n"}, []string{section, "insufficient_scope"}},
		{"by name", "read", true, scopes{"write": {"none", []string{"orders:create"}}, "read": {"read", nil}, "nothing": {"none", nil}},
			[]string{section, "- `nothing`: nothing\n- `read`: read\n- `write`: the actions orders:create\n", "insufficient_scope", "\n- `orders:create`\n"}, []string{"orders:delete", nothing}},
		{"read and actions", "read", true, scopes{"a": {"read", []string{"orders:create", "orders:delete"}}},
			[]string{"- `a`: read, and the actions orders:create, orders:delete\n", "- `orders:create`\n- `orders:delete`\n"}, nil},
		{"all", "full", true, scopes{"all": {"full", []string{"orders:create"}}}, []string{"- `all`: full\n", "- `orders:create`\n- `orders:delete`\n"}, nil},
		{"nothing", "none", true, scopes{"write": {"none", []string{"orders:create"}}}, []string{nothing, "- `write`: the actions orders:create\n"}, []string{"## Actions", "profile of your own"}},
		{"no scope", "none", true, scopes{}, []string{nothing}, []string{section}},
		{"no owner", "none", false, scopes{}, []string{"profile of your own"}, []string{nothing, section}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &signpost.Site{Access: test.access, Owner: test.owner, Scopes: test.scopes, Actions: func(guard string) []string {
				return map[string][]string{wiring.ByName: {"orders:create", "orders:delete"}}[guard]
			}}
			text, _, _ := strings.Cut(string(s.Text()), "## When you are refused")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			for _, never := range test.wantNever {
				if strings.Contains(text, never) {
					t.Errorf("it says %q:\n%s", never, text)
				}
			}
			if got := strings.Contains(string(s.JSON()), `"scopes"`); got != (len(test.scopes) > 0) {
				t.Errorf("JSON has scopes: %v\n%s", got, s.JSON())
			}
		})
	}
}

// TestProvider_WEB_17: for whom an agent acts, and who else signs in, is as the provider says it.
func TestProvider_WEB_17(t *testing.T) {
	const registered, user, people = "registered with.", "the user who let you act at the authorization server.", "- People use the same sign-in"
	onPerson := func(http.ResponseWriter, *http.Request, provider.Person) error { return nil }
	for _, test := range []struct {
		name            string
		settings        provider.Settings
		want, wantNever []string
	}{
		{"Auth Agent", provider.Settings{}, []string{registered}, []string{user, people}},
		{"users", provider.Settings{SubjectIsUser: true}, []string{user}, []string{registered, people}},
		{"people", provider.Settings{SubjectIsUser: true, OnPerson: onPerson}, []string{user, people}, []string{registered}},
	} {
		text := string((&signpost.Site{Access: "full", Owner: true}).With(test.settings).Text())
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: it lacks %q:\n%s", test.name, want, text)
			}
		}
		for _, never := range test.wantNever {
			if strings.Contains(text, never) {
				t.Errorf("%s: it says %q:\n%s", test.name, never, text)
			}
		}
	}
}
