package mcpauth

import (
	"context"
	"log/slog"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent/internal/failure"
)

// recovered is a receiving middleware with which a panic ends the request, with an internal error, and is logged. The SDK
// catches none, so a panic would end the process, with all that the site serves there. It has one of its own that any agent
// can cause, before a guard is asked: the arguments null, for a tool whose schema has defaults.
func recovered(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (result mcp.Result, err error) {
		panicked := failure.Panics{Logger: slog.Default()}.Protect(method, func() error {
			result, err = next(ctx, method, req)
			return nil
		})
		if panicked != nil {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "internal error"}
		}
		return result, err
	}
}
