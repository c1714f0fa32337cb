package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// Names are the names of a relying party's cookies. All relying parties of a site
// name their session cookies alike, so that each can tell that a browser carries
// one of another.
type Names struct {
	Session string // of the session's cookie
	Login   string // what the names of pending logins' cookies begin with
	family  string // what the names of all session cookies of the site begin with
}

// partyBytes is how many bytes of a hash tell a relying party from the others.
const partyBytes = 6

// NewNames returns the names for a relying party that is known by party. With TLS
// the prefix __Host- keeps neighbouring hosts from setting the cookie (RFC 6265bis
// section 4.1.3.2). Browsers take it only with Secure. Without TLS the site is one in
// development: several run on one host, whose browsers share cookies across ports
// (RFC 6265 section 8.5), so the names carry the port.
func NewNames(secure bool, port, party string) Names {
	family := "__Host-authagent-"
	if !secure {
		family = "dev-authagent-" + port + "-"
	}
	sum := sha256.Sum256([]byte(party))
	session := family + base64.RawURLEncoding.EncodeToString(sum[:partyBytes])
	return Names{Session: session, Login: session + "-login-", family: family}
}

// isSession reports whether name is that of a session cookie, of whichever relying
// party of the site.
func (n Names) isSession(name string) bool {
	party, ok := strings.CutPrefix(name, n.family)
	if !ok || len(party) != base64.RawURLEncoding.EncodedLen(partyBytes) {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(party)
	return err == nil
}

// Carries reports whether a request has a session cookie of any relying party of
// the site, whether or not its session holds.
func (n Names) Carries(r *http.Request) (found bool) {
	EachCookie(r, func(name, _ string) { found = found || n.isSession(name) })
	return found
}

// maxRemoved bounds what Remove answers to a request full of made-up cookies.
const maxRemoved = 32

// Remove has the browser forget every session cookie that the request has, of
// whichever relying party of the site, but for those that the answer sets already.
// deleted are the attributes of a cookie that is deleted.
func (n Names) Remove(w http.ResponseWriter, r *http.Request, deleted string) {
	EachCookie(r, func(name, _ string) {
		if !n.isSession(name) {
			return
		}
		set := w.Header()["Set-Cookie"]
		if len(set) < maxRemoved && !slices.ContainsFunc(set, func(line string) bool { return strings.HasPrefix(line, name+"=") }) {
			AddCookie(w, name+"="+deleted)
		}
	})
}
