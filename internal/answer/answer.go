// Package answer writes the answers to requests that are refused: a page for a
// browser, application/problem+json (RFC 9457) for a program.
package answer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
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
	Field        string   `json:"field,omitempty"`          // the form field that it is about
}

// The names of the pages.
const (
	Refused   = "refused"
	SignedOut = "signed-out"
)

// style is the style sheet of the package's own pages. Its hash stands in their policy.
const style = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:0;display:grid;min-height:100vh;place-items:center;background:light-dark(#faf8f6,#161412);color:light-dark(#1f1b18,#f1ece8)}main{box-sizing:border-box;width:100%;max-width:32rem;padding:2rem}h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}p{margin:.75rem 0}a{color:light-dark(#b3410f,#ff8f5e)}small{color:light-dark(#5f564f,#b5aba3);overflow-wrap:anywhere}.auth-agent-button{margin-top:.5rem}`

// The button's class is the signpost's, whose style stands beside style.
const source = `{{define "head"}}<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>{{style}}</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Detail}}</p>
{{with .Button}}<p>{{.}}</p>
{{end}}{{end}}{{define "refused"}}{{template "head" .}}{{with .Field}}<p>It is about the field <code>{{.}}</code>.</p>
{{end}}{{with .SignIn}}<p><a href="{{.}}">Sign in as yourself</a></p>
{{end}}{{with .SignOut}}<form class="auth-agent-form" method="post" action="{{.}}"><p>An agent is signed in in this browser, or was. Sign it out to go on as yourself.</p>
<button class="auth-agent-button" type="submit">Sign the agent out</button></form>
{{end}}<p><a href="{{.Home}}">Back to the site</a></p>
<p><small>{{.Code}} · request {{.RequestID}}</small></p>
</main>
</html>
{{end}}{{define "signed-out"}}{{template "head" .}}{{with .Account}}<p>It acts in the account <strong>{{.}}</strong>. If that is not the account of its owner, sign it out and tell this site.</p>
{{end}}{{with .SignOut}}<form class="auth-agent-form" method="post" action="{{.}}"><button class="auth-agent-button" type="submit">Sign out</button></form>
{{end}}<p><a href="{{.Home}}">Back to the site</a></p>
</main>
</html>
{{end}}`

// Pages holds the parsed pages. Make one with NewPages.
type Pages struct {
	own, site             *template.Template
	ownPolicy, sitePolicy string
}

// NewPages returns the pages and the policy under which they are shown. more is
// the style of what else is put into them; site, which may be nil, are templates
// that replace those of the same name; origins are where a form may lead beside
// this site, redirects included.
func NewPages(more string, site *template.Template, origins ...string) *Pages {
	all := style + more
	return &Pages{
		own: template.Must(template.New("").Funcs(template.FuncMap{
			"style": func() template.CSS { return template.CSS(all) },
		}).Parse(source)),
		site:       site,
		ownPolicy:  Policy("default-src 'none'; style-src "+Hash(all), origins...),
		sitePolicy: Policy("default-src 'self'; style-src 'self' "+Hash(more), origins...),
	}
}

// Policy completes a Content-Security-Policy with what holds for every page of
// the package. A form leads to this site, and to origins, redirects included.
func Policy(sources string, origins ...string) string {
	actions := strings.Join(append([]string{"'self'"}, origins...), " ")
	return sources + "; base-uri 'none'; form-action " + actions + "; frame-ancestors 'none'"
}

// Hash returns the source expression that allows an inline style sheet (CSP
// level 3, section 2.3.1).
func Hash(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Write answers with a page. An error is one of the site's template, in whose
// place the client got the package's own page.
func (p *Pages) Write(w http.ResponseWriter, name string, status int, data any) error {
	h := w.Header()
	Protect(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	var body bytes.Buffer
	var failure error
	if page := p.replaced(name); page != nil {
		if failure = page.Execute(&body, data); failure == nil {
			if h.Get("Content-Security-Policy") == "" { // the site's own stands
				h.Set("Content-Security-Policy", p.sitePolicy)
			}
			w.WriteHeader(status)
			_, _ = w.Write(body.Bytes())
			return nil
		}
		body.Reset()
	}
	if err := p.own.ExecuteTemplate(&body, name, data); err != nil {
		panic(err) // a mistake in the template
	}
	h.Set("Content-Security-Policy", p.ownPolicy)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // an error means that the client has gone
	return failure
}

// replaced returns the site's page of that name, nil if it has none.
func (p *Pages) replaced(name string) *template.Template {
	if p.site == nil {
		return nil
	}
	return p.site.Lookup(name)
}

// WriteProblem answers with p as application/problem+json.
func WriteProblem(w http.ResponseWriter, p Problem) { write(w, p.Status, p.text()) }

// text is p as it is written.
func (p Problem) text() []byte {
	text, _ := json.Marshal(p) // strings and numbers cannot fail
	return append(text, '\n')
}

// write leaves Content-Length to net/http, which knows what becomes of the body.
func write(w http.ResponseWriter, status int, body ...[]byte) {
	h := w.Header()
	Protect(h)
	h["Content-Type"] = []string{"application/problem+json"}
	w.WriteHeader(status)
	for _, part := range body {
		_, _ = w.Write(part) // an error means that the client has gone
	}
}

// Prepared is a Problem as WriteProblem writes it, but for its RequestID.
type Prepared struct {
	status        int
	before, after []byte // what is written around the RequestID
}

// Prepare returns p to be written with another RequestID each time.
func Prepare(p Problem) Prepared {
	p.RequestID = ""
	text, member := p.text(), []byte(`"request_id":"`) // which can be nowhere else: in a string its quotes are escaped
	at := bytes.Index(text, member) + len(member)
	return Prepared{p.Status, text[:at:at], text[at:]}
}

// Write answers with the problem. It takes the requestID as it is, which has to
// be a word of letters and digits.
func (p Prepared) Write(w http.ResponseWriter, requestID string) {
	write(w, p.status, p.before, []byte(requestID), p.after)
}

// Protect sets what every answer of the package has: it is kept in no cache, is
// what it says it is, and tells the next site nothing.
func Protect(h http.Header) {
	values := [...]string{"no-store", "nosniff", "no-referrer"} // in one place, which is allocated at once
	h["Cache-Control"], h["X-Content-Type-Options"], h["Referrer-Policy"] = values[0:1:1], values[1:2:2], values[2:3:3]
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
