// Package approval reads a request that needs its owner's approval, tells whether
// two requests are the same, and gives a handler what was approved and nothing else.
package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/problem"
)

// The longest body, address and host that an owner is shown. The address counts
// together with the content type and the idempotency keys.
const (
	MaxBody    = 16 << 10
	MaxAddress = 8 << 10
	maxHost    = 255
)

// A Request is what an owner is asked about.
type Request struct {
	Method      string
	Host        string
	Target      string // path and query, as the client has sent them
	ContentType string
	Body        []byte // without the fields that say nothing

	// Complete says that the parts above are all that has to be sent again: there is no
	// idempotency key, and the route has no fields that say nothing, which would come
	// from another page.
	Complete bool

	fresh form     // those fields, in this request
	bound []string // what else a handler goes by
}

// A Refusal is why a request cannot be put before an owner.
type Refusal struct {
	Code problem.Reason
	Text string
}

func (r *Refusal) Error() string { return r.Text }

func malformed(format string, args ...any) error {
	return &Refusal{problem.InvalidRequest, fmt.Sprintf(format, args...)}
}

func tooLong(format string, args ...any) error {
	return &Refusal{reasons.RequestTooLong, fmt.Sprintf(format, args...)}
}

// misplaced is a fault of the site: something outside of RequireApproval has read
// the request.
func misplaced(what string) error {
	return &Refusal{problem.StoreFailed, what + " outside of RequireApproval, so that the handler would not see what the owner approves: " +
		"move what reads forms or bodies (CSRF check, method override, logger, decompression) inside of RequireApproval"}
}

// Read reads what an owner is asked about. ignored names the form fields that say
// nothing, such as a CSRF token. The error is a *Refusal.
func Read(r *http.Request, ignored []string) (Request, error) {
	if r.Form != nil || r.PostForm != nil || r.MultipartForm != nil {
		return Request{}, misplaced("a form was parsed")
	}
	if err := checkHeader(r); err != nil {
		return Request{}, err
	}
	body, err := readBody(r)
	if err != nil {
		return Request{}, err
	}
	q := Request{
		Method: r.Method, Host: r.Host, Target: browser.Target(r), ContentType: r.Header.Get("Content-Type"),
	}
	q.Body, q.fresh = split(q.ContentType, body, ignored)
	keys := r.Header["Idempotency-Key"]
	q.Complete = len(keys) == 0 && (len(ignored) == 0 || q.Method == http.MethodGet && len(body) == 0)
	switch {
	case len(q.Host) > maxHost:
		return Request{}, tooLong("the host is longer than %d bytes", maxHost)
	case len(q.Target)+len(q.ContentType)+len(strings.Join(keys, "")) > MaxAddress:
		return Request{}, tooLong("the address is longer than %d bytes", MaxAddress)
	}
	if err := q.checkClear(body); err != nil {
		return Request{}, err
	}
	// The router and the handler go by these. The site may have changed them since
	// the client sent the target.
	q.bound = append([]string{r.URL.EscapedPath(), r.URL.RawQuery}, pathValues(r)...)
	q.bound = append(q.bound, keys...)
	return q, nil
}

// OfPayload is what an owner is asked about where an action is no HTTP request. The error is
// a *Refusal.
func OfPayload(payload []byte) (Request, error) {
	if len(payload) > MaxBody {
		return Request{}, tooLong("the payload is longer than %d bytes", MaxBody)
	}
	return Request{Body: slices.Clone(payload)}, nil
}

// checkHeader refuses what would make something else of the body than its owner is
// shown. Get would see the first of several lines, and some servers see another.
func checkHeader(r *http.Request) error {
	switch {
	case len(r.Header["Content-Type"]) > 1:
		return malformed("there are several content types, and the owner is shown one")
	case len(r.Header["Content-Encoding"]) > 0:
		return malformed("the body is encoded, and the owner could not be shown what it means")
	case len(r.Header["Content-Range"]) > 0: // RFC 9110 section 14.5
		return malformed("the body is a part of something, and the owner could not be shown of what")
	case len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect: // the connection could carry anything
		return malformed("the connection is to be upgraded, and the owner could not be shown what follows")
	case r.URL.Opaque != "":
		return malformed("the address has no path")
	}
	return nil
}

func readBody(r *http.Request) (body []byte, err error) {
	if r.Body != nil {
		body, err = io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	}
	switch {
	case err != nil:
		return nil, malformed("the body could not be read")
	case len(body) > MaxBody:
		return nil, tooLong("the body is longer than %d bytes", MaxBody)
	case int64(len(body)) < r.ContentLength:
		return nil, misplaced(fmt.Sprintf("%d of %d bytes of the body were read", r.ContentLength-int64(len(body)), r.ContentLength))
	case len(body) == 0 && r.ContentLength < 0:
		return nil, malformed("no length of the body is given and nothing is left of it: the agent has sent none, or it was read outside of RequireApproval")
	}
	return body, nil
}

// pathValues returns what the router has found in the path.
func pathValues(r *http.Request) (values []string) {
	for _, name := range pathNames(r.Pattern) {
		values = append(values, r.PathValue(name))
	}
	return values
}

// pathNames returns the names in a router's pattern.
func pathNames(pattern string) (names []string) {
	for _, part := range strings.Split(pattern, "{")[1:] {
		name, _, _ := strings.Cut(part, "}")
		names = append(names, strings.TrimSuffix(name, "..."))
	}
	return names
}

// Digest is the same for requests that mean the same to who sends them, and for no
// others.
func (q Request) Digest(who ...string) string {
	var bound []byte
	add := func(parts ...string) {
		bound = seal.AppendInt(bound, int64(len(parts)))
		for _, part := range parts {
			bound = seal.AppendString(bound, part)
		}
	}
	add(who...)
	add(q.Method, q.Host, q.Target)
	add(q.bound...)
	add(meaning(q.ContentType, q.Body)...)
	sum := sha256.Sum256(bound)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// With returns q with the parts that are kept of a request that was approved. Its
// Digest says whether it is the same request.
func (q Request) With(method, host, target, contentType string, body []byte) Request {
	q.Method, q.Host, q.Target, q.ContentType, q.Body = method, host, target, contentType, body
	return q
}

// Give makes r what q is. What is left of r beside that are headers that decide
// nothing, the connection, and the context.
func (q Request) Give(r *http.Request) {
	contentType, body := join(q.ContentType, q.Body, q.fresh)
	own := url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	if escaped := r.URL.EscapedPath(); escaped != own.EscapedPath() {
		own.RawPath = escaped
	}
	r.Method, r.Host, r.RequestURI, r.URL = q.Method, q.Host, q.Target, &own
	r.Header = safeHeader(r.Header)
	r.Header.Del("Content-Type")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if len(body) > 0 { // else there was none in r either
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	r.Body, r.GetBody, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), nil, int64(len(body)), nil
	r.Form, r.PostForm, r.MultipartForm, r.Trailer = nil, nil, nil, nil
}

// safeHeader returns a copy without the headers by which frameworks and servers
// take another method, address or header than the owner is shown.
func safeHeader(header http.Header) http.Header {
	safe := make(http.Header, len(header))
	for name, lines := range header {
		if isPlain(name) && !overrides(name) {
			safe[name] = append([]string(nil), lines...)
		}
	}
	return safe
}

// isPlain reports whether a header's name has letters, digits and hyphens only.
// CGI (RFC 3875 section 4.1.18) cannot tell Content_Type from Content-Type.
func isPlain(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}

// overrides reports whether a header claims another method, as in
// X-HTTP-Method-Override, X-HTTP-Method and X-Forwarded-Method, or another address,
// as in X-Original-URL and X-Rewrite-URL.
func overrides(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "method") || strings.Contains(name, "original-ur") || strings.Contains(name, "rewrite-ur")
}
