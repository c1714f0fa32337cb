package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
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

// signIn takes a code from the form of the sign-in page, and sends the browser on.
func (p *people) signIn(returnTo func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		secret, err := p.redeem(r.Context(), r.PostFormValue("code"))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "No such code.", http.StatusForbidden)
			return
		case err != nil:
			fail(w, r, err)
			return
		}
		http.SetCookie(w, &http.Cookie{
			Name: personCookie, Value: secret, Path: "/", Secure: p.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
		http.Redirect(w, r, returnTo(r), http.StatusSeeOther)
	}
}

// redeem uses a code up, and returns the secret of a session for the person it was
// made for; sql.ErrNoRows if there is no such code.
func (p *people) redeem(ctx context.Context, code string) (secret string, err error) {
	var userID string
	err = p.db.QueryRowContext(ctx, `DELETE FROM fleet_people WHERE secret_key = $1 AND kind = 'code' AND expires_at > now()
		RETURNING user_id`, secretKey(code)).Scan(&userID)
	if err != nil {
		return "", err
	}
	return p.add(ctx, "session", userID, 12*time.Hour)
}
