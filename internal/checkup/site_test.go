package checkup

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/wire"
)

// TestAnswers: a page is a handler's only if all of it says so, since a site's own pages
// say some of it as well.
func TestAnswers(t *testing.T) {
	refusal := func(change func(*wire.Page)) *wire.Page {
		p := &wire.Page{Status: 403, Header: http.Header{"Content-Type": {"application/problem+json; charset=utf-8"}}, Body: []byte(`{"error":"cross_origin","request_id":"R"}`)}
		change(p)
		return p
	}
	own := func(change func(*wire.Page)) *wire.Page {
		p := &wire.Page{Status: 403, Header: http.Header{"Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"}}}
		change(p)
		return p
	}
	document := func(change func(*wire.Page)) *wire.Page {
		p := &wire.Page{Status: 200, Header: http.Header{"Link": {`</a>; rel="b"`, `</login>; rel="authenticate"`}}}
		change(p)
		return p
	}
	same := func(*wire.Page) {}
	body := func(text string) func(*wire.Page) { return func(p *wire.Page) { p.Body = []byte(text) } }
	status := func(n int) func(*wire.Page) { return func(p *wire.Page) { p.Status = n } }
	without := func(name string) func(*wire.Page) { return func(p *wire.Page) { p.Header.Del(name) } }
	form := ask{codes: []string{"wrong_method", "cross_origin"}}
	for name, test := range map[string]struct {
		page      *wire.Page
		ask       ask
		ownAnswer bool
		want      bool
	}{
		"document":               {document(same), ask{}, false, true},
		"document, not there":    {document(status(404)), ask{}, false, false},
		"document of another":    {document(without("Link")), ask{}, false, false},
		"refusal":                {refusal(same), form, false, true},
		"refusal of another":     {refusal(body(`{"error":"no_session","request_id":"R"}`)), form, false, false},
		"the same from others":   {refusal(without("Content-Type")), form, false, false},
		"no JSON":                {refusal(body(`cross_origin`)), form, false, false},
		"no request ID":          {refusal(body(`{"error":"cross_origin"}`)), form, false, false},
		"an odd request ID":      {refusal(body(`{"error":"cross_origin","request_id":"R","request_id":5}`)), form, false, false},
		"no code":                {refusal(body(`{"error":"","request_id":"R"}`)), form, false, false},
		"own answer":             {own(same), form, true, true},
		"own answer, unexpected": {own(same), form, false, false},
		"own answer, good":       {own(status(200)), form, true, false},
		"own answer, not there":  {own(status(404)), form, true, false},
		"own answer, kept":       {own(without("Cache-Control")), form, true, false},
		"own answer, referring":  {own(without("Referrer-Policy")), form, true, false},
		"refused by another":     {refusal(body(`{"error":"no_session","request_id":"R"}`)), form, true, false},
	} {
		if got := (&Site{OwnAnswers: test.ownAnswer}).answers(test.page, test.ask); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, code := range []string{"Cross", "a b", strings.Repeat("a", 41)} {
		if _, ok := problem(refusal(body(`{"error":"` + code + `","request_id":"R"}`))); ok {
			t.Errorf("%q is taken for a code", code)
		}
	}
}

// TestUnclearStatus: what a handler that is not there answers is clear.
func TestUnclearStatus(t *testing.T) {
	for status, want := range map[int]bool{200: false, 302: false, 404: false, 405: false, 400: true, 403: true, 503: true} {
		if unclearStatus(status) != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
}
