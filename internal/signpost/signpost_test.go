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
