package browser

import (
	"net/http"
	"net/url"
	"strings"
)

// Target returns the path and query that the browser asked for, as it wrote them.
// Routers take prefixes off r.URL (http.StripPrefix), but leave the request line as
// it came. A line that is not in origin-form (RFC 9112 section 3.2.1), as in a
// request to a proxy, has the same in r.URL.
func Target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// Path returns the path of Target, decoded like [net/url.URL.Path].
func Path(r *http.Request) string {
	path, _, _ := strings.Cut(Target(r), "?")
	if decoded, err := url.PathUnescape(path); err == nil {
		return decoded
	}
	return path
}
