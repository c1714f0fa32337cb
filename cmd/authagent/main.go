// Command authagent helps to build and run a site that lets AI agents sign in:
// it checks the site's settings, runs an Auth Agent server for development, signs
// an agent in, issues access tokens for a site's API, and makes keys.
//
// It needs no installation. In a module that requires authagent,
//
//	go run github.com/authagent-go/authagent/cmd/authagent help
//
// runs it in the version that the module uses. Anywhere else, add @latest or another
// version to the path. As a tool of the module it has a short name:
//
//	go get -tool github.com/authagent-go/authagent/cmd/authagent
//	go tool authagent help
//
// After "go install github.com/authagent-go/authagent/cmd/authagent@latest" its name is
// authagent, as in the help texts.
//
// The commands are check, dev, dev sign-in, dev token, key and version. "authagent help NAME" says
// what each does, and lists its flags. The exit status is 0 if all is well, 1 if
// something is wrong or could not be done, and 2 if the command line or the settings
// could not be used.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// The exit statuses.
const (
	exitOK    = 0
	exitWrong = 1 // what was looked at is not as it should be, or something could not be done
	exitUsage = 2 // flags, arguments or settings could not be used
)

const packagePath = "github.com/authagent-go/authagent/cmd/authagent"

const usage = `authagent helps to build and run a site that lets AI agents sign in.

Usage:

	authagent check          compare the settings with the live authorization server
	authagent dev            run an Auth Agent server for development
	authagent dev sign-in    sign an agent in to a site, and print each step
	authagent dev token      print an access token with which an agent calls a site's API
	authagent key            make a session key, or a client key
	authagent version        print the version of this command
	authagent help NAME      say more about one command

If the command is not installed, write this instead of "authagent":

	go run ` + packagePath + `@latest

Or make it a tool of your module, and write "go tool authagent":

	go get -tool ` + packagePath + `

Exit status: 0 if all is well; 1 if something is wrong or could not be done; 2 if
flags, arguments or settings could not be used.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A work does what flags and arguments ask for, and writes what it finds to out.
type work func(ctx context.Context, args []string, out io.Writer) error

func commands() map[string]work {
	return map[string]work{"check": check, "dev": dev, "dev sign-in": signIn, "dev token": token, "key": key, "version": version, "help": help}
}

// run runs a command line and returns its exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	name, rest := split(args)
	command := commands()[name]
	if command == nil {
		fmt.Fprintf(errs, "authagent: there is no command %q.\n\n%s", name, usage)
		return exitUsage
	}
	err := command(ctx, rest, out)
	var asked helpError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &asked):
		fmt.Fprint(out, string(asked))
		return exitOK
	case errors.Is(err, errWrong):
		return exitWrong
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(errs, "authagent %s: %s\n", name, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "authagent: "))
	}
	if hasFailed(err) {
		return exitWrong
	}
	return exitUsage
}

// split takes the name of the command, of one word or two, off the arguments.
func split(args []string) (name string, rest []string) {
	switch {
	case len(args) == 0, args[0] == "-h", args[0] == "-help", args[0] == "--help":
		return "help", nil
	case args[0] == "-version", args[0] == "--version":
		return "version", args[1:]
	case len(args) > 1 && args[0] == "dev" && commands()["dev "+args[1]] != nil:
		return "dev " + args[1], args[2:]
	}
	return args[0], args[1:]
}

// help says more about one command, or about all of them.
func help(ctx context.Context, args []string, out io.Writer) error {
	name, rest := split(args)
	command := commands()[name]
	switch {
	case name == "help":
		return helpError(usage)
	case command == nil:
		return fmt.Errorf("there is no command %q (see authagent help)", strings.Join(args, " "))
	case len(rest) > 0:
		return fmt.Errorf("takes the name of one command, and got %q", strings.Join(args, " "))
	}
	return command(ctx, []string{"-h"}, out)
}

// errWrong says that the command did its work, has said so, and that what it
// looked at is not as it should be.
var errWrong = errors.New("something is wrong")

// A failedError says what could not be done, although it was asked for in the right way.
type failedError struct{ error }

func (e failedError) Unwrap() error { return e.error }

// failed makes a failedError.
func failed(format string, args ...any) error { return failedError{fmt.Errorf(format, args...)} }

func hasFailed(err error) bool {
	_, ok := errors.AsType[failedError](err)
	return ok
}

// helpError is the help text that was asked for.
type helpError string

func (helpError) Error() string { return "help" }

// parse parses flags. What is said of the command goes before the list of flags.
func parse(flags *flag.FlagSet, args []string, about string) error {
	var text strings.Builder
	flags.SetOutput(io.Discard) // the error says all of it, and names flag and value
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(&text)
		text.WriteString(about)
		if hasFlags(flags) {
			text.WriteString("\nFlags:\n\n")
			flags.PrintDefaults()
		}
		return helpError(text.String())
	}
	if err != nil {
		return fmt.Errorf("%w (see authagent help %s)", err, flags.Name())
	}
	return nil
}

func hasFlags(flags *flag.FlagSet) (has bool) {
	flags.VisitAll(func(*flag.Flag) { has = true })
	return has
}

// noArguments refuses what stands after the flags.
func noArguments(flags *flag.FlagSet) error {
	if flags.NArg() > 0 {
		return fmt.Errorf("takes no argument, and got %q", flags.Arg(0))
	}
	return nil
}

// invocation is how a shell runs this command, in the lines that people copy.
func invocation() string {
	if _, err := exec.LookPath("authagent"); err == nil {
		return "authagent"
	}
	at := ""
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Replace == nil && isRelease(info.Main.Version) {
		at = "@" + info.Main.Version
	}
	return "go run " + packagePath + at
}
