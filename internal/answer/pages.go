package answer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

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
<title>{{.Title}} · {{site}}</title>
<style>{{style}}</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Detail}}</p>
{{with .Button}}<p>{{.}}</p>
{{end}}{{end}}{{define "refused"}}{{template "head" .}}{{with .Field}}<p>The problem is in the field <code>{{.}}</code>.</p>
{{end}}{{with .Approval}}<p><a href="{{.}}">See the state of the request</a></p>
{{end}}{{with .SignIn}}<p><a href="{{.}}">Sign in as yourself</a></p>
{{end}}{{with .SignOut}}<form class="auth-agent-form" method="post" action="{{.}}"><p>An agent is or was signed in with this browser. Sign it out to continue as yourself.</p>
<button class="auth-agent-button" type="submit">Sign the agent out</button></form>
{{end}}<p><a href="{{.Home}}">Back to {{site}}</a></p>
<p><small>{{.Code}} · request {{.RequestID}}</small></p>
</main>
</html>
{{end}}{{define "signed-out"}}{{template "head" .}}{{with .Account}}<p>It acts in the account <strong>{{.}}</strong>. If this is not the account of the agent's owner, sign the agent out and tell this site.</p>
{{end}}{{with .SignOut}}<form class="auth-agent-form" method="post" action="{{.}}"><button class="auth-agent-button" type="submit">Sign out</button></form>
{{end}}<p><a href="{{.Home}}">Back to {{site}}</a></p>
</main>
</html>
{{end}}`

// Pages holds the parsed pages. Make one with NewPages.
type Pages struct {
	own, site             *template.Template
	ownPolicy, sitePolicy string
}

// NewPages returns the pages and the policy under which they are shown. host is what
// the pages call the site; more is the style of what else is put into them; site, which
// may be nil, are templates that replace those of the same name; origins are where a form
// may lead beside this site, redirects included.
func NewPages(host, more string, site *template.Template, origins ...string) *Pages {
	all := style + more
	return &Pages{
		own: template.Must(template.New("").Funcs(template.FuncMap{
			"style": func() template.CSS { return template.CSS(all) },
			"site":  func() string { return host },
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
