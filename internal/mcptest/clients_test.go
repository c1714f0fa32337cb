package mcptest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/authagent-go/authagent/mcpauth"
)

// What the agent's own client is at the provider.
const (
	agentClient   = "an-agent"
	agentRedirect = "http://127.0.0.1/callback"
)

// A client is an agent's. It knows nothing but the address of the MCP server and its own client at the provider.
type client interface {
	// connect connects to an instance, and signs in where it has to.
	connect(instance string) error

	// call calls a tool at an instance.
	call(instance, tool string, arguments any) (result, error)
}

// A result is what a client got from a tool.
type result struct {
	Content []struct{ Text string }
	IsError bool
	Meta    struct {
		Refusal mcpauth.Refusal `json:"authagent/refusal"`
	} `json:"_meta"`
}

// A goClient is the client of the Go SDK.
type goClient struct {
	resource string
	oauth    *auth.AuthorizationCodeHandler
	sessions map[string]*mcp.ClientSession
}

// newGoClient has a secret: as a public client, the Go SDK offers an empty one where the server also takes Basic.
func newGoClient(t *testing.T, resource, secret string, authorize func(address string) url.Values) client {
	t.Helper()
	oauth, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		PreregisteredClient: &oauthex.ClientCredentials{ClientID: agentClient, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: secret}},
		RedirectURL:         agentRedirect,
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			got := authorize(args.URL)
			return &auth.AuthorizationResult{Code: got.Get("code"), State: got.Get("state"), Iss: got.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &goClient{resource, oauth, make(map[string]*mcp.ClientSession)}
	t.Cleanup(func() {
		for _, s := range c.sessions {
			s.Close()
		}
	})
	return c
}

// An instance is the address of one instance of the site.
type instance struct{ name string }

func (i instance) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Instance", i.name)
	return http.DefaultTransport.RoundTrip(r)
}

func (c *goClient) connect(at string) (err error) {
	transport := &mcp.StreamableClientTransport{
		Endpoint: c.resource, OAuthHandler: c.oauth, HTTPClient: &http.Client{Transport: instance{at}}, DisableStandaloneSSE: true, MaxRetries: -1,
	}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(context.Background(), transport, nil)
	if err == nil {
		c.sessions[at] = s
	}
	return err
}

func (c *goClient) call(at, tool string, arguments any) (got result, err error) {
	r, err := c.sessions[at].CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return result{}, err
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	return got, err
}

// A tsClient is the client of the TypeScript SDK, under node.
type tsClient struct {
	t         *testing.T
	in        io.Writer
	out       *bufio.Scanner
	authorize func(address string) url.Values
}

// newTSClient is a public client.
func newTSClient(t *testing.T, resource, _ string, authorize func(address string) url.Values) client {
	t.Helper()
	node := needs(t, "typescript", "@modelcontextprotocol/sdk")
	settings, err := json.Marshal(map[string]string{"resource": resource, "client": agentClient, "redirect": agentRedirect})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "client.mjs", string(settings))
	cmd.Dir = "typescript"
	in, out := run(t, cmd)
	return &tsClient{t, in, out, authorize}
}

// needs returns the path of node, if it and a package are installed.
func needs(t *testing.T, dir, name string) (node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	if _, err := os.Stat(dir + "/node_modules/" + name); err != nil {
		t.Skipf("%s is not installed: npm ci --prefix %s", name, dir)
	}
	return node
}

// run starts a program that ends with its input.
func run(t *testing.T, cmd *exec.Cmd) (io.Writer, *bufio.Scanner) {
	t.Helper()
	cmd.Stderr = t.Output()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return in, lines
}

// A said is what came of a command.
type said struct {
	Error     string
	Authorize string
	Result    result
}

func (s said) err() error {
	if s.Error == "" {
		return nil
	}
	return refusedBy(s.Error)
}

// A refusedBy is the text of an error of the TypeScript SDK.
type refusedBy string

func (r refusedBy) Error() string { return string(r) }

func (c *tsClient) do(command map[string]any) (s said) {
	c.t.Helper()
	if err := json.NewEncoder(c.in).Encode(command); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatal("the client has ended: ", c.out.Err())
	}
	if err := json.Unmarshal(c.out.Bytes(), &s); err != nil {
		c.t.Fatalf("%v: %s", err, c.out.Bytes())
	}
	return s
}

func (c *tsClient) connect(at string) error {
	c.t.Helper()
	connect := map[string]any{"do": "connect", "instance": at}
	s := c.do(connect)
	if s.Authorize != "" {
		code := c.authorize(s.Authorize).Get("code")
		if err := c.do(map[string]any{"do": "finish", "code": code}).err(); err != nil {
			return err
		}
		s = c.do(connect)
	}
	return s.err()
}

func (c *tsClient) call(at, tool string, arguments any) (result, error) {
	c.t.Helper()
	s := c.do(map[string]any{"do": "call", "instance": at, "tool": tool, "arguments": arguments})
	return s.Result, s.err()
}
