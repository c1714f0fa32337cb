package answer

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent/messages"
)

// The names of the pages.
const (
	Refused   = "refused"
	SignedOut = "signed-out"
	Continue  = "continue" // which no template of the site replaces
)

// The names of the parts of the site's frame, which stands around the package's own pages.
const (
	header = "header"
	footer = "footer"
	back   = "back"
)

// Effective reports whether any of the site's templates is one that Pages uses.
func Effective(site *template.Template) bool {
	for _, name := range [...]string{Refused, SignedOut, header, footer, back} {
		if site.Lookup(name) != nil {
			return true
		}
	}
	return false
}

//go:embed pages
var files embed.FS

// Style returns the style sheet of the package's pages for agents and strangers.
func Style() string {
	style, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is in the package
	}
	return string(style)
}

// quiet is the style of the button for agents, whose own style stands before it: people see these
// pages too, and it is not for them.
const quiet = `.quiet .auth-agent-button{background:none;color:var(--ink);border-color:var(--soft);font-weight:400}`

// Pages holds the parsed pages. Make one with NewPages.
type Pages struct {
	own, site  *template.Template
	ownSources string
	sitePolicy string
	origins    []string
}

// NewPages returns the pages and the policy under which they are shown. host is what
// the pages call the site; more is the style of what else is put into them; site, which
// may be nil, are templates that replace those of the same name or are parts of the
// frame; origins are where a form may lead beside this site, redirects included.
func NewPages(host, more string, site *template.Template, origins ...string) *Pages {
	all := Style() + more + quiet
	return &Pages{
		own: template.Must(template.New("").Funcs(template.FuncMap{
			"style": func() template.CSS { return template.CSS(all) },
			"site":  func() string { return host },
			"link":  link,
			"code":  code,
		}).ParseFS(files, "pages/*.html")),
		site:       site,
		ownSources: "default-src 'none'; style-src " + Hash(all),
		sitePolicy: Policy("default-src 'self'; style-src 'self' "+Hash(more), origins...),
		origins:    origins,
	}
}

// link returns a link to an address that says where it leads.
func link(address string) template.HTML {
	text := template.HTMLEscapeString(address)
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return template.HTML(text)
	}
	return template.HTML(`<a href="` + text + `">` + text + `</a>`)
}

func code(text string) template.HTML {
	return template.HTML("<code>" + template.HTMLEscapeString(text) + "</code>")
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

// A Frame is what a site puts around the package's own pages. Each part may be empty.
type Frame struct{ Header, Footer, Back template.HTML }

// WithFrame adds to the sources of a page, which end with those of styles, what the
// site's frame may load: style sheets, images and fonts of its own. No page loads a
// script.
func WithFrame(sources string) string { return sources + " 'self'; img-src 'self'; font-src 'self'" }

// Frame returns the site's frame, each part of which is executed with data. A part that
// fails is left out, and is in the error.
func (p *Pages) Frame(data any) (f Frame, err error) {
	if p.site == nil {
		return f, nil
	}
	for _, part := range [...]struct {
		name string
		to   *template.HTML
	}{{header, &f.Header}, {footer, &f.Footer}, {back, &f.Back}} {
		t := p.site.Lookup(part.name)
		if t == nil {
			continue
		}
		var body bytes.Buffer
		if failed := t.Execute(&body, data); failed != nil {
			err = errors.Join(err, fmt.Errorf("part %s of the frame: %w", part.name, failed))
			continue
		}
		*part.to = template.HTML(strings.TrimSpace(body.String()))
	}
	return f, err
}

// A Page is what Write shows.
type Page struct {
	Name   string // of the page
	Status int    // of the answer
	Lang   *messages.Language
	Data   any // what the page's template is executed with

	// Framed returns what the parts of the frame are executed with.
	Framed func() any
}

// Write answers with a page. An error is one of the site's templates, in whose
// place the client got the package's own.
func (p *Pages) Write(w http.ResponseWriter, page Page) error {
	h := w.Header()
	Protect(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	var body bytes.Buffer
	var failure error
	if t := p.replaced(page.Name); t != nil {
		if failure = t.Execute(&body, page.Data); failure == nil {
			if h.Get("Content-Security-Policy") == "" { // the site's own stands
				h.Set("Content-Security-Policy", p.sitePolicy)
			}
			w.WriteHeader(page.Status)
			_, _ = w.Write(body.Bytes())
			return nil
		}
		body.Reset()
	}
	frame, failed := p.Frame(page.Framed())
	own := struct {
		Page any
		Frame
	}{page.Data, frame}
	if err := p.own.ExecuteTemplate(&body, page.Name, own); err != nil {
		panic(err) // a mistake in the template
	}
	sources := p.ownSources
	if frame != (Frame{}) {
		sources = WithFrame(sources)
	}
	h.Set("Content-Security-Policy", Policy(sources, p.origins...))
	h.Set("Content-Language", page.Lang.Tag())
	w.WriteHeader(page.Status)
	_, _ = w.Write(body.Bytes()) // an error means that the client has gone
	return errors.Join(failure, failed)
}

// replaced returns the site's page of that name, nil if it has none.
func (p *Pages) replaced(name string) *template.Template {
	if p.site == nil || name == Continue {
		return nil
	}
	return p.site.Lookup(name)
}
