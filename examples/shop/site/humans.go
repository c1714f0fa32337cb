package site

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/examples/shop/database"
)

// signInForm is what the sign-in page shows.
type signInForm struct {
	form
	Email    string
	ReturnTo string
	Button   template.HTML // the one that agents look for
}

func (s *Site) showSignIn(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "sign-in", signInForm{ReturnTo: s.rp.ReturnTo(r), Button: s.rp.Button(s.rp.ReturnTo(r))})
}

// unknownHash is of a password that nobody has: whether an account exists must
// not show in how long a refusal takes.
var unknownHash = func() string {
	hash, err := argon2id.CreateHash("nobody's", argon2id.DefaultParams)
	if err != nil {
		panic(err)
	}
	return hash
}()

// signIn signs a human in by their password.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request) error {
	email, _ := authagent.ParseEmail(r.PostFormValue("email"))
	u, err := s.db.FindUser(r.Context(), email)
	if errors.Is(err, database.ErrNotFound) {
		u, err = database.User{PasswordHash: unknownHash}, nil
	}
	if err != nil {
		return err
	}
	ok, err := s.passwords.matches(r.Context(), r.PostFormValue("password"), u.PasswordHash)
	switch {
	case err != nil:
		return err
	case !ok || u.ID == "":
		return s.show(w, r, http.StatusUnprocessableEntity, "sign-in", signInForm{
			form: wrong("password", "This address and this password do not belong together."), Email: r.PostFormValue("email"),
			ReturnTo: s.rp.ReturnTo(r), Button: s.rp.Button(s.rp.ReturnTo(r)),
		})
	}
	if err := s.start(r, u); err != nil {
		return err
	}
	http.Redirect(w, r, s.rp.ReturnTo(r), http.StatusSeeOther)
	return nil
}

func (s *Site) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := s.humans.Destroy(r.Context()); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

type registerForm struct {
	form
	Name, Email string
	Sent        bool // a mail is on its way
}

func (s *Site) showRegister(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "register", registerForm{})
}

// register mails a link that confirms the address. Until then there is no account,
// and whether there was one already is told to nobody but the holder of the
// address.
func (s *Site) register(w http.ResponseWriter, r *http.Request) error {
	f := registerForm{Name: strings.TrimSpace(r.PostFormValue("name")), Email: r.PostFormValue("email")}
	email, ok := authagent.ParseEmail(strings.TrimSpace(f.Email))
	password := r.PostFormValue("password")
	switch {
	case f.Name == "" || utf8.RuneCountInString(f.Name) > 60:
		f.form = wrong("name", "Your name has between 1 and 60 characters.")
	case !ok:
		f.form = wrong("email", "This is not a plain e-mail address.")
	case !goodPassword(password):
		f.form = wrong("password", passwordRule)
	}
	if f.Field != "" {
		return s.show(w, r, http.StatusUnprocessableEntity, "register", f)
	}
	hash, err := s.passwords.hash(r.Context(), password)
	if err != nil {
		return err
	}
	token, err := s.db.AddConfirmation(r.Context(), database.Confirmation{Email: email, Name: f.Name, PasswordHash: hash})
	if err != nil {
		return err
	}
	s.config.Mail(Mail{To: email, Subject: "Confirm your address", Text: "To open your account, go to\n" + s.config.URL + "/confirm?token=" + token})
	f.Sent = true
	return s.show(w, r, http.StatusOK, "register", f)
}

const passwordRule = "A password has between 10 and 200 characters."

func goodPassword(password string) bool {
	n := utf8.RuneCountInString(password)
	return n >= 10 && n <= 200
}

type confirmForm struct {
	form
	Token, Email string
}

func (s *Site) showConfirm(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	c, err := s.db.Confirmation(r.Context(), token)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "confirm", confirmForm{Token: token, Email: c.Email})
}

// confirm opens an account, or gives it its new address. It takes the link and
// the password: who has the address and did not ask for the link opens nothing,
// and neither does who asked for it and has not the address.
func (s *Site) confirm(w http.ResponseWriter, r *http.Request) error {
	token := r.PostFormValue("token")
	c, err := s.db.Confirmation(r.Context(), token)
	if err != nil {
		return err
	}
	hash := c.PasswordHash
	if c.UserID != "" {
		u, err := s.db.User(r.Context(), c.UserID)
		if err != nil {
			return err
		}
		hash = u.PasswordHash
	}
	f := confirmForm{Token: token, Email: c.Email}
	switch ok, err := s.passwords.matches(r.Context(), r.PostFormValue("password"), hash); {
	case err != nil:
		return err
	case !ok:
		f.form = wrong("password", "This is not the password.")
		return s.show(w, r, http.StatusUnprocessableEntity, "confirm", f)
	}
	u, err := s.db.Confirm(r.Context(), token)
	if errors.Is(err, authagent.ErrExists) {
		f.form = wrong("password", "There is an account with this address already. Sign in to it.")
		return s.show(w, r, http.StatusConflict, "confirm", f)
	}
	if err != nil {
		return err
	}
	if err := s.start(r, u); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?"+url.Values{"done": {"confirmed"}}.Encode(), http.StatusSeeOther)
	return nil
}
