package answer_test

import (
	"encoding/json"
	"html/template"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/messages"
)

// TestPrepared: what was prepared is what WriteProblem writes, header and all, for
// every member, set and not.
func TestPrepared(t *testing.T) {
	const id = "ABCDEFGHIJKLMNOP"
	full := answer.Problem{Status: 403, Retry: true, Allowed: []string{"GET", "HEAD"}}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString("a\"b<c>&\u2028\x00é\"request_id\":\"" + v.Type().Field(i).Name)
		}
	}
	cases := []answer.Problem{{}, full, {Status: 401, Title: "Sign-in required", Code: "no_session"}}
	for i := range v.NumField() { // each member alone
		alone := answer.Problem{}
		reflect.ValueOf(&alone).Elem().Field(i).Set(v.Field(i))
		cases = append(cases, alone)
	}
	for _, p := range cases {
		if p.Status == 0 {
			p.Status = 400
		}
		prepared := answer.Prepare(p)
		p.RequestID = id
		want, got := httptest.NewRecorder(), httptest.NewRecorder()
		answer.WriteProblem(want, p)
		prepared.Write(got, id)
		if diff := cmp.Diff(want.Body.String(), got.Body.String()); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want.Result().Header, got.Result().Header); diff != "" || want.Code != got.Code {
			t.Errorf("status %d, want %d; header (-want +got):\n%s", got.Code, want.Code, diff)
		}
	}
}

// TestEscaped_WEB_4 is WEB-4 should a text ever not be constant: nothing of it becomes
// markup, a script's address or another member.
func TestEscaped_WEB_4(t *testing.T) {
	const hostile = `"><script>alert(1)</script>`
	p := answer.Problem{
		Status: 400, Title: hostile, Detail: hostile, Code: hostile, RequestID: hostile, SignIn: "javascript:alert(1)//" + hostile,
	}
	for name, code := range map[string]string{"owner's page": hostile, "script": "javascript:alert(1)//" + hostile} {
		w := httptest.NewRecorder()
		data := struct {
			answer.Problem
			Lang                   *messages.Language
			Home, SignOut, Account string
			Button                 template.HTML
		}{p, messages.German(), "javascript:alert(1)//" + hostile, "javascript:alert(1)//" + hostile, hostile, ""}
		data.Compare, data.OwnerPage = hostile, code
		page := answer.Page{Name: answer.Refused, Status: 400, Lang: data.Lang, Data: data, Framed: func() any { return nil }}
		for _, page.Name = range []string{answer.Refused, answer.SignedOut} {
			if err := answer.NewPages("shop.example", "", nil).Write(w, page); err != nil {
				t.Error(err)
			}
		}
		if body := w.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, `="javascript:`) || !strings.Contains(body, "&lt;script") {
			t.Errorf("WEB-4 %s: %s", name, body)
		}
	}
	w := httptest.NewRecorder()
	answer.WriteProblem(w, p)
	var got answer.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !reflect.DeepEqual(got, p) || strings.Contains(w.Body.String(), "<script") {
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

// TestQuietButton: people see these pages too, and the button on them is for agents.
func TestQuietButton(t *testing.T) {
	type page struct {
		Title, Detail, Home, Code, RequestID, Field, Approval, SignIn, SignOut, Account, Compare, OwnerPage string

		Lang   *messages.Language
		Button template.HTML
	}
	pages := answer.NewPages("shop.example", "", nil)
	for _, name := range []string{answer.Refused, answer.SignedOut} {
		for _, owner := range []string{"", "https://shop.example/account/agents/"} {
			w := httptest.NewRecorder()
			data := page{Lang: messages.English(), Button: "<a>sign in</a>", OwnerPage: owner}
			if err := pages.Write(w, answer.Page{Name: name, Status: 200, Lang: data.Lang, Data: data, Framed: func() any { return nil }}); err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(`<p class="(actions )?quiet" lang="en"><a>sign in</a></p>`).MatchString(w.Body.String()) || !strings.Contains(w.Body.String(), ".quiet .auth-agent-button{") {
				t.Errorf("%s, owner's page %q: %s", name, owner, w.Body)
			}
		}
	}
}
