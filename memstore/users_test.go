package memstore_test

import (
	"context"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/storetest"
)

type userTable struct{ memstore.Users }

func (u *userTable) AddAccount(_ context.Context, email string, user authagent.User) (string, error) {
	return u.Put(memstore.Account{User: user, Email: email}), nil
}

// TestUsers_LNK_35 runs the kit for a site's accounts: LNK-7, LNK-8, LNK-9, LNK-10, LNK-35.
func TestUsers_LNK_35(t *testing.T) {
	storetest.Users(t, func() storetest.UserTable { return &userTable{} })
}

type subjectTable struct{ memstore.SubjectUsers }

func (u *subjectTable) AddAccount(_ context.Context, email string, user authagent.User) (string, error) {
	return u.Put(memstore.Account{User: user, Email: email}), nil
}

// TestSubjectUsers_SUB_1 runs the kit for accounts that are found by subject too.
func TestSubjectUsers_SUB_1(t *testing.T) {
	storetest.Users(t, func() storetest.UserTable { return &subjectTable{} })
}
