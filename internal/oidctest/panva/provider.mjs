// Runs panva's oidc-provider on a free loopback port, as its one argument, JSON,
// says, and prints its issuer. It ends with its standard input.
import { createServer } from 'node:http'
import { generateKeyPairSync } from 'node:crypto'
import { Provider, errors } from 'oidc-provider'

const settings = JSON.parse(process.argv[2])

const kinds = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
}

// A key of each kind that is used, and an RSA key, which the library wants.
const keys = [...new Set(['RS256', settings.idToken, settings.accessToken])]
  .filter((alg) => kinds[alg])
  .map((alg) => ({ ...generateKeyPairSync(...kinds[alg]).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }))

// An agent acts for every account but those of people, and is named where the settings say.
const actor = (account) => (settings.actor && !account.startsWith('person') ? { act: { sub: settings.actor } } : undefined)
const named = settings.actorIn ?? ['access_token']

// The site's API is a resource server (RFC 8707), beside another one. An agent comes with a client of its
// own, and the site alone may introspect tokens.
const { api, apiAgent } = settings
const agents = apiAgent
  ? [{
      client_id: apiAgent.client,
      ...(apiAgent.secret
        ? { client_secret: apiAgent.secret, token_endpoint_auth_method: 'client_secret_basic' }
        : { token_endpoint_auth_method: 'none' }),
      application_type: 'native',
      redirect_uris: [apiAgent.redirect],
      grant_types: ['authorization_code', 'refresh_token'],
    }]
  : []
const methods = new Set(settings.both ? ['client_secret_post', 'client_secret_basic'] : [settings.auth])
agents.forEach((agent) => methods.add(agent.token_endpoint_auth_method))

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}${settings.path}`
  const provider = new Provider(issuer, {
    clients: [{
      client_id: settings.client,
      ...(settings.jwks
        ? { jwks_uri: settings.jwks, token_endpoint_auth_signing_alg: settings.assertion }
        : { client_secret: settings.secret }),
      redirect_uris: [settings.redirect],
      token_endpoint_auth_method: settings.auth,
      ...(settings.logout && { backchannel_logout_uri: settings.logout, backchannel_logout_session_required: true }),
      id_token_signed_response_alg: settings.idToken,
      grant_types: ['authorization_code', 'refresh_token'],
    }, ...agents],
    jwks: { keys },
    clientAuthMethods: [...methods],
    enabledJWA: {
      ...(settings.assertion ? { clientAuthSigningAlgValues: [settings.assertion] } : {}),
      idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'],
    },
    cookies: { keys: ['only for a test'] },
    claims: { openid: ['sub', ...(named.includes('id_token') ? ['act'] : [])], email: ['email', 'email_verified'], profile: ['name'] },
    scopes: ['openid', 'email', 'profile', 'offline_access'],
    issueRefreshToken: () => true,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: settings.email, email_verified: true, name: 'Test User', ...actor(id) }),
    }),
    extraTokenClaims: (_, token) => (named.includes('access_token') ? actor(token.accountId) : undefined),
    features: {
      devInteractions: { enabled: true },
      introspection: {
        enabled: !settings.noIntrospection,
        ...(api && { allowedPolicy: (_, client) => client.clientId === settings.client }),
      },
      backchannelLogout: { enabled: Boolean(settings.logout) },
      revocation: { enabled: true },
      dPoP: { enabled: Boolean(api) },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: Boolean(settings.pushed) },
      resourceIndicators: {
        enabled: Boolean(settings.accessToken || api),
        defaultResource: () => (api ? undefined : 'urn:example:site'),
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => {
          if (api && resource !== api.resource && resource !== api.other) throw new errors.InvalidTarget()
          return {
            scope: api ? api.scope : 'profile',
            audience: resource,
            ...(settings.accessToken
              ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: settings.accessToken } } }
              : { accessTokenFormat: 'opaque' }),
          }
        },
      },
    },
  })
  const handle = provider.callback()
  server.on('request', (request, response) => {
    if (!request.url.startsWith(`${settings.path}/`)) {
      response.writeHead(404).end()
      return
    }
    request.originalUrl = request.url
    request.url = request.url.slice(settings.path.length)
    handle(request, response)
  })
  console.log(issuer)
})

process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
