// Package accounts asks a site's stores about the account that an agent acts in, and says
// what their answers mean.
package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/problem"
)

// A User is authagent.User, field by field, so that one converts to the other.
type User struct {
	ID            string
	EmailVerified bool
	Disabled      bool
	Name          string
	CreatedBy     audit.Agent
}

// user is the constraint of types that convert to User.
type user interface {
	~struct {
		ID            string
		EmailVerified bool
		Disabled      bool
		Name          string
		CreatedBy     audit.Agent
	}
}

// A Store is authagent.UserStore. It may be a Finder and a Linker.
type Store[U user] interface {
	UserByEmail(ctx context.Context, email string) (U, error)
}

// A Finder is authagent.UserFinder.
type Finder[U user] interface {
	UserByID(ctx context.Context, id string) (U, error)
}

// A SubjectFinder is authagent.SubjectFinder.
type SubjectFinder[U user] interface {
	UserBySubject(ctx context.Context, issuer, subject string) (U, error)
}

// A Linker is authagent.AgentLinker.
type Linker interface {
	LinkAgent(ctx context.Context, agent audit.Agent, userID string) (linked string, err error)
	LinkedUser(ctx context.Context, agent audit.Agent) (userID string, err error)
}

// Users are the accounts of a site.
type Users[U user] struct {
	Store               Store[U]
	NotFound, Ambiguous error // what the store returns

	finder Finder[U] // the store, asked on each request; nil if it cannot find
}

// New returns the accounts in a store.
func New[U user](store Store[U], notFound, ambiguous error) Users[U] {
	finder, _ := store.(Finder[U])
	return Users[U]{Store: store, NotFound: notFound, Ambiguous: ambiguous, finder: finder}
}

// Why Find and FindSubject have found no account. For the first two, one can be created.
const (
	Free    = "no account has the address"
	Unknown = "no account belongs to the user whom the server names"

	disabled = "the account is disabled"
)

// Find returns the account with this address if the agent could enter it under some policy.
// Otherwise it returns nil and why, for the site's log. An account counts as none if it is
// disabled, its address is not verified, or it shares its address.
func (u Users[U]) Find(ctx context.Context, agent audit.Agent, email string) (found *U, why string, err error) {
	if email == "" { // some row may have an empty address as well
		return nil, "the server gives no e-mail address that can be used", nil
	}
	stored, err := u.Store.UserByEmail(ctx, email)
	switch account := User(stored); {
	case errors.Is(err, u.NotFound):
		return nil, Free, nil
	case errors.Is(err, u.Ambiguous):
		return nil, "ambiguous_email: several accounts have the address", nil
	case err != nil:
		return nil, "", failure.OfSite("find user by e-mail", err)
	case account.ID == "":
		return nil, "", failure.OfSite("find user by e-mail", errors.New("the user store returned a user without an ID"))
	case account.Disabled:
		return nil, disabled, nil
	case !account.EmailVerified && account.CreatedBy != agent:
		return nil, "the site has not verified the account's address (User.EmailVerified)", nil
	}
	return &stored, "", nil
}

// FindsSubjects reports whether accounts are found by what the server calls their owners.
func (u Users[U]) FindsSubjects() bool {
	_, ok := u.Store.(SubjectFinder[U])
	return ok
}

// BySubject reports whether the account of an agent that acts for subject is found by that. Without
// Provider.SubjectIsUser it is empty.
func (u Users[U]) BySubject(subject string) bool { return subject != "" && u.FindsSubjects() }

// FindSubject is Find for a user of the server. The site has recorded whose account it is, so the
// account's address plays no part in it.
func (u Users[U]) FindSubject(ctx context.Context, issuer, subject string) (found *U, why string, err error) {
	finder, ok := u.Store.(SubjectFinder[U])
	if !ok || subject == "" {
		return nil, Unknown, nil
	}
	stored, err := finder.UserBySubject(ctx, issuer, subject)
	switch account := User(stored); {
	case errors.Is(err, u.NotFound):
		return nil, Unknown, nil
	case err != nil:
		return nil, "", failure.OfStore("find user by subject", err)
	case account.ID == "":
		return nil, "", failure.OfSite("find user by subject", errors.New("the user store returned a user without an ID"))
	case account.Disabled:
		return nil, disabled, nil
	}
	return &stored, "", nil
}

// MayEnter checks an account to which no address has led. An account that cannot be looked
// at is not entered.
func (u Users[U]) MayEnter(ctx context.Context, userID string) error {
	if u.finder != nil {
		return u.isOpen(ctx, userID)
	}
	return failure.OfSite("find user", errors.New("the link policy named another account, and the user store is no UserFinder"))
}

// StillOpen checks an account that an agent has entered. It is not asked about where the
// store cannot say.
func (u Users[U]) StillOpen(ctx context.Context, userID string) error {
	if u.finder != nil {
		return u.isOpen(ctx, userID)
	}
	return nil
}

// isOpen refuses an account that is gone or disabled. A store that fails says nothing about
// the account, whatever its error is.
func (u Users[U]) isOpen(ctx context.Context, userID string) error {
	stored, err := u.finder.UserByID(ctx, userID)
	switch {
	case err == nil && !User(stored).Disabled: // most are
		return nil
	case errors.Is(err, u.NotFound):
		return failure.New(problem.NoAccount, "find user", "the account that the agent acts for is gone")
	case err != nil:
		return failure.OfStore("find user", err)
	}
	return failure.New(problem.NoAccount, "find user", "the account is disabled")
}

// Remember holds an agent to the account that it entered first, in whichever scenario, if
// the store remembers that.
func (u Users[U]) Remember(ctx context.Context, agent audit.Agent, userID string) error {
	linker, ok := u.Store.(Linker)
	if !ok {
		return nil
	}
	switch linked, err := linker.LinkAgent(ctx, agent, userID); {
	case err != nil:
		return failure.OfSite("link agent", err)
	case linked == "":
		return failure.OfSite("link agent", errors.New("the user store returned no account"))
	case linked != userID:
		return failure.New(problem.LinkRefused, "link agent", "the agent is linked to another account")
	}
	return nil
}

// MayConnect refuses to connect an agent to an account that is not open, or is another than the agent
// entered before. Where accounts are found by subject, it has to be that of the agent's user at the
// server: otherwise a stranger's agent would act in it.
func (u Users[U]) MayConnect(ctx context.Context, agent audit.Agent, subject, userID string) error {
	if err := u.MayEnter(ctx, userID); err != nil {
		return err
	}
	if !u.BySubject(subject) { // otherwise the same agent acts for others too
		return u.isFree(ctx, agent, userID)
	}
	found, _, err := u.FindSubject(ctx, agent.Issuer, subject)
	if err == nil && (found == nil || User(*found).ID != userID) {
		err = failure.New(problem.LinkRefused, "connect agent", "the account is not that of the agent's user at the server")
	}
	return err
}

// isFree refuses an agent that has entered another account before. It records nothing: a
// connection that is refused later must not hold the agent.
func (u Users[U]) isFree(ctx context.Context, agent audit.Agent, userID string) error {
	linker, ok := u.Store.(Linker)
	if !ok {
		return nil
	}
	switch linked, err := linker.LinkedUser(ctx, agent); {
	case errors.Is(err, u.NotFound):
		return nil
	case err != nil:
		return failure.OfSite("find linked user", err)
	case linked != userID:
		return failure.New(problem.LinkRefused, "connect agent", "the agent is linked to another account")
	}
	return nil
}

// ByID returns the account with this ID. The error is errors.ErrUnsupported if the store
// finds none by its ID.
func (u Users[U]) ByID(ctx context.Context, id string) (found U, err error) {
	if u.finder != nil {
		return u.finder.UserByID(ctx, id)
	}
	return found, fmt.Errorf("the UserStore is no UserFinder: %w", errors.ErrUnsupported)
}

// Name is what the site calls an account: its ID if it has no name.
func (u Users[U]) Name(ctx context.Context, id string) (string, error) {
	if u.finder == nil || id == "" {
		return id, nil
	}
	stored, err := u.finder.UserByID(ctx, id)
	if err != nil && !errors.Is(err, u.NotFound) {
		return "", failure.OfSite("find user", err)
	}
	return cmp.Or(claims.Text(User(stored).Name), id), nil
}

// Check says what the store lacks. Where owners connect agents (byOwner), an account is
// found by its ID.
func (u Users[U]) Check(byOwner bool) error {
	_, links := u.Store.(interface {
		LinkAgent(context.Context, audit.Agent, string) (string, error)
	})
	switch {
	case links && !u.Remembers():
		return errors.New("its UserStore has LinkAgent and no LinkedUser, so that it is no AgentLinker")
	case byOwner && u.finder == nil:
		return errors.New("its UserStore has to be a UserFinder (UserByID), since owners can connect agents whatever their address")
	}
	return nil
}

// Remembers reports whether the store remembers which account an agent has entered.
func (u Users[U]) Remembers() bool {
	_, ok := u.Store.(Linker)
	return ok
}
