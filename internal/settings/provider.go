package settings

import (
	"slices"

	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/provider"
)

// Provider checks how the site talks to its authorization server.
func (p *Problems) Provider(s provider.Settings, dev bool) {
	p.Scopes("Provider.Scopes", s.Scopes)
	p.Endpoints("Provider.Endpoints", wire.Endpoints(s.Endpoints), dev)
	p.Origins("Provider.EndpointOrigins", s.EndpointOrigins, dev)
	p.TokenEndpoint("Provider.TokenEncoding", s.TokenEncoding, "Provider.ClientAuth", s.ClientAuth)
	p.Key("Provider.TokenKey", s.TokenKey)
	p.people(s)
}

// people checks what has to be so that nobody takes an agent for a person.
func (p *Problems) people(s provider.Settings) {
	switch {
	case s.OnPerson == nil && s.OnPersonEnded != nil:
		p.Add("Provider.OnPersonEnded", "has no effect without OnPerson")
	case s.OnPerson == nil:
	case !s.SubjectIsUser:
		p.Add("Provider.OnPerson", "needs SubjectIsUser: otherwise everybody who signs in is an agent")
	case !slices.Contains(s.Scopes, "openid"):
		p.Add("Provider.Scopes", "lacks openid, without which nobody is known as a person (OnPerson)")
	}
}
