package passkey

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// What a challenge is for. One that is for the one is never good for the other.
const (
	toConfirm = "confirm"
	toAdd     = "add"
)

const (
	// freshFor is how long a challenge is good for. It is the least that the specification
	// recommends as the timeout where the user is verified (Web Authentication level 3, section
	// 15.1): some people need that long. It is short enough, since a challenge is good for one
	// decision and one time.
	freshFor = 5 * time.Minute

	// skew is how far the clocks of two instances may be apart.
	skew = time.Minute

	timeLength, nonceLength = 8, 16
	challengeLength         = timeLength + nonceLength + sha256.Size
)

// newChallenge returns a challenge for one purpose, account and decision. Nothing is stored: it has
// in it when it was made, and a MAC over all of that.
func (p *Passkeys) newChallenge(purpose, userID, digest string) []byte {
	c := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()))
	nonce := make([]byte, nonceLength)
	_, _ = rand.Read(nonce) // it never fails
	c = append(c, nonce...)
	return append(c, p.mac(p.keys[0], c, purpose, userID, digest)...)
}

// mac is over the time and the nonce, and what they are for. Lengths keep the texts apart.
func (p *Passkeys) mac(key, c []byte, purpose, userID, digest string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(c)
	for _, text := range []string{"authagent passkey", p.id, purpose, userID, digest} {
		m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		m.Write([]byte(text))
	}
	return m.Sum(nil)
}

// checkChallenge says what is wrong with a challenge that comes back. text is in base64url, as
// the browser has it in clientDataJSON.
func (p *Passkeys) checkChallenge(text, purpose, userID, digest string) error {
	c, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(c) != challengeLength {
		return errors.New("the challenge is not one of this site")
	}
	said := c[:timeLength+nonceLength]
	good := false
	for _, key := range p.keys {
		good = good || hmac.Equal(p.mac(key, said, purpose, userID, digest), c[len(said):])
	}
	if !good {
		return errors.New("the challenge is not one of this site for this account and decision")
	}
	age := time.Since(made(c))
	if age < -skew || age > freshFor {
		return errors.New("the challenge is too old")
	}
	return nil
}

func made(c []byte) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(c)), 0) }

// spend makes a challenge usable once. It comes last, so that only what is good takes room.
func (p *Passkeys) spend(ctx context.Context, text string) error {
	first, err := p.used.UseState(ctx, "passkey:"+text, time.Now().Add(freshFor+skew))
	switch {
	case err != nil:
		return fmt.Errorf("passkey: note that a challenge is used: %w", err)
	case !first:
		return errUsed
	}
	return nil
}

var errUsed = errors.New("the challenge was used already")
