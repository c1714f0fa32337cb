package browser

import (
	"context"
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

type backKey struct{}

// WithBack returns r with the path where a page leads on to that refuses it, for
// requests that cannot be sent again by a GET.
func WithBack(r *http.Request, path string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), backKey{}, path))
}

// Back returns the path of WithBack, or "".
func Back(r *http.Request) string {
	path, _ := r.Context().Value(backKey{}).(string)
	return path
}

// ReturnTo returns the path that the request names with ?return_to=, or "". It is not checked.
func ReturnTo(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	if all := r.URL.Query()["return_to"]; len(all) == 1 {
		return all[0]
	}
	return ""
}
