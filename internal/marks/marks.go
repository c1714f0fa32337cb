// Package marks ends sessions before their time. A session notes the marks that it
// begins under: of the site, of the agent and of the user. It has ended as soon as one of
// them is another, or there is one of its own. So no clock is asked.
//
// An access token is another matter: an instance that has not seen it before cannot know under which marks
// it began to be used. So each mark has the time at which it was made, and a token that was issued before
// then has ended.
package marks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/stores"
)

// Store is authagent.RevocationStore.
type Store interface {
	Revoke(ctx context.Context, key, mark string, until time.Time) error
	Marks(ctx context.Context, keys []string) ([]string, error)
}

// A Register knows which sessions were ended. Its fields are set before its first use.
type Register struct {
	Store    Store
	Lifetime time.Duration // of sessions, and three times how far clocks may be apart
	Meter    *meter.Meter  // nil for none

	Expecters []stores.Expecter // are told beforehand what is asked, see Expecters
}

// The keys of marks.
const (
	Site = memory.Site

	// anyUser is a key whose mark changes just before that of any user does. It tells a
	// sign-in, which knows its user late, that somebody's sessions were ended meanwhile.
	anyUser = "users"
)

// Session returns the key of one session.
func Session(id string) string { return "session:" + id }

// Lowered returns what ends the sessions that go on with another, and not that one: it may do less than when they began.
func Lowered(id string) string { return "lowered " + id }

// Agent returns the key of all sessions of an agent.
func Agent(a audit.Agent) string { return "agent:" + a.Issuer + " " + a.ID }

// User returns the key of all sessions for a user.
func User(id string) string { return userPrefix + id }

const (
	userPrefix    = "user:"
	subjectPrefix = "subject:"
)

// Shown returns what a store may keep of a key for people to read: of the key of a person, only what kind
// it is.
func Shown(key string) string {
	if strings.HasPrefix(key, userPrefix) {
		return userPrefix
	}
	if issuer, isSubject := strings.CutPrefix(key, subjectPrefix); isSubject {
		issuer, _, _ = strings.Cut(issuer, " ")
		return subjectPrefix + issuer
	}
	return key
}

// Subject returns the key of all sessions of agents that act for a user of an issuer.
func Subject(issuer, subject string) string { return subjectPrefix + issuer + " " + subject }

// SID returns the key of all sessions that came from one session at an issuer. That one ends once,
// so a session under it has ended if there is any mark.
func SID(issuer, sid string) string { return "sid:" + issuer + " " + sid }

// Of is what is asked about a session. It ends with its Parent. Subject and SID are its issuer's; all but ID and
// Agent may be empty.
type Of struct {
	ID, Parent           string
	Agent                audit.Agent
	UserID, Subject, SID string
	Under                Under // the marks that it began under
}

// End ends the sessions of a key that have begun.
func (m *Register) End(ctx context.Context, key string) error {
	// Until the last of them is over by every clock: that of the instance that
	// started it, and that of the one which cleans up. The third is for the call.
	now := time.Now()
	if err := m.Store.Revoke(ctx, key, memory.NewMark(now), now.Add(m.Lifetime)); err != nil {
		m.failed(err)
		return fmt.Errorf("authagent: record that sessions have ended: %w", err)
	}
	return nil
}

// EndUser ends the sessions of a user that have begun.
func (m *Register) EndUser(ctx context.Context, userID string) error {
	if err := m.End(ctx, anyUser); err != nil {
		return err
	}
	return m.End(ctx, User(userID))
}

// madeAt returns when a mark was made, and whether it says so.
func madeAt(mark string) (at time.Time, says bool) {
	if len(mark) < memory.TimeDigits {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseInt(mark[:memory.TimeDigits], 36, 64)
	return time.Unix(0, nanos), err == nil
}

// Under are the marks that a session begins under; each empty where there was none.
type Under struct{ Site, Agent, User, Subject string }

// Ended reports whether something has ended, by one of the marks, that began at this time. It has if the
// time is not known, or that of a mark.
func (u Under) Ended(began time.Time) bool {
	for _, mark := range [...]string{u.Site, u.Agent, u.User, u.Subject} {
		if mark == "" {
			continue
		}
		if at, says := madeAt(mark); !says || !began.After(at) {
			return true
		}
	}
	return false
}

// Begin calls signIn, which says for whom an agent acts and asks the stores with the context that it gets, and returns the
// marks that the session begins under. Those of the site, the agent and the user at its issuer, who may be empty,
// are read before. So is the one of all users; where it has changed since, the user's sessions may have been ended after
// signIn had looked at the account, and the session gets no mark of the user's that holds.
func (m *Register) Begin(ctx context.Context, agent audit.Agent, subject string, signIn func(context.Context) (userID string, err error)) (Under, error) {
	keys := []string{Site, Agent(agent), anyUser}
	if subject != "" {
		keys = append(keys, Subject(agent.Issuer, subject))
	}
	ctx, done := m.expect(ctx, stores.Expected{Keys: keys, Agent: agent})
	defer done()
	before, err := m.marks(ctx, keys...)
	if err != nil {
		return Under{}, err
	}
	userID, err := signIn(ctx)
	if err != nil {
		return Under{}, err
	}
	under := Under{Site: before[0], Agent: before[1]}
	if subject != "" {
		under.Subject = before[3]
	}
	if userID != "" {
		after, err := m.marks(ctx, anyUser, User(userID))
		if err != nil {
			return Under{}, err
		}
		if after[0] == before[2] {
			under.User = after[1]
		}
	}
	return under, nil
}

// HasEnded reports whether a session was ended before its time.
func (m *Register) HasEnded(ctx context.Context, s *Of) (bool, error) {
	if inMemory, ok := m.Store.(*memory.Revocations); ok {
		return endedInMemory(inMemory, s), nil
	}
	keys, had := keysOf(s)
	return m.changed(ctx, keys, had)
}

// keysOf returns the keys of all marks that end a session, and the marks that it began under.
func keysOf(s *Of) (keys, had []string) {
	keys, had = make([]string, 3, 8), make([]string, 3, 8)
	keys[0], keys[1], keys[2] = Session(s.ID), Agent(s.Agent), Site
	had[1], had[2] = s.Under.Agent, s.Under.Site
	if s.Parent != "" {
		keys, had = append(keys, Session(s.Parent), Session(Lowered(s.Parent))), append(had, "", "")
	}
	if s.UserID != "" {
		keys, had = append(keys, User(s.UserID)), append(had, s.Under.User)
	}
	if s.Subject != "" {
		keys, had = append(keys, Subject(s.Agent.Issuer, s.Subject)), append(had, s.Under.Subject)
	}
	if s.SID != "" {
		keys, had = append(keys, SID(s.Agent.Issuer, s.SID)), append(had, "")
	}
	return keys, had
}

// endedInMemory is HasEnded without an allocation, in one look: between two, all marks could be replaced by one of the site.
func endedInMemory(store *memory.Revocations, s *Of) bool {
	under := &s.Under
	if store.Empty() {
		return false
	}
	look := store.Look()
	defer look.Done()
	return look.Changed("", "session:", s.ID) || look.Changed(under.Agent, "agent:", s.Agent.Issuer, " ", s.Agent.ID) || look.Changed(under.Site, Site) ||
		s.Parent != "" && (look.Changed("", "session:", s.Parent) || look.Changed("", "session:", "lowered ", s.Parent)) ||
		s.UserID != "" && look.Changed(under.User, "user:", s.UserID) ||
		s.Subject != "" && look.Changed(under.Subject, "subject:", s.Agent.Issuer, " ", s.Subject) ||
		s.SID != "" && look.Changed("", "sid:", s.Agent.Issuer, " ", s.SID)
}

// Forgot reports whether the store has forgotten marks since a time, as the one in memory does when it is full. It has ended every
// session then. A login that began before may come from a session at the issuer whose end it does not know any more.
func (m *Register) Forgot(since time.Time) bool {
	inMemory, ok := m.Store.(*memory.Revocations)
	return ok && inMemory.Forgot(since)
}

// changed reports whether any of keys has a mark, and another than it had.
func (m *Register) changed(ctx context.Context, keys, had []string) (bool, error) {
	marks, err := m.marks(ctx, keys...)
	for i, mark := range marks {
		if mark != "" && mark != had[i] {
			return true, nil
		}
	}
	return false, err
}

// marks returns those of keys.
func (m *Register) marks(ctx context.Context, keys ...string) ([]string, error) {
	if m.empty() {
		return make([]string, len(keys)), nil
	}
	marks, err := m.Store.Marks(ctx, keys)
	if err != nil {
		m.failed(err)
	}
	if err == nil && len(marks) != len(keys) {
		err = fmt.Errorf("the revocation store gave %d marks for %d keys", len(marks), len(keys))
	}
	return marks, err
}

// failed records that the store has failed, unless nobody waits for it any more.
func (m *Register) failed(err error) {
	if !errors.Is(err, context.Canceled) {
		m.Meter.StoreFailed(meter.Revocations)
	}
}

// empty reports that nothing was ended, where that can be told without a look.
func (m *Register) empty() bool {
	inMemory, ok := m.Store.(*memory.Revocations)
	return ok && inMemory.Empty()
}

// Since is when a person was known whom an issuer has signed in.
type Since struct{ issuer, subject, mark, site string }

// Since returns this moment for a person.
func (m *Register) Since(ctx context.Context, issuer, subject string) (Since, error) {
	marks, err := m.marks(ctx, Subject(issuer, subject), Site)
	if err != nil {
		return Since{}, err
	}
	return Since{issuer, subject, marks[0], marks[1]}, nil
}

// While calls start, which makes a person's session of one at the issuer, whose ID there is sid if it has
// any. It returns ended if the issuer has ended that one, or all of the subject since then. It looks again
// when start has made the session: an end that came before, the site could not know what to end of.
func (m *Register) While(ctx context.Context, since Since, sid string, ended error, start func() error) error {
	keys, had := []string{Subject(since.issuer, since.subject), Site}, []string{since.mark, since.site}
	if sid != "" {
		keys, had = append(keys, SID(since.issuer, sid)), append(had, "")
	}
	holds := func() error {
		over, err := m.changed(ctx, keys, had)
		if over {
			return ended
		}
		return err
	}
	if err := holds(); err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	return holds()
}
