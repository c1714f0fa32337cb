package settings

import (
	"maps"
	"slices"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/internal/wire"
)

// Link checks the path of what leads from the site's API into a browser, which may be empty.
func (p *Problems) Link(path string, s api.Settings) {
	if path != "" && s.Resource == "" {
		p.Add("Paths.Link", "has no effect without API.Resource")
	}
}

// API checks the settings of the site's API. allowed reports whether a scope allows anything
// (Config.Permissions).
func (p *Problems) API(s api.Settings, clientID string, allowed func(scope string) bool, dev bool) {
	if s.Resource == "" {
		if len(s.Scopes) > 0 || s.Own != nil || s.IntrospectEvery != 0 {
			p.Add("API.Resource", "is required: the other settings of API have no effect without it")
		}
		return
	}
	switch u, err := wire.CheckURL(s.Resource, dev); {
	case s.Resource == clientID:
		p.Add("API.Resource", "is the client ID, so that an id_token would pass for an access token")
	case err != nil:
		p.Add("API.Resource", "%v", err)
	case u.RawQuery != "" || u.ForceQuery: // RFC 9728 section 1.2 advises against one
		p.Add("API.Resource", "must not have a query")
	}
	scopes := slices.Sorted(maps.Keys(s.Scopes))
	p.Scopes("API.Scopes", scopes)
	for _, scope := range scopes {
		if !allowed(scope) {
			p.Add("API.Scopes", "%q is not in Config.Permissions, so it allows nothing", scope)
		}
	}
	if s.IntrospectEvery < 0 {
		p.Add("API.IntrospectEvery", "must not be negative")
	}
}
