package mcpauth

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/asked"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/problem"
)

// A Guard decides whether an agent may call a tool. Make one with [RequireAccess], [RequireAction] or [RequireApproval].
type Guard struct {
	action string // that the tool performs; empty for none
	admit  func(context.Context, *call) (*action.Reservation, error)
}

// A call is one call of a tool.
type call struct {
	session   *authagent.Session
	tool      string
	arguments any    // as the tool would get them
	path      string // where the agent sees how it stands; empty for nowhere
}

// RequireAccess guards a tool that shows data of the agent's user, or changes it. The agent's session needs at least this
// access. A tool that changes anything needs AccessFull, or one of the other guards. It panics if least is AccessNone.
func RequireAccess(rp *authagent.RelyingParty, least authagent.Access) Guard {
	rp.RequireAccess(least) // which panics
	return Guard{admit: func(ctx context.Context, c *call) (*action.Reservation, error) {
		return nil, rp.Reach(ctx, c.session, least)
	}}
}

// RequireAction guards a tool that performs the named action, such as "orders:create". It lets agents through with
// AccessFull, and those whose grant names the action. It panics if the name is empty or has white space in it.
func RequireAction(rp *authagent.RelyingParty, name string) Guard {
	rp.RequireAction(name) // which panics, and tells agents that there is such an action
	return Guard{action: name, admit: func(ctx context.Context, c *call) (*action.Reservation, error) {
		return nil, rp.Perform(ctx, c.session, name)
	}}
}

// RequireApproval guards a tool that performs an action so risky that the agent's owner is asked about each single call.
// The first call is answered with an error that says where it stands, and when to ask again. After the owner has
// approved it, the same call passes once. The same call is one of the same tool with the same arguments, whatever its
// JSON-RPC ID: the order of names, white space and how a number is written do not matter.
//
// The owner is shown the name of the tool and its arguments as JSON, as the tool gets them: with the defaults of the
// tool's schema, and with numbers as the SDK reads them. The tool runs with the arguments that were approved. In may not
// have anything that gets lost in JSON. The tool must let nothing else decide what it does: the owner does not see the
// call's _meta and headers, nor to which of the site's MCP servers it was sent. Tools of one name that perform one action
// are one tool. It cannot ask the client for more input.
//
// The approval is used up when the tool returns, also with an error. A tool that has done nothing, and will not, gives it
// back with NothingDone of [action.ReservationFrom]. If the tool panics, it is not known whether the action was performed.
// It panics if approver is nil, or if the name is empty or has white space in it.
func RequireApproval(rp *authagent.RelyingParty, name string, approver action.Approver) Guard {
	rp.RequireApproval(name, approver) // as in RequireAction
	return Guard{action: name, admit: func(ctx context.Context, c *call) (*action.Reservation, error) {
		payload, err := encode(c.tool, c.arguments)
		if err != nil {
			return nil, err
		}
		reserved, path, err := rp.Approve(ctx, c.session, name, payload, approver)
		c.path = path
		return reserved, err
	}}
}

// AddTool is mcp.AddTool with a guard before the tool. Where the guard refuses a call, the result is an error that says
// why to the model, and to programs in _meta (see [Refusal]). So it is where the tool itself returns a problem.Error or a
// problem.Reason. A panic in a tool of that server, guarded or not, ends the call and not the process. AddTool panics if
// guard is the zero value.
func AddTool[In, Out any](server *mcp.Server, tool *mcp.Tool, guard Guard, handler mcp.ToolHandlerFor[In, Out]) {
	if guard.admit == nil {
		panic("mcpauth: AddTool needs a Guard")
	}
	server.AddReceivingMiddleware(recovered) // once more for each tool, which changes nothing
	// The SDK holds all results that have a type to the schema of what the tool returns, refusals too. So it is told the
	// schema, and not the type.
	own := *tool
	if out := reflect.TypeFor[Out](); own.OutputSchema == nil && out != reflect.TypeFor[any]() {
		if out.Kind() == reflect.Pointer { // as in mcp.AddTool
			out = out.Elem()
		}
		schema, err := jsonschema.ForType(out, &jsonschema.ForOptions{})
		if err != nil {
			panic(fmt.Sprintf("mcpauth: AddTool: tool %q: output schema: %v", tool.Name, err))
		}
		own.OutputSchema = schema
	}
	mcp.AddTool(server, &own, func(ctx context.Context, req *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		return serve(ctx, guard, req, in, handler)
	})
}

// serve answers one call of a tool.
func serve[In, Out any](ctx context.Context, guard Guard, req *mcp.CallToolRequest, in In, handler mcp.ToolHandlerFor[In, Out]) (*mcp.CallToolResult, any, error) {
	came, ok := carrierOf(req)
	if !ok {
		return refuse(&call{}, guard, problem.NoSession), nil, nil
	}
	c := &call{session: came.session, tool: req.Params.Name, arguments: in}
	if err := came.count(); err != nil {
		return refuse(c, guard, err), nil, nil
	}
	reserved, err := guard.admit(ctx, c)
	if err != nil {
		return refuse(c, guard, err), nil, nil
	}
	if reserved != nil {
		if req, in, err = approved[In](req, reserved); err != nil {
			reserved.NothingDone()
			return refuse(c, guard, failure.OfSite("read what was approved", fmt.Errorf("%w, %w", err, reserved.End(ctx)))), nil, nil
		}
	}
	var result *mcp.CallToolResult
	var out Out
	perform := func() { result, out, err = handler(ctx, req, in) }
	if reserved != nil {
		ctx = reserved.With(ctx)
		asked.Perform(ctx, reserved, perform, func(lost error) {
			slog.ErrorContext(ctx, "mcpauth: how an action has ended was not recorded: it counts as unknown", "action", guard.action, "err", lost)
		})
	} else {
		perform()
	}
	switch {
	case err == nil:
		return result, pointed(out), nil
	case isReason(err):
		return refuse(c, guard, err), nil, nil
	}
	return nil, nil, err
}

// approved returns the call as it was approved, in place of the one that came.
func approved[In any](req *mcp.CallToolRequest, reserved *action.Reservation) (*mcp.CallToolRequest, In, error) {
	var in In
	read, err := decode(reserved.Request.Body, &in)
	if err != nil {
		return nil, in, err
	}
	own, params := *req, *req.Params
	params.Arguments = read.Arguments
	params.InputResponses, params.RequestState = nil, "" // which the owner was not shown
	own.Params = &params
	return &own, in, nil
}

// pointed returns what the SDK makes of an output: a nil pointer stands for an empty value.
func pointed(out any) any {
	if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && v.IsNil() {
		return reflect.New(v.Type().Elem()).Interface()
	}
	return out
}
