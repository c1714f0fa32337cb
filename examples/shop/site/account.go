package site

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/sqlstore"
)

type accountView struct {
	User database.User `json:"user"`
	Done string        `json:"-"`
}

func (s *Site) showAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := s.actor(r)
	if err != nil {
		return err
	}
	done := map[string]string{
		"confirmed": "Your e-mail address is confirmed.",
		"locale":    "Your language and time zone are changed.",
		"password":  "Your password is changed. You are signed out everywhere else.",
	}[r.URL.Query().Get("done")]
	return s.show(w, r, http.StatusOK, "account", accountView{a.User, done})
}

type activityView struct {
	Events []audit.Event
	Next   string // names the page after this one
}

// showActivity shows the audit trail of the account: what agents did, were
// refused, and what the human decided about them.
func (s *Site) showActivity(w http.ResponseWriter, r *http.Request) error {
	human, _ := authagent.HumanFromContext(r.Context())
	events, next, err := s.store.Events(r.Context(), sqlstore.EventQuery{UserID: human, Limit: 50, After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "activity", activityView{events, next})
}

// me returns the human in front of a page that is for humans alone.
func (s *Site) me(r *http.Request) (database.User, error) {
	id, _ := authagent.HumanFromContext(r.Context())
	return s.db.User(r.Context(), id)
}

// hasPassword reports whether the form has the human's password, which is wanted
// once more before what matters.
func (s *Site) hasPassword(r *http.Request, u database.User) (bool, error) {
	return s.passwords.matches(r.Context(), r.PostFormValue("current"), u.PasswordHash)
}

const notYourPassword = "This is not your password."

func (s *Site) showPassword(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "password", form{})
}

// changePassword ends the human's sessions everywhere else. Agents stay: they
// have no password, and are ended on their own page.
func (s *Site) changePassword(w http.ResponseWriter, r *http.Request) error {
	u, err := s.me(r)
	if err != nil {
		return err
	}
	ok, err := s.hasPassword(r, u)
	if err != nil {
		return err
	}
	password, f := r.PostFormValue("password"), form{}
	switch {
	case !ok:
		f = wrong("current", notYourPassword)
	case !goodPassword(password):
		f = wrong("password", passwordRule)
	}
	if f.Field != "" {
		return s.show(w, r, http.StatusUnprocessableEntity, "password", f)
	}
	hash, err := s.passwords.hash(r.Context(), password)
	if err != nil {
		return err
	}
	if err := s.db.SetPassword(r.Context(), u.ID, hash); err != nil {
		return err
	}
	if u, err = s.db.User(r.Context(), u.ID); err != nil {
		return err
	}
	if err := s.start(r, u); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=password", http.StatusSeeOther)
	return nil
}

type emailForm struct {
	form
	Email string
	Sent  bool
}

func (s *Site) showEmail(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "email", emailForm{})
}

// changeEmail mails a link to the new address, which counts when it is followed.
func (s *Site) changeEmail(w http.ResponseWriter, r *http.Request) error {
	u, err := s.me(r)
	if err != nil {
		return err
	}
	ok, err := s.hasPassword(r, u)
	if err != nil {
		return err
	}
	f := emailForm{Email: r.PostFormValue("email")}
	email, plain := authagent.ParseEmail(strings.TrimSpace(f.Email))
	switch {
	case !ok:
		f.form = wrong("current", notYourPassword)
	case !plain:
		f.form = wrong("email", "This is not a plain e-mail address.")
	}
	if f.Field != "" {
		return s.show(w, r, http.StatusUnprocessableEntity, "email", f)
	}
	token, err := s.db.AddConfirmation(r.Context(), database.Confirmation{UserID: u.ID, Email: email})
	if err != nil {
		return err
	}
	s.config.Mail(Mail{To: email, Subject: "Confirm your new address", Text: "To make this your address at the shop, go to\n" + s.config.URL + "/confirm?token=" + token})
	f.Sent = true
	return s.show(w, r, http.StatusOK, "email", f)
}

func (s *Site) showDelete(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "delete", form{})
}

// deleteAccount puts all agents out of the account first.
func (s *Site) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	u, err := s.me(r)
	if err != nil {
		return err
	}
	switch ok, err := s.hasPassword(r, u); {
	case err != nil:
		return err
	case !ok:
		return s.show(w, r, http.StatusUnprocessableEntity, "delete", wrong("current", notYourPassword))
	}
	if err := s.owners.RevokeAll(r.Context(), u.ID); err != nil {
		return err
	}
	if err := s.db.DeleteUser(r.Context(), u.ID); err != nil {
		return err
	}
	if _, err := s.rp.EraseUser(r.Context(), u.ID, u.ID); err != nil { // nobody gets in by what is left
		slog.ErrorContext(r.Context(), "erase user: call EraseUser again", "user", u.ID, "err", err)
	}
	return s.signOut(w, r)
}
