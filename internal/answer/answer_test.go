package answer_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/answer"
)

// TestEscaped is WEB-4 should a text ever not be constant: nothing of it becomes
// markup, a script's address or another member.
func TestEscaped(t *testing.T) {
	const hostile = `"><script>alert(1)</script>`
	p := answer.Problem{
		Status: 400, Title: hostile, Detail: hostile, Code: hostile, RequestID: hostile, SignIn: "javascript:alert(1)//" + hostile,
	}
	w := httptest.NewRecorder()
	answer.NewPage().Write(w, p, "javascript:alert(1)//"+hostile)
	if body := w.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, `href="javascript:`) {
		t.Errorf("WEB-4: %s", body)
	}
	w = httptest.NewRecorder()
	answer.WriteProblem(w, p)
	var got answer.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != p || strings.Contains(w.Body.String(), "<script") {
		t.Errorf("WEB-4: %v %s", err, w.Body)
	}
}

// TestWantsHTML: a program that says nothing gets JSON.
func TestWantsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/*": false, "text/html;q=0": false, "text/htmlx": false,
		"text/html": true, "TEXT/HTML; charset=utf-8": true, "application/json, text/html;q=0.9": true,
	} {
		if got := answer.WantsHTML([]string{accept}); got != want {
			t.Errorf("Accept %q: %v", accept, got)
		}
	}
}

// TestToken is LOG-2: what is not a word is not repeated.
func TestToken(t *testing.T) {
	for method, want := range map[string]string{
		"GET": "GET", "PROPFIND": "PROPFIND", "get": "the method", "GET\x1b[2J": "the method", "A B": "the method",
		strings.Repeat("A", 17): "the method",
	} {
		if got := answer.Token(method); got != want {
			t.Errorf("%q: %q", method, got)
		}
	}
}
