package mcpauth

import (
	"context"
	"errors"
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

	// run calls do, unless it refuses the call, with what it has reserved for it. It returns the error of do, or why it
	// refuses the call, which is a problem.Error.
	run func(ctx context.Context, c *call, do tool) error
}

// A tool does what a call is for. What is reserved for it may be nil.
type tool func(context.Context, *action.Reservation) error

// alone returns a tool for which nothing is reserved.
func (t tool) alone(ctx context.Context) error { return t(ctx, nil) }

// A call is one call of a tool.
type call struct {
	session   *authagent.Session
	tool      string
	arguments any    // as the tool would get them
	path      string // where the agent sees how it stands; empty for nowhere
}

// RequireAccess guards a tool that shows data of the agent's user, or changes it. The agent's session needs at least this
// access. A tool that changes anything needs AccessFull, or one of the other guards: a Journal has each call of such a
// tool. It panics if least is AccessNone.
func RequireAccess(rp *authagent.RelyingParty, least authagent.Access) Guard {
	rp.RequireAccess(least) // which panics
	return Guard{run: func(ctx context.Context, c *call, do tool) error {
		if least == authagent.AccessFull {
			return rp.Change(ctx, c.session, do.alone)
		}
		if err := rp.Reach(ctx, c.session, least); err != nil {
			return err
		}
		return do.alone(ctx)
	}}
}

// RequireAction guards a tool that performs the named action, such as "orders:create". It lets agents through with
// AccessFull, and those whose grant names the action. It panics if the name is empty or has white space in it.
func RequireAction(rp *authagent.RelyingParty, name string) Guard {
	rp.RequireAction(name) // which panics, and tells agents that there is such an action
	return Guard{action: name, run: func(ctx context.Context, c *call, do tool) error {
		return rp.Perform(ctx, c.session, name, do.alone)
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
	return Guard{action: name, run: func(ctx context.Context, c *call, do tool) error {
		payload, err := encode(c.tool, c.arguments)
		if err != nil {
			return err
		}
		reserved, path, err := rp.Approve(ctx, c.session, name, payload, approver)
		if c.path = path; err != nil {
			return err
		}
		return do(ctx, reserved)
	}}
}

// AddTool is mcp.AddTool with a guard before the tool. Where the guard refuses a call, the result is an error that says
// why to the model, and to programs in _meta (see [Refusal]). So it is where the tool itself returns a problem.Error or a
// problem.Reason. A panic in a tool of that server, guarded or not, ends the call and not the process. AddTool panics if
// guard is the zero value.
func AddTool[In, Out any](server *mcp.Server, tool *mcp.Tool, guard Guard, handler mcp.ToolHandlerFor[In, Out]) {
	if guard.run == nil {
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
	var result *mcp.CallToolResult
	var out Out
	err := guard.run(ctx, c, func(ctx context.Context, reserved *action.Reservation) (err error) {
		if reserved != nil {
			if req, in, err = approved[In](req, reserved); err != nil {
				reserved.NothingDone()
				return failure.OfSite("read what was approved", fmt.Errorf("%w, %w", err, reserved.End(ctx)))
			}
		}
		perform(ctx, guard, reserved, func(ctx context.Context) { result, out, err = handler(ctx, req, in) })
		if err == nil && result != nil && result.IsError {
			err = errResult
		}
		return err
	})
	switch {
	case err == nil, err == errResult:
		return result, pointed(out), nil
	case isReason(err):
		return refuse(c, guard, err), nil, nil
	}
	return nil, nil, err
}

// errResult says that a tool has failed whose result says so to the client.
var errResult = errors.New("mcpauth: the result of the tool is an error")

// perform calls do, and records how what is reserved for it, which may be nil, has ended.
func perform(ctx context.Context, guard Guard, reserved *action.Reservation, do func(context.Context)) {
	if reserved == nil {
		do(ctx)
		return
	}
	ctx = reserved.With(ctx)
	asked.Perform(ctx, reserved, func() { do(ctx) }, func(lost error) {
		slog.ErrorContext(ctx, "mcpauth: how an action has ended was not recorded: it counts as unknown", "action", guard.action, "err", lost)
	})
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
