package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/authagent-go/authagent/authagenttest"
)

const signInHelp = `Usage: authagent dev sign-in [flags] URL

Signs an agent in to a site, and prints what happens at each step. URL is the site's
sign-in (LoginHandler), a page with the button, or any address whose answer has a link
to the sign-in. If the site's sign-in takes POST only, the command posts the button's
form.

The command knows the secrets that "authagent dev" makes. For any other server, put the
agent's secret into the variable AUTH_AGENT_AGENT_SECRET. The secret is sent only to
-issuer.

With -cookies, the command writes the agent's session at the site to a file for
curl -b. Whoever can read the file is signed in as the agent.

Exit status: 0 if the agent is signed in, 1 if it is not, 2 if it was not tried.
`

// signIn signs an agent in and prints the steps.
func signIn(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dev sign-in", flag.ContinueOnError)
	issuer := flags.String("issuer", "http://"+defaultAddr, "the authorization server's `URL`")
	id := flags.String("agent", defaultAgent, "sign in as the agent of this `ID`")
	model := flags.String("model", "", "what the agent says it is; test-model if empty")
	timeout := flags.Duration("timeout", time.Minute, "give up after this `time`")
	file := flags.String("cookies", "", "write the site's cookies to this `file`, in Netscape format")
	if err := parse(flags, args, signInHelp); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("takes one URL, and got %d", flags.NArg())
	}
	target := flags.Arg(0)
	if u, err := url.Parse(target); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("invalid argument %q: is not an http or https URL", target)
	}
	if u, err := url.Parse(*issuer); err != nil || u.Host == "" {
		return fmt.Errorf("invalid value %q for flag -issuer: is not a URL", *issuer)
	}
	if *timeout <= 0 {
		return fmt.Errorf("invalid value %v for flag -timeout: must be positive", *timeout)
	}
	kept, err := newCookieFile(*file)
	if err != nil {
		return fmt.Errorf("invalid value %q for flag -cookies: %w", *file, err)
	}
	defer kept.discard()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	// The agent needs to know its server's address only, and none is started.
	as := authagenttest.NewUnstartedServer()
	as.URL = strings.TrimSuffix(*issuer, "/")
	agent := as.AddAgent(authagenttest.Agent{
		ID: *id, Secret: cmp.Or(os.Getenv("AUTH_AGENT_AGENT_SECRET"), secretFor("ags_", *id)), Model: *model,
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	steps := &narrator{out: out, issuer: as.URL}
	err = finish(ctx, steps, agent, &http.Client{Jar: jar, Transport: steps}, target, kept)
	if err != nil && !errors.Is(err, errWrong) && !hasFailed(err) {
		text := strings.TrimPrefix(err.Error(), "authagenttest: ")
		fmt.Fprintf(out, "\nnot signed in: %s\n", printable(query.ReplaceAllString(text, "?…")))
		return errWrong
	}
	return err
}

// finish signs the agent in and says how it ends.
func finish(ctx context.Context, steps *narrator, agent *authagenttest.Agent, client *http.Client, target string, kept *cookieFile) error {
	out := steps.out
	resp, err := agent.SignIn(ctx, client, target)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case steps.session:
		fmt.Fprintf(out, "\nsigned in: %s landed at %s (%d)\n", agent.ID, public(resp.Request.URL), resp.StatusCode)
		return kept.leave(out, steps.cookies, resp.Request.URL)
	case resp.StatusCode < 400:
		fmt.Fprintf(out, "\nnot signed in: the site set no cookie, and sent %s on to %s\n", agent.ID, public(resp.Request.URL))
		return errWrong
	}
	var problem struct {
		Code      string `json:"error"`
		Title     string `json:"title"`
		Detail    string `json:"detail"`
		RequestID string `json:"request_id"`
		Compare   string `json:"compare"`
		OwnerPage string `json:"owner_page"`
	}
	fmt.Fprintf(out, "\nnot signed in: %s\n", resp.Status)
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&problem) == nil && problem.Code != "" {
		fmt.Fprintf(out, "%s: %s. %s\nThe site's log has more, as request %s.\n",
			printable(problem.Code), printable(problem.Title), printable(problem.Detail), printable(problem.RequestID))
	}
	if problem.OwnerPage != "" {
		fmt.Fprintf(out, "Tell the owner to open %s", printable(problem.OwnerPage))
		if problem.Compare != "" {
			fmt.Fprintf(out, " and to allow the agent with the code %s", printable(problem.Compare))
		}
		fmt.Fprintln(out, ".")
	}
	return errWrong
}

// query is what a URL in an error has after its path, secrets among it.
var query = regexp.MustCompile(`\?[^\s",]+`)

// narrator tells of each request, without what opens anything.
type narrator struct {
	out     io.Writer
	issuer  string
	session bool        // the answer to a code set a cookie
	cookies []setCookie // what the site has set and dropped, in that order
}

func (n *narrator) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		fmt.Fprintf(n.out, "%-4s %s\n     no answer\n", r.Method, public(r.URL))
		return nil, err
	}
	fmt.Fprintf(n.out, "%-4s %s\n     %d", r.Method, public(r.URL), resp.StatusCode)
	if to, err := resp.Location(); err == nil {
		fmt.Fprintf(n.out, " to %s", public(to))
	}
	for _, c := range resp.Cookies() {
		if r.URL.Scheme+"://"+r.URL.Host != n.issuer {
			n.cookies = append(n.cookies, setCookie{c, r.URL})
		}
		if c.MaxAge < 0 || c.Value == "" {
			fmt.Fprintf(n.out, ", drops cookie %s", printable(c.Name))
		} else {
			fmt.Fprintf(n.out, ", sets cookie %s", printable(c.Name))
			n.session = n.session || r.URL.Query().Has("code")
		}
	}
	fmt.Fprintln(n.out)
	return resp, nil
}

// public is a URL with the values of its parameters left out, but for those that
// help to find a mistake.
func public(u *url.URL) string {
	shown := u.Scheme + "://" + u.Host + u.EscapedPath()
	sep := "?"
	for _, pair := range strings.Split(u.RawQuery, "&") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		switch name {
		case "client_id", "redirect_uri", "return_to", "scope", "error":
		default:
			value = "…"
		}
		shown += sep + name + "=" + value
		sep = "&"
	}
	return printable(shown)
}

// printable keeps a site from writing to the terminal what it likes.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '?'
	}, s)
}
