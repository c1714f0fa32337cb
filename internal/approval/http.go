package approval

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/authagent-go/authagent/internal/seal"
)

// Route returns what the router and the site have made of the address of r, which the
// handler goes by. It is for HTTP.
func Route(r *http.Request) *http.Request {
	address := *r.URL
	route := &http.Request{
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, URL: &address, Pattern: r.Pattern, Header: make(http.Header),
	}
	for _, name := range pathNames(r.Pattern) {
		route.SetPathValue(name, r.PathValue(name))
	}
	if keys := r.Header["Idempotency-Key"]; len(keys) > 0 {
		route.Header["Idempotency-Key"] = append([]string(nil), keys...)
	}
	return route
}

// HTTP returns a request with these parts, as a handler gets it, with nothing of the
// client's beside. route is nil for one that no router has seen. It returns nil if the
// parts are not those of an HTTP request.
func HTTP(ctx context.Context, route *http.Request, method, host, target, contentType string, body []byte) *http.Request {
	if method == "" {
		return nil
	}
	if route == nil {
		address, err := url.ParseRequestURI(target)
		if err != nil {
			return nil
		}
		route = &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, URL: address, Header: make(http.Header)}
	}
	r := route.Clone(ctx)
	Request{}.With(method, host, target, contentType, body).Give(r)
	return r
}

// Described is the digest of a request that a site has described, and whose amount it has said.
// Without either, it is the request's own.
func Described(digest, description, amount string) string {
	if description == "" && amount == "" {
		return digest
	}
	bound := seal.AppendString(nil, "described")
	bound = seal.AppendString(bound, digest)
	bound = seal.AppendString(bound, description)
	if amount != "" {
		bound = seal.AppendString(bound, amount)
	}
	sum := sha256.Sum256(bound)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
