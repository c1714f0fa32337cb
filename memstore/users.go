package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/records"
	"github.com/authagent-go/authagent/problem"
)

// An Account is a user of the site and what belongs to it.
type Account struct {
	authagent.User
	Email string
	Name  string
}

// Users is an [authagent.UserStore]. It finds accounts by their ID
// ([authagent.UserFinder]) and can create them ([authagent.UserCreator]). It remembers
// which account an agent entered ([authagent.AgentLinker]), can forget it
// ([authagent.Forgetter], [authagent.Eraser]) and can say it ([authagent.Exporter]). It ends the sessions of accounts that are disabled or gone
// ([authagent.SessionChecker]).
type Users struct {
	mu       sync.Mutex
	accounts []*Account
	named    int // IDs given out so far; none is given twice, not even after Remove
	links    map[authagent.Agent]string
}

// Add adds an account whose address the site has verified, and returns its ID.
func (u *Users) Add(email, name string) (id string) {
	return u.Put(Account{User: authagent.User{EmailVerified: true}, Email: email, Name: name})
}

// Put adds an account as it is, or replaces the one with its ID. An empty ID is
// filled in. It returns the ID.
func (u *Users) Put(a Account) (id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.put(a)
}

func (u *Users) put(a Account) string {
	for a.ID == "" {
		u.named++
		if id := fmt.Sprintf("user_%d", u.named); u.byID(id) == nil {
			a.ID = id
		}
	}
	if have := u.byID(a.ID); have != nil {
		*have = a
		return a.ID
	}
	u.accounts = append(u.accounts, &a)
	return a.ID
}

func (u *Users) byID(id string) *Account {
	for _, a := range u.accounts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// Get returns the account with this ID.
func (u *Users) Get(id string) (Account, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.byID(id); a != nil {
		return *a, true
	}
	return Account{}, false
}

// Remove deletes the account with this ID. Links of agents to it stay, and lead
// nowhere, until EraseUser.
func (u *Users) Remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, a := range u.accounts {
		if a.ID == id {
			u.accounts = append(u.accounts[:i], u.accounts[i+1:]...)
			return
		}
	}
}

// All returns every account, in the order they were added.
func (u *Users) All() []Account {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Account, len(u.accounts))
	for i, a := range u.accounts {
		all[i] = *a
	}
	return all
}

// UserByEmail implements [authagent.UserStore].
func (u *Users) UserByEmail(_ context.Context, email string) (authagent.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byEmail(email)
}

func (u *Users) byEmail(email string) (found authagent.User, err error) {
	err = authagent.ErrNotFound
	for _, a := range u.accounts {
		// email is ASCII in lower case, so no other letters can fold into it.
		if have, ok := authagent.ParseEmail(a.Email); !ok || have != email {
			continue
		}
		if err == nil {
			return authagent.User{}, authagent.ErrAmbiguous
		}
		found, err = a.User, nil
	}
	return found, err
}

// UserByID implements [authagent.UserFinder].
func (u *Users) UserByID(_ context.Context, id string) (authagent.User, error) {
	a, ok := u.Get(id)
	if !ok {
		return authagent.User{}, authagent.ErrNotFound
	}
	user := a.User
	user.Name = a.Name
	return user, nil
}

// CreateUser implements [authagent.UserCreator].
func (u *Users) CreateUser(_ context.Context, n authagent.NewUser) (authagent.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, entered := u.links[n.CreatedBy]
	if _, err := u.byEmail(n.Email); err == nil || err == authagent.ErrAmbiguous || entered {
		return authagent.User{}, authagent.ErrExists
	}
	user := authagent.User{CreatedBy: n.CreatedBy}
	user.ID = u.put(Account{User: user, Email: n.Email, Name: n.Name})
	return user, nil
}

// LinkAgent implements [authagent.AgentLinker].
func (u *Users) LinkAgent(_ context.Context, agent authagent.Agent, userID string) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if linked, ok := u.links[agent]; ok {
		return linked, nil
	}
	if u.links == nil {
		u.links = make(map[authagent.Agent]string)
	}
	u.links[agent] = userID
	return userID, nil
}

// LinkedUser implements [authagent.AgentLinker].
func (u *Users) LinkedUser(_ context.Context, agent authagent.Agent) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if linked, ok := u.links[agent]; ok {
		return linked, nil
	}
	return "", authagent.ErrNotFound
}

// ForgetAgent implements [authagent.Forgetter].
func (u *Users) ForgetAgent(_ context.Context, _ string, agent authagent.Agent) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.links, agent)
	return nil
}

// EraseUser implements [authagent.Eraser]. It deletes the links, and leaves the account
// itself, which is for Remove to delete.
func (u *Users) EraseUser(_ context.Context, e *authagent.Erasure) error {
	if e.UserID == "" {
		return errNoUser
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	e.Count(records.Links, erase(u.links, func(_ authagent.Agent, linked string) bool { return linked == e.UserID }))
	return nil
}

// erase deletes from a map, and returns how many.
func erase[K comparable, V any](m map[K]V, these func(K, V) bool) int64 {
	before := len(m)
	maps.DeleteFunc(m, these)
	return int64(before - len(m))
}

// ExportUser implements [authagent.Exporter]. The account itself is not in it.
func (u *Users) ExportUser(_ context.Context, x *authagent.Export) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := x.Begin(records.Links); err != nil {
		return err
	}
	for agent, linked := range u.links {
		if linked != x.UserID {
			continue
		}
		if err := x.Add(records.Links, records.Link{Agent: agent}); err != nil {
			return err
		}
	}
	return nil
}

var errNoUser = errors.New("memstore: erase user: the user ID is empty")

// CheckSession implements [authagent.SessionChecker].
func (u *Users) CheckSession(_ context.Context, s *authagent.Session) error {
	if s.UserID == "" {
		return nil
	}
	if a, ok := u.Get(s.UserID); !ok || a.Disabled {
		return problem.NoAccount
	}
	return nil
}

// SubjectUsers are Users who are known by what an authorization server calls them
// ([authagent.SubjectFinder]). The zero value has no accounts.
type SubjectUsers struct {
	Users
	subjects map[[2]string]string // issuer and subject -> account; guarded by mu
}

// AddSubject records that issuer calls the holder of the account subject, in place of
// whoever it called so before.
func (u *SubjectUsers) AddSubject(issuer, subject, userID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.subjects == nil {
		u.subjects = make(map[[2]string]string)
	}
	u.subjects[[2]string{issuer, subject}] = userID
}

// UserBySubject implements [authagent.SubjectFinder].
func (u *SubjectUsers) UserBySubject(ctx context.Context, issuer, subject string) (authagent.User, error) {
	u.mu.Lock()
	id, ok := u.subjects[[2]string{issuer, subject}]
	u.mu.Unlock()
	if !ok {
		return authagent.User{}, authagent.ErrNotFound
	}
	return u.UserByID(ctx, id)
}

// CreateUser implements [authagent.UserCreator].
func (u *SubjectUsers) CreateUser(ctx context.Context, n authagent.NewUser) (authagent.User, error) {
	if n.Subject == "" {
		return u.Users.CreateUser(ctx, n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	key := [2]string{n.CreatedBy.Issuer, n.Subject}
	if _, taken := u.subjects[key]; taken {
		return authagent.User{}, authagent.ErrExists
	}
	if u.subjects == nil {
		u.subjects = make(map[[2]string]string)
	}
	user := authagent.User{CreatedBy: n.CreatedBy}
	user.ID = u.put(Account{User: user, Name: n.Name})
	u.subjects[key] = user.ID
	return user, nil
}

// EraseUser implements [authagent.Eraser]. It also forgets what servers call the account's holder.
func (u *SubjectUsers) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if err := u.Users.EraseUser(ctx, e); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	e.Count("subjects", erase(u.subjects, func(_ [2]string, userID string) bool { return userID == e.UserID }))
	return nil
}

// ExportUser implements [authagent.Exporter].
func (u *SubjectUsers) ExportUser(ctx context.Context, x *authagent.Export) error {
	if err := u.Users.ExportUser(ctx, x); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, userID := range u.subjects {
		if userID != x.UserID {
			continue
		}
		if err := x.Add("subjects", map[string]string{"issuer": key[0], "subject": key[1]}); err != nil {
			return err
		}
	}
	return nil
}
