package checkup

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/wire"
)

const keysSetting = "Provider.ClientKeys"

// proof is what the client proves itself by, and proofSetting where it is set.
func (e *exam) proof() string {
	if e.auth == wire.AuthKey {
		return "assertion"
	}
	return "secret"
}

func (e *exam) proofSetting() string {
	if e.auth == wire.AuthKey {
		return keysSetting
	}
	return "ClientSecret"
}

// unproven says that the site has nothing to prove itself with.
func (e *exam) unproven(said string) {
	if e.auth == wire.AuthKey {
		e.fault(keysSetting, "The client assertion cannot be signed: "+said+".", "See that Sign of the first key works, and the service that keeps it.")
		return
	}
	e.fault("Provider.ClientSecretFunc", "The client secret cannot be had: "+said+".", "See that the function, or the file that it reads, works.")
}

// rejected says that the server does not accept what the client proves itself by.
func (e *exam) rejected(ctx context.Context) {
	switch {
	case e.auth == wire.AuthKey:
		e.fault(keysSetting, fmt.Sprintf("The server does not accept the assertion of client %q.", e.ClientID), keysRemedy)
	case e.otherAuth(ctx):
	default:
		e.fault("ClientSecret", fmt.Sprintf("The server does not accept the secret of client %q.%s", e.ClientID, databaseDown),
			"Take the secret from the server's console; make a new one if it is lost. If it is right, see whether the server's database runs.")
	}
}

const keysRemedy = "Register the client at the server for private_key_jwt, with the address where ClientKeysHandler is mounted as its jwks_uri, or with the public keys." +
	" See that the server can reach that address. If all that is right, the server may demand another audience: set Provider.AssertionAudience, mostly to the address of the token endpoint."

// offersKeys compares the keys with what the server's metadata says of assertions.
func (e *exam) offersKeys() {
	if offers := e.metadata.TokenAuth; offers != nil && !slices.Contains(offers, "private_key_jwt") {
		e.fault(keysSetting, "Provider.ClientKeys is set, and the server's metadata does not offer private_key_jwt.",
			"Switch it on at the server, or remove the setting and set ClientSecret.")
		return
	}
	if algorithm, ok := e.proofs.Fits(e.metadata.AuthAlgorithms); !ok {
		e.fault(keysSetting, fmt.Sprintf("The first key signs with %s, which is not among the algorithms that the server's metadata lists for assertions.", algorithm),
			"Put a key of another kind first, of which the server takes the signature (token_endpoint_auth_signing_alg_values_supported).")
	}
}

// elsewhereRefused asks an endpoint that has no code to look at first, and so looks
// at the client: revocation (RFC 7009 section 2.1), or introspection where there is
// none (RFC 7662 section 2.1).
func (e *exam) elsewhereRefused(ctx context.Context) bool {
	made := "authagent-check-" + rand.Text()
	var err error
	switch {
	case e.metadata.Revocation != "":
		err = e.server.Revoke(ctx, made, "access_token")
	case e.metadata.Introspection != "":
		_, err = e.server.Introspect(ctx, made)
	}
	if err == nil {
		return false
	}
	v, _ := e.judge(err)
	return v == rejected
}

// doubt says what it means that another endpoint refuses the client.
func (e *exam) doubt(ctx context.Context) {
	endpoint, name := e.metadata.Revocation, "revocation"
	if endpoint == "" {
		endpoint, name = e.metadata.Introspection, "introspection"
	}
	if e.reads != wire.JSON && e.auth != wire.AuthKey {
		for _, auth := range [...]wire.Auth{wire.AuthPost, wire.AuthBasic} {
			if refused, err := e.server.RefusesClient(ctx, endpoint, auth); err == nil && !refused {
				e.fault("Provider.ClientAuth", fmt.Sprintf("The server's %s endpoint takes the secret of client %q by %s, and another way is in use.", name, e.ClientID, method(auth)),
					"Set ClientAuth to "+setting(auth)+".")
				return
			}
		}
	}
	say := e.fault
	if name == "introspection" { // which a client may be forbidden to use
		say = e.warn
	}
	remedy := "See that it is the secret in the server's console."
	if e.auth == wire.AuthKey {
		remedy = keysRemedy
	}
	say(e.proofSetting(), fmt.Sprintf("The token endpoint does not look at the %s of client %q before the code, and the %s endpoint refuses it.", e.proof(), e.ClientID, name), remedy)
}

func method(auth wire.Auth) string {
	if auth == wire.AuthBasic {
		return "client_secret_basic"
	}
	return "client_secret_post"
}

func setting(auth wire.Auth) string {
	if auth == wire.AuthBasic {
		return "AuthBasic"
	}
	return "AuthPost"
}

// method compares the way in which the client proves itself with those that the
// server's metadata offers. One that is not offered is good all the same where the
// server refuses the other one: then it has looked.
func (e *exam) method(ctx context.Context) {
	offers := e.metadata.TokenAuth
	if offers == nil || e.reads == wire.JSON || e.auth == wire.AuthKey { // the published server's metadata is about something else
		return
	}
	used, err := e.server.InUse(ctx)
	if err != nil || slices.Contains(offers, method(used)) {
		return
	}
	other := wire.AuthPost
	if used == wire.AuthPost {
		other = wire.AuthBasic
	}
	if refused, err := e.server.RefusesClient(ctx, e.metadata.Token, other); err == nil && refused {
		return
	}
	if !slices.Contains(offers, "client_secret_post") && !slices.Contains(offers, "client_secret_basic") {
		e.fault("Provider.ClientAuth", "The server's metadata offers no way for a client to prove itself with a secret.",
			"Register the client at the server for client_secret_basic or client_secret_post, and set ClientAuth to AuthBasic or AuthPost.")
		return
	}
	e.fault("Provider.ClientAuth", fmt.Sprintf("The client proves itself by %s, which the server's metadata does not offer.", method(used)),
		"Remove the setting: what the metadata offers is used then.")
}

// names sees whether the server can be expected to say who an agent is. Without an
// id_token or introspection, that has to be in the access token, which at most
// servers is nothing that a client can read (RFC 9068 section 6).
func (e *exam) names() {
	if e.metadata.Introspection != "" || e.Provider.Introspect || e.readsTokens() || e.reads == wire.JSON || slices.Contains(e.Scopes, "openid") {
		return
	}
	const problem = "The server has no introspection endpoint, and no id_token is asked for: who an agent is can be learned only if access tokens are JWTs with iss, sub, client_id and exp."
	if e.metadata.SignsIDTokens {
		e.fault("Provider.Scopes", problem, fmt.Sprintf("Set Scopes to %q: then the server gives an id_token.", strings.Join(append([]string{"openid"}, e.Scopes...), " ")))
		return
	}
	e.warn("Provider.Scopes", problem, "See that they are, or pin Endpoints.Introspection.")
}

// people sees whether anybody can be known as a person, of whom all has to be verified: the id_token,
// and the access token by itself or by introspection. What access tokens look like is not known
// before one has been given, and TokenKey may be there for id_tokens alone.
func (e *exam) people(ctx context.Context) {
	const setting = "Provider.OnPerson"
	if !e.readsTokens() && !e.publishesKeys(ctx) {
		e.fault(setting, "The server publishes no keys, so that no id_token can be verified: every person is refused.",
			"Have the server publish its keys (jwks_uri), or pin Provider.Endpoints.JWKS. If it signs id_tokens with the client secret (HS256), set Provider.TokenKey to that.")
	}
	if e.metadata.Introspection == "" && !e.Provider.Introspect {
		e.warn(setting, "The server has no introspection endpoint, so that access tokens that are no JWTs cannot be read: then every person is refused.",
			"See that access tokens are JWTs: most servers issue them for an API, which Provider.AuthorizationParams asks for (audience or resource). Or have the server offer introspection, or pin Provider.Endpoints.Introspection.")
	}
}

// readsTokens reports whether the key is set with which access tokens are signed.
func (e *exam) readsTokens() bool { return len(e.Provider.TokenKey) > 0 }

// publishesKeys reports whether there are keys. Those that cannot be had or read are in a finding.
func (e *exam) publishesKeys(ctx context.Context) bool {
	if e.metadata.Keys == nil {
		return false
	}
	published, err := e.metadata.Keys.Any(ctx)
	return published || err != nil
}
