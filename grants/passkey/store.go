package passkey

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/authagent-go/authagent"
)

// A Passkey is what a site keeps of one. It has no secret in it.
type Passkey struct {
	UserID string `json:"user_id"`

	// Handle is the user handle that the passkey was made with: at most 64 bytes. The device may
	// return it, and it has to be the same then.
	Handle []byte `json:"handle"`

	// Credential has the ID, the public key and the signature counter. It can be kept as JSON.
	Credential webauthn.Credential `json:"credential"`

	AddedAt time.Time `json:"added_at"`
	UsedAt  time.Time `json:"used_at,omitzero"` // when it last confirmed something; the zero value if never
}

// A Store keeps the passkeys of a site. It must be safe for concurrent use.
type Store interface {
	// Passkeys returns those of an account, in no order; none if there is no such account.
	Passkeys(ctx context.Context, userID string) ([]Passkey, error)

	// AddPasskey adds one. If there is one with its Credential.ID already, of whatever account, it
	// returns authagent.ErrConflict and changes nothing. It is a good place to tell the account's
	// owner by mail.
	AddPasskey(ctx context.Context, p Passkey) error

	// UpdatePasskey replaces the one with p's UserID and Credential.ID. It returns
	// authagent.ErrNotFound if there is none.
	UpdatePasskey(ctx context.Context, p Passkey) error

	// RemovePasskey removes the one of this account that has this Credential.ID. It returns
	// authagent.ErrNotFound if there is none. An account that is deleted needs no call of it: the
	// site deletes its passkeys.
	RemovePasskey(ctx context.Context, userID string, id []byte) error
}

// Memory is a [Store] for examples, tests and development. The zero value is empty. It forgets all
// when the process ends.
type Memory struct {
	mu  sync.Mutex
	all []Passkey
}

// Passkeys implements [Store].
func (m *Memory) Passkeys(_ context.Context, userID string) (found []Passkey, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.all {
		if p.UserID == userID {
			found = append(found, p)
		}
	}
	return found, nil
}

// AddPasskey implements [Store].
func (m *Memory) AddPasskey(_ context.Context, p Passkey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.all, func(have Passkey) bool { return bytes.Equal(have.Credential.ID, p.Credential.ID) }) {
		return authagent.ErrConflict
	}
	m.all = append(m.all, p)
	return nil
}

// UpdatePasskey implements [Store].
func (m *Memory) UpdatePasskey(_ context.Context, p Passkey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(p.UserID, p.Credential.ID)
	if i < 0 {
		return authagent.ErrNotFound
	}
	m.all[i] = p
	return nil
}

// RemovePasskey implements [Store].
func (m *Memory) RemovePasskey(_ context.Context, userID string, id []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(userID, id)
	if i < 0 {
		return authagent.ErrNotFound
	}
	m.all = slices.Delete(m.all, i, i+1)
	return nil
}

func (m *Memory) index(userID string, id []byte) int {
	return slices.IndexFunc(m.all, func(p Passkey) bool { return p.UserID == userID && bytes.Equal(p.Credential.ID, id) })
}
