package answer

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

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

// AddVary says that the answer depends on these request headers, each once.
func AddVary(h http.Header, names ...string) {
	for _, name := range names {
		if !slices.ContainsFunc(h["Vary"], func(have string) bool { return strings.EqualFold(have, name) }) {
			h["Vary"] = append(h["Vary"], name)
		}
	}
}

// Allow reports whether the request has one of these methods. Otherwise it says in the
// answer which they are, as RFC 9110 section 15.5.6 demands with 405.
func Allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return false
}

// Redirect sends a browser on with 303, after which it always sends GET and no body
// (RFC 9700 section 4.12). http.Redirect would clean the path, and repeat it in a page.
func Redirect(w http.ResponseWriter, target string) {
	w.Header()["Location"] = []string{target}
	w.WriteHeader(http.StatusSeeOther)
}

// Refresh has a browser that shows the page go on to target after a time, with no
// script. It is no part of HTTP, but every browser knows it (HTML, "shared declarative
// refresh steps").
func Refresh(h http.Header, after time.Duration, target string) {
	h.Set("Refresh", strconv.Itoa(int(after/time.Second))+";url="+target)
}

// WriteJSON answers with v. After an error nothing was written.
func WriteJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // an error means that the client has gone
	return nil
}
