package passkey

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
)

// Config are the settings of [New]. RPID, Name, Origins, Store, Keys and Fresh are required.
type Config struct {
	// RPID is the domain that passkeys are for, such as "shop.example": the host of the site, or
	// a domain above it. If you change it, every passkey becomes useless. Browsers refuse an IP
	// address here, 127.0.0.1 too (Web Authentication level 3, section 5.1.3). For development
	// it is "localhost".
	RPID string

	// Name is what browsers call the site when they ask for a passkey.
	Name string

	// Origins are where the site's pages are, such as "https://shop.example". They are compared
	// as a whole. An http origin is for development, and its host is localhost.
	Origins []string

	Store Store

	// Keys authenticate challenges: at least 32 random bytes each. The first makes them, and all
	// of them check them. Put a new key last at every instance first, then first, and take the
	// old one away after ten minutes. They have nothing to do with the passkeys themselves.
	Keys [][]byte

	// Fresh says whether the human has just proved to the site who they are, by something that
	// the browser does not have by itself: a password entered again a few minutes ago, say. Nil
	// means yes. [Passkeys.Handler] asks it before it adds a passkey or removes one, the first
	// included. There is no default, and it must not be true by the site's session alone: an
	// agent in its owner's browser would add a passkey of its own. It is called concurrently.
	Fresh func(*http.Request) error

	// FreshPath is the path of the site's page on which a human proves that, with ?return_to=
	// for the way back. By default the page says so without a link.
	FreshPath string

	// Path is where Handler is mounted, as browsers ask for it, with a slash at its end. The
	// default is "/account/passkeys/".
	Path string

	// Used makes each challenge usable once. The default is in memory. Several instances must
	// share one: with the default, what was used at one instance can be sent to another within
	// five minutes. That is no use for a decision that was carried out, which has another version
	// then; but to connect an agent has none.
	Used authagent.StateStore
}

// Passkeys ask for passkeys, and keep them. Make one with [New]. They are safe for concurrent use.
type Passkeys struct {
	web       *webauthn.WebAuthn
	id, name  string
	store     Store
	keys      [][]byte
	used      authagent.StateStore
	fresh     func(*http.Request) error
	freshPath string
	path      string
}

var _ grants.Confirmer = (*Passkeys)(nil)

// New checks the settings, and returns an error that names each that is wrong.
func New(c Config) (*Passkeys, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	web, err := webauthn.New(&webauthn.Config{
		RPID: c.RPID, RPDisplayName: c.Name, RPOrigins: c.Origins, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			// No passkey has to be found without its ID, so none takes one of the few places of a device.
			ResidentKey: protocol.ResidentKeyRequirementDiscouraged, UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if c.Used == nil {
		c.Used = &memstore.States{}
	}
	return &Passkeys{
		web: web, id: c.RPID, name: c.Name, store: c.Store, keys: c.Keys, used: c.Used, fresh: c.Fresh, freshPath: c.FreshPath,
		path: cmp.Or(c.Path, "/account/passkeys/"),
	}, nil
}

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("passkey: "+format, args...)) }
	if c.RPID == "" || c.Name == "" {
		bad("RPID, Name: must not be empty")
	}
	if _, err := netip.ParseAddr(c.RPID); err == nil {
		bad("RPID: %q is an IP address, which browsers refuse. For development, use localhost in RPID, in Origins and in the browser", c.RPID)
	}
	if len(c.Origins) == 0 {
		bad("Origins: there is none")
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(origin, c.RPID); err != nil {
			bad("Origins: %q %w", origin, err)
		}
	}
	if c.Store == nil {
		bad("Store: must be set")
	}
	if len(c.Keys) == 0 || slices.ContainsFunc(c.Keys, isWeak) {
		bad("Keys: must be at least one, of at least 32 random bytes each")
	}
	if c.Fresh == nil {
		bad("Fresh: must be set, or an agent in its owner's browser adds a passkey of its own")
	}
	if c.Path != "" && (!strings.HasPrefix(c.Path, "/") || !strings.HasSuffix(c.Path, "/") || strings.HasPrefix(c.Path, "//")) {
		bad("Path: %q does not begin and end with one slash", c.Path)
	}
	if c.FreshPath != "" && (!strings.HasPrefix(c.FreshPath, "/") || strings.HasPrefix(c.FreshPath, "//") || strings.ContainsAny(c.FreshPath, "?#\\")) {
		bad("FreshPath: %q is not a path", c.FreshPath)
	}
	return errors.Join(errs...)
}

func isWeak(key []byte) bool {
	return len(key) < 32 || bytes.Count(key, key[:1]) == len(key)
}

// checkOrigin says what is wrong with an origin: browsers use passkeys of a domain on its own
// pages and those below it (Web Authentication, "is a registrable domain suffix of or is equal to").
func checkOrigin(origin, id string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return errors.New(`is not an origin, such as "https://shop.example"`)
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || host != "localhost"):
		return errors.New("is not https")
	case host != id && !strings.HasSuffix(host, "."+id):
		return fmt.Errorf("is not of the domain %q (RPID)", id)
	}
	return nil
}

//go:embed script.js
var script string

// Prompt implements [grants.Confirmer].
func (p *Passkeys) Prompt(r *http.Request, c grants.Confirmation) (grants.Prompt, error) {
	all, err := p.store.Passkeys(r.Context(), c.UserID)
	if err != nil {
		return grants.Prompt{}, fmt.Errorf("passkey: find passkeys of account: %w", err)
	}
	if len(all) == 0 {
		return grants.Prompt{HTML: p.none(c.Language), Unable: true, JSON: map[string]string{"add": p.path}}, nil
	}
	options, _, err := p.web.BeginLogin(&account{all: all}, webauthn.WithChallenge(p.newChallenge(toConfirm, c.UserID, c.Digest)))
	if err != nil {
		return grants.Prompt{}, fmt.Errorf("passkey: make options: %w", err)
	}
	options.Response.Timeout = int(freshFor.Milliseconds())
	html, err := p.field(c.Language, options.Response, c.Language.Text("passkey.prompt"))
	return grants.Prompt{HTML: html, Script: script, JSON: map[string]any{"publicKey": options.Response}}, err
}

// none says that there is no passkey, and where to add one.
func (p *Passkeys) none(l *messages.Language) template.HTML {
	return template.HTML(`<p>` + template.HTMLEscapeString(l.Text("passkey.none")) + `</p><p><a href="` + template.HTMLEscapeString(p.path) + `">` +
		template.HTMLEscapeString(l.Text("passkey.none.add")) + `</a></p>`)
}

// field returns the field of a form that script fills, with the options for the browser.
func (p *Passkeys) field(l *messages.Language, options any, says string) (template.HTML, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return "", fmt.Errorf("passkey: write options: %w", err)
	}
	escape := template.HTMLEscapeString
	return template.HTML(`<p>` + escape(says) + `</p><p role="alert" hidden data-passkey-failed>` + escape(l.Text("passkey.failed")) + `</p>` +
		`<noscript><p>` + escape(l.Text("passkey.noscript")) + `</p></noscript>` +
		`<input type="hidden" name="` + grants.ProofField + `" value="" data-passkey="` + escape(string(text)) + `">`), nil
}

// Verify implements [grants.Confirmer]. Of the passkey it wants what section 7.2 of Web
// Authentication level 3 demands: the user verified, this origin and RP ID, a signature by a
// passkey of the account. Its challenge has to be of this decision and account, at most five
// minutes old, and not used before. A passkey whose counter says that it is a copy is refused.
func (p *Passkeys) Verify(r *http.Request, c grants.Confirmation) error {
	proofs := r.PostForm[grants.ProofField]
	if len(proofs) == 0 || len(proofs) == 1 && proofs[0] == "" {
		return grants.ErrNoProof
	}
	if len(proofs) > 1 {
		return refused("there are several")
	}
	response, err := protocol.ParseCredentialRequestResponseBytes([]byte(proofs[0]))
	if err != nil {
		return refused("it is malformed")
	}
	challenge := response.Response.CollectedClientData.Challenge
	if err := p.checkChallenge(challenge, toConfirm, c.UserID, c.Digest); err != nil {
		return refused("%v", err)
	}
	all, err := p.store.Passkeys(r.Context(), c.UserID)
	if err != nil {
		return fmt.Errorf("passkey: find passkeys of account: %w", err)
	}
	i := slices.IndexFunc(all, func(k Passkey) bool { return k.UserID == c.UserID && bytes.Equal(k.Credential.ID, response.RawID) })
	if i < 0 {
		return refused("it is no passkey of this account")
	}
	used := all[i]
	if err := p.validate(&used, challenge, response); err != nil {
		return err
	}
	if err := p.spend(r.Context(), challenge); errors.Is(err, errUsed) {
		return refused("%v", err)
	} else if err != nil {
		return err
	}
	used.UsedAt = time.Now()
	if err := p.store.UpdatePasskey(r.Context(), used); err != nil {
		return fmt.Errorf("passkey: note that a passkey was used: %w", err)
	}
	return nil
}

// validate checks what the device has signed, and takes over its counter.
func (p *Passkeys) validate(used *Passkey, challenge string, response *protocol.ParsedCredentialAssertionData) error {
	credential, err := p.web.ValidateLogin(&account{handle: used.Handle, all: []Passkey{*used}}, webauthn.SessionData{
		Challenge: challenge, RelyingPartyID: p.id, UserID: used.Handle, AllowedCredentialIDs: [][]byte{used.Credential.ID},
		UserVerification: protocol.VerificationRequired,
	}, response)
	switch {
	case err != nil:
		return refused("%s", why(err))
	case credential.Authenticator.CloneWarning:
		return refused("its counter says that it is a copy")
	}
	used.Credential = *credential
	return nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{grants.ErrProof}, args...)...)
}

// why returns the text of go-webauthn that has nothing in it of what was sent.
func why(err error) string {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Details
	}
	return "it is not valid"
}

// handle is the user handle of new passkeys of an account. It says nothing of the account to who
// finds it on a device.
func (p *Passkeys) handle(userID string) []byte {
	sum := sha256.Sum256([]byte("authagent passkey\x00" + p.id + "\x00" + userID))
	return sum[:]
}

// An account is one as go-webauthn wants it.
type account struct {
	handle []byte
	name   string
	all    []Passkey
}

func (a *account) WebAuthnID() []byte          { return a.handle }
func (a *account) WebAuthnName() string        { return a.name }
func (a *account) WebAuthnDisplayName() string { return a.name }

func (a *account) WebAuthnCredentials() (all []webauthn.Credential) {
	for _, p := range a.all {
		all = append(all, p.Credential)
	}
	return all
}
