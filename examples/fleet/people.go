package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"time"
)

// people is how humans sign in. It stands for what your site has already: a code
// that -person prints opens a session, once.
type people struct {
	db     *sql.DB
	secure bool // cookies need TLS
}

const personCookie = "fleet-person"

func secretKey(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// add stores a secret of a user and returns it.
func (p *people) add(ctx context.Context, kind, userID string, lasts time.Duration) (secret string, err error) {
	secret = rand.Text()
	_, err = p.db.ExecContext(ctx, `INSERT INTO fleet_people (secret_key, kind, user_id, expires_at) VALUES ($1, $2, $3, $4)`,
		secretKey(secret), kind, userID, time.Now().Add(lasts))
	return secret, err
}

// invite returns a code for the person who has an address, which whoever runs
// this has verified.
func (p *people) invite(ctx context.Context, email string) (code string, err error) {
	var id string
	err = p.db.QueryRowContext(ctx, `INSERT INTO fleet_users (id, email, email_verified) VALUES ($1, lower($2 COLLATE "C"), TRUE)
		ON CONFLICT (lower(email COLLATE "C")) DO UPDATE SET email_verified = TRUE RETURNING id`, rand.Text(), email).Scan(&id)
	if err != nil {
		return "", err
	}
	return p.add(ctx, "code", id, 10*time.Minute)
}

// human is authagent.Config.Human.
func (p *people) human(r *http.Request) (userID string, err error) {
	cookie, err := r.Cookie(personCookie)
	if err != nil {
		return "", nil
	}
	err = p.db.QueryRowContext(r.Context(), `SELECT user_id FROM fleet_people JOIN fleet_users ON user_id = id
		WHERE secret_key = $1 AND kind = 'session' AND expires_at > now() AND NOT disabled`, secretKey(cookie.Value)).Scan(&userID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return userID, err
}

// signIn takes a code from the form of page.
func (p *people) signIn(w http.ResponseWriter, r *http.Request) {
	var userID string
	err := p.db.QueryRowContext(r.Context(), `DELETE FROM fleet_people WHERE secret_key = $1 AND kind = 'code' AND expires_at > now()
		RETURNING user_id`, secretKey(r.PostFormValue("code"))).Scan(&userID)
	if errors.Is(err, sql.ErrNoRows) {
		http.Error(w, "No such code.", http.StatusForbidden)
		return
	}
	secret := ""
	if err == nil {
		secret, err = p.add(r.Context(), "session", userID, 12*time.Hour)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: personCookie, Value: secret, Path: "/", Secure: p.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, "/account/agents/", http.StatusSeeOther)
}

// page asks for a code.
func (p *people) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, `<!doctype html><title>Sign in</title>
<form method="post"><label>Code <input name="code" required></label> <button>Sign in</button></form>`)
}
