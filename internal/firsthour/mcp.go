//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// An mcpReadme is what the README of examples/mcp tells a reader to run and to look for.
type mcpReadme struct {
	start   string   // the command that starts it all, in a copy of the repository
	request string   // the agent's first request to the API
	define  string   // the commands that make it short to call a tool
	calls   []string // the calls: one that reads, one that orders, and one that pays out

	unapproved, answer string // what request prints before its owner has approved the agent, and after
	ungranted          string // what the second call prints before its owner has allowed it
	pending            string // what the third prints before its owner has approved it
	balance            string // what it prints then
	used               string // what it prints after that
	stopped            string // what every call prints at the end
}

// readMCP reads the README of examples/mcp.
func readMCP(repository string) (*mcpReadme, error) {
	text, err := os.ReadFile(filepath.Join(repository, "examples", "mcp", "README.md"))
	if err != nil {
		return nil, err
	}
	return parseMCP(string(text))
}

func parseMCP(text string) (*mcpReadme, error) {
	code, err := blocks(text, "Run it", "sh", "sh", "sh")
	if err != nil {
		return nil, err
	}
	r := &mcpReadme{start: code[0], request: code[1]}
	for line := range strings.Lines(code[2]) {
		if strings.HasPrefix(line, "call ") {
			r.calls = append(r.calls, line)
		} else {
			r.define += line
		}
	}
	if len(r.calls) != 3 {
		return nil, fmt.Errorf("the README has %d calls of tools, and this program follows 3", len(r.calls))
	}
	prose := strings.Join(strings.Fields(section(text, "Run it")), " ")
	return r, errors.Join(
		find(prose, "It is refused with `([^`]+)`", &r.unapproved),
		find(prose, "Run the command again: it prints `([^`]+)`", &r.answer),
		find(prose, "The second is refused with `([^`]+)`", &r.ungranted),
		find(prose, "The third is refused with `([^`]+)`", &r.pending),
		find(prose, "Alice's balance is now `([^`]+)`", &r.balance),
		find(prose, "Call it once more, and it is refused with `([^`]+)`", &r.used),
		find(prose, "From then on each call is refused with `([^`]+)`", &r.stopped),
	)
}

// runMCP follows the README of examples/mcp in a clone of a repository.
func runMCP(ctx context.Context, out io.Writer, repository string) error {
	r, err := readMCP(repository)
	if err != nil {
		return err
	}
	return atDesk(out, repository, func(s *shell, repository string) error {
		if err := s.must(ctx, fmt.Sprintf("git clone --quiet '%s' %s", repository, beside)); err != nil {
			return err
		}
		s.folder = filepath.Join(s.folder, beside)
		return s.followMCP(ctx, r)
	})
}

// followMCP does all that the README of examples/mcp says.
func (s *shell) followMCP(ctx context.Context, r *mcpReadme) error {
	shop, err := s.launch(ctx, r.start) // which takes another port if the usual one is taken
	if err != nil {
		return fmt.Errorf("start the shop: %w", err)
	}
	defer shop.stop()
	settings, err := settingsIn(shop, "TOKEN")
	if err != nil {
		return err
	}
	if !strings.Contains(shop.printed(), "All as it should be.") {
		return fmt.Errorf("the story went wrong:\n%s", shop.printed())
	}
	site, _, _ := strings.Cut(strings.TrimPrefix(settings, "export SHOP="), "\n")
	return s.playMCP(ctx, r, site, settings)
}

// compareInJSON is the code of a request, as the site answers it to a program.
var compareInJSON = regexp.MustCompile(`"compare":"([0-9A-Z]{3}-[0-9A-Z]{3})"`)

// playMCP has the agent read, order and pay out, and the owner decide, in the README's order.
func (s *shell) playMCP(ctx context.Context, r *mcpReadme, site, settings string) error {
	alice := &owner{page: site + "/account/agents/"}
	if err := alice.press(ctx, site+"/sign-in"); err != nil {
		return err
	}
	printed, err := s.run(ctx, settings+r.request)
	code := compareInJSON.FindStringSubmatch(printed)
	if err != nil || !strings.Contains(printed, r.unapproved) || code == nil {
		return fmt.Errorf("the agent reads before its owner has approved it: want a refusal with %q and a code, %v", r.unapproved, err)
	}
	if err := alice.compare(ctx, code[1]); err != nil {
		return err
	}
	if err := alice.decide(ctx, "approve", nil); err != nil {
		return err
	}
	r.define = settings + r.define
	list, place, pay := r.define+r.calls[0], r.define+r.calls[1], r.define+r.calls[2]
	for _, step := range []struct {
		commands, want string
		then           func(context.Context) error // what Alice does next
	}{
		{settings + r.request, r.answer, nil},
		{list, "Teapot", nil},
		{place, r.ungranted, alice.does("change", url.Values{"action": {"orders:create"}})},
		{place, "Spoon", nil},
		{pay, r.pending, alice.approvesAction},
		{pay, r.balance, nil},
		{pay, r.used, alice.does("revoke", nil)},
		{list, r.stopped, nil},
		{settings + r.request, r.stopped, nil},
	} {
		if printed, err := s.run(ctx, step.commands); err != nil || !strings.Contains(printed, step.want) {
			return fmt.Errorf("%s: want %q, %v", step.commands, step.want, err)
		}
		if step.then == nil {
			continue
		}
		if err := step.then(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, "\n\nAll as the README of examples/mcp says.")
	return nil
}

// press presses the button that signs the owner in, and keeps the cookie.
func (o *owner) press(ctx context.Context, address string) (err error) {
	if o.client.Jar, err = cookiejar.New(nil); err != nil {
		return err
	}
	resp, err := o.send(ctx, http.MethodPost, address, "text/html", url.Values{}, false)
	if err == nil && resp.StatusCode != http.StatusSeeOther {
		err = fmt.Errorf("the owner signs in: %s", resp.Status)
	}
	return err
}

// does is decide, later.
func (o *owner) does(what string, choice url.Values) func(context.Context) error {
	return func(ctx context.Context) error { return o.decide(ctx, what, choice) }
}

// approvesAction approves the one request that waits.
func (o *owner) approvesAction(ctx context.Context) error {
	overview, err := o.overview(ctx)
	if err != nil {
		return err
	}
	if len(overview.Approvals) != 1 {
		return fmt.Errorf("the page has %d requests, and not one", len(overview.Approvals))
	}
	a := overview.Approvals[0]
	return o.post(ctx, "approvals/approve", url.Values{"id": {a.ID}, "version": {strconv.FormatInt(a.Version, 10)}})
}
