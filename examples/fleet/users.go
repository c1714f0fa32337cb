package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
)

// users are the site's accounts. Links holds an agent to the account that it
// entered first.
type users struct {
	*sqlstore.Links
	db *sql.DB
}

const selectUser = `SELECT id, email_verified, disabled FROM fleet_users WHERE `

// UserByEmail implements authagent.UserStore.
func (u *users) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	return u.find(ctx, selectUser+`lower(email) = $1`, email)
}

// UserByID implements authagent.UserFinder.
func (u *users) UserByID(ctx context.Context, id string) (authagent.User, error) {
	return u.find(ctx, selectUser+`id = $1`, id)
}

func (u *users) find(ctx context.Context, query, by string) (user authagent.User, err error) {
	err = u.db.QueryRowContext(ctx, query, by).Scan(&user.ID, &user.EmailVerified, &user.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		err = authagent.ErrNotFound
	}
	return user, err
}

// CheckSession implements authagent.SessionChecker: the agents of an account that
// has been disabled are out on their next request.
func (u *users) CheckSession(ctx context.Context, s *authagent.Session) error {
	switch user, err := u.UserByID(ctx, s.UserID); {
	case errors.Is(err, authagent.ErrNotFound):
		return authagent.ErrNoAccount
	case err != nil:
		return err
	case user.Disabled:
		return authagent.ErrNoAccount
	}
	return nil
}
