package mcpauth

import (
	"context"
	"log/slog"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent/internal/failure"
)

// Recover is a receiving middleware: server.AddReceivingMiddleware(mcpauth.Recover). With it, a panic while a request is
// answered ends that request with an internal error, and is logged. Without it, a panic ends the process, with all that the
// site serves there, since the SDK catches none. It has one of its own that any agent can cause: the arguments null, for a
// tool whose schema has defaults.
func Recover(next mcp.MethodHandler) mcp.MethodHandler {
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
