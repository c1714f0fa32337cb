package signpost_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/signpost"
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
