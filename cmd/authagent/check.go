package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

const checkHelp = `Usage: authagent check [flags]

Compares the settings of a site with its live authorization server. Says what is
wrong, and how to fix it. The settings are those that authagent.ConfigFromEnv reads:

	AUTH_AGENT_ISSUER          the server, exactly as it calls itself
	AUTH_AGENT_CLIENT_ID       the site's ID at the server
	AUTH_AGENT_CLIENT_SECRET   the site's secret at the server
	AUTH_AGENT_CLIENT_KEYS     or its private keys, in PEM: see authagent key -client
	AUTH_AGENT_REDIRECT_URL    where the site's CallbackHandler is mounted
	AUTH_AGENT_SESSION_KEYS    see authagent key

A setting can also be in a file. Then the variable with _FILE appended names the file.
If the site uses the server of "authagent dev", that command prints the settings.

Flags say what your program sets besides. With -subject-is-user or -people, the site's
UserStore is taken to have UserBySubject, so that the scope email is not asked for; if
it has not, name your scopes by -scopes. With -people, the check also says what would
have every person refused. With -resource, it also says what would keep agents from the
site's API, as far as the server's metadata tells.

The check uses up no authorization code. At a published Auth Agent server, each check
leaves one pending authorization request for two minutes.

With -site, it also sends requests to the site, to see whether its handlers are mounted
where the settings say. With -resource, it also reads the metadata of the API there, or
on the resource's own host if that is another. It starts no login. The site refuses the
other requests, and records them in its log and audit trail.

Exit status: 0 if sign-ins can work, with or without warnings; 1 if they cannot;
2 if the settings could not be used.
`

// check compares the settings in the environment with the server.
func check(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	server := serverFlags(flags)
	site := siteFlags(flags)
	asJSON := flags.Bool("json", false, "print a JSON array of findings")
	timeout := flags.Duration("timeout", 30*time.Second, "give up after this `time`")
	if err := parse(flags, args, checkHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if *timeout <= 0 {
		return fmt.Errorf("invalid value %v for flag -timeout: must be positive", *timeout)
	}
	asked, err := server.asked()
	if err != nil {
		return err
	}
	config, err := authagent.ConfigFromEnv()
	if err != nil {
		return err
	}
	config.Scenario = asked
	server.apply(&config)
	if err := site.check(); err != nil {
		return err
	}
	config.Paths.Login, config.Paths.Logout, config.Paths.Discovery = site.login, site.logout, site.discovery
	rp, err := authagent.New(config)
	if err != nil {
		return inVariables(err)
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	findings := append([]provider.Finding{}, rp.Check(ctx)...) // an array in JSON, an empty one too
	findings = append(findings, site.findings(ctx, rp)...)
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

// serverSettings are those of which the server has to know something, and which are no variables of
// the environment.
type serverSettings struct {
	scenario                    string
	subjectIsUser, people, push bool
	scopes                      []string
	audience                    string
	parameters                  url.Values
	resource                    string
	apiScopes                   []string
}

func serverFlags(flags *flag.FlagSet) *serverSettings {
	s := &serverSettings{parameters: url.Values{}}
	flags.StringVar(&s.scenario, "scenario", "contextual", "the site's `scenario`, which decides the scopes to ask for: full, contextual or fresh")
	flags.BoolVar(&s.subjectIsUser, "subject-is-user", false, "the server's tokens name the user in sub and the agent in act.sub (Provider.SubjectIsUser)")
	flags.BoolVar(&s.people, "people", false, "people sign in by the same client (Provider.OnPerson); implies -subject-is-user")
	flags.BoolVar(&s.push, "push", false, "authorization requests are pushed (Provider.PushRequests)")
	flags.Func("scopes", "ask for these `scopes`, such as \"openid shop:read\" (Provider.Scopes; default: what the scenario needs)", func(value string) error {
		return readScopes(&s.scopes, value)
	})
	flags.StringVar(&s.resource, "resource", "", "agents may call the site's API with access tokens for this `URL` (API.Resource)")
	flags.Func("api-scopes", "with -resource: what the site allows by `scopes`, such as \"orders:read orders:write\" (API.Scopes, Permissions)", func(value string) error {
		return readScopes(&s.apiScopes, value)
	})
	flags.StringVar(&s.audience, "assertion-audience", "", "the `audience` of client assertions (Provider.AssertionAudience; default: the issuer)")
	flags.Func("param", "a further parameter of authorization requests, as `name=value`; may be repeated (Provider.AuthorizationParams)", func(pair string) error {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return errors.New("is not name=value")
		}
		s.parameters.Add(name, value)
		return nil
	})
	return s
}

func readScopes(into *[]string, value string) error {
	if *into = strings.Fields(value); len(*into) == 0 {
		return errors.New("names no scope")
	}
	return nil
}

// apply sets what the flags say. OnPerson is never called: nobody signs in here. What a scope allows
// the server does not know.
func (s *serverSettings) apply(c *authagent.Config) {
	c.API.Resource = s.resource
	for _, scope := range s.apiScopes {
		if c.Permissions == nil {
			c.API.Scopes, c.Permissions = make(map[string]string), make(map[string]authagent.Permission)
		}
		c.API.Scopes[scope], c.Permissions[scope] = scope, authagent.Permission{Access: authagent.AccessRead}
	}
	p := &c.Provider
	p.SubjectIsUser, p.PushRequests, p.Scopes = s.subjectIsUser || s.people, s.push, s.scopes
	p.AssertionAudience, p.AuthorizationParams = s.audience, s.parameters
	if s.people {
		p.OnPerson = func(http.ResponseWriter, *http.Request, provider.Person) error {
			return errors.New("nobody signs in to a check")
		}
	}
}

// asked returns a scenario to ask a server with. Its store finds owners as the tokens name them, so
// that no scope is demanded which the site does not need.
func (s *serverSettings) asked() (authagent.Scenario, error) {
	if s.subjectIsUser || s.people {
		return scenarioNamed(s.scenario, &memstore.SubjectUsers{})
	}
	return scenarioNamed(s.scenario, &memstore.Users{})
}

// siteToAsk is the site, and its paths, which are no variables of the environment.
type siteToAsk struct{ address, login, logout, discovery, owners string }

func siteFlags(flags *flag.FlagSet) *siteToAsk {
	s := &siteToAsk{}
	flags.StringVar(&s.address, "site", "", "also look for the handlers of the site at this `URL`, such as https://shop.example")
	flags.StringVar(&s.login, "login", "", "with -site: LoginHandler is at this `path` (default: login, beside the callback)")
	flags.StringVar(&s.logout, "logout", "", "with -site: LogoutHandler is at this `path` (default: logout, beside the callback)")
	flags.StringVar(&s.discovery, "discovery", "", "with -site: DiscoveryHandler is at this `path` (default: not checked)")
	flags.StringVar(&s.owners, "owners", "", "with -site: grants.Handler is at this `path` (default: not checked)")
	return s
}

func (s *siteToAsk) check() error {
	u, err := url.Parse(s.address)
	switch {
	case s.address == "" && *s != (siteToAsk{}):
		return fmt.Errorf("flags -login, -logout, -discovery and -owners are for -site")
	case s.address != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != ""):
		return fmt.Errorf("invalid value %q for flag -site: is not an http or https URL without a path", s.address)
	case s.owners != "" && (!strings.HasPrefix(s.owners, "/") || !strings.HasSuffix(s.owners, "/")):
		return fmt.Errorf("invalid value %q for flag -owners: does not begin and end with a slash", s.owners)
	}
	return nil
}

func (s *siteToAsk) findings(ctx context.Context, rp *authagent.RelyingParty) []provider.Finding {
	switch {
	case s.address == "":
		return nil
	case s.owners == "":
		return rp.CheckSite(ctx, s.address)
	}
	return rp.CheckSite(ctx, s.address, s.owners)
}

// scenarioNamed returns a scenario by which nobody signs in.
func scenarioNamed(name string, users authagent.UserStore) (authagent.Scenario, error) {
	profiles := &memstore.Profiles{}
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

func printFindings(out io.Writer, issuer string, findings []provider.Finding) {
	if len(findings) == 0 {
		fmt.Fprintf(out, "ok: agents can sign in by %s\n", issuer)
		return
	}
	for _, f := range findings {
		fmt.Fprintf(out, "%s: %s\n  %s\n  %s\n", severity(f), settingNamed(f.Setting), f.Problem, f.Remedy)
	}
}

func severity(f provider.Finding) string {
	if f.Severity >= slog.LevelError {
		return "error"
	}
	return "warning"
}

// settingNamed names a setting as whoever set it knows it.
func settingNamed(field string) string {
	variables := map[string]string{
		"Issuer": "AUTH_AGENT_ISSUER", "ClientID": "AUTH_AGENT_CLIENT_ID", "ClientSecret": "AUTH_AGENT_CLIENT_SECRET",
		"Provider.ClientSecretFunc": "AUTH_AGENT_CLIENT_SECRET_FILE", "RedirectURL": "AUTH_AGENT_REDIRECT_URL",
		"Provider.ClientKeys": "AUTH_AGENT_CLIENT_KEYS", "SessionKeys": "AUTH_AGENT_SESSION_KEYS",
	}
	name, _, one := strings.Cut(field, "[") // one of a list
	variable, ok := variables[name]
	switch {
	case !ok:
		return field
	case one:
		return variable + field[len(name):]
	}
	return variable
}

// inVariables is an error of authagent.New that calls the settings by their variables.
func inVariables(err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		field, rest, found := strings.Cut(strings.TrimPrefix(line, "authagent: "), ": ")
		if found {
			field = settingNamed(field) + ": "
		}
		lines = append(lines, field+rest)
	}
	return errors.New(strings.Join(lines, ""))
}
