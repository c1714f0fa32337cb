package tokens

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wire"
)

const (
	// margin is how long before its end an access token is refreshed. Up to a
	// tenth of it is added at random, so that tokens that were issued together are
	// not refreshed together.
	margin = time.Minute

	// refusedEvery is how often a token that has not expired is refreshed because
	// somebody refused it. An API that refuses every token is no reason for more.
	refusedEvery = time.Minute
)

// A record is what is kept of the tokens of one session.
type record struct {
	Access, Refresh string
	Subject         string // whom the server spoke of at sign-in
	Issued          time.Time
	Expires         time.Time // zero when not said
	RefreshAt       time.Time // zero for no need
	Forced          time.Time // when tokens that had not expired were refreshed last
	Confirmed       time.Time // when the server confirmed the session last

	Claim    string    // of whoever is refreshing at the moment
	Failures int       // refreshes in a row that failed for the time being
	RetryAt  time.Time // when to try again after them
	Refused  time.Time // when the server refused the refresh token for good

	rest string // encoded fields of a later version, kept for the instances that know them
}

func newRecord(t *wire.Token, subject string) *record {
	now := time.Now()
	r := &record{Access: t.Access, Refresh: t.Refresh, Subject: subject, Issued: now, Expires: t.Expires, Confirmed: now}
	if !t.Expires.IsZero() {
		// Of a token that lives for a minute, most is to be used. One may be over already.
		early := max(0, min(margin, t.Expires.Sub(now)/4))
		r.RefreshAt = t.Expires.Add(-early - rand.N(early/10+1))
	}
	return r
}

// due reports whether the tokens are to be refreshed: their time has come, or
// this access token, if it is still the one in use, was refused somewhere.
func (r *record) due(now time.Time, refused string) bool {
	if refused == r.Access && now.Sub(r.Forced) >= refusedEvery {
		return true
	}
	return !r.RefreshAt.IsZero() && !now.Before(r.RefreshAt)
}

// live reports whether the access token can still be used.
func (r *record) live(now time.Time) bool { return r.Expires.IsZero() || now.Before(r.Expires) }

func (r *record) token() Token { return Token{Access: r.Access, Expires: r.Expires} }

// recordVersion is the first byte of a record. A field is added at the end, and an
// instance that does not know it passes it on. The version changes only when that
// will not do: older instances then cannot use the tokens, and leave them alone.
const recordVersion = 1

var errVersion = errors.New("tokens: stored value is of another version")

func (r *record) times() [7]*time.Time {
	return [...]*time.Time{&r.Issued, &r.Expires, &r.RefreshAt, &r.Forced, &r.Confirmed, &r.RetryAt, &r.Refused}
}

func (r *record) texts() [4]*string {
	return [...]*string{&r.Access, &r.Refresh, &r.Subject, &r.Claim}
}

func (r *record) encode() []byte {
	b := []byte{recordVersion}
	for _, t := range r.times() {
		nanos := int64(0)
		if !t.IsZero() {
			nanos = t.UnixNano()
		}
		b = seal.AppendInt(b, nanos)
	}
	for _, s := range r.texts() {
		b = seal.AppendString(b, *s)
	}
	return append(seal.AppendInt(b, int64(r.Failures)), r.rest...)
}

func parseRecord(value string) (*record, error) {
	if len(value) == 0 || value[0] != recordVersion {
		return nil, errVersion
	}
	f, r := seal.NewReader(value[1:]), &record{}
	for _, t := range r.times() {
		if nanos := f.Int(); nanos != 0 {
			*t = time.Unix(0, nanos)
		}
	}
	for _, s := range r.texts() {
		*s = f.String()
	}
	r.Failures = int(f.Int())
	r.rest = f.Rest()
	return r, f.Err()
}
