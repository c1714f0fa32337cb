//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// before is the last commit before the newest migration of sqlstore: the run deploys the site
// as it is now in place of the site as it was then. When there is another migration, move it:
//
//	git log -1 --format=%H "$(git log -1 --diff-filter=A --format=%H -- sqlstore/schema/postgres)^"
//
// The run fails if the schema is the same before and after the deployment.
const before = "86993e570d9a3beb5dab999677857df4d20e3eb7"

// binaries are the site as it is, and as it was: empty for no rolling deployment.
type binaries struct{ now, then string }

const site = "github.com/authagent-go/authagent/examples/fleet"

// build builds the site, with the race detector if this program has it, and the site of a
// commit, if one is named.
func build(ctx context.Context, dir, commit string) (b binaries, err error) {
	b.now = filepath.Join(dir, "site")
	var flags []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				flags = append(flags, "-race")
			}
		}
	}
	if err := run(ctx, "", "go", append([]string{"build", "-o", b.now}, append(flags, site)...)...); err != nil {
		return b, fmt.Errorf("build the site: %w", err)
	}
	if commit == "" {
		return b, nil
	}
	b.then = filepath.Join(dir, "site-before")
	if err := buildCommit(ctx, dir, commit, b.then, flags); err != nil {
		return b, fmt.Errorf("build the site of commit %s: %w", commit, err)
	}
	return b, nil
}

// buildCommit builds the site as the history of the repository has it. With the same flags as the
// site of today, it finds most packages of others built.
func buildCommit(ctx context.Context, dir, commit, binary string, flags []string) error {
	archive, tree := filepath.Join(dir, "before.tar"), filepath.Join(dir, "before")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	// In a folder of the repository, git puts only that folder into an archive.
	top, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err == nil {
		err = run(ctx, strings.TrimSpace(string(top)), "git", "archive", "-o", archive, commit)
	}
	if err != nil {
		return fmt.Errorf("get it from the history of the repository (-from '' does without): %w", err)
	}
	if err := run(ctx, tree, "tar", "-xf", archive); err != nil {
		return err
	}
	return run(ctx, filepath.Join(tree, "examples", "fleet"), "go", append([]string{"build", "-o", binary}, flags...)...)
}

// hasHistory reports whether the repository has a commit.
func hasHistory(commit string) error {
	return exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run()
}

func run(ctx context.Context, dir, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}
