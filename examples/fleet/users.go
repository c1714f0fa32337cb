package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// users are the site's accounts. With owner approval a site needs no Links. Here they
// hold an agent to the account that it entered first, even after its owner revoked it.
type users struct {
	*sqlstore.Links
	db *sql.DB
}

const selectUser = `SELECT id, email, email_verified, disabled FROM fleet_users WHERE `

// UserByEmail implements authagent.UserStore.
func (u *users) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	rows, err := u.db.QueryContext(ctx, selectUser+`lower(email COLLATE "C") = $1`, email)
	if err != nil {
		return authagent.User{}, err
	}
	defer rows.Close()
	var found []authagent.User
	for rows.Next() {
		var user authagent.User
		if err := rows.Scan(&user.ID, &user.Name, &user.EmailVerified, &user.Disabled); err != nil {
			return authagent.User{}, err
		}
		if stored, ok := authagent.ParseEmail(user.Name); ok && stored == email {
			found = append(found, user)
		}
	}
	switch {
	case rows.Err() != nil:
		return authagent.User{}, rows.Err()
	case len(found) == 0:
		return authagent.User{}, authagent.ErrNotFound
	case len(found) > 1:
		return authagent.User{}, authagent.ErrAmbiguous
	}
	return found[0], nil
}

// UserByID implements authagent.UserFinder.
func (u *users) UserByID(ctx context.Context, id string) (authagent.User, error) {
	var user authagent.User
	err := u.db.QueryRowContext(ctx, selectUser+`id = $1`, id).Scan(&user.ID, &user.Name, &user.EmailVerified, &user.Disabled)
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
		return problem.NoAccount
	case err != nil:
		return err
	case user.Disabled:
		return problem.NoAccount
	}
	return nil
}
