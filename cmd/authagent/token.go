package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

const tokenHelp = `Usage: authagent dev token [flags] -resource URL

Prints an access token with which an agent calls the API of a site. URL is the API's
resource identifier, exactly as the site has it in Config.API.Resource. The server of
"authagent dev" has to run: it issues the token, and the site verifies it there.

	token=$(authagent dev token -resource http://127.0.0.1:8080/api)
	curl -H "Authorization: Bearer $token" http://127.0.0.1:8080/api/orders

The token is good for an hour. It names the agent, and says which e-mail address its
owner has, by which the site finds the account. Whoever has the token is the agent.

Exit status: 0 if the token is printed, 1 if there is none, 2 if it was not tried.
`

// tokenPath is where the development server issues access tokens without a sign-in. It is this
// command's own.
const tokenPath = "/dev/token"

// token gets an access token from the development server and prints it, and nothing else.
func token(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dev token", flag.ContinueOnError)
	server := flags.String("issuer", "http://"+defaultAddr, "the development server's `URL`")
	id := flags.String("agent", defaultAgent, "the token is for the agent of this `ID`")
	resource := flags.String("resource", "", "the API's resource identifier, a `URL` (API.Resource)")
	scope := flags.String("scope", "", "the token has these `scopes`, such as \"orders:read orders:write\"")
	if err := parse(flags, args, tokenHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if !isURL(*resource) {
		return fmt.Errorf("invalid value %q for flag -resource: is not an http or https URL", *resource)
	}
	if !isURL(*server) {
		return fmt.Errorf("invalid value %q for flag -issuer: is not an http or https URL", *server)
	}
	issued, err := askForToken(ctx, strings.TrimSuffix(*server, "/"), url.Values{"agent": {*id}, "resource": {*resource}, "scope": {*scope}})
	if err != nil {
		return failed("no token: %w", err)
	}
	_, err = fmt.Fprintln(out, issued)
	return err
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func askForToken(ctx context.Context, server string, form url.Values) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch text := printable(strings.TrimSpace(string(body))); {
	case err != nil:
		return "", err
	case resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == tokenType:
		return text, nil
	case resp.StatusCode == http.StatusBadRequest:
		return "", errors.New(text)
	}
	return "", fmt.Errorf("%s is no server of authagent dev: it answers with %s", server, resp.Status)
}

// tokenType is the media type of an answer that is a token.
const tokenType = "application/vnd.authagent.token"

// A tokenIssuer issues access tokens for APIs to the agents of the development server, who need not
// prove themselves, as on its page.
type tokenIssuer struct {
	server *authagenttest.Server
	agents map[string]*authagenttest.Agent
}

func (t tokenIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	agent, resource := t.agents[r.PostFormValue("agent")], r.PostFormValue("resource")
	switch {
	case agent == nil:
		http.Error(w, "the server has no agent of this ID", http.StatusBadRequest)
		return
	case !isURL(resource):
		http.Error(w, "the resource is not a URL", http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", tokenType)
	h.Set("Cache-Control", "no-store")
	fmt.Fprintln(w, t.server.AccessToken(agent, authagenttest.APIToken{
		Audience: []string{resource}, Scopes: strings.Fields(r.PostFormValue("scope")), Claims: map[string]any{"email": agent.Email},
	}))
}
