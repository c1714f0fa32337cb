package mcpauth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// MetaKey names the [Refusal] in the _meta of a result.
const MetaKey = "authagent/refusal"

// A Refusal says to a program why a call was refused. It is in the _meta of the result, beside a text that says the same
// to the model. The names in JSON are those of the site's answers to HTTP requests. It is not in structuredContent, since
// clients hold that to the tool's output schema.
type Refusal struct {
	Code       problem.Reason `json:"error"` // docs/reasons.md has all
	Title      string         `json:"title"`
	Detail     string         `json:"detail"`
	Retry      bool           `json:"retry"`                 // whether the same call may succeed later
	RetryAfter int            `json:"retry_after,omitempty"` // in how many seconds at the earliest
	Action     string         `json:"action,omitempty"`      // what was to be done, as the site names it
	Approval   string         `json:"approval,omitempty"`    // the address where the agent can look at how the call stands
	Scopes     []string       `json:"scopes,omitempty"`      // all that the access token needs, if it has too few
}

// refuse is the result of a call that is refused. All texts are constant, but for what the site itself has named: a model
// takes what it reads for an instruction.
func refuse(c *call, guard Guard, err error) *mcp.CallToolResult {
	f := failure.As(err)
	r := Refusal{
		Code: f.Reason, Title: f.Title(), Detail: detail(f.Cause), Retry: f.RetryAfter > 0,
		RetryAfter: int((f.RetryAfter + time.Second - 1) / time.Second), Action: guard.action, Approval: absolute(c.session, c.path), Scopes: f.Scopes,
	}
	result := &mcp.CallToolResult{Meta: mcp.Meta{MetaKey: r}}
	result.SetError(&refused{text: r.text(), why: err})
	return result
}

// text says to a model what a Refusal says.
func (r Refusal) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s", r.Title, r.Detail)
	if len(r.Scopes) > 0 {
		fmt.Fprintf(&b, " The access token needs these scopes: %s.", strings.Join(r.Scopes, " "))
	}
	if r.Retry {
		fmt.Fprintf(&b, " Ask again in %d seconds at the earliest.", r.RetryAfter)
	}
	if r.Approval != "" {
		fmt.Fprintf(&b, " How it stands: %s", r.Approval)
	}
	fmt.Fprintf(&b, " (%s)", string(r.Code))
	return b.String()
}

// detail is the detail of a reason, in words that fit a call of a tool.
func detail(e *problem.Error) string {
	switch e.Reason {
	case problem.NoSession:
		return "The session of this access token has ended. Get another access token from the authorization server."
	case problem.ApprovalPending:
		return "Nothing was done yet. The account's owner has been asked to approve this one call. " +
			"Call the same tool with the same arguments again once it is approved."
	case reasons.ApprovalUsed:
		return "This call was approved for one time, and that time is used. Nothing was done now. A call with other arguments is another call."
	case reasons.RequestTooLong:
		return "The arguments are too long to be shown to the account's owner as a whole."
	}
	return e.Detail()
}

// absolute is the address of a path of the site.
func absolute(s *authagent.Session, path string) string {
	if s == nil || path == "" {
		return ""
	}
	base, err := url.Parse(s.RedirectURL)
	if err != nil {
		return path
	}
	to, err := base.Parse(path)
	if err != nil {
		return path
	}
	return to.String()
}

// refused is the error that the server's own middleware finds in a result (mcp.CallToolResult.GetError).
type refused struct {
	text string
	why  error
}

func (r *refused) Error() string { return r.text }
func (r *refused) Unwrap() error { return r.why }

// isReason reports whether the error of a tool says why it refuses a call, and is no error of another kind.
func isReason(err error) bool {
	return errors.As(err, new(*problem.Error)) || errors.As(err, new(problem.Reason))
}
