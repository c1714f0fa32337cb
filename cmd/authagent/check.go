package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

const checkHelp = `Usage: authagent check [flags]

Compares the settings of a site with its authorization server as it is now, and
says what is wrong and how to mend it. The settings are those that
authagent.ConfigFromEnv reads:

	AUTH_AGENT_ISSUER          the server, exactly as it calls itself
	AUTH_AGENT_CLIENT_ID       what it knows the site by
	AUTH_AGENT_CLIENT_SECRET
	AUTH_AGENT_REDIRECT_URL    where the site's CallbackHandler is mounted
	AUTH_AGENT_SESSION_KEYS    see authagent key

or files, named by the same variables with _FILE appended. No code is risked. A
published Auth Agent server keeps one authorization request for two minutes.

Exit status: 0 if sign-ins can work, with or without warnings; 1 if they cannot;
2 if the settings could not be read.
`

// check compares the settings in the environment with the server.
func check(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	scenario := flags.String("scenario", "contextual", "the site's `scenario`, which decides what is asked for: full, contextual or fresh")
	asJSON := flags.Bool("json", false, "print a JSON array of findings")
	timeout := flags.Duration("timeout", 30*time.Second, "give up after this `time`")
	if err := parse(flags, args, checkHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if *timeout <= 0 {
		return fmt.Errorf("invalid value %v for flag -timeout: is not more than nothing", *timeout)
	}
	asked, err := scenarioNamed(*scenario)
	if err != nil {
		return err
	}
	config, err := authagent.ConfigFromEnv()
	if err != nil {
		return err
	}
	config.Scenario = asked
	rp, err := authagent.New(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	findings := rp.Check(ctx)
	if *asJSON {
		err = json.NewEncoder(out).Encode(findings)
	} else {
		printFindings(out, config.Issuer, findings)
	}
	for _, f := range findings {
		if f.Severity >= slog.LevelError {
			return errWrong
		}
	}
	return err
}

// scenarioNamed returns a scenario to ask a server with. Nobody signs in by it.
func scenarioNamed(name string) (authagent.Scenario, error) {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	switch name {
	case "full":
		return authagent.FullAccount(users, authagent.InsecureTrustEmail), nil
	case "contextual":
		return authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail), nil
	case "fresh":
		return authagent.FreshProfile(profiles), nil
	}
	return nil, fmt.Errorf("invalid value %q for flag -scenario: is none of full, contextual and fresh", name)
}

func printFindings(out io.Writer, issuer string, findings []authagent.Finding) {
	if len(findings) == 0 {
		fmt.Fprintf(out, "ok: agents can sign in by %s\n", issuer)
		return
	}
	for _, f := range findings {
		fmt.Fprintf(out, "%s: %s\n  %s\n  %s\n", severity(f), settingNamed(f.Setting), f.Problem, f.Remedy)
	}
}

func severity(f authagent.Finding) string {
	if f.Severity >= slog.LevelError {
		return "error"
	}
	return "warning"
}

// settingNamed names a setting as whoever set it knows it.
func settingNamed(field string) string {
	variables := map[string]string{
		"Issuer": "AUTH_AGENT_ISSUER", "ClientID": "AUTH_AGENT_CLIENT_ID", "ClientSecret": "AUTH_AGENT_CLIENT_SECRET",
		"ClientSecretFunc": "AUTH_AGENT_CLIENT_SECRET_FILE", "RedirectURL": "AUTH_AGENT_REDIRECT_URL",
	}
	if name, ok := variables[field]; ok {
		return name
	}
	return field
}
