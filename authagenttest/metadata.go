package authagenttest

import "net/http"

// metadataDocument is RFC 8414's, in the published order. The members
// after the gap are there only where a feature puts them.
type metadataDocument struct {
	Issuer                string   `json:"issuer"`
	Authorization         string   `json:"authorization_endpoint"`
	Token                 string   `json:"token_endpoint"`
	Introspection         string   `json:"introspection_endpoint"`
	Revocation            string   `json:"revocation_endpoint"`
	UserInfo              string   `json:"userinfo_endpoint"`
	JWKS                  string   `json:"jwks_uri"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	RevokeAuthMethods     []string `json:"revocation_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	Documentation         string   `json:"service_documentation"`

	SubjectTypes      []string `json:"subject_types_supported,omitempty"`
	IDTokenAlgorithms []string `json:"id_token_signing_alg_values_supported,omitempty"`
	IssParameter      bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	Logout            bool     `json:"backchannel_logout_supported,omitempty"`
	LogoutSession     bool     `json:"backchannel_logout_session_supported,omitempty"`
	AuthAlgorithms    []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	Pushed            string   `json:"pushed_authorization_request_endpoint,omitempty"`
	PushedOnly        bool     `json:"require_pushed_authorization_requests,omitempty"`
}

// metadata answers at the OAuth address.
func (c *call) metadata() answer {
	if c.Features.NoOAuthMetadata {
		return c.notFound()
	}
	return c.document()
}

// discovery answers at the OpenID Connect address.
func (c *call) discovery() answer {
	if !c.Features.OpenIDConfiguration {
		return c.notFound()
	}
	return c.document()
}

func (c *call) document() answer {
	// The published claim is misleading: the secret goes into a JSON body, not a form.
	methods := []string{"client_secret_post"}
	if !c.Quirks.JSONBodies {
		methods = []string{"client_secret_post", "client_secret_basic"}
	}
	if c.Features.AuthMethods != nil {
		methods = c.Features.AuthMethods
	}
	d := metadataDocument{
		Issuer:                c.issuer,
		Authorization:         c.issuer + PathAuthorize,
		Token:                 c.issuer + PathToken,
		Introspection:         c.issuer + PathIntrospect,
		Revocation:            c.issuer + PathRevoke,
		UserInfo:              c.issuer + PathUserInfo,
		JWKS:                  c.issuer + PathJWKS,
		ResponseTypes:         []string{"code"},
		GrantTypes:            []string{"authorization_code", "refresh_token"},
		ChallengeMethods:      []string{"S256"},
		TokenAuthMethods:      methods,
		IntrospectAuthMethods: methods,
		RevokeAuthMethods:     methods,
		Scopes:                []string{"openid", "profile", "email"},
		Documentation:         "https://github.com/auth-agent",
		IssParameter:          c.Features.IssParameter,
		Logout:                c.Features.SessionIDs,
		LogoutSession:         c.Features.SessionIDs,
	}
	if alg := c.signingAlgorithm(); alg != "" {
		d.IDTokenAlgorithms = []string{alg}
	}
	if c.Features.OpenIDConfiguration || c.Features.IDToken {
		d.SubjectTypes = []string{"public"}
	}
	if c.allows(methodKey) {
		d.AuthAlgorithms = c.assertionAlgorithms()
	}
	if c.Features.PushedRequests != "" {
		d.Pushed, d.PushedOnly = c.issuer+PathPushed, c.pushedOnly()
	}
	return jsonAnswer(http.StatusOK, d)
}

// jwks is an empty set at the published server, whose tokens nobody else can verify.
func (c *call) jwks() answer {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	if alg := c.publishedAlgorithm(); alg != "" {
		c.keys.current(alg)
		for _, k := range c.keys.keys {
			set.Keys = append(set.Keys, k.public())
		}
	}
	return jsonAnswer(http.StatusOK, set)
}

// health does not look at the database.
func (c *call) health() answer {
	return jsonAnswer(http.StatusOK, struct {
		Status    string `json:"status"`
		Timestamp int64  `json:"timestamp"`
		Version   string `json:"version"`
	}{"ok", c.now.UnixMilli(), "1.0.0"})
}
