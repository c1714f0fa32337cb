// Package checkup compares the settings of a relying party with the
// authorization server that they name.
//
// It sends what a sign-in sends, and nothing that a sign-in could use: an
// authorization request whose secrets are thrown away, and token requests with a
// code and a refresh token that no server has issued. The texts of its findings are constants and
// settings; of what the server says only an issuer is repeated, quoted, and only
// if it could be one.
package checkup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/internal/clientkey"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/provider"
)

// A Finding is one thing that is wrong.
type Finding = provider.Finding

func faultAt(setting, problem, remedy string) Finding {
	return Finding{Setting: setting, Severity: slog.LevelError, Problem: problem, Remedy: remedy}
}

// Settings are what is compared with the server. They were checked by package settings.
type Settings struct {
	Issuer   string
	Provider provider.Settings
	API      api.Settings
	wire.Inquiry

	// AuthorizationURL returns where a login begins that nobody will finish. It pushes
	// the request where that is done.
	AuthorizationURL func(ctx context.Context, server *wire.Server, request *wire.AuthorizationRequest) (string, error)
}

// exam is one run.
type exam struct {
	Settings
	pinned   wire.Encoding  // or Unknown
	auth     wire.Auth      // pinned, or AuthUnknown
	proofs   clientkey.Keys // with AuthKey
	server   *wire.Server
	metadata *wire.Metadata
	reads    wire.Encoding // what the token endpoint reads
	findings []Finding
}

// Run returns what is wrong, in the order in which it is best mended. server is
// one of which nothing is known yet.
func Run(ctx context.Context, server *wire.Server, s Settings) []Finding {
	e := &exam{Settings: s, auth: settings.Auth(s.Provider), proofs: settings.Keys(s.Provider), server: server}
	e.pinned, _ = settings.Encoding(s.Provider.TokenEncoding)
	var err error
	if e.metadata, err = server.Get(ctx); err != nil {
		e.unreachable(err)
		return e.findings
	}
	e.clock(ctx)
	if !e.encoding(ctx) {
		return e.findings
	}
	e.client(ctx)
	e.abilities(ctx)
	e.api(ctx)
	e.adminOpen(ctx)
	return e.findings
}

func (e *exam) fault(setting, problem, remedy string) {
	e.findings = append(e.findings, faultAt(setting, problem, remedy))
}

func (e *exam) warn(setting, problem, remedy string) {
	e.findings = append(e.findings, Finding{Setting: setting, Severity: slog.LevelWarn, Problem: problem, Remedy: remedy})
}

// unreachable says why the server's metadata could not be had or accepted.
func (e *exam) unreachable(err error) {
	const setting = "Issuer"
	var (
		other       *wire.IssuerError
		certificate *tls.CertificateVerificationError
		name        *net.DNSError
		w           *wire.Error
	)
	errors.As(err, &w)
	switch {
	case errors.As(err, &other):
		e.fault(setting, fmt.Sprintf("The server calls itself %s, and not %q as set.", quoted(other.Said), e.Issuer),
			"Set Issuer to exactly what the server says, down to the last slash; at an Auth Agent server that is its JWT_ISSUER.")
	case errors.Is(err, wire.ErrNoS256):
		e.fault(setting, "The server offers PKCE, but not with S256.", "Switch S256 on at the server, or use a server that has it.")
	case errors.Is(err, wire.ErrOtherOrigin):
		e.fault("Provider.EndpointOrigins", "The server's metadata names an endpoint on another origin than the issuer's: "+err.Error()+".",
			"If that origin is the server's too, add it to EndpointOrigins. If you do not know it, do not.")
	case errors.Is(err, wire.ErrPanic):
		e.fault("Provider.HTTPClient", "Its Transport panicked, so that no request could be sent.", "Mend it; the log has the stack.")
	case errors.Is(err, wire.ErrRedirect):
		e.fault(setting, "The server answers with a redirect, which is not followed: "+err.Error()+".",
			"Set Issuer to the address at which the server itself answers, as the server spells it.")
	case errors.Is(err, wire.ErrMediaType):
		e.fault(setting, "The server's metadata has the wrong media type: "+err.Error()+".",
			"Have the server, or what is in front of it, send the document with Content-Type: application/json.")
	case errors.As(err, &certificate):
		e.fault(setting, "The server's TLS certificate cannot be verified: "+err.Error()+".",
			"Give the server a certificate for its name, from an authority that this machine trusts, or an HTTPClient that trusts its authority.")
	case errors.As(err, &name):
		e.fault(setting, "The server's host name is not known: "+err.Error()+".", "Correct Issuer, or the name service of this machine.")
	case w != nil && w.Timeout():
		e.fault(setting, "The server does not answer in time: "+err.Error()+".",
			"See whether it runs, and whether this machine may connect to it (firewall, HTTPS_PROXY).")
	case w != nil && w.Kind == wire.Unavailable && w.Status != 0:
		e.fault(setting, "The server has a fault: "+err.Error()+".", "Look into the server's log, or wait, and check again.")
	case w != nil && w.Kind == wire.Unavailable, w != nil && w.Kind == wire.Overloaded:
		e.fault(setting, "The server cannot be reached: "+err.Error()+".",
			"See whether it runs, whether Issuer has the right port, and whether this machine may connect to it (firewall, HTTPS_PROXY).")
	default:
		e.fault(setting, "What the server says of itself cannot be accepted: "+err.Error()+".",
			"Correct the server's metadata, or pin Provider.Endpoints.")
	}
}

// quoted repeats an issuer that the server names, if it is short and a URL.
func quoted(issuer string) string {
	if _, err := wire.CheckURL(issuer, true); err != nil || len(issuer) > 200 {
		return "something else"
	}
	return fmt.Sprintf("%+q", issuer)
}

// clock compares the clocks. Tokens carry times, of which some are compared with
// the clock here.
func (e *exam) clock(ctx context.Context) {
	ahead, exact, ok := e.server.Skew(ctx)
	if !ok || ahead.Abs() <= exact+10*time.Second {
		return
	}
	where, problem := "ahead of", "The server's clock is %v %s this machine's."
	if ahead < 0 {
		where = "behind"
	}
	problem = fmt.Sprintf(problem, ahead.Abs().Round(time.Second), where)
	const remedy = "Set both by NTP."
	switch {
	case -ahead > exact+identity.Skew+usualLife:
		e.fault("clock", problem+" Its tokens will seem expired.", remedy)
	case -ahead > exact+identity.Skew:
		e.warn("clock", problem+" Tokens that live shorter than that will seem expired.", remedy)
	case ahead > exact+identity.Skew:
		e.warn("clock", problem+" Tokens with a time from which they are valid will seem not valid yet.", remedy)
	default:
		e.warn("clock", problem, remedy)
	}
}

// usualLife is how long tokens live at most at most servers. How long they do at
// this one is not known before one has been given.
const usualLife = time.Hour

// encoding finds out how bodies are read, and reports whether it makes sense to
// go on.
func (e *exam) encoding(ctx context.Context) bool {
	reads, err := e.server.Reads(ctx)
	e.reads = reads
	var w *wire.Error
	switch {
	case errors.As(err, &w) && w.Status != 0:
		e.fault("Issuer", "The token endpoint answers every request with an error: "+err.Error()+".",
			"Look into the server's log. If Provider.Endpoints is set, see that Provider.Endpoints.Token is right.")
	case err != nil:
		e.fault("Issuer", "The token endpoint cannot be reached: "+err.Error()+".",
			"See whether the server runs, and whether this machine may connect to it.")
	case e.auth == wire.AuthKey && reads == wire.JSON:
		e.fault(keysSetting, "The server reads JSON alone, and Provider.ClientKeys is set, which no such server knows.",
			"Remove the setting, and set ClientSecret.")
		return false
	case e.pinned == wire.JSON && reads == wire.Form:
		e.fault("Provider.TokenEncoding", "The server reads forms, and application/json is set.", "Remove the setting: it is learned.")
	case e.pinned == wire.Form && reads == wire.JSON:
		e.fault("Provider.TokenEncoding", "The server reads JSON, and application/x-www-form-urlencoded is set.", "Remove the setting: it is learned.")
	}
	return err == nil && (e.pinned == wire.Unknown || e.pinned == reads)
}

// What the authorization endpoint makes of client ID and redirect URI.
type opinion int

const (
	accepted opinion = iota
	clientUnknown
	redirectRefused
	refused // without saying which of them
	unclear // something else is wrong, which has been noted and has to be mended first
)

const databaseDown = " A published Auth Agent server whose database is down answers the same."

// client checks client ID, redirect URI and secret. Two endpoints are asked, as
// neither tells by itself which of them is wrong.
func (e *exam) client(ctx context.Context) {
	front := e.authorize(ctx)
	if front == unclear {
		return
	}
	back, said := e.redeem(ctx)
	if back == foreign {
		e.nothingThere()
		return
	}
	redirect := func() {
		e.fault("RedirectURL", fmt.Sprintf("The server refuses the redirect URI %q for client %q.", e.RedirectURL, e.ClientID),
			"Register exactly this URL at the server: scheme, host, port, path and last slash count.")
	}
	switch {
	case front == clientUnknown, front == refused && back == rejected:
		e.fault("ClientID", fmt.Sprintf("The server does not know client %q, or does not accept it.%s", e.ClientID, databaseDown),
			"Register the client at the server, or correct ClientID and ClientSecret. If they are right, see whether the server's database runs.")
		return // whether the rest is right cannot be seen
	case front == redirectRefused, front == refused && back == known:
		redirect()
	case front == refused:
		e.warn("RedirectURL", "The server refuses the authorization request, and does not say why.",
			"See that ClientID and RedirectURL are registered at the server.")
	}
	switch back {
	case rejected:
		e.rejected(ctx)
	case forbidden:
		e.fault("ClientID", fmt.Sprintf("Client %q may not use the authorization code grant.", e.ClientID), "Allow it at the server.")
	case noSecret:
		e.unproven(said)
	case known:
		e.method(ctx)
	case doubted:
		e.doubt(ctx)
	case untold:
		e.warn(e.proofSetting(), "Whether the server accepts the "+e.proof()+" cannot be told: "+said+".",
			"Check again when the server is well.")
	case careless:
		e.fault("Issuer", "The token endpoint gave a token for something that nobody issued.", "Do not use this server.")
	}
}

// otherAuth sees whether the secret is good, and only sent in another way than the
// server wants of this client.
func (e *exam) otherAuth(ctx context.Context) bool {
	if e.reads == wire.JSON || e.auth == wire.AuthKey { // where it is in the body, and nowhere else
		return false
	}
	takes, err := e.server.Takes(ctx)
	if err != nil || takes == e.auth {
		return false
	}
	remedy := "client_secret_post"
	if takes == wire.AuthBasic {
		remedy = "client_secret_basic"
	}
	problem := fmt.Sprintf("The server takes the secret of client %q by %s alone, and its metadata does not say so.", e.ClientID, remedy)
	if e.auth != wire.AuthUnknown {
		problem = fmt.Sprintf("The server takes the secret of client %q by %s, and another way is set.", e.ClientID, remedy)
	}
	e.fault("Provider.ClientAuth", problem, "Set Provider.ClientAuth to "+remedy+".")
	return true
}

// authorize sends the authorization request of a login that ends here. The
// published server keeps it for two minutes, waiting for an agent that nobody has
// told of it, and whoever guessed its ID would get a code without a verifier. A
// server that knows prompt=none (OpenID Connect Core section 3.1.2.1) starts
// nothing at all.
func (e *exam) authorize(ctx context.Context) opinion {
	address, err := e.begin(ctx)
	if err != nil {
		e.unpushed(ctx, err)
		return unclear
	}
	page, err := e.server.Open(ctx, "authorization request", address)
	switch {
	case err != nil:
		e.fault("Issuer", "The authorization endpoint cannot be reached: "+err.Error()+".",
			"See whether the server runs. If Provider.Endpoints is set, see that Provider.Endpoints.Authorization is right.")
		return unclear
	case page.Status >= 500:
		e.fault("Issuer", fmt.Sprintf("The authorization endpoint answers with status %d.", page.Status),
			"Look into the server's log; at a published Auth Agent server this is its database.")
		return unclear
	case page.Status == http.StatusNotFound || page.Status == http.StatusMethodNotAllowed:
		e.nothingThere()
		return unclear
	case page.Status >= 400 && wantsPushed(string(page.Body)):
		e.pushedOnly()
		return unclear
	case page.Status >= 400:
		return complaint(page.Body)
	}
	return e.sentOn(page.Location)
}

// nothingThere is about an address at which there is a server, but not this one.
func (e *exam) nothingThere() {
	remedy := "Set Issuer to the address of the Auth Agent server, not to the site that describes it; if it has a path, the path belongs to it."
	if e.metadata.Published {
		remedy = "Correct the server's metadata, or Endpoints if it is set."
	}
	e.fault("Issuer", "There is no authorization server at the address that Issuer leads to.", remedy)
}

// complaint tells what a page with an error complains of, by the words that
// published Auth Agent servers and others use for it.
func complaint(page []byte) opinion {
	page = bytes.ToLower(page)
	for _, known := range []struct {
		words   string
		opinion opinion
	}{
		{"client not found", clientUnknown},
		{"client_id", clientUnknown},
		{"invalid_client", clientUnknown},
		{"unauthorized_client", clientUnknown},
		{"redirect", redirectRefused},
		{"client", clientUnknown}, // after redirect: "the redirect URI is not one of this client's"
	} {
		if bytes.Contains(page, []byte(known.words)) {
			return known.opinion
		}
	}
	return refused
}

// sentOn looks at where the browser would be sent. A server sends one to the
// redirect URI only if that is registered (RFC 6749 section 4.1.2.1), so an error
// there is good news of client and redirect URI.
func (e *exam) sentOn(location string) opinion {
	if rest, ok := strings.CutPrefix(location, e.RedirectURL+"?"); ok {
		values, _ := url.ParseQuery(rest)
		e.reported(values.Get("error"), values.Get("error_description"))
		return accepted
	}
	return e.ownPage(location)
}

func (e *exam) reported(code, description string) {
	if wantsPushed(description) {
		e.pushedOnly()
		return
	}
	switch code {
	case "invalid_scope":
		e.fault("Provider.Scopes", fmt.Sprintf("The server does not know the scopes %q, or does not grant them to the client.", strings.Join(e.Scopes, " ")),
			"Allow the client these scopes at the server, or set Provider.Scopes to those that it has.")
	case "unauthorized_client", "unsupported_response_type":
		e.fault("ClientID", fmt.Sprintf("Client %q may not use the authorization code flow.", e.ClientID), "Allow it at the server.")
	case "server_error", "temporarily_unavailable":
		e.warn("Issuer", "The authorization endpoint reports "+code+".", "Look into the server's log, or wait, and check again.")
	case "invalid_request", "request_not_supported":
		e.warn("Issuer", "The authorization endpoint reports "+code+", and not of what.", "Look into the server's log.")
	}
}

// What the token endpoint makes of client ID and secret.
type verdict int

const (
	known     verdict = iota // it refuses the code, and so has accepted the client
	rejected                 // it refuses the client
	forbidden                // it knows the client, which may not do this
	untold                   // something else is wrong
	careless                 // it accepts anything
	foreign                  // it is no token endpoint
	doubted                  // another endpoint refuses the client, and the token endpoint has not said
	noSecret                 // it was not asked
)

// redeem sends a code that cannot be good, and a refresh token that cannot
// either. The published server looks at client and secret first, so that what is
// refused tells what is right. Others look at the code before them (zitadel's
// library does), and some at the refresh token too; then another endpoint tells.
func (e *exam) redeem(ctx context.Context) (v verdict, said string) {
	_, err := e.server.Exchange(ctx, "authagent-check-"+rand.Text(), rand.Text()+rand.Text(), e.RedirectURL)
	v, said = e.judge(err)
	if v != known {
		return v, said
	}
	_, err = e.server.Refresh(ctx, "authagent-check-"+rand.Text())
	switch again, _ := e.judge(err); again {
	case rejected, careless:
		return again, ""
	case known:
		if e.reads == wire.JSON {
			return known, ""
		}
	}
	if e.elsewhereRefused(ctx) {
		return doubted, ""
	}
	return known, ""
}

func (e *exam) judge(err error) (v verdict, said string) {
	var w *wire.Error
	switch {
	case err == nil:
		return careless, ""
	case wire.Unproven(err):
		return noSecret, err.Error()
	case !errors.As(err, &w):
		return untold, err.Error()
	case w.Code == "invalid_grant":
		return known, ""
	case w.Code == "invalid_client", w.Kind == wire.Refused && w.Status == http.StatusUnauthorized:
		return rejected, ""
	case w.Code == "unauthorized_client", w.Code == "unsupported_grant_type":
		return forbidden, ""
	case !e.metadata.Published && w.Code == "" && w.Status != 0 && w.Status < 500:
		return foreign, ""
	}
	return untold, err.Error()
}

// abilities compares what the settings need with what the server has.
func (e *exam) abilities(ctx context.Context) {
	m := e.metadata
	if slices.Contains(e.Scopes, "email") && m.UserInfo == "" {
		e.fault("Scenario", "The scenario asks for the agent's owner, and the server has no userinfo endpoint.",
			"Use FreshProfile, or a server that has one, or pin Provider.Endpoints.UserInfo.")
	}
	if e.Provider.Introspect && m.Introspection == "" {
		e.fault("Provider.Introspect", "Provider.Introspect is set, and the server has no introspection endpoint.", "Remove the setting, or pin Provider.Endpoints.Introspection.")
	}
	if m.Published && !m.SaysPKCE {
		e.warn("Issuer", "The server's metadata does not say that it knows PKCE.",
			"See that it does; without it, a stolen code is worth something.")
	}
	if e.auth == wire.AuthKey {
		e.offersKeys()
	}
	e.requests()
	e.names()
	e.keys(ctx)
	if e.Provider.OnPerson != nil {
		e.people(ctx)
	}
}

// keys sees whether tokens that are signed can be verified. Tokens that are not
// may be all that is used: the published server's, and those that are introspected.
func (e *exam) keys(ctx context.Context) {
	say := e.warn
	if e.metadata.SignsIDTokens && slices.Contains(e.Scopes, "openid") || e.Provider.OnPerson != nil && !e.readsTokens() {
		say = e.fault
	}
	switch err := e.server.KeysReadable(ctx); {
	case errors.Is(err, wire.ErrKeys):
		say("Issuer", "The keys that the server publishes cannot be read: "+err.Error()+".",
			"See that jwks_uri leads to a JWK Set with a key of a kind that is known: RSA, P-256, P-384, P-521 or Ed25519. Tokens that are signed with them are refused otherwise.")
	case err != nil:
		say("Issuer", "The keys that the server publishes cannot be had: "+err.Error()+".",
			"See that the address jwks_uri works from this machine; tokens that are signed with them are refused otherwise.")
	}
}

// clientList is how the answer of the published server begins.
var clientList = regexp.MustCompile(`^\s*(\[|\{\s*"clients")`)

// adminOpen looks for the published server's worst habit: its admin endpoints ask
// nobody who they are. On a loopback host there is nobody else to ask.
func (e *exam) adminOpen(ctx context.Context) {
	u, err := url.Parse(e.Issuer)
	if err != nil || wire.Loopback(u.Hostname()) {
		return
	}
	page, err := e.server.Open(ctx, "admin request", strings.TrimSuffix(e.Issuer, "/")+"/api/admin/clients")
	if err != nil || page.Status != http.StatusOK || !clientList.Match(page.Body) {
		return
	}
	e.warn("Issuer", "The server's admin endpoints answer without credentials, to this machine at least."+
		" Whoever reaches them can make an agent with anybody's e-mail address, and send your sign-ins to another address.",
		"Put a gate in front of /api/admin at the server.")
}
