package checkup

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/wire"
)

const resourceSetting = "API.Resource"

// api sees what would keep agents from the site's API. Whether the server takes resource indicators
// (RFC 8707) is in no metadata, and what its access tokens look like is not known before one has come.
func (e *exam) api(ctx context.Context) {
	resource, m := e.API.Resource, e.metadata
	if resource == "" {
		return
	}
	if m.Introspection == "" && !e.readsTokens() && !e.publishesKeys(ctx) {
		e.fault(resourceSetting, "The server publishes no keys and has no introspection endpoint, so that no access token can be verified: every agent that comes to the API is refused.",
			"Have the server publish its keys (jwks_uri), or offer introspection. Or pin Provider.Endpoints.JWKS or Provider.Endpoints.Introspection.")
	}
	if m.Resources != nil && !slices.Contains(m.Resources, resource) {
		e.warn(resourceSetting, fmt.Sprintf("The server's metadata lists the APIs that it issues access tokens for (protected_resources), and %q is not among them.", resource),
			"Register the API at the server under exactly this identifier, or set API.Resource to the one that is registered.")
	}
	if m.Scopes == nil {
		return
	}
	unknown := slices.DeleteFunc(slices.Sorted(maps.Keys(e.API.Scopes)), func(scope string) bool { return slices.Contains(m.Scopes, scope) })
	if len(unknown) > 0 {
		e.warn("API.Scopes", fmt.Sprintf("The server's metadata (scopes_supported) does not list %q.", unknown),
			"Register these scopes at the server, or correct API.Scopes and Permissions. If the server knows them and only does not list them, all is well.")
	}
}

// visitResource returns nil where the metadata of the API is there, and leads to this site's server. It
// is below the resource's host, which is the site's own in most cases: then the address of the site counts,
// which may be one behind its proxy.
func (s *Site) visitResource(ctx context.Context, server *wire.Server, origin string) (*Finding, error) {
	path := api.MetadataPath(s.Resource)
	address := origin + path
	elsewhere := !sameOrigin(s.Resource, s.RedirectURL)
	if elsewhere {
		address = api.MetadataURL(s.Resource)
	}
	p, err := server.Visit(ctx, "request for metadata of the API", http.MethodGet, address, http.Header{"Accept": {"application/json"}})
	if err != nil && elsewhere {
		f := faultAt(resourceSetting, "The host of the resource cannot be reached: "+err.Error()+".", "See whether it runs, and whether API.Resource is right.")
		return &f, nil
	}
	if err != nil {
		return nil, err
	}
	const remount = " Mount ResourceMetadataHandler of this site's RelyingParty there, with no guard in front of it, and only one for each resource."
	switch m, ok := readResource(p); {
	case p.Status != http.StatusOK:
		return missing(mount{setting: resourceSetting, handler: "ResourceMetadataHandler", path: path}, p.Status), nil
	case !ok:
		return faulty(fmt.Sprintf("Something else than ResourceMetadataHandler answers at %s.", path), "See what is mounted at that path."+remount), nil
	case m.Resource != s.Resource:
		return faulty(fmt.Sprintf("The metadata at %s is of another resource than %q.", path, s.Resource), "Let both have the same API.Resource."+remount), nil
	case !slices.Equal(m.Servers, []string{s.Issuer}):
		return faulty(fmt.Sprintf("The metadata at %s names another authorization server than %q.", path, s.Issuer), "Let both have the same Issuer."+remount), nil
	}
	return nil, nil
}

func faulty(problem, remedy string) *Finding {
	f := faultAt(resourceSetting, problem, remedy)
	return &f
}

func sameOrigin(a, b string) bool {
	u, err1 := url.Parse(a)
	v, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && browser.Origin(u) == browser.Origin(v)
}

// A resourceMetadata is what has to be right of the document of RFC 9728 section 2.
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
}

// readResource reads a page that has to be such a document (RFC 9728 section 3.2).
func readResource(p *wire.Page) (m resourceMetadata, ok bool) {
	media, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	return m, strings.EqualFold(media, "application/json") && json.Unmarshal(p.Body, &m) == nil && m.Resource != ""
}
