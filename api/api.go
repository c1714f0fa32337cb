// Package api has the settings by which agents come to a site's API with access tokens. They are the
// field API of authagent.Config.
package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Settings say which API of the site agents may call with an access token of the authorization server
// (RFC 6750), and so without a browser. An agent that comes so is the same principal as one that has
// signed in with a browser: the same guards, limits, grants, approvals and events hold for it, and its
// owner sees and stops it on the same page. With the zero value, access tokens are not looked at.
//
// A token counts if the server has issued it for Resource. A JWT is verified with the keys that the
// server publishes (RFC 9068; typ may be "JWT" as well). Any other token is introspected (RFC 7662), so
// the server has to offer that. An access token that is bound to a key (cnf) is refused, since
// whoever has stolen it could use it.
type Settings struct {
	// Resource is the resource identifier of the API (RFC 8707 section 2): an https URL without query
	// and fragment, such as "https://shop.example/api". Agents name it to the server, and the server's
	// tokens have it in aud, byte for byte. It cannot be the client ID. The metadata of the API is
	// published below its host, see MetadataPath.
	Resource string

	// Scopes says in a few words what each scope is good for, such as {"orders:read": "See orders"}.
	// Agents are told of it. What a scope allows is in Config.Permissions, which has to have each.
	Scopes map[string]string

	// Own reports whether the bearer token of a request is one that the site itself has given to a
	// person, such as one of its mobile app. It looks at the token's form, or looks it up. Then the
	// token is not looked at here, and Config.Human is asked as for a request without a token. By
	// default a bearer token is an agent's alone, and Config.Human is not asked. Own is called
	// concurrently, on each request with a bearer token.
	Own func(*http.Request) bool

	// IntrospectEvery is for how long an answer of introspection is remembered. So long, a token that
	// is revoked at the server may still be used. What owners and the site decide counts at once. The
	// default is 30 seconds.
	IntrospectEvery time.Duration
}

// wellKnown is where the metadata of a protected resource is (RFC 9728 section 3).
const wellKnown = "/.well-known/oauth-protected-resource"

// MetadataPath returns the path at which the metadata of a resource is published, on the resource's
// host: "/.well-known/oauth-protected-resource", with the resource's path behind it (RFC 9728 section
// 3.1). Mount ResourceMetadataHandler of authagent.RelyingParty there. It returns "" for what is no URL.
func MetadataPath(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" {
		return ""
	}
	return wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
}

// MetadataURL returns the address of the metadata of a resource, see MetadataPath.
func MetadataURL(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + MetadataPath(resource)
}
