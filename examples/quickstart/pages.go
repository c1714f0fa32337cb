package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// A view is what a page shows, and what a program gets as JSON instead.
type view struct {
	Entrances []*entrance `json:"-"` // on the home page
	Human     bool        `json:"-"` // whether Alice is signed in, on the home page
	At        *entrance   `json:"-"` // on an entrance's pages
	ReturnTo  string      `json:"-"` // on the sign-in page: where to go on

	Session *authagent.Session `json:"session"` // of the agent that acts; nil for none
	UserID  string             `json:"-"`       // whose account it is about; empty for none
	Owner   string             `json:"owner"`   // name of the user that it acts for; empty for none
	Orders  []string           `json:"orders,omitempty"`
	Notes   []string           `json:"notes,omitempty"`
}

// view returns what all pages of an entrance show: who acts, and for whom.
func (e *entrance) view(r *http.Request) view {
	v := view{At: e, UserID: account(r)}
	v.Session, _ = authagent.FromContext(r.Context())
	if account, ok := e.site.users.Get(v.UserID); ok {
		v.Owner = account.Name
	}
	return v
}

// MayRead and MayWrite are for what a page says. What keeps an agent out is the
// guard in front of the handler, not a button that is missing.
func (v view) MayRead() bool  { return v.Session != nil && v.Session.Access >= authagent.AccessRead }
func (v view) MayWrite() bool { return v.Session != nil && v.Session.May(placeOrders) }

// MayNote reports whether the agent can change its own profile: one that may
// only read changes nothing anywhere.
func (v view) MayNote() bool {
	return v.Session != nil && v.Session.ProfileID != "" && v.Session.Access != authagent.AccessRead
}

// write answers with a page, or with JSON to a program. Agents come as both.
func write(w http.ResponseWriter, r *http.Request, page string, v view) {
	w.Header().Add("Vary", "Accept")
	var body bytes.Buffer
	var err error
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		err = pages.ExecuteTemplate(&body, page, v)
	} else {
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(&body).Encode(v)
	}
	if err != nil {
		slog.Error("quickstart: write page", "page", page, "err", err)
		http.Error(w, "The page could not be written.", http.StatusInternalServerError)
		return
	}
	w.Write(body.Bytes())
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "pages"+r.URL.Path)
}

// secure sets the headers of the shop's own pages. authagent's pages have their own.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
