// An MCP client of the TypeScript SDK. It reads commands from its standard input, one in each line as JSON, and
// prints what came of each. Its one argument, JSON, names the MCP server and the client at the authorization server.
import { createInterface } from 'node:readline'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const settings = JSON.parse(process.argv[2])
const kept = {}
const authProvider = {
  redirectUrl: settings.redirect,
  clientMetadata: { redirect_uris: [settings.redirect], token_endpoint_auth_method: 'none' },
  clientInformation: () => ({ client_id: settings.client }),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens },
  redirectToAuthorization: (url) => { kept.authorize = url.href },
  saveCodeVerifier: (verifier) => { kept.verifier = verifier },
  codeVerifier: () => kept.verifier,
}
const clients = {}
let transport

const commands = {
  // Connects to an instance. If the user has to authorize the client first, it says where.
  async connect({ instance }) {
    delete kept.authorize
    transport = new StreamableHTTPClientTransport(new URL(settings.resource), {
      authProvider,
      requestInit: { headers: { 'X-Instance': instance } },
    })
    const client = new Client({ name: 'agent', version: '1' })
    try {
      await client.connect(transport)
      clients[instance] = client
      return {}
    } catch (error) {
      return { authorize: kept.authorize, error: String(error) }
    }
  },
  async finish({ code }) {
    await transport.finishAuth(code)
    return {}
  },
  // Calls a tool. The SDK holds what it gets to the tool's output schema, once it has listed the tools.
  async call({ instance, tool, arguments: given }) {
    await clients[instance].listTools()
    return { result: await clients[instance].callTool({ name: tool, arguments: given }) }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  let said
  try {
    said = await commands[command.do](command)
  } catch (error) {
    said = { error: String(error) }
  }
  console.log(JSON.stringify(said))
}
process.exit(0)
