// Package settings checks the values of a site's settings, and says of each that will
// not do what is wrong with it.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/returnpath"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/tokens"
)

// Problems are what is wrong with the settings, in the order in which it was found.
type Problems struct{ all []error }

// Add says what is wrong with a setting.
func (p *Problems) Add(setting, format string, args ...any) {
	p.all = append(p.all, fmt.Errorf("authagent: %s: "+format, append([]any{setting}, args...)...))
}

// Found adds what was found wrong with a setting, if anything was.
func (p *Problems) Found(setting string, err error) {
	if err != nil {
		p.Add(setting, "%w", err)
	}
}

// Rules checks Config.Rules. has says that the scenario's LinkPolicy has rules, so that these would have no effect.
func (p *Problems) Rules(rules any, set, has bool) {
	switch {
	case set && has:
		p.Add("Rules", "the scenario's LinkPolicy has rules, which count without this setting: leave it out")
	case set:
		p.Found("Rules", Check(rules))
	}
}

// Check returns what a value of the site's says is wrong with it, if it has a method Check.
func Check(value any) error {
	if checker, ok := value.(interface{ Check() error }); ok {
		return checker.Check()
	}
	return nil
}

// NotNil checks a setting that is an interface: a nil pointer in it is not nil, and fails when it is used.
func (p *Problems) NotNil(setting string, value any) {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map:
		if v.IsNil() {
			p.Add(setting, "is a nil %T", value)
		}
	}
}

// NoNil checks a list of interfaces, each as NotNil does.
func NoNil[T any](p *Problems, setting string, all []T) {
	for i, value := range all {
		if setting := fmt.Sprintf("%s[%d]", setting, i); any(value) == nil {
			p.Add(setting, "is nil")
		} else {
			p.NotNil(setting, value)
		}
	}
}

// Err returns all problems in one error, or nil.
func (p *Problems) Err() error { return errors.Join(p.all...) }

// Development reports whether a redirect URL says that the site is being developed.
func Development(redirectURL string) bool {
	u, err := wire.CheckURL(redirectURL, true)
	return err == nil && u.Scheme == "http"
}

// Required checks a setting without which nothing works.
func (p *Problems) Required(setting, value string) {
	if value == "" {
		p.Add(setting, "is required")
	}
}

// Issuer checks an issuer identifier. dev allows http on a loopback host.
func (p *Problems) Issuer(setting, issuer string, dev bool) {
	if u, err := wire.CheckURL(issuer, dev); issuer == "" {
		p.Add(setting, "is required: the URL of your Auth Agent server")
	} else if err != nil {
		p.Add(setting, "%v", err)
	} else if u.RawQuery != "" || u.ForceQuery {
		p.Add(setting, "must not have a query")
	}
}

// RedirectURL checks the URL of the callback and returns it, or nil if it is none.
func (p *Problems) RedirectURL(setting, address string) *url.URL {
	parsed, err := wire.CheckURL(address, true)
	switch {
	case address == "":
		p.Add(setting, "is required")
	case err != nil:
		p.Add(setting, "%v", err)
	case strings.Contains(address, "?"):
		p.Add(setting, "must not have a query (the server appends ?code=)")
	case parsed.Path == "" || parsed.Path == "/":
		p.Add(setting, "must have the path of CallbackHandler")
	}
	if err != nil {
		return nil
	}
	return parsed
}

// Keys checks the keys that encrypt cookies.
func (p *Problems) Keys(setting string, keys [][]byte) {
	if len(keys) == 0 {
		p.Add(setting, "is required: at least one key of 32 random bytes")
	}
	for i, key := range keys {
		switch {
		case len(key) < MinKey:
			p.Add(setting, "key %d has %d bytes, at least %d are needed", i, len(key), MinKey)
		case slices.Min(key) == slices.Max(key):
			p.Add(setting, "key %d is one byte repeated, not random", i)
		}
	}
}

// MinKey is how many bytes a key has at least.
const MinKey = 32

// Key checks a key that may be missing.
func (p *Problems) Key(setting string, key []byte) {
	if len(key) > 0 && len(key) < MinKey {
		p.Add(setting, "has %d bytes, at least %d are needed", len(key), MinKey)
	}
}

// Paths are where handlers and pages of the site are.
type Paths struct {
	Login, Logout, Callback, Discovery string
	Link                               string // empty for none
	SignIn                             string // the site's own page
	ReturnTo                           string // where to land
}

// Beside returns own, or where it is empty the path beside the one of redirectURL that
// ends in name. It is empty where redirectURL is no URL.
func Beside(redirectURL, own, name string) string {
	u, err := url.Parse(redirectURL)
	if own != "" || err != nil {
		return own
	}
	return path.Join("/", path.Dir(u.Path), name)
}

// Pages checks where people and agents are sent.
func (p *Problems) Pages(paths Paths) {
	if paths.SignIn != "" {
		p.path("SignInPath", paths.SignIn, paths.Login, paths.Logout, paths.Callback, paths.Link)
	}
	if err := returnpath.Check(paths.ReturnTo, paths.Login, paths.Logout, paths.Callback, paths.Link, paths.SignIn); err != nil {
		p.Add("ReturnTo", "%v", err)
	}
}

// Handlers checks where the handlers are mounted.
func (p *Problems) Handlers(paths Paths) {
	for _, own := range [...]struct{ setting, path string }{{"Paths.Login", paths.Login}, {"Paths.Logout", paths.Logout}} {
		if err := returnpath.Check(own.path); err != nil {
			p.Add(own.setting, "%v", err)
		} else if own.path == paths.Callback {
			p.Add(own.setting, "is the path of RedirectURL")
		}
	}
	if paths.Login == paths.Logout {
		p.Add("Paths.Logout", "is Paths.Login")
	}
	if paths.Link != "" {
		p.path("Paths.Link", paths.Link, paths.Login, paths.Logout, paths.Callback)
	}
	if paths.Discovery != "" {
		p.path("Paths.Discovery", paths.Discovery, paths.Login, paths.Logout, paths.Callback, paths.Link)
	}
}

// path checks a path that is none of the others.
func (p *Problems) path(setting, own string, others ...string) {
	if err := returnpath.Check(own, others...); err != nil {
		p.Add(setting, "%v", err)
	} else if strings.ContainsAny(own, "?#") {
		p.Add(setting, "must be a path alone")
	}
}

// PathOrURL checks an address that is on this site, or an https URL.
func (p *Problems) PathOrURL(setting, address string, dev bool) {
	if address == "" || returnpath.Check(address) == nil {
		return
	}
	if _, err := wire.CheckURL(address, dev); err != nil {
		p.Add(setting, "is neither a path on this site nor an https URL: it %w", err)
	}
}

// Scopes checks that each is a scope (RFC 6749 section 3.3).
func (p *Problems) Scopes(setting string, scopes []string) {
	for _, scope := range scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\r\n\"\\") {
			p.Add(setting, "%q is not a scope", scope)
		}
	}
}

// Scope checks that there is one without which a scenario does not work.
func (p *Problems) Scope(setting string, scopes []string, needed string) {
	if !slices.Contains(scopes, needed) {
		p.Add(setting, "lacks %s, without which the scenario knows no user", needed)
	}
}

// Endpoints checks those that are pinned.
func (p *Problems) Endpoints(setting string, pins wire.Endpoints, dev bool) {
	for _, e := range [...]struct{ name, url string }{
		{"Authorization", pins.Authorization}, {"Token", pins.Token}, {"UserInfo", pins.UserInfo},
		{"Introspection", pins.Introspection}, {"Revocation", pins.Revocation}, {"JWKS", pins.JWKS}, {"PushedAuthorization", pins.PushedAuthorization},
	} {
		if _, err := wire.CheckURL(e.url, dev); e.url != "" && err != nil {
			p.Add(setting+"."+e.name, "%v", err)
		}
	}
}

// Origins checks that each is an origin.
func (p *Problems) Origins(setting string, origins []string, dev bool) {
	for _, origin := range origins {
		if u, err := wire.CheckURL(origin, dev); err != nil {
			p.Add(setting, "%q is not an origin like https://login.example: it %w", origin, err)
		} else if u.Path != "" || u.RawQuery != "" || u.ForceQuery {
			p.Add(setting, "%q is not an origin like https://login.example", origin)
		}
	}
}

// MaxLifetime is the most that Session.Lifetime can be. What is remembered for the sake of sessions that were ended, such
// as an account that was erased and a backup that was restored, is remembered for a day more.
const MaxLifetime = 365 * 24 * time.Hour

// Sessions checks how sessions are kept. two says that the site has set two ways.
func (p *Problems) Sessions(idle, lifetime time.Duration, two bool) {
	if idle < 0 || lifetime < 0 {
		p.Add("Session.Idle, Session.Lifetime", "must not be negative")
	}
	if lifetime > MaxLifetime {
		p.Add("Session.Lifetime", "is %v, at most %v are possible", lifetime, MaxLifetime)
	}
	if two {
		p.Add("Session.Own, Session.Store", "only one of them can be set")
	}
}

// Tokens checks how the tokens of sessions are kept.
func (p *Problems) Tokens(t tokens.Settings) {
	if t.ConfirmGrace < 0 {
		p.Add("Tokens.ConfirmGrace", "must not be negative")
	}
}

// Limits checks how often something may happen.
func (p *Problems) Limits(r limits.Settings) {
	p.rate("Limits.Logins", limits.Rate{N: cmp.Or(r.Logins.N, 1), Per: r.Logins.Per}) // they have a default
	p.rate("Limits.Callbacks", limits.Rate{N: cmp.Or(r.Callbacks.N, 1), Per: r.Callbacks.Per})
	p.rate("Limits.Agent", r.Agent)
	p.rate("Limits.Owner", r.Owner)
	for _, name := range slices.Sorted(maps.Keys(r.Actions)) {
		if !wiring.IsAction(name) {
			p.Add("Limits.Actions", "%q is not the name of an action", name)
		}
		p.rate("Limits.Actions["+name+"]", r.Actions[name])
	}
	p.Found("Limits.Store", Check(r.Store))
}

func (p *Problems) rate(setting string, r limits.Rate) {
	switch {
	case r.Per < 0 || r.Per > 0 && r.N == 0:
		p.Add(setting, "has to be a number of times in a period")
	case r.Per > maxPeriod:
		p.Add(setting, "counts in a period of %v, at most %v are possible", r.Per, maxPeriod)
	}
}

// maxPeriod is so long that every store can tell the time at which a budget is whole again.
const maxPeriod = 100 * 365 * 24 * time.Hour

// Encoding returns what a setting says about the bodies of requests.
func Encoding(text string) (encoding wire.Encoding, ok bool) {
	encoding, ok = map[string]wire.Encoding{
		"": wire.Unknown, "application/json": wire.JSON, "application/x-www-form-urlencoded": wire.Form,
	}[text]
	return encoding, ok
}

// Languages checks the languages of pages.
func (p *Problems) Languages(setting string, all []*messages.Language) {
	if slices.Contains(all, nil) {
		p.Add(setting, "has a nil")
	}
}

// Languages returns the languages of pages: English where the site has set none.
func Languages(all []*messages.Language) []*messages.Language {
	if len(all) == 0 {
		return []*messages.Language{messages.English()}
	}
	return slices.Clone(all)
}
