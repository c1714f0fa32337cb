// Command authagent helps to build and run a site that lets AI agents sign in:
// it checks the site's settings, runs an Auth Agent server for development, signs
// an agent in, and makes session keys. "authagent help" says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit statuses.
const (
	exitOK    = 0
	exitWrong = 1 // what was looked at is not as it should be
	exitUsage = 2 // the command could not do its work: flags, settings
)

const usage = `authagent helps to build and run a site that lets AI agents sign in.

Usage:

	authagent check          compare the settings with the live authorization server
	authagent dev            run an Auth Agent server for development
	authagent dev sign-in    sign an agent in to a site, and say what happens
	authagent key            make a session key

"authagent <command> -h" says more. Exit status: 0 for all well, 1 for something
that is wrong, 2 for flags or settings that could not be used.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line and returns its exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer) error{
		"check": check, "dev": dev, "dev sign-in": signIn, "key": key,
		"help": func(context.Context, []string, io.Writer) error { return flag.ErrHelp },
	}
	name, rest := split(args)
	command := commands[name]
	if command == nil {
		fmt.Fprintf(errs, "authagent: there is no command %q.\n\n%s", name, usage)
		return exitUsage
	}
	err := command(ctx, rest, out)
	var help helpError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &help):
		fmt.Fprint(out, string(help))
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return exitOK
	case errors.Is(err, errWrong):
		return exitWrong
	}
	fmt.Fprintf(errs, "authagent %s: %v\n", name, err)
	return exitUsage
}

// split takes the name of the command, of one word or two, off the arguments.
func split(args []string) (name string, rest []string) {
	switch {
	case len(args) == 0, args[0] == "-h", args[0] == "-help", args[0] == "--help":
		return "help", nil
	case len(args) > 1 && args[0] == "dev" && args[1] == "sign-in":
		return "dev sign-in", args[2:]
	}
	return args[0], args[1:]
}

// errWrong says that the command did its work, has said so, and that what it
// looked at is not as it should be.
var errWrong = errors.New("something is wrong")

// helpError is the help text that was asked for.
type helpError string

func (helpError) Error() string { return "help" }

// parse parses flags. what is said of the command goes before the list of flags.
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
		return fmt.Errorf("%w (see authagent %s -h)", err, flags.Name())
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
