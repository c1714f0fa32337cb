// Package stores has the interfaces by which a site lends authagent what it keeps: its accounts, the profiles of
// agents, which sessions were ended, and which logins are finished. Package authagent has the same names for them.
package stores

import (
	"context"
	"time"

	"github.com/authagent-go/authagent/audit"
)

// A User is an account of the site.
type User struct {
	ID string

	// EmailVerified says that the site itself has seen proof that the account's holder owns the
	// address. No agent enters an account by its address without it: somebody may have registered the
	// account in the owner's name, to wait for the owner's agent.
	EmailVerified bool

	Disabled bool // such an account is never entered

	// Name is what the site calls the account, to show agents and their owners in whose account an
	// agent acts. By default the ID is shown. Choose a name that nobody else can take, such as the
	// e-mail address: whoever lures an agent into their own account would take its owner's name. Only
	// agents in the account see it. It is read from what UserByID returns.
	Name string

	// CreatedBy is the agent that an account was created for ([UserCreator]), zero for all others.
	// By the address, only that agent may enter until it is verified.
	CreatedBy audit.Agent
}

// UserStore finds the accounts of the site. Implementations are safe for concurrent use.
//
// Never use the ID of an account again: the new account would inherit the old one's agents. Call
// authagent.RelyingParty.EraseUser when an account is gone.
//
// It may also be a [UserFinder], a [SubjectFinder], a [UserCreator], an [AgentLinker], an
// authagent.SessionChecker, a [Forgetter], an [Eraser] and an [Exporter]. storetest.Users tests one. On each request of an agent, a
// UserFinder is asked, and the session ends if the account is disabled or gone; an authagent.SessionChecker is
// asked instead. Without either, call EndUserSessions of authagent.RelyingParty.
type UserStore interface {
	// UserByEmail returns the account with this address, which is a plain one in lower case. It
	// returns authagent.ErrNotFound if there is none, and authagent.ErrAmbiguous if there are several.
	//
	// What authagent.ParseEmail makes of the stored address must equal email. Databases may find more than that,
	// such as K (U+212A) for k, é for e, or a space at the end.
	UserByEmail(ctx context.Context, email string) (User, error)
}

// A UserFinder is a UserStore that finds accounts by their ID, as grants.OwnerApproval needs it.
type UserFinder interface {
	// UserByID returns the account with this ID, or authagent.ErrNotFound, which ends the session; any other error
	// refuses only the request. It is called on each one, unless the store is an authagent.SessionChecker.
	UserByID(ctx context.Context, id string) (User, error)
}

// A SubjectFinder is a UserStore that finds accounts by what the authorization server calls their
// owners, if its tokens name the user (Provider.SubjectIsUser). E-mail addresses are then neither asked
// for nor looked at. The site records issuer and subject when a person signs in (Provider.OnPerson).
type SubjectFinder interface {
	// UserBySubject returns the account of the user whom this issuer calls subject, or authagent.ErrNotFound.
	// Both are compared byte for byte.
	UserBySubject(ctx context.Context, issuer, subject string) (User, error)
}

// A UserCreator is a UserStore that can create an account for an agent whose owner has none.
type UserCreator interface {
	// CreateUser creates an account and returns it. It must not mark the address as verified, since
	// nobody has verified it, and must store CreatedBy. If the address or Subject is taken, or CreatedBy
	// has entered an account before (AgentLinker), it creates nothing and returns authagent.ErrExists.
	CreateUser(ctx context.Context, u NewUser) (User, error)
}

// NewUser is an account to be created.
type NewUser struct {
	Email     string // plain, in lower case, and unverified; empty if accounts are found by Subject
	Subject   string // what CreatedBy.Issuer calls the owner, for a SubjectFinder; otherwise empty
	Name      string // for display, not to be trusted
	CreatedBy audit.Agent
}

// An AgentLinker is a UserStore that remembers which account an agent entered. Then a later change
// of the agent's e-mail address at the server never moves it to another account.
type AgentLinker interface {
	// LinkAgent records that agent enters the account userID, unless it has an account on record, and
	// returns the one on record. Concurrent calls for one agent all get the same answer.
	LinkAgent(ctx context.Context, agent audit.Agent, userID string) (linked string, err error)

	// LinkedUser returns the account on record for agent, or authagent.ErrNotFound. It records nothing.
	LinkedUser(ctx context.Context, agent audit.Agent) (userID string, err error)
}

// A Profile is an agent's own record on the site, one for each agent, user of the server and scenario.
type Profile struct {
	ID       string // chosen by the store
	Agent    audit.Agent
	Subject  string // the user of the server for whom the agent acts, with Provider.SubjectIsUser; empty for none
	Scenario string
	UserID   string // the account it is linked to; empty for none
	Model    string // self-declared, as of the first sign-in
	Name     string // for display, not to be trusted; empty where the scenario did not ask for it
}

// A ProfileStore keeps profiles. Implementations are safe for concurrent use.
//
// It may also be a [Forgetter], an [Eraser] and an [Exporter], for the profiles that are linked to an account.
type ProfileStore interface {
	// FindOrCreateProfile returns the profile with the Agent, Subject and Scenario of p, as it is. If
	// there is none, it creates one from p, with an ID that the store chooses. Of concurrent calls for
	// the same three, one creates the profile and all get it: leave that to a unique constraint. A
	// store may keep a digest of Subject instead.
	FindOrCreateProfile(ctx context.Context, p Profile) (Profile, error)
}

// A Forgetter can let go of an agent. These may be one: a UserStore that is an [AgentLinker], a
// [ProfileStore], a authagent.LinkPolicy and a Scenario, which here asks the other three. humanID is who
// wants it, for the audit trail; empty for the site itself. Forgetting what is not there returns nil.
// After an error, another call finishes what is left.
type Forgetter interface {
	// ForgetAgent removes or ends what holds agent to any account.
	ForgetAgent(ctx context.Context, humanID string, agent audit.Agent) error
}

// A RevocationStore remembers what was ended early. The default is in memory, and forgets
// everything when the process ends. Several instances must share one.
//
// It keeps a mark for each key. A session holds the marks of the time when it began, and ends as soon as one of
// them changes. No clock plays a part. So instances whose clocks differ keep no ended session alive, and end no
// session that began later. Only an access token that an instance has not seen before is compared by its time.
// Implementations are safe for concurrent use. It may also be an [Eraser], for the keys that name an account.
type RevocationStore interface {
	// Revoke replaces the mark of key. No two calls are given the same mark, which has at most 64 letters and digits. Of
	// concurrent calls, any may win. The mark may be forgotten after the latest until given for the key, and not before.
	Revoke(ctx context.Context, key, mark string, until time.Time) error

	// Marks returns the mark of each of keys, in their order, and "" for a key that has none. All are read after Marks is
	// called, or Expect of an [Expecter]. A store may append to a mark what changes with each Revoke of the key and with nothing else. Marks is
	// called on each request of an agent; an error refuses the request.
	Marks(ctx context.Context, keys []string) ([]string, error)
}

// A StateStore makes each state usable once across all instances of a site. Within one process,
// each state is usable once even without it.
type StateStore interface {
	// UseState records that the state with this ID is used, and reports whether it was unused until now. Of concurrent
	// calls with one ID, at any number of instances, exactly one gets true. The record is kept until the given time: the
	// login has expired by then. An error fails the request, and the agent is told to retry with the same response. The
	// retry succeeds unless the state was recorded in spite of the error.
	UseState(ctx context.Context, id string, until time.Time) (first bool, err error)
}

// An Expecter is a store that is told beforehand what a request of an agent, or a sign-in, is going to ask it and the other
// stores of its database. So it can read all of that at once, when the first question comes. A [RevocationStore], a
// grants.Store and a sessions.Store of gorilla/sessions may be one; so may an authagent.LinkPolicy and authagent.Rules, or have
// a method Expecter() Expecter that returns one or nil.
type Expecter interface {
	// Expect returns a context. The questions of e are then asked with it, until done is called: Marks, Rules, and Grant or
	// Entries. The first that comes may read the answers to all of them, and keep these in the context for the other stores of
	// the database. Each question is answered so once, by what was read after Expect was called. One that is asked again, or that was not expected,
	// is answered as always. What is written with that context may not show in an answer that was read before. Expect
	// itself reads nothing.
	//
	// All stores that are an Expecter are called, each with the context of the one before. They are called again, with that
	// context, when more is known. When a session is saved, e is what it will be checked against: a sessions.Store can keep
	// that beside it. Before a session is loaded, e is zero. Then the store can read the session and what it has kept, in one go.
	Expect(ctx context.Context, e Expected) (expecting context.Context, done func())
}

// Expected is what is going to be asked, beside the rules (grants.Store). All of it may be empty.
type Expected struct {
	Keys    []string    // that Marks of the RevocationStore gets
	GrantID string      // that Grant of the grants.Store gets
	Agent   audit.Agent // the agent that signs in, which Entries gets (grants.EntryFinder)
}
