package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// A User is a human with an account.
type User struct {
	ID              string `json:"id"`
	Email           string `json:"email"`
	Name            string `json:"name"`
	PasswordHash    string `json:"-"`
	PasswordChanges int64  `json:"-"`
}

const selectUser = `SELECT id, email, name, password_hash, password_changes FROM shop_users WHERE `

func (db *DB) user(ctx context.Context, where string, by string) (u User, err error) {
	err = db.one(ctx, selectUser+where, []any{by}, &u.ID, &u.Email, &u.Name, &u.PasswordHash, &u.PasswordChanges)
	return u, err
}

// User returns the user with this ID, or ErrNotFound.
func (db *DB) User(ctx context.Context, id string) (User, error) { return db.user(ctx, `id = ?`, id) }

// FindUser returns the user with this address, which is in lower case, or
// ErrNotFound.
func (db *DB) FindUser(ctx context.Context, email string) (User, error) {
	return db.user(ctx, `email = ?`, email)
}

// AddUser adds a user whose address has been confirmed. It returns
// authagent.ErrExists if the address is taken.
func (db *DB) AddUser(ctx context.Context, u User) (id string, err error) {
	u.ID = "u_" + rand.Text()
	added, err := db.exec(ctx, `INSERT INTO shop_users (id, email, name, password_hash, password_changes) VALUES (?, ?, ?, ?, 0)
		ON CONFLICT (email) DO NOTHING`, u.ID, u.Email, u.Name, u.PasswordHash)
	if err == nil && added == 0 {
		err = authagent.ErrExists
	}
	return u.ID, err
}

// SetPassword replaces a password. The user's sessions end: they have another
// number of changes.
func (db *DB) SetPassword(ctx context.Context, userID, passwordHash string) error {
	_, err := db.exec(ctx, `UPDATE shop_users SET password_hash = ?, password_changes = password_changes + 1 WHERE id = ?`, passwordHash, userID)
	return err
}

// DeleteUser deletes a user and all that is theirs.
func (db *DB) DeleteUser(ctx context.Context, userID string) error {
	return db.atomically(ctx, func(tx *sql.Tx) error {
		for _, statement := range [...]string{
			`DELETE FROM shop_order_items WHERE order_id IN (SELECT id FROM shop_orders WHERE user_id = ?)`,
			`DELETE FROM shop_order_history WHERE order_id IN (SELECT id FROM shop_orders WHERE user_id = ?)`,
			`DELETE FROM shop_orders WHERE user_id = ?`,
			`DELETE FROM shop_cart WHERE user_id = ?`,
			`DELETE FROM shop_confirmations WHERE user_id = ?`,
			`DELETE FROM shop_locales WHERE user_id = ?`,
			`DELETE FROM shop_users WHERE id = ?`,
		} {
			if _, err := tx.ExecContext(ctx, db.sql(statement), userID); err != nil {
				return err
			}
		}
		return nil
	})
}

// A Locale is how a user reads: the zero value says nothing of it.
type Locale struct {
	Language string `json:"language"`  // a tag
	TimeZone string `json:"time_zone"` // of the IANA database
}

// Locale returns how a user reads.
func (db *DB) Locale(ctx context.Context, userID string) (l Locale, err error) {
	err = db.one(ctx, `SELECT language, time_zone FROM shop_locales WHERE user_id = ?`, []any{userID}, &l.Language, &l.TimeZone)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return l, err
}

// SetLocale replaces how a user reads.
func (db *DB) SetLocale(ctx context.Context, userID string, l Locale) error {
	_, err := db.exec(ctx, `INSERT INTO shop_locales (user_id, language, time_zone) VALUES (?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET language = excluded.language, time_zone = excluded.time_zone`, userID, l.Language, l.TimeZone)
	return err
}

// UserByEmail implements [authagent.UserStore]. Every account has an address that
// its holder has confirmed.
func (db *DB) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	return forAgents(db.FindUser(ctx, email))
}

// UserByID implements [authagent.UserFinder].
func (db *DB) UserByID(ctx context.Context, id string) (authagent.User, error) {
	return forAgents(db.User(ctx, id))
}

func forAgents(u User, err error) (authagent.User, error) {
	if errors.Is(err, ErrNotFound) {
		err = authagent.ErrNotFound
	}
	return authagent.User{ID: u.ID, EmailVerified: true, Name: u.Email}, err
}

// CheckSession implements [authagent.SessionChecker]: no agent acts in an account
// that is gone.
func (db *DB) CheckSession(ctx context.Context, s *authagent.Session) error {
	_, err := db.User(ctx, s.UserID)
	if errors.Is(err, ErrNotFound) {
		return problem.NoAccount
	}
	return err
}

// A Confirmation is what becomes true when the holder of an address confirms it.
type Confirmation struct {
	UserID       string // whose new address it is; empty for a new account
	Email        string
	Name         string
	PasswordHash string
}

// AddConfirmation keeps c for a day and returns the token that confirms it.
func (db *DB) AddConfirmation(ctx context.Context, c Confirmation) (token string, err error) {
	token = rand.Text()
	_, err = db.exec(ctx, `INSERT INTO shop_confirmations (token_hash, user_id, email, name, password_hash, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
		hash(token), c.UserID, c.Email, c.Name, c.PasswordHash, time.Now().Add(24*time.Hour).Unix())
	return token, err
}

// Confirmation returns what a token confirms, or ErrNotFound.
func (db *DB) Confirmation(ctx context.Context, token string) (c Confirmation, err error) {
	err = db.one(ctx, `SELECT user_id, email, name, password_hash FROM shop_confirmations WHERE token_hash = ? AND expires_at > ?`,
		[]any{hash(token), time.Now().Unix()}, &c.UserID, &c.Email, &c.Name, &c.PasswordHash)
	return c, err
}

// Confirm makes what a token confirms true, and returns the user. The token is of
// no use afterwards. It returns authagent.ErrExists if the address is taken.
func (db *DB) Confirm(ctx context.Context, token string) (User, error) {
	c, err := db.Confirmation(ctx, token)
	if err != nil {
		return User{}, err
	}
	used, err := db.exec(ctx, `DELETE FROM shop_confirmations WHERE token_hash = ?`, hash(token))
	switch {
	case err != nil:
		return User{}, err
	case used == 0: // somebody else was faster
		return User{}, ErrNotFound
	}
	if c.UserID == "" {
		c.UserID, err = db.AddUser(ctx, User{Email: c.Email, Name: c.Name, PasswordHash: c.PasswordHash})
	} else {
		err = db.setEmail(ctx, c.UserID, c.Email)
	}
	if err != nil {
		return User{}, err
	}
	return db.User(ctx, c.UserID)
}

func (db *DB) setEmail(ctx context.Context, userID, email string) error {
	changed, err := db.exec(ctx, `UPDATE shop_users SET email = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM shop_users WHERE email = ?)`,
		email, userID, email)
	if err == nil && changed == 0 {
		err = authagent.ErrExists
	}
	return err
}
