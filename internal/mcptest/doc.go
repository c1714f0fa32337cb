// Package mcptest holds package mcpauth to clients and a server that nobody here wrote: the OAuth clients of
// the Go MCP SDK and of the TypeScript SDK, and panva's oidc-provider. It is a module of its own for their sake.
package mcptest
