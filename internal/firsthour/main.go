//go:build unix

// Command firsthour follows the README from an empty folder to an agent that signs in,
// is approved by its owner, reads, and is revoked. Then it follows the README of
// examples/mcp in a clone, to an agent that calls tools. It runs the commands and the
// program that the texts have, word for word, and fails where text and truth part.
//
//	go run ./internal/firsthour
//
// It is run in the root of a clone of this repository; what is not committed is not in
// the second part. It needs Go, git, bash and curl, the two loopback addresses that the
// texts name, and no network but the module proxy's. It takes less than three minutes.
package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, follow := range []func(context.Context, io.Writer, string) error{run, runMCP} {
		if err := follow(ctx, os.Stdout, "."); err != nil {
			fmt.Fprintln(os.Stderr, "firsthour:", err)
			os.Exit(1)
		}
	}
}

// beside is the name of the copy of the repository that the README says to put beside.
const beside = "authagent"

// run follows the README of a copy of the repository, in a folder beside a link to it.
func run(ctx context.Context, out io.Writer, repository string) error {
	r, err := read(repository)
	if err != nil {
		return err
	}
	return atDesk(out, repository, func(s *shell, repository string) error {
		if err := os.Symlink(repository, filepath.Join(s.folder, beside)); err != nil {
			return err
		}
		return s.follow(ctx, r)
	})
}

// atDesk calls follow with a shell in an empty folder, and with the repository as that
// folder sees it.
func atDesk(out io.Writer, repository string, follow func(s *shell, repository string) error) error {
	desk, err := os.MkdirTemp("", "firsthour")
	if err != nil {
		return err
	}
	defer os.RemoveAll(desk)
	if repository, err = filepath.Abs(repository); err != nil {
		return err
	}
	return follow(&shell{out, desk}, repository)
}

// follow does all that the README says.
func (s *shell) follow(ctx context.Context, r *readme) error {
	if err := s.write(ctx, r); err != nil {
		return err
	}

	server, err := s.start(ctx, r.server, "127.0.0.1:9000")
	if err != nil {
		return fmt.Errorf("start the server for development: %w", err)
	}
	defer server.stop()
	settings, err := settingsIn(server, "AUTH_AGENT_SESSION_KEYS")
	if err != nil {
		return err
	}
	page, err := url.Parse(r.page)
	if err != nil {
		return err
	}
	site, err := s.start(ctx, settings+r.site, page.Host)
	if err != nil {
		return fmt.Errorf("start the site: %w", err)
	}
	defer site.stop()
	return s.play(ctx, r)
}

// write makes the module, as the README says for as long as it is not published.
func (s *shell) write(ctx context.Context, r *readme) error {
	if err := s.must(ctx, r.module); err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(s.folder, "*", "go.mod"))
	made = slices.DeleteFunc(made, func(file string) bool { return filepath.Base(filepath.Dir(file)) == beside })
	if err != nil || len(made) != 1 {
		return fmt.Errorf("%q makes no folder with a module", r.module)
	}
	s.folder = filepath.Dir(made[0]) // where the commands have gone
	if err := os.WriteFile(filepath.Join(s.folder, "main.go"), []byte(r.program), 0o600); err != nil {
		return err
	}
	return s.must(ctx, r.replace+r.fetch)
}

var export = regexp.MustCompile(`(?m)^\s+(export [A-Z_]+=.*)$`)

// settingsIn waits for the settings that a reader pastes, for a minute.
func settingsIn(program *terminal, last string) (string, error) {
	var lines strings.Builder
	for range 600 {
		lines.Reset()
		for _, m := range export.FindAllStringSubmatch(program.printed(), -1) {
			lines.WriteString(m[1] + "\n")
		}
		if strings.Contains(lines.String(), "export "+last+"=") {
			return lines.String(), nil
		}
		select {
		case <-program.done:
			return "", fmt.Errorf("it has ended (%w) and printed\n%s", program.err, program.printed())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("it prints no settings:\n%s", program.printed())
}

// comparison is the code of a request, as the agent's command prints it.
var comparison = regexp.MustCompile(`with the code ([0-9A-Z]{3}-[0-9A-Z]{3})`)

// play has the agent ask, the owner decide, and the agent act, in the README's order.
func (s *shell) play(ctx context.Context, r *readme) error {
	alice := &owner{page: r.page, name: r.name, password: r.password}
	printed, err := s.run(ctx, r.signIn)
	code := comparison.FindStringSubmatch(printed)
	if err == nil || !strings.Contains(printed, r.refused) || code == nil {
		return fmt.Errorf("the agent signs in before its owner has decided: want a refusal with %q and a code", r.refused)
	}
	if err := alice.open(ctx); err != nil {
		return err
	}
	if err := alice.compare(ctx, code[1]); err != nil {
		return err
	}
	if err := alice.decide(ctx, "approve", nil); err != nil {
		return err
	}
	if err := s.must(ctx, r.signIn); err != nil {
		return fmt.Errorf("after its owner has approved it, the agent signs in: %w", err)
	}
	if printed, err := s.run(ctx, r.request); err != nil || strings.TrimSpace(printed) != r.answer {
		return fmt.Errorf("the agent reads: want %q, %v", r.answer, err)
	}
	if err := alice.decide(ctx, "revoke", nil); err != nil {
		return err
	}
	if printed, err := s.run(ctx, r.request); err != nil || !strings.Contains(printed, r.revoked) {
		return fmt.Errorf("the agent reads after it was revoked: want a refusal with %q, %v", r.revoked, err)
	}
	fmt.Fprintln(s.out, "\n\nAll as the README says.")
	return nil
}
