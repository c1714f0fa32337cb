package settings

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/clientkey"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/provider"
)

// maxLabel is the longest text of a button, in characters.
const maxLabel = 60

// Provider checks how the site talks to its authorization server.
func (p *Problems) Provider(s provider.Settings, dev bool) {
	p.clientKeys(s)
	p.Scopes("Provider.Scopes", s.Scopes)
	p.params("Provider.AuthorizationParams", s.AuthorizationParams)
	if s.PushRequests && s.Endpoints.Authorization != "" && s.Endpoints.Token != "" && s.Endpoints.PushedAuthorization == "" {
		p.Add("Provider.PushRequests", "needs Endpoints.PushedAuthorization: with the first two set, the server is not asked for its metadata")
	}
	p.Endpoints("Provider.Endpoints", wire.Endpoints(s.Endpoints), dev)
	p.Origins("Provider.EndpointOrigins", s.EndpointOrigins, dev)
	p.tokenEndpoint(s)
	p.Key("Provider.TokenKey", s.TokenKey)
	if s.ButtonLabel != "" && (claims.Text(s.ButtonLabel) != s.ButtonLabel || utf8.RuneCountInString(s.ButtonLabel) > maxLabel) {
		p.Add("Provider.ButtonLabel", "is not one line of at most %d visible characters", maxLabel)
	}
	p.people(s)
}

// Own returns settings that a site cannot change any more.
func Own(s provider.Settings) provider.Settings {
	s.TokenKey, s.Scopes, s.EndpointOrigins = slices.Clone(s.TokenKey), slices.Clone(s.Scopes), slices.Clone(s.EndpointOrigins)
	s.ClientKeys, s.AuthorizationParams = slices.Clone(s.ClientKeys), maps.Clone(s.AuthorizationParams)
	for name, values := range s.AuthorizationParams {
		s.AuthorizationParams[name] = slices.Clone(values)
	}
	return s
}

// Secret checks that there is one thing by which the site proves itself.
func (p *Problems) Secret(secret string, s provider.Settings) {
	hasFunc, hasKeys := s.ClientSecretFunc != nil, len(s.ClientKeys) > 0
	switch {
	case secret == "" && !hasFunc && !hasKeys:
		p.Add("ClientSecret", "is required")
	case secret != "" && hasFunc:
		p.Add("ClientSecret, Provider.ClientSecretFunc", "only one of them can be set")
	case secret != "" && hasKeys:
		p.Add("ClientSecret, Provider.ClientKeys", "only one of them can be set: with keys no secret is sent")
	case hasFunc && hasKeys:
		p.Add("Provider.ClientSecretFunc, Provider.ClientKeys", "only one of them can be set: with keys no secret is sent")
	}
}

// Keys returns the keys of a site, which Provider has checked; none where it has a secret.
func Keys(s provider.Settings) clientkey.Keys {
	keys, _ := clientkey.Read(s.ClientKeys)
	return keys
}

func (p *Problems) clientKeys(s provider.Settings) {
	_, faults := clientkey.Read(s.ClientKeys)
	for i, fault := range faults {
		p.Found(fmt.Sprintf("Provider.ClientKeys[%d]", i), fault)
	}
	switch {
	case s.AssertionAudience != "" && len(s.ClientKeys) == 0:
		p.Add("Provider.AssertionAudience", "has no effect without ClientKeys")
	case !utf8.ValidString(s.AssertionAudience):
		p.Add("Provider.AssertionAudience", "is not UTF-8")
	}
}

// params checks the site's own parameters of authorization requests.
func (p *Problems) params(setting string, params url.Values) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch {
		case name == "":
			p.Add(setting, "has a parameter without a name")
		case wire.Reserved(name):
			p.Add(setting, "%q is the protocol's own, and cannot be set", name)
		}
	}
	for _, resource := range params["resource"] {
		p.Found(setting, checkResource(resource))
	}
}

// checkResource holds a resource to RFC 8707 section 2.
func checkResource(resource string) error {
	if u, err := url.Parse(resource); err != nil || !u.IsAbs() {
		return fmt.Errorf("resource %q is not an absolute URI", resource)
	}
	if strings.Contains(resource, "#") {
		return fmt.Errorf("resource %q has a fragment", resource)
	}
	return nil
}

// tokenEndpoint checks the two settings of how that endpoint is spoken to.
func (p *Problems) tokenEndpoint(s provider.Settings) {
	encoding, ok := Encoding(s.TokenEncoding)
	switch keys := len(s.ClientKeys) > 0; {
	case !ok:
		p.Add("Provider.TokenEncoding", "is neither application/json nor application/x-www-form-urlencoded")
	case encoding == wire.JSON && keys:
		p.Add("Provider.TokenEncoding", "is application/json, and no server that reads that knows private_key_jwt (ClientKeys)")
	}
	_, err := readAuth(s)
	p.Found("Provider.ClientAuth", err)
	if s.ClientAuth == "client_secret_basic" && encoding == wire.JSON {
		p.Add("Provider.ClientAuth", "is client_secret_basic, which no server reads beside bodies of application/json")
	}
}

// Auth returns how the client proves itself, by settings that were checked.
func Auth(s provider.Settings) wire.Auth {
	auth, _ := readAuth(s)
	return auth
}

func readAuth(s provider.Settings) (wire.Auth, error) {
	keys := len(s.ClientKeys) > 0
	auth, ok := map[string]wire.Auth{
		"": wire.AuthUnknown, "client_secret_post": wire.AuthPost, "client_secret_basic": wire.AuthBasic, "private_key_jwt": wire.AuthKey,
	}[s.ClientAuth]
	switch {
	case !ok:
		return auth, errors.New("is none of client_secret_post, client_secret_basic and private_key_jwt")
	case auth == wire.AuthKey && !keys:
		return auth, errors.New("is private_key_jwt, which needs ClientKeys")
	case keys && auth != wire.AuthKey && auth != wire.AuthUnknown:
		return auth, fmt.Errorf("is %s, and ClientKeys are set, which prove the site by private_key_jwt", s.ClientAuth)
	case keys:
		return wire.AuthKey, nil
	}
	return auth, nil
}

// Inquiry returns what the site asks for in authorization requests.
func Inquiry(clientID, redirectURL string, s provider.Settings) wire.Inquiry {
	return wire.Inquiry{ClientID: clientID, RedirectURL: redirectURL, Scopes: s.Scopes, Params: s.AuthorizationParams, Push: s.PushRequests}
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
