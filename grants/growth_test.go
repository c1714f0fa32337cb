package grants_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// readsStore notes which lists of an account are read.
type readsStore struct {
	*memstore.Grants
	read *[]string
}

func (s readsStore) OwnerActivity(ctx context.Context, userID string) ([]grants.Activity, error) {
	*s.read = append(*s.read, "activity")
	return s.Grants.OwnerActivity(ctx, userID)
}

func (s readsStore) OwnerDeeds(ctx context.Context, userID string, n int) ([]grants.Deed, error) {
	*s.read = append(*s.read, "deeds")
	return s.Grants.OwnerDeeds(ctx, userID, n)
}

// TestListReadsNoSessions: an account may have thousands of sessions and deeds, so the list of agents, which shows none,
// reads none. The page of an agent has them, and so has what a program gets.
func TestListReadsNoSessions(t *testing.T) {
	var read []string
	s := sample(t, func(s *site, c *authagent.Config) {
		s.owners = grants.OwnerApproval(readsStore{s.store, &read})
		c.Scenario = authagent.FullAccount(s.users, s.owners)
	})
	alice := s.human(s.alice)
	for _, test := range []struct {
		path, accept string
		want         []string
	}{
		{"", htmlOnly, nil},
		{"?past=1", htmlOnly, nil},
		{"?waiting=1", htmlOnly, nil},
		{"?actions=1", htmlOnly, nil},
		{"agents/g2", htmlOnly, []string{"activity", "deeds"}},
		{"", "application/json", []string{"activity", "deeds"}},
	} {
		read = nil
		resp := s.do(alice, "GET", agents+test.path, "", "Accept", test.accept)
		if resp.StatusCode != 200 || !slices.Equal(read, test.want) {
			t.Errorf("%q as %s: %d, %q were read, want %q", test.path, test.accept, resp.StatusCode, read, test.want)
		}
		if has := strings.Contains(resp.body, "POST /account/password"); has != (test.want != nil) {
			t.Errorf("%q as %s: shows a deed: %v", test.path, test.accept, has)
		}
	}
}
