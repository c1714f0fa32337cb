package authagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/accounts"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/personal"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/stores"
)

// This file holds the scenarios, the link policy and the site's stores: whom an agent acts as.

// An Agent is named by its issuer and its ID there, together. It can be a map key.
type Agent = audit.Agent

// A Scenario decides which identity an agent acts under at the site, once it has proved who it is. [FullAccount],
// [ContextualProfile] and [FreshProfile] are the three that Auth Agent describes; a site can write or wrap one.
//
// It may also have one or both of these methods:
//
//	// CheckLogin is asked before a login starts. An error refuses it.
//	CheckLogin(ctx context.Context) error
//
//	// Connect records that the human with this ID has connected the agent to their own account, see
//	// RelyingParty.ConnectHandler. It is called in that human's own session. An error leaves nothing half-made.
//	Connect(ctx context.Context, in *SignIn, userID string) error
//
// A scenario that wraps another and has a method Unwrap() Scenario has these methods of the other.
type Scenario interface {
	// Name is recorded in sessions and events.
	Name() string

	// Scopes are asked for in the authorization request.
	Scopes() []string

	// SignIn returns whom the agent acts as. It is called once per sign-in, at the API once per access token and instance, and
	// concurrently. An error refuses the sign-in and must leave nothing half-made. If it is or wraps a [problem.Reason], that
	// says why; any other counts as a failure of the site.
	SignIn(ctx context.Context, in *SignIn) (Principal, error)

	SessionChecker // embedded, so that a scenario that embeds another has its CheckSession
}

// A SessionChecker is asked on each request of a signed-in agent. A Scenario is one; a UserStore and a LinkPolicy may be.
type SessionChecker interface {
	// CheckSession returns nil if s may go on. It may change s.Access and s.Actions for this request; the three scenarios of
	// this package never let s have more than they give. An error that is a [problem.Reason] ends the session; any other
	// refuses only the request.
	CheckSession(ctx context.Context, s *Session) error
}

// What a Scenario and a LinkPolicy may have beside, see there.
type (
	loginChecker interface{ CheckLogin(context.Context) error }
	connector    interface {
		Connect(context.Context, *SignIn, string) error
	}
	ownerLinker interface {
		LinkByOwner(context.Context, LinkRequest) error
	}
	actionChecker interface{ CheckAction(string, bool) error }
)

// A SignIn is an agent whose identity has been verified, and the means to learn more about it.
type SignIn struct {
	Agent      Agent
	Subject    string   // the user of the server for whom it acts, with SubjectIsUser; empty for a guest, who acts for nobody
	Scopes     []string // what the server says it has granted; what was asked for if it says nothing and the request was pushed
	Model      string   // self-declared
	RemoteAddr string   // the client's IP address, without port; empty outside of a request

	// IssuedAt is when the access token was issued by which the agent comes to the API, less a minute, as the clocks may
	// differ. It is zero at a sign-in.
	IssuedAt time.Time

	rp       *RelyingParty
	token    *wire.Token
	identity string // sub of the token: the agent, or the user with SubjectIsUser
	enters   string // the account that it is about to enter; empty until that is known
	sid      string // the server's ID of the session there
	prior    []Agent
	userinfo *UserInfo

	refreshed  bool // the one refresh that a sign-in may need was made, or had its chance
	unverified bool // userinfo says that the e-mail address is not verified
}

// grantee is for whom grants are, where the server names users: the user, or a guest itself.
func (in *SignIn) grantee() string {
	if in.rp.config.Provider.SubjectIsUser {
		return in.identity
	}
	return ""
}

// ownerless reports whether the server names users, and none for this agent.
func (in *SignIn) ownerless() bool { return in.rp.config.Provider.SubjectIsUser && in.Subject == "" }

// UserInfo is what the server says about the agent's owner. None of it is proof: at Auth Agent, whoever registers an agent writes it.
type UserInfo struct {
	// Subject is whom the token speaks of: the agent, or its user if Config.Provider.SubjectIsUser is set.
	Subject string

	// Email is the owner's address with its ASCII letters in lower case, ready to be compared. It is empty if the server
	// gives none, gives one that is not a plain address (see [ParseEmail]), or says that it is unverified.
	Email string

	// EmailVerified reports that the server claims to have verified Email. The Auth Agent server makes no such claim.
	EmailVerified bool

	Name string // for display only: at most 256 characters, without control characters
}

// UserInfo asks the authorization server about the agent's owner. It asks once per sign-in, however often it is called.
// Of an agent that has come with an access token it knows what the token says, and asks nothing.
func (in *SignIn) UserInfo(ctx context.Context) (*UserInfo, error) {
	if in.userinfo != nil {
		return in.userinfo, nil
	}
	var raw *wire.UserInfo
	ask := func(t *wire.Token) (err error) {
		raw, err = in.rp.server.UserInfo(ctx, t.Access)
		return err
	}
	var err error
	if in.refreshed { // what Confirm might do was done
		err = ask(in.token)
	} else {
		in.token, err = in.rp.server.Confirm(ctx, in.token, ask)
	}
	in.refreshed = true
	if err != nil {
		return nil, failure.OfServer("ask userinfo", err)
	}
	if raw.Subject != in.identity {
		return nil, failure.New(reasons.IdentityMismatch, "compare subjects", "userinfo speaks of another subject than the token")
	}
	in.keep(raw)
	return in.userinfo, nil
}

// plainEmail returns the owner's address for rules to judge, or "" if it is not asked for and so must not be seen either.
func (in *SignIn) plainEmail(ctx context.Context) (string, error) {
	if !slices.Contains(in.rp.config.Provider.Scopes, "email") || in.ownerless() {
		return "", nil
	}
	owner, err := in.UserInfo(ctx)
	switch {
	case err != nil:
		return "", err
	case owner.Email == "":
		return "", failure.New(problem.Blocked, "read e-mail address",
			"the server gives no plain address of which rules could say whether its domain is let in")
	}
	return owner.Email, nil
}

// keep keeps what the server says of the owner.
func (in *SignIn) keep(raw *wire.UserInfo) {
	in.userinfo, in.unverified = &UserInfo{Subject: raw.Subject, Name: raw.Name}, raw.Verified != nil && !*raw.Verified
	if !in.unverified {
		in.userinfo.Email, _ = ParseEmail(raw.Email)
		in.userinfo.EmailVerified = in.userinfo.Email != "" && raw.Verified != nil
	}
}

// ParseEmail returns address with its ASCII letters in lower case, and reports whether it is plain: one @, a dotted domain, ASCII,
// at most 254 bytes, no quotes, comments, display name or white space. Addresses that only fold alike are different people's.
func ParseEmail(address string) (normalized string, ok bool) { return claims.Email(address) }

// A Principal is whom an agent acts as.
type Principal struct {
	UserID    string   // the account it acts for; empty for none
	ProfileID string   // its own profile; empty for none
	Access    Access   // what it may do with the user's data
	Actions   []string // the actions that it may perform beyond Access, see RelyingParty.RequireAction
	GrantID   string   // the grant that this rests on; empty for none

	// GrantEra is copied into the session. With it, CheckSession can end the sessions that began before a grant was given anew.
	GrantEra int64
}

// A LinkPolicy decides whether an agent may enter an account, and with what access. There is no default: each site has to
// choose one. It may also implement [Rules] and [SessionChecker], and have more methods, which New looks for:
//
//	// LinkByOwner records that request.User, who is signed in and asks for it, has connected the agent
//	// (RelyingParty.ConnectHandler). The agent's e-mail address plays no part in it.
//	LinkByOwner(ctx context.Context, request LinkRequest) error
//
//	// Introduce is called once the settings are known to be right, and Check before.
//	Introduce(site Site)
//	Check() error
//
//	// OwnerPage returns the path of the page where owners decide. An agent that is refused with ApprovalNeeded or Suspended is
//	// told its address and, if compares, its request's comparison code, which the page shows too (Site.Compare).
//	OwnerPage() (path string, compares bool)
//
//	// CheckAction says what is wrong with the action of a guarded route, such as one that no owner could ever allow: for good
//	// (RequireAction) or, with each, for one request at a time (RequireApproval). See RelyingParty.Check.
//	CheckAction(name string, each bool) error
//
//	// Observer gets Config.Audit, which may be nil, and returns a function that gets every event. Config.Rules may have it too.
//	Observer(audit func(context.Context, audit.Event)) func(context.Context, audit.Event)
type LinkPolicy interface {
	// Link returns whom the agent acts as, in the account of request.User or in another that a UserFinder finds. The scenario
	// lowers Access to what it gives, and sets ProfileID itself. An error refuses the sign-in; it should be a
	// [problem.Reason]. problem.NoAccount says that there is no account to enter, problem.NoSession that the access token of
	// IssuedAt has ended.
	Link(ctx context.Context, request LinkRequest) (Principal, error)
}

// A Site is what a LinkPolicy learns of the site that it decides for.
type Site struct {
	Origin    string               // such as "https://shop.example"
	Issuer    string               // Config.Issuer
	BySubject bool                 // accounts are found by the user of the server (Provider.SubjectIsUser and a SubjectFinder)
	Languages []*messages.Language // Config.Languages, or its default
	Metrics   metrics.Recorder     // Config.Metrics; nil if nothing is measured

	// Compare returns the comparison codes of a request, one for each of Config.SessionKeys: the agent is shown the first, its
	// owner all of them. owner is the owner's e-mail address at the server or, with Config.Provider.SubjectIsUser, the user.
	// Whether there is an account plays no part in it.
	Compare func(agent Agent, owner string) []string
}

// A LinkRequest is an agent that wants to enter an account.
type LinkRequest struct {
	Agent         Agent
	Subject       string    // with Config.Provider.SubjectIsUser, the user of the server for whom the agent acts, or a guest itself
	BySubject     bool      // User is the account of Subject (SubjectFinder); no address was asked for
	Scopes        []string  // what the server has granted, see SignIn
	Model         string    // self-declared
	Name          string    // self-declared
	Email         string    // the owner's address as the server has it; a claim, not a proof
	EmailVerified bool      // the server claims to have verified it
	RemoteAddr    string    // the client's IP address, without port; may be empty
	IssuedAt      time.Time // see SignIn
	Scenario      string
	User          *User  // the account with that address or Subject that may be entered; nil if there is none
	NoUser        string // why User is nil, in words for the site's log; the agent must not learn it
	Access        Access // the most that the scenario gives and, with Config.Permissions, the scopes allow

	// Permitted is what the granted scopes allow; nil without Config.Permissions.
	Permitted *Permission
}

// A Permission is what a scope of the server allows at this site, at most. See Config.Permissions.
type Permission struct {
	Access  Access   // to the user's data
	Actions []string // by name, for an agent that has AccessRead by this scope or another
}

// linkPolicy returns the LinkPolicy of a scenario, or nil if it is not known to have one.
func linkPolicy(s Scenario) LinkPolicy {
	if s, ok := scenario.As[interface{ policy() LinkPolicy }](s); ok {
		return s.policy()
	}
	return nil
}

type trustEmail string

// InsecureTrustEmail is the LinkPolicy that takes the server's word for the e-mail address of an agent's owner, as Auth Agent's
// own guide does: the agent enters the account that has it, at once. Use it only if everybody who can register an agent at the
// server may enter every account. At the published Auth Agent server, which verifies no address, that is anybody who knows one.
const InsecureTrustEmail trustEmail = "trust_email"

// Link lets the agent enter the account that has the address.
func (trustEmail) Link(_ context.Context, request LinkRequest) (Principal, error) {
	if request.User == nil {
		return Principal{}, problem.NoAccount
	}
	return Principal{UserID: request.User.ID, Access: request.Access}, nil
}

// FullAccount lets an agent act as its owner, with all that the owner may do. The owner is known by what the server calls
// them ([SubjectFinder]), or by an e-mail address that the server does not prove; link decides what that is worth. An agent
// whose owner has no account is refused, or sent to Config.RegistrationURL. If Config.CreateUsers is set and users is a
// [UserCreator], one is created.
func FullAccount(users UserStore, link LinkPolicy) Scenario {
	return obeying(link, &fullAccount{newWithAccount(scenario.FullAccount, AccessFull, users, nil, link)})
}

// ContextualProfile lets an agent act under a profile of its own. The profile is linked to its owner's account, whose data
// the agent may read. The middleware lets it send GET and HEAD anywhere on the site, and otherwise perform only actions that
// the link policy allows by name. The owner is known as with FullAccount. If users is a [UserCreator], an owner who has no
// account gets one.
func ContextualProfile(users UserStore, profiles ProfileStore, link LinkPolicy) Scenario {
	return obeying(link, &contextualProfile{newWithAccount(scenario.ContextualProfile, AccessRead, users, profiles, link)})
}

// FreshProfile lets an agent act under a profile of its own that is linked to nobody. The site never sees the owner's address.
func FreshProfile(profiles ProfileStore) Scenario { return &freshProfile{profiles: profiles} }

type fullAccount struct{ withAccount }

func (s *fullAccount) SignIn(ctx context.Context, in *SignIn) (Principal, error) {
	link, _, err := s.enter(ctx, in, in.rp.config.CreateUsers)
	link.ProfileID = ""
	return link, err
}

type contextualProfile struct{ withAccount }

func (s *contextualProfile) SignIn(ctx context.Context, in *SignIn) (Principal, error) {
	link, owner, err := s.enter(ctx, in, true)
	if err != nil {
		return Principal{}, err
	}
	profile, err := findProfile(ctx, s.profiles, Profile{
		Agent: in.Agent, Subject: in.Subject, Scenario: s.Name(), UserID: link.UserID, Model: in.Model, Name: owner.Name,
	})
	if err != nil {
		return Principal{}, err
	}
	// The profile decides, not the address: an address that has changed at the server must not
	// carry the agent over into another account.
	if profile.UserID != link.UserID {
		return Principal{}, failure.New(problem.LinkRefused, "find profile", "the agent's profile is linked to another account")
	}
	link.ProfileID = profile.ID
	return link, nil
}

func findProfile(ctx context.Context, profiles ProfileStore, p Profile) (Profile, error) {
	found, err := profiles.FindOrCreateProfile(ctx, p)
	if err == nil && found.ID == "" {
		err = errors.New("the profile store returned a profile without an ID")
	}
	return found, failure.OfSite("find or create profile", err)
}

func checkProfiles(profiles ProfileStore) error {
	if profiles == nil {
		return errors.New("its ProfileStore is nil")
	}
	return nil
}

func (s *contextualProfile) check() error {
	return cmp.Or(s.withAccount.check(), checkProfiles(s.profiles))
}

type freshProfile struct {
	accounts.Parts // none: no profile is linked to an account
	profiles       ProfileStore
}

func (s *freshProfile) check() error { return checkProfiles(s.profiles) }
func (*freshProfile) Name() string   { return "FreshProfile" }
func (*freshProfile) access() Access { return AccessNone }

// Scopes leaves out email and openid: the Auth Agent server releases the address for either.
func (*freshProfile) Scopes() []string { return []string{"profile"} }

func (s *freshProfile) SignIn(ctx context.Context, in *SignIn) (Principal, error) {
	profile, err := findProfile(ctx, s.profiles, Profile{Agent: in.Agent, Subject: in.Subject, Scenario: s.Name(), Model: in.Model})
	if err != nil {
		return Principal{}, err
	}
	return Principal{ProfileID: profile.ID, Access: AccessNone}, nil
}

// CheckSession has nothing to ask: there is no user who could be gone.
func (*freshProfile) CheckSession(context.Context, *Session) error { return nil }

// withAccount is what the two scenarios that know a user have in common.
type withAccount struct {
	accounts.Parts // what is kept of accounts: first the policy, which lets agents in
	name           string
	most           Access // the most that the scenario gives
	users          accounts.Users[User]
	profiles       ProfileStore // nil for none
	link           LinkPolicy
}

func newWithAccount(name string, most Access, users UserStore, profiles ProfileStore, link LinkPolicy) withAccount {
	known := accounts.New[User](users, ErrNotFound, ErrAmbiguous)
	_, asks := link.(ownerLinker)
	parts := accounts.Parts{{Name: "LinkPolicy", Is: link, Keeps: asks}, {Name: "UserStore", Is: users, Keeps: known.Remembers()},
		{Name: "ProfileStore", Is: profiles, Keeps: profiles != nil}}
	return withAccount{parts, name, most, known, profiles, link}
}

func (s *withAccount) Name() string   { return s.name }
func (s *withAccount) access() Access { return s.most }
func (*withAccount) Scopes() []string { return []string{"openid", "profile", "email"} }

// What others ask of the scenario: the scope that it needs, the policy, and the site's accounts.
func (*withAccount) neededScope() string           { return "email" } // unless accounts are found by subject
func (s *withAccount) policy() LinkPolicy          { return s.link }
func (s *withAccount) known() accounts.Users[User] { return s.users }

// check returns what is wrong with what the scenario was given, for New to say.
func (s *withAccount) check() error {
	switch {
	case s.users.Store == nil:
		return errors.New("its UserStore is nil")
	case s.link == nil:
		return errors.New("its LinkPolicy is nil")
	}
	_, connects := s.link.(ownerLinker)
	if err := s.users.Check(connects); err != nil {
		return err
	}
	return settings.Check(s.link)
}

// enter returns the account that the agent may enter, and with what access.
func (s *withAccount) enter(ctx context.Context, in *SignIn, create bool) (Principal, *UserInfo, error) {
	owner, user, why, err := s.find(ctx, in)
	if err != nil {
		return Principal{}, nil, err
	}
	request, err := s.request(in, owner, user)
	if err != nil {
		return Principal{}, nil, err
	}
	request.NoUser = why
	link, err := s.link.Link(ctx, request)
	if creator, ok := s.users.Store.(UserCreator); ok && create && (why == accounts.Free || why == accounts.Unknown) && errors.Is(err, problem.NoAccount) {
		link, user, err = s.create(ctx, in, creator, request)
	}
	switch {
	case err == nil && link.UserID == "":
		err = errors.New("the link policy returned no account")
	case user == nil && errors.Is(err, problem.NoAccount):
		err = failure.New(problem.NoAccount, "find account", "%s", why)
	case err == nil && request.BySubject && user != nil && user.ID != link.UserID:
		err = failure.New(problem.LinkRefused, "find account", "the agent acts for another account's user at the server")
	case err == nil: // if it is erased meanwhile, RelyingParty.admit takes back what is written below
		in.enters, err = link.UserID, in.rp.trail.Erased().Refuse(link.UserID)
	}
	if err == nil && (user == nil || user.ID != link.UserID) {
		err = s.users.MayEnter(ctx, link.UserID)
	}
	if err != nil {
		return Principal{}, nil, failure.OfSite("link agent to account", err)
	}
	link.Access = min(link.Access, s.most)
	if request.BySubject { // the site knows whose agent it is, and the same agent acts for others too
		return link, owner, nil
	}
	return link, owner, s.users.Remember(ctx, in.Agent, link.UserID)
}

// find returns what is known of the agent's owner, and the owner's account. Where accounts are found by the user of the server,
// no address counts, and none is asked for. A guest has no owner.
func (s *withAccount) find(ctx context.Context, in *SignIn) (owner *UserInfo, user *User, why string, err error) {
	if in.ownerless() {
		return &UserInfo{Subject: in.identity}, nil, "the agent has no user at the server", nil
	}
	if s.users.BySubject(in.Subject) {
		user, why, err = s.users.FindSubject(ctx, in.Agent.Issuer, in.Subject)
		return &UserInfo{Subject: in.identity}, user, why, err
	}
	if in.token != nil && !in.token.Granted("email", in.rp.config.Provider.Scopes) {
		return nil, nil, "", failure.New(reasons.InsufficientScope, "read scope", "the server did not grant the email scope")
	}
	if owner, err = in.UserInfo(ctx); err != nil {
		return nil, nil, "", err
	}
	if in.unverified {
		return nil, nil, "", failure.New(problem.NoAccount, "find account", "the server says that the address is not verified")
	}
	user, why, err = s.users.Find(ctx, in.Agent, owner.Email)
	return owner, user, why, err
}

// request is what the link policy is asked. An agent that may do nothing is not worth the question.
func (s *withAccount) request(in *SignIn, owner *UserInfo, user *User) (LinkRequest, error) {
	r := LinkRequest{
		Agent: in.Agent, Subject: in.grantee(), BySubject: s.users.BySubject(in.Subject), Scopes: in.Scopes,
		Model: in.Model, Name: owner.Name, Email: owner.Email, EmailVerified: owner.EmailVerified,
		RemoteAddr: in.RemoteAddr, IssuedAt: in.IssuedAt, Scenario: s.name, User: user, Access: s.most,
	}
	if most, limits := in.rp.permits.Most(in.Scopes); limits {
		r.Access, r.Permitted = min(r.Access, most.Access), (*Permission)(&most)
		return r, in.rp.permits.Reaches(in.Scopes, AccessRead, AccessFull)
	}
	return r, nil
}

// create creates the account that was not found, and returns it.
func (s *withAccount) create(ctx context.Context, in *SignIn, creator UserCreator, request LinkRequest) (Principal, *User, error) {
	wanted := NewUser{Email: request.Email, Name: request.Name, CreatedBy: request.Agent}
	if request.BySubject {
		wanted.Subject = request.Subject
	}
	user, err := creator.CreateUser(ctx, wanted)
	if !errors.Is(err, ErrExists) {
		if err == nil && user.ID == "" {
			err = errors.New("the user store created a user without an ID")
		}
		return Principal{UserID: user.ID, Access: request.Access}, &user, err
	}
	// The agent has entered another account, or another sign-in of this agent or a person was
	// faster. The account that is there now is treated like any other.
	_, found, why, err := s.find(ctx, in)
	switch {
	case err != nil:
		return Principal{}, nil, err
	case found == nil:
		return Principal{}, nil, failure.New(problem.NoAccount, "create account", "%s", why)
	}
	request.User, request.NoUser = found, ""
	link, err := s.link.Link(ctx, request)
	return link, found, err
}

// Connect connects an agent if the link policy can (LinkByOwner). One whose user at the server has another account stays out.
func (s *withAccount) Connect(ctx context.Context, in *SignIn, userID string) error {
	linker, ok := s.link.(ownerLinker)
	if !ok {
		return failure.OfSite("connect agent", errors.New("the link policy has no method LinkByOwner"))
	}
	err := s.users.MayConnect(ctx, in.Agent, in.Subject, userID)
	if err != nil {
		return err
	}
	owner := &UserInfo{Subject: in.identity}
	if !in.ownerless() && !s.users.BySubject(in.Subject) {
		if owner, err = in.UserInfo(ctx); err != nil {
			return err
		}
	}
	request, err := s.request(in, owner, &User{ID: userID})
	if err != nil {
		return err
	}
	return failure.OfSite("connect agent", linker.LinkByOwner(ctx, request))
}

// CheckSession asks whether the account is still there, and then the link policy.
func (s *withAccount) CheckSession(ctx context.Context, session *Session) error {
	defer func() { session.Access = min(session.Access, s.most) }()
	var err error
	if checker, ok := s.users.Store.(SessionChecker); ok { // asked instead
		err = checker.CheckSession(ctx, session)
	} else {
		err = s.users.StillOpen(ctx, session.UserID)
	}
	if checker, ok := s.link.(SessionChecker); ok && err == nil {
		err = checker.CheckSession(ctx, session)
	}
	return err
}

// checkAction says why no owner could ever allow an action by name.
func (s *withAccount) checkAction(name string) error {
	if checker, ok := s.link.(actionChecker); ok {
		return checker.CheckAction(name, false)
	}
	if s.link == LinkPolicy(InsecureTrustEmail) && s.most < AccessFull {
		return errors.New("InsecureTrustEmail allows no action by name, and " + s.name + " gives no full access")
	}
	return nil
}

// Rules are a site's rules for all agents, such as a switch that keeps all of them out. A [LinkPolicy] may implement Rules, as
// grants.Policy does: its scenario then obeys them without a further setting. Config.Rules is for scenarios without such a
// policy. Implementations are safe for concurrent use.
type Rules interface {
	// Admit returns nil if agent may be let in or go on. It is called before a login starts, with the zero Agent and a nil
	// email, since nobody is known yet; at each sign-in, and when a human connects an agent; and on each request of an agent,
	// with a nil email.
	//
	// email asks the server for the address of the agent's owner, and returns "" if that is not asked for. Without a plain
	// address (see [ParseEmail]) it returns problem.Blocked. Return its error.
	//
	// problem.Paused makes the agent wait, and its session stays. Another [problem.Reason] refuses the sign-in or ends the
	// session. Any other error refuses only what is being done.
	Admit(ctx context.Context, agent Agent, email func() (string, error)) error
}

// obeying returns a scenario that obeys the rules in part, if it has any.
func obeying(part any, s Scenario) Scenario {
	if rules, ok := part.(Rules); ok {
		return &ruled{s, rules}
	}
	return s
}

// ruled asks the rules at every sign-in and every request of an agent, before the scenario.
type ruled struct {
	Scenario
	rules Rules
}

// Unwrap returns the scenario that is held to the rules.
func (s *ruled) Unwrap() Scenario { return s.Scenario }

// CheckLogin asks the rules, and then the scenario.
func (s *ruled) CheckLogin(ctx context.Context) error {
	if err := s.rules.Admit(ctx, Agent{}, nil); err != nil {
		return err
	}
	if checker, ok := scenario.As[loginChecker](s.Scenario); ok {
		return checker.CheckLogin(ctx)
	}
	return nil
}

func (s *ruled) SignIn(ctx context.Context, in *SignIn) (Principal, error) {
	if err := s.admit(ctx, in); err != nil {
		return Principal{}, err
	}
	return s.Scenario.SignIn(ctx, in)
}

// Connect does nothing for an agent that the rules do not let in.
func (s *ruled) Connect(ctx context.Context, in *SignIn, userID string) error {
	scenario, ok := scenario.As[connector](s.Scenario)
	if !ok {
		return errNoConnector
	}
	if err := s.admit(ctx, in); err != nil {
		return err
	}
	return scenario.Connect(ctx, in, userID)
}

var errNoConnector = errors.New("the scenario has no method Connect")

func (s *ruled) admit(ctx context.Context, in *SignIn) error {
	return s.rules.Admit(ctx, in.Agent, func() (string, error) { return in.plainEmail(ctx) })
}

func (s *ruled) CheckSession(ctx context.Context, session *Session) error {
	if err := s.rules.Admit(ctx, session.Agent, nil); err != nil {
		return err
	}
	return s.Scenario.CheckSession(ctx, session)
}

// The errors that stores return, for errors.Is.
var (
	ErrNotFound  = errors.New("authagent: not found")                          // there is no such record
	ErrAmbiguous = errors.New("authagent: several accounts have this address") // UserByEmail
	ErrExists    = errors.New("authagent: already exists")                     // CreateUser: the address is taken
)

type ( // what the site's stores implement, see package stores
	User          = stores.User          // an account of the site
	UserStore     = stores.UserStore     // finds accounts, by e-mail address
	UserFinder    = stores.UserFinder    // a UserStore that finds them by ID
	SubjectFinder = stores.SubjectFinder // … by what the server calls their owners
	UserCreator   = stores.UserCreator   // … that can create one
	NewUser       = stores.NewUser
	AgentLinker   = stores.AgentLinker // … that remembers which account an agent entered
	Profile       = stores.Profile     // an agent's own record on the site
	ProfileStore  = stores.ProfileStore
	Forgetter     = stores.Forgetter // lets go of an agent
	Eraser        = stores.Eraser    // deletes what there is of an account
	Erasure       = stores.Erasure
	Receipt       = stores.Receipt  // what has become of it
	Exporter      = stores.Exporter // writes what there is of an account
	Export        = stores.Export

	RevocationStore = stores.RevocationStore // remembers which sessions were ended
	StateStore      = stores.StateStore      // makes each state usable once
)

// FindUser returns the account with this ID, as the UserStore of Config.Scenario has it, or ErrNotFound; errors.ErrUnsupported
// if that store is no [UserFinder], or the scenario is not known.
func (rp *RelyingParty) FindUser(ctx context.Context, id string) (User, error) {
	users, ok := scenario.As[interface{ known() accounts.Users[User] }](rp.config.Scenario)
	if !ok {
		return User{}, fmt.Errorf("authagent: find user: the scenario knows no accounts: %w", errors.ErrUnsupported)
	}
	user, err := users.known().ByID(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("authagent: find user: %w", err)
	}
	return user, err
}

// personal are all who keep something of accounts.
func (rp *RelyingParty) personal() *personal.Site[Scenario] {
	c := &rp.config
	return &personal.Site[Scenario]{
		Scenario: c.Scenario, Tokens: rp.tokens.Asked(), Sessions: cmp.Or[any](c.Session.Own, c.Session.Store), Marks: c.Revocations, Erasers: c.Erasers,
		Audited: c.Audit != nil || c.Journal != nil, Lifetime: c.Session.Lifetime, Trail: rp.trail, Panics: rp.panics, Deeds: rp.book.Wait, End: rp.EndUserSessions, EndAgent: rp.EndAgentSessions,
	}
}
