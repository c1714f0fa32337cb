// Package answer writes the answers to requests that are refused: a page for a
// browser, application/problem+json (RFC 9457) for a program.
package answer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

// A Problem is what there is to say. Title and Detail are constant texts.
type Problem struct {
	Type         string   `json:"type,omitempty"` // where the problem is explained
	Status       int      `json:"status"`
	Title        string   `json:"title"`
	Detail       string   `json:"detail"`
	Code         string   `json:"error"`                    // the reason
	RequestID    string   `json:"request_id"`               // finds the request in the site's log
	Retry        bool     `json:"retry"`                    // whether asking anew, later, may succeed
	Allowed      []string `json:"allowed,omitempty"`        // the methods that would have passed
	Action       string   `json:"action,omitempty"`         // what was to be done, as the site names it
	Approval     string   `json:"approval,omitempty"`       // where to look at how its approval stands
	SignIn       string   `json:"sign_in,omitempty"`        // where to sign in, if that is what to do next
	SignInMethod string   `json:"sign_in_method,omitempty"` // if not GET
	Issuer       string   `json:"issuer,omitempty"`         // by which authorization server
}

// style is the page's only style sheet. Its hash stands in the page's policy.
const style = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:0;display:grid;min-height:100vh;place-items:center;background:light-dark(#faf8f6,#161412);color:light-dark(#1f1b18,#f1ece8)}main{box-sizing:border-box;width:100%;max-width:32rem;padding:2rem}h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}p{margin:.5rem 0}a{color:light-dark(#b3410f,#ff8f5e)}small{opacity:.75;overflow-wrap:anywhere}`

// Page holds the parsed page. Make one with NewPage.
type Page struct {
	template *template.Template
	policy   string
}

// NewPage returns the page and the policy under which it is shown. more is the
// style of what else is put into it.
func NewPage(more string) *Page {
	style := style + more
	sum := sha256.Sum256([]byte(style))
	return &Page{
		template: template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + style + `</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Detail}}</p>
{{if .SignIn}}<p>{{.Button}}</p>
{{end}}<p><a href="{{.Home}}">Back to the site</a></p>
<p><small>{{.Code}} · request {{.RequestID}}</small></p>
</main>
</html>
`)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	}
}

// Write answers with p as a page, which offers home as the way on, and button
// where signing in is.
func (page *Page) Write(w http.ResponseWriter, p Problem, home string, button template.HTML) {
	h := w.Header()
	Protect(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", page.policy)
	w.WriteHeader(p.Status)
	_ = page.template.Execute(w, struct { // an error means that the client has gone
		Problem
		Home   string
		Button template.HTML
	}{p, home, button})
}

// WriteProblem answers with p as application/problem+json.
func WriteProblem(w http.ResponseWriter, p Problem) {
	h := w.Header()
	Protect(h)
	h.Set("Content-Type", "application/problem+json")
	body, _ := json.Marshal(p) // strings and numbers cannot fail
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// Protect sets what every answer of the package has: it is kept in no cache, is
// what it says it is, and tells the next site nothing.
func Protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// WantsHTML reports whether an Accept header asks for HTML by name. Browsers do
// for a page; programs that send nothing, or */*, get JSON.
func WantsHTML(accept []string) bool {
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			media, parameters, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(media), "text/html") && strings.TrimSpace(parameters) != "q=0" {
				return true
			}
		}
	}
	return false
}

// Token returns s if it is a short word of letters, as every known HTTP method
// is, and a placeholder if it is not.
func Token(s string) string {
	for _, c := range []byte(s) {
		if c < 'A' || c > 'Z' || len(s) > 16 {
			return "the method"
		}
	}
	return s
}
