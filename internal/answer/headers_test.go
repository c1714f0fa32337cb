package answer_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/answer"
)

func TestAddVary(t *testing.T) {
	h := http.Header{"Vary": {"cookie"}}
	answer.AddVary(h, "Cookie", "Accept")
	answer.AddVary(h, "Accept")
	if diff := cmp.Diff([]string{"cookie", "Accept"}, h["Vary"]); diff != "" {
		t.Error(diff)
	}
}

func TestAllow(t *testing.T) {
	for method, want := range map[string]string{"GET": "", "HEAD": "", "POST": "GET, HEAD", "get": "GET, HEAD"} {
		w := httptest.NewRecorder()
		allowed := answer.Allow(w, &http.Request{Method: method}, "GET", "HEAD")
		if allowed != (want == "") || w.Header().Get("Allow") != want {
			t.Errorf("%s: allowed %v, Allow %q", method, allowed, w.Header().Get("Allow"))
		}
	}
}

// TestRedirect: the target is sent as it is, and no page with it.
func TestRedirect(t *testing.T) {
	w := httptest.NewRecorder()
	answer.Redirect(w, "/a/../b?c")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/a/../b?c" || w.Body.Len() > 0 {
		t.Errorf("%d, Location %q, %q", w.Code, w.Header().Get("Location"), w.Body)
	}
}

// TestWriteJSON: what cannot be written leaves the answer as it was.
func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	if err := answer.WriteJSON(w, []float64{1, math.NaN()}); err == nil || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("error %v, header %v, body %q", err, w.Header(), w.Body)
	}
	if err := answer.WriteJSON(w, "<a>"); err != nil || w.Body.String() != `"\u003ca\u003e"`+"\n" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("error %v, header %v, body %q", err, w.Header(), w.Body)
	}
}
