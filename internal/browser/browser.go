// Package browser is what the package needs to know of browsers: why they send
// a request, and how they keep cookies.
package browser

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Prefetched reports whether a browser loads the page in case somebody opens it.
// Sec-Purpose says so today (Fetch Standard), as in "prefetch;prerender". The others
// are of older browsers: Purpose and X-Purpose of Chromium and Safari, X-Moz of
// Firefox.
func Prefetched(r *http.Request) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, line := range r.Header[name] {
			line = strings.ToLower(line)
			if strings.Contains(line, "prefetch") || strings.Contains(line, "prerender") || strings.Contains(line, "preview") {
				return true
			}
		}
	}
	return false
}

// Reads reports whether a request only reads. Its own method counts, whatever headers and fields claim.
func Reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// Upgrades reports whether a request asks for another protocol on its connection, which could then carry anything. So could
// a tunnel, which CONNECT opens in HTTP/1.1 and an upgrade is in HTTP/2 (RFC 8441).
func Upgrades(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect // Get would see only the first of several lines
}

// field is r.Header.Get of a name in canonical form, which it takes as it is.
func field(r *http.Request, name string) string {
	if values := r.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Embedded reports whether a browser loads something inside a page, such as an
// image or a frame, or a script fetches it. Programs that are no browsers do not
// send Sec-Fetch-Dest, though some send Sec-Fetch-Mode: "cors" comes from Node.
func Embedded(r *http.Request) bool {
	switch field(r, "Sec-Fetch-Dest") {
	case "", "document":
		return false
	case "empty":
		return !passedOn(r)
	}
	return true
}

// passedOn reports whether a service worker of the site passes on what a browser
// opens. In event.request the worker has the browser's own request; fetch sends a
// copy of it, whose destination is empty. The mode tells the copy from what scripts
// fetch:
//
//   - "navigate" stays in the copy that Chromium makes. No script can give a request
//     this mode: the constructor throws (Fetch Standard, "new Request(input, init)").
//   - "same-origin" is what Firefox makes of it, and every browser if the worker
//     changes something in the request. A script of the site can ask for this mode
//     too. For one of another site the request is never sent ("main fetch").
//
// A worker passes on the frames of its site's pages too, and nothing tells those
// from what is opened. They are accepted. A frame in a page of another site has no
// worker, or one that was registered in such a frame: there Chromium says that the
// site is a third party. Firefox does not say it; what keeps such a frame from
// finishing a login is that no browser sends it our cookies, which are SameSite=Lax.
func passedOn(r *http.Request) bool {
	if len(r.Header["Sec-Fetch-Storage-Access"]) > 0 {
		return false
	}
	mode := field(r, "Sec-Fetch-Mode")
	return mode == "navigate" || mode == "same-origin" && field(r, "Sec-Fetch-Site") == "same-origin"
}

// FetchedBySelf reports whether a script of the site's own pages sends the request.
func FetchedBySelf(r *http.Request) bool {
	site := field(r, "Sec-Fetch-Site")
	return field(r, "Sec-Fetch-Dest") == "empty" && (site == "" || site == "same-origin")
}

// CrossOrigin reports whether a request that may change something comes from a
// page of another origin than own, which is one as browsers write it.
//
// Browsers since 2023 say so themselves (Sec-Fetch-Site), of the address that they
// have sent the request to. Of older ones and of web views there is the Origin
// header; it is compared with own and never with Host, which proxies rewrite.
// Programs that send neither are no browsers, and send what they like anyway.
func CrossOrigin(r *http.Request, own string) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	if sites := r.Header["Sec-Fetch-Site"]; len(sites) > 0 {
		return len(sites) > 1 || sites[0] != "same-origin" && sites[0] != "none"
	}
	for _, origin := range r.Header["Origin"] {
		if u, err := url.Parse(origin); err != nil || Origin(u) != own {
			return true
		}
	}
	return false
}

// Origin returns the origin of an address as browsers write it: in small letters,
// without the port that its scheme has by default (RFC 6454 section 6.2).
func Origin(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && port != map[string]string{"http": "80", "https": "443"}[scheme] {
		host += ":" + port
	}
	return scheme + "://" + host
}

// Cookie returns the value of the named cookie and how many of that name the
// request has. net/http's Cookie returns the first and hides the others, one of
// which a neighbouring host may have planted (RFC 6265 section 8.6).
func Cookie(r *http.Request, name string) (value string, n int) {
	EachCookie(r, func(have, v string) {
		if have == name {
			value = v
			n++
		}
	})
	return value, n
}

// trimmed returns s without the white space that browsers ignore around a cookie's name, which is blanks and tabs
// (RFC 6265bis section 5.6). To trim any more would be to take a name that only looks like one with the prefix
// __Host-, which a neighbouring host can set, for ours.
func trimmed(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// EachCookie visits every cookie of a request.
func EachCookie(r *http.Request, visit func(name, value string)) {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if name, value, ok := strings.Cut(trimmed(pair), "="); ok {
				visit(trimmed(name), value)
			}
		}
	}
}

// AddCookie adds a Set-Cookie line to an answer.
func AddCookie(w http.ResponseWriter, line string) {
	h := w.Header()
	h["Set-Cookie"] = append(h["Set-Cookie"], line)
}

// Attributes are what follows "name=value" in a Set-Cookie line, for a cookie
// that scripts do not see and that comes back with a top-level navigation from
// another site: with SameSite=Strict it would not (RFC 6265bis section 5.5).
// maxAge is in seconds; zero deletes.
func Attributes(maxAge int, secure bool) string {
	attributes := "; HttpOnly; SameSite=Lax"
	if secure {
		attributes = "; HttpOnly; Secure; SameSite=Lax"
	}
	return "; Path=/; Max-Age=" + strconv.Itoa(maxAge) + attributes
}

// HeaderOnly is a ResponseWriter for what may set cookies, and is not to write the answer.
type HeaderOnly struct{ http.ResponseWriter }

// Write loses p.
func (HeaderOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (HeaderOnly) WriteHeader(int) {}

// Nowhere is a ResponseWriter that nobody reads, for what may write a cookie although
// its caller only wants to look.
type Nowhere struct{}

// Header returns a header that is lost.
func (Nowhere) Header() http.Header { return http.Header{} }

// Write loses p.
func (Nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (Nowhere) WriteHeader(int) {}
