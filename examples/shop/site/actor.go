package site

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

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

// requireMember lets humans and agents through. Anybody else is told to sign in:
// a browser on a page for both, a program as authagent does.
func (s *Site) requireMember(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := s.actor(r)
		switch {
		case err != nil:
			s.fail(w, r, err)
		case a.User.ID != "":
			next.ServeHTTP(w, r)
		case wantsPage(r):
			toSignIn(w, r)
		default:
			s.rp.ServeError(w, r, authagent.ErrNoSession)
		}
	})
}

// signInFirst has a human who opens a page for humans sign in, and come back.
func (s *Site) signInFirst(next http.Handler) http.Handler {
	check := s.rp.Attach(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, err := s.actor(r); err == nil && a.User.ID == "" {
			toSignIn(w, r)
			return
		}
		next.ServeHTTP(w, r) // which decides
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && wantsPage(r) {
			check.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func toSignIn(w http.ResponseWriter, r *http.Request) {
	target := "/sign-in"
	if r.Method == http.MethodGet {
		target += "?return_to=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// returnTo is where a human wanted to be: a path on this site, whoever wrote the
// link.
func returnTo(r *http.Request) string {
	target := r.FormValue("return_to")
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.Contains(target, `\`) {
		return "/"
	}
	return target
}
