package site

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/problem"
)

//go:embed pages
var files embed.FS

// pages has a template for each page, all in one frame.
var pages = func() map[string]*template.Template {
	all := make(map[string]*template.Template)
	for _, name := range []string{
		"catalogue", "cart", "orders", "order", "refund", "sign-in", "register", "confirm", "account", "activity", "password", "locale", "email", "delete",
	} {
		all[name] = template.Must(template.New(name+".html").Funcs(functions).ParseFS(files, "pages/frame.html", "pages/"+name+".html"))
	}
	return all
}()

var functions = template.FuncMap{
	"money": func(cents int64) string { return fmt.Sprintf("€\u00a0%d.%02d", cents/100, cents%100) },
	"day":   func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"when":  func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"told":  told,
	"code":  func(r problem.Reason) string { return string(r) },
}

// A view is what a page is executed with.
type view struct {
	Title string // of the page, once it has said so
	Actor actor
	Data  any
}

// As returns the view of a page with this title.
func (v view) As(title string) view {
	v.Title = title
	return v
}

// A form is what is wrong with what somebody has filled in. The zero value is
// nothing.
type form struct {
	Field string // of the form
	Text  string
}

func wrong(field, text string) form { return form{field, text} }

func (f form) problem() form { return f }

// show answers with a page or, to a program, with its data. Agents come as both.
func (s *Site) show(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	if !wantsPage(r) {
		return s.showJSON(w, r, status, data)
	}
	a, err := s.actor(r)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := pages[name].Execute(&body, view{Actor: a, Data: data}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // an error means that the client has gone
	return nil
}

func (s *Site) showJSON(w http.ResponseWriter, r *http.Request, status int, data any) error {
	if f, ok := data.(interface{ problem() form }); ok && f.problem().Field != "" {
		return &problem.Error{Reason: problem.InvalidRequest, Step: "read form", Field: f.problem().Field, Err: errors.New(f.problem().Text)}
	}
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// A handlerFunc answers a request, or returns why it did not.
type handlerFunc func(http.ResponseWriter, *http.Request) error

func (s *Site) page(h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail answers with an error as authagent does: one page, and one form of
// problem, for the whole site.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *problem.Error
	switch {
	case errors.Is(err, database.ErrNotFound):
		err = problem.NotFound
	case !errors.As(err, &known):
		s.logger.Error("shop: request failed", "route", r.Pattern, "err", err)
	}
	s.rp.ServeError(w, r, err)
}

func serveFile(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/"+name) }
}

// secure sets headers for all pages. There is no script and no inline style.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // a link in a mail has a token in it
		next.ServeHTTP(w, r)
	})
}

// limitBody bounds what is read of a request: forms are short here.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r)
	})
}
