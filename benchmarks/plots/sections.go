package main

import (
	"fmt"
	"slices"

	"github.com/authagent-go/authagent/benchmarks/internal/figures"
)

// A sectionChart draws one section of figures.
type sectionChart struct {
	file   string
	prefix string // the section's
	tables string // the sections of which tables are shown below begin with this
	title  string
	limit  string // what 1 is
	unit   string // what is told behind the ratio; the time if it is empty
}

// sectionCharts returns the charts of each block of the page.
func sectionCharts() map[string][]sectionChart {
	return map[string][]sectionChart{
		"login": {{
			file: "login", prefix: "Login/", tables: "Login/", title: "Login: the redirect to the server",
			limit: "the cryptography alone",
		}},
		"callback": {{
			file: "callback", prefix: "Callback/", tables: "Callback/", title: "Callback, without an id_token",
			limit: "the two round trips to the server alone",
		}, {
			file: "callback-signed", prefix: "Signed/ES256/", tables: "Signed/", title: "Callback, with an id_token (ES256)",
			limit: "the two round trips and the verification of a signature alone",
		}},
		"session": {{
			file: "session", prefix: "Session/valid/", tables: "Session/", title: "Check of a valid session, with each request",
			limit: "the decryption of the session alone",
		}},
		"sign-ins": {{
			file: "sign-ins", prefix: "SignIns/default/", tables: "SignIns/default/", title: "Whole sign-ins, 32 browsers at once",
			limit: "the round trips alone",
		}, {
			file: "sign-ins-signed", prefix: "SignIns/signed/", tables: "SignIns/", title: "Whole sign-ins, with an id_token (ES256)",
			limit: "the round trips alone, without the verification of the signature",
		}},
		"tls": {{
			file: "sign-ins-http2", prefix: "SignIns/http2/", tables: "SignIns/http2/", title: "Whole sign-ins over TLS, HTTP/2",
			limit: "the round trips alone", unit: "dials/op",
		}, {
			file: "sign-ins-http1", prefix: "SignIns/http1/", tables: "SignIns/http1/", title: "Whole sign-ins over TLS, HTTP/1.1",
			limit: "the round trips alone", unit: "dials/op",
		}, {
			file: "round-trip", prefix: "RoundTrip/", tables: "RoundTrip/", title: "One round trip, on a kept or on a new connection",
			limit: "a round trip without TLS on a kept connection",
		}},
		"api": {{
			file: "api-known", prefix: "Bearer/known/", tables: "Bearer/", title: "API: an access token that came before (ES256)",
			limit: "a hash of the token and a look into a map alone",
		}, {
			file: "api-new", prefix: "Bearer/ES256/", tables: "Bearer/", title: "API: an access token that is new (ES256)",
			limit: "the verification of the signature alone",
		}, {
			file: "api-opaque", prefix: "Bearer/opaque-new/", tables: "Bearer/", title: "API: an opaque token that is new",
			limit: "one round trip to introspection alone",
		}, {
			file: "api-forged", prefix: "Bearer/forged/", tables: "Bearer/", title: "API: access tokens that were made up (ES256)",
			limit: "the verification of the signature alone",
		}},
	}
}

// labels are how charts call what is compared. A name is its own label if it is not here.
var labels = map[string]string{
	"authagent-owners": "authagent, all checks", "byhand": "x/oauth2 by hand", "zitadel": "zitadel/oidc", "cap": "hashicorp/cap",
	"goth": "goth (no PKCE)", "gologin": "gologin (no PKCE)", "pkgz": "go-pkgz/auth (no PKCE)", "gorilla": "gorilla/sessions",
	"gorilla-own-codec": "gorilla, own codec", "keyfunc": "golang-jwt, keyfunc", "auth0": "go-jwt-middleware",
	"plain/kept": "plain, kept", "plain/new": "plain, new", "http1/kept": "TLS HTTP/1.1, kept", "http1/new": "TLS HTTP/1.1, new",
	"http2/kept": "TLS HTTP/2, kept", "http2/new": "TLS HTTP/2, new",
}

func label(prefix, name string) string {
	switch {
	case prefix == "Bearer/" && name == "byhand":
		return "go-oidc by hand"
	case prefix == "Session/" && name == "pkgz":
		return "go-pkgz/auth"
	}
	if text, ok := labels[name]; ok {
		return text
	}
	return name
}

// of returns the chart, or nil if nothing was measured. The limit is no bar but a line.
func (c sectionChart) of(r figures.Results) chart {
	sections := figures.Sections()
	s := sections[slices.IndexFunc(sections, func(s figures.Section) bool { return s.Prefix == c.prefix })]
	rows := s.Rows(r)
	if len(rows) == 0 {
		return nil
	}
	limit, _ := r.Median(s.Figure(s.Base, figures.CPU))
	drawn := &bars{
		title: c.title, axis: "times the limit", mark: "limit",
		about: []string{fmt.Sprintf("The limit, 1, is %s: %s of a processor. Less is better.", c.limit, nanoseconds(limit))},
	}
	for _, name := range rows {
		of, ok := r.Median(s.Ratio(name))
		if !ok || name == s.Base || name == "limit" || name == "round-trips" {
			continue
		}
		cost, _ := r.Median(s.Figure(name, figures.CPU))
		text := digits(of) + "× · " + nanoseconds(cost)
		if c.unit == "dials/op" {
			dialled, _ := r.Median(figures.Figure(c.prefix+name, c.unit))
			text = digits(of) + "× · " + handshakes(dialled)
		}
		drawn.rows = append(drawn.rows, row{
			label: label(c.tables, name), ours: isOurs(name), bars: []bar{{of, text, class(name)}},
		})
		drawn.log = drawn.log || of > 25
	}
	return drawn
}

func isOurs(name string) bool { return name == "authagent" || name == "authagent-owners" }

func class(name string) string {
	switch {
	case isOurs(name):
		return "ours"
	case name == "floor":
		return "floor"
	}
	return "peer"
}

// nanoseconds writes a time in the unit that suits it.
func nanoseconds(ns float64) string {
	switch {
	case ns >= 1e6:
		return digits(ns/1e6) + " ms"
	case ns >= 1e3:
		return digits(ns/1e3) + " µs"
	}
	return digits(ns) + " ns"
}

// handshakes says how many connections there are for each sign-in.
func handshakes(n float64) string {
	if n < 0.005 {
		return "no handshake"
	}
	return digits(n) + " handshakes"
}
