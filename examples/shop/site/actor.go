package site

import (
	"errors"
	"net/http"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/examples/shop/database"
)

// An actor is who sends a request: a human, or an agent that acts for one. The
// zero value is neither.
type actor struct {
	User  database.User
	Agent *authagent.Session // nil for the human in person
}

// actor returns who sends the request. In a browser where both are signed in, it
// is the agent, which may do less.
func (s *Site) actor(r *http.Request) (a actor, err error) {
	session, ok := authagent.FromContext(r.Context())
	if !ok {
		a.User, err = s.signedIn(r)
		return a, err
	}
	a.Agent = session
	a.User, err = s.db.User(r.Context(), session.UserID)
	return a, err
}

// agent returns the agent that does it, for the records.
func (a actor) agent() authagent.Agent {
	if a.Agent == nil {
		return authagent.Agent{}
	}
	return a.Agent.Agent
}

// May reports whether the actor may do what has this name. It is for what a page
// offers; what keeps an agent out is the guard in front of the handler.
func (a actor) May(action string) bool {
	return a.User.ID != "" && (a.Agent == nil || a.Agent.May(action))
}

// signedIn returns the human who is signed in, or nobody. A session from before
// the last change of the password is none.
func (s *Site) signedIn(r *http.Request) (database.User, error) {
	id := s.humans.GetString(r.Context(), "user")
	if id == "" {
		return database.User{}, nil
	}
	u, err := s.db.User(r.Context(), id)
	switch {
	case errors.Is(err, database.ErrNotFound):
		return database.User{}, nil
	case err != nil:
		return database.User{}, err
	case s.humans.GetInt64(r.Context(), "changes") != u.PasswordChanges:
		return database.User{}, nil
	}
	return u, nil
}

// start signs a human in, with a new token: one that was planted in the browser
// must not become theirs.
func (s *Site) start(r *http.Request, u database.User) error {
	ctx := r.Context()
	if err := s.humans.RenewToken(ctx); err != nil {
		return err
	}
	s.humans.Put(ctx, "user", u.ID)
	s.humans.Put(ctx, "changes", u.PasswordChanges)
	return nil
}
