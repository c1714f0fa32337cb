package wire

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrKeys says that the server has an address for its keys, and that no key can
	// be read there.
	ErrKeys = errors.New("published keys cannot be read")

	// ErrSignature says that no published key verifies a token.
	ErrSignature = errors.New("no published key verifies the signature")
)

// Keys are the keys that a server publishes. They are fetched when the first token
// needs one, and again for a token that none of them verifies. Keys are safe for
// concurrent use.
//
// The set is read here, key by key: RFC 7517 section 5 has a key ignored that cannot be read.
type Keys struct {
	client  *Client
	address string
	used    atomic.Bool

	mu      sync.Mutex
	fetched bool // keys are what the server published
	keys    []publicKey
	flight  *keyFlight // nil while nobody fetches
	landed  time.Time  // when the last fetch ended
	failure error      // of the last fetch; nil if it succeeded
}

// A keyFlight is a fetch, for which all wait that need it.
type keyFlight struct {
	done chan struct{}
	keys []publicKey // this and err are set when done is closed
	err  error
}

const keysStep = "keys request"

// fetchUnasked is how often, at most, keys are fetched for tokens that anybody may have sent.
const fetchUnasked = 10 * time.Second

// Any reports whether the server publishes a key that signatures could be
// verified with. The published Auth Agent server publishes an empty set.
func (k *Keys) Any(ctx context.Context) (bool, error) {
	k.used.Store(true)
	if keys, fetched := k.known(); fetched {
		return len(keys) > 0, nil
	}
	keys, _, err := k.fetch(ctx, 0)
	return len(keys) > 0, err
}

// VerifySignature returns nil if a token is signed with one of the keys. It returns
// ErrSignature where none verifies it, and an Error where they could not be had.
func (k *Keys) VerifySignature(ctx context.Context, token string) error {
	k.used.Store(true)
	t, err := readJWS(token)
	if err != nil {
		return err
	}
	keys, _ := k.known()
	err = t.verify(keys)
	// A key that is not known may be new. A fetch that somebody else has begun may
	// have been answered before it was published.
	for own := false; err != nil && !own; {
		if keys, own, err = k.fetch(ctx, 0); err != nil {
			return err
		}
		err = t.verify(keys)
	}
	return err
}

// VerifyUnasked is VerifySignature for a token that was not asked for, so that anybody may have
// sent it: a flood of those must not become a flood of requests to the server. The keys are
// fetched only if the last fetch, for whatever token, ended 10 seconds ago or more. A token under
// a key that is newer than that is refused. Servers publish a key well before they sign with it.
func (k *Keys) VerifyUnasked(ctx context.Context, token string) error {
	k.used.Store(true)
	t, err := readJWS(token)
	if err != nil {
		return err
	}
	keys, _ := k.known()
	if t.verify(keys) == nil {
		return nil
	}
	fresh, _, err := k.fetch(ctx, fetchUnasked)
	switch {
	case err != nil:
		return err
	case len(fresh) > 0 && len(keys) > 0 && &fresh[0] == &keys[0]: // none were fetched since
		return ErrSignature
	}
	return t.verify(fresh)
}

// VerifyHS256 returns nil if a token is signed with a shared secret (HS256), and ErrSignature otherwise.
func VerifyHS256(token string, key []byte) error {
	t, err := readJWS(token)
	if err != nil || t.alg != "HS256" {
		return ErrSignature
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(t.signed)
	if !hmac.Equal(t.signature, mac.Sum(nil)) {
		return ErrSignature
	}
	return nil
}

func (k *Keys) known() (keys []publicKey, fetched bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.fetched
}

// fetch waits for a fetch, and reports whether the caller began it. It belongs to
// none of those who wait, so none can cut it off for the others. If the last one ended
// less than pause ago, its outcome is returned.
func (k *Keys) fetch(ctx context.Context, pause time.Duration) (keys []publicKey, own bool, err error) {
	k.mu.Lock()
	flight := k.flight
	if flight == nil && !k.landed.IsZero() && time.Since(k.landed) < pause {
		defer k.mu.Unlock()
		return k.keys, false, k.failure
	}
	if own = flight == nil; own {
		flight = &keyFlight{done: make(chan struct{})}
		k.flight = flight
		go k.fetchFor(flight)
	}
	k.mu.Unlock()
	select {
	case <-flight.done:
		return flight.keys, own, flight.err
	case <-ctx.Done():
		return nil, own, &Error{Kind: Unavailable, Step: keysStep, Err: ctx.Err()}
	}
}

func (k *Keys) fetchFor(flight *keyFlight) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	flight.keys, flight.err = k.client.keys(ctx, k.address)
	k.mu.Lock()
	defer k.mu.Unlock()
	if flight.err == nil {
		k.keys, k.fetched = flight.keys, true
	}
	k.flight, k.landed, k.failure = nil, time.Now(), flight.err
	close(flight.done)
}

// keys asks for the keys at an address.
func (c *Client) keys(ctx context.Context, address string) ([]publicKey, error) {
	a, err := c.send(ctx, keysStep, http.MethodGet, address, fields{{"Cache-Control", "no-cache"}}, nil)
	var failed *Error
	switch {
	case errors.As(err, &failed) && failed.Kind == Malformed:
		return nil, unreadable(failed.Status, failed.Err)
	case err != nil:
		return nil, err
	case a.status != http.StatusOK:
		if e := a.failure(keysStep); e.Kind == Unavailable {
			return nil, e
		}
		return nil, unreadable(a.status, nil)
	}
	keys, err := readKeys(a.body)
	if err != nil {
		return nil, unreadable(a.status, err)
	}
	return keys, nil
}

func unreadable(status int, why error) *Error {
	err := ErrKeys
	if why != nil {
		err = fmt.Errorf("%w: %w", ErrKeys, why)
	}
	return &Error{Kind: Malformed, Step: keysStep, Status: status, Err: err}
}

// renewKeys returns the keys at an address. No key is ever forgotten by a set, so
// a new set takes its place with the metadata: a key that was withdrawn is good for
// an hour at most. The new one has its keys by then, lest a sign-in waits for them;
// without, the former one goes on.
func (s *Source) renewKeys(address string, before *Metadata) *Keys {
	fresh := &Keys{client: s.client, address: address}
	if before == nil || before.JWKS != address {
		return fresh
	}
	if !before.Keys.used.Load() {
		return before.Keys
	}
	if _, _, err := fresh.fetch(context.Background(), 0); err != nil {
		return before.Keys
	}
	fresh.used.Store(true)
	return fresh
}
