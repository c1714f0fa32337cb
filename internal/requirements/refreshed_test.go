package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestRefusedForAMoment: a database that cannot be read for a moment makes the
// published server refuse a refresh token that is good (protocol notes, 13).
func TestRefusedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, func(_ *bench, c *authagent.Config) {
			c.Tokens.ConfirmEvery = 3 * time.Hour
			c.Session.Idle = 6 * time.Hour
		})
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		time.Sleep(2 * time.Hour)
		k.AS.Wrap(authagenttest.PathToken, authagenttest.Reply(400, "application/json", `{"error":"invalid_grant"}`))
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
			t.Errorf("err %v", err)
		}
		k.AS.Wrap(authagenttest.PathToken, nil)
		time.Sleep(time.Minute)
		k.mustCall(k.RP, s)
		if k.Me(c) == nil {
			t.Error("REF-5: the session has ended")
		}
		k.wantEvents("refresh_failed:no_tokens")
	})
}

// failingMarks is a RevocationStore that can be told to fail.
type failingMarks struct {
	authagent.RevocationStore
	fails atomic.Bool
}

func (f *failingMarks) Marks(ctx context.Context, keys []string) ([]string, error) {
	if f.fails.Load() {
		return nil, errors.New("the database is gone")
	}
	return f.RevocationStore.Marks(ctx, keys)
}

// TestStoreFailsDuringRefresh_REF_14: where it cannot be known after a refresh whether
// the session holds, nobody gets the fresh token. It is kept, for when it is known again.
func TestStoreFailsDuringRefresh_REF_14(t *testing.T) {
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprint("REF-14 ends: ", ends), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				marks := &failingMarks{RevocationStore: &memstore.Revocations{}}
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Revocations = marks })
				s := k.MustSignIn(k.Browser(), k.Agent)
				time.Sleep(time.Hour - 20*time.Second)
				k.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if ends {
							if err := k.RP.EndSession(context.Background(), s.ID); err != nil {
								t.Error(err)
							}
						}
						marks.fails.Store(true)
						next.ServeHTTP(w, r)
					})
				})
				if token, err := k.RP.TokenSource(context.Background(), s).Token(); token != nil || !errors.Is(err, problem.StoreFailed) {
					t.Errorf("REF-14: token %t, %v, as the store failed", token != nil, err)
				}
				marks.fails.Store(false)
				if token, err := k.RP.TokenSource(context.Background(), s).Token(); (err == nil) == ends || k.refreshes() != 1 {
					t.Errorf("REF-14: token %t, %v, with the store back; %d refreshes", token != nil, err, k.refreshes())
				}
			})
		})
	}
}

// TestRefreshedSubject: ID-6.
func TestRefreshedSubject(t *testing.T) {
	claims := func(change members) wrapper {
		return authagenttest.Rewrite(func(body map[string]any) {
			body["access_token"] = signedHS256([]byte("k"), members{"alg": "HS256"}, with(members{
				"sub": "agent_alice", "client_id": "site", "iss": "https://as.example", "exp": time.Now().Add(time.Hour).Unix(),
			}, change))
		})
	}
	idToken := func(change members) wrapper {
		return authagenttest.Rewrite(func(body map[string]any) {
			body["id_token"] = unsigned(members{"alg": "none"}, with(members{"sub": "agent_alice", "iss": "https://as.example"}, change))
		})
	}
	for _, test := range []struct {
		name string
		wrap wrapper
		ends bool
	}{
		{"ID-6 same", claims(nil), false},
		{"ID-6 sub", claims(members{"sub": "victim"}), true},
		{"ID-6 sub in other letters", claims(members{"sub": "Agent_Alice"}), true},
		{"ID-6 sub not a string", claims(members{"sub": 1}), true},
		{"ID-6 iss", claims(members{"iss": "https://evil.example"}), true},
		{"ID-6 client_id", claims(members{"client_id": "other"}), true},
		{"ID-6 id_token same", idToken(nil), false},
		{"ID-6 id_token sub", idToken(members{"sub": "victim"}), true},
		{"ID-6 id_token iss", idToken(members{"iss": "https://evil.example"}), true},
		{"ID-6 id_token garbage", authagenttest.WithMember("id_token", "garbage"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle = 4 * time.Hour })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				time.Sleep(2 * time.Hour)
				fresh := k.watch(test.wrap)
				_, err := k.call(k.RP, s)
				if errors.Is(err, problem.Reason("identity_mismatch")) != test.ends || (k.Me(c) == nil) != test.ends {
					t.Errorf("err %v, session %v", err, k.Me(c))
				}
				if !test.ends {
					return
				}
				if k.api.used((*fresh)[0].Access) || len(k.store.get(t, s.ID)) != 0 {
					t.Error("ID-6: the tokens of another are used or kept")
				}
				k.wantEvents("tokens_revoked:requested", "subject_mismatch:identity_mismatch", "session_ended:identity_mismatch")
			})
		})
	}
}

// TestRefreshedActor is ID-6 where the token says who acts for its subject.
func TestRefreshedActor(t *testing.T) {
	for _, test := range []struct {
		name   string
		change members
		ends   bool
	}{
		{"ID-6 same act", nil, false},
		{"ID-6 another act", members{"act": members{"sub": "agent_mallory"}}, true},
		{"ID-6 act in other letters", members{"act": members{"sub": "AGENT_X"}}, true},
		{"ID-6 no act", members{"act": nil}, true},
		{"ID-6 ACT-9 act null", members{"act": json.RawMessage("null")}, true},
		{"ID-6 ACT-9 another issuer's", members{"act": members{"sub": "agent_x", "iss": "https://evil.example"}}, true},
		{"ID-6 ACT-9 the user is an agent", members{"sub_profile": "ai_agent"}, true},
		{"ID-6 act without sub", members{"act": members{}}, true},
		{"ID-6 act not an object", members{"act": "agent_x"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKept(t, func(_ *bench, c *authagent.Config) { c.Session.Idle, c.Provider.SubjectIsUser = 4*time.Hour, true })
				k.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
				c := k.Browser()
				s := k.MustSignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: "agent_x", UserID: "owner_y", Email: "alice@example.com"}))
				time.Sleep(2 * time.Hour)
				fresh := k.watch(authagenttest.Rewrite(func(body map[string]any) {
					body["access_token"] = signedHS256([]byte("k"), members{"alg": "HS256"}, with(members{
						"sub": "owner_y", "act": members{"sub": "agent_x"}, "client_id": "site", "iss": "https://as.example",
						"exp": time.Now().Add(time.Hour).Unix(),
					}, test.change))
				}))
				_, err := k.call(k.RP, s)
				if errors.Is(err, problem.Reason("identity_mismatch")) != test.ends || (k.Me(c) == nil) != test.ends {
					t.Errorf("err %v, session %v", err, k.Me(c))
				}
				if test.ends && k.api.used((*fresh)[0].Access) {
					t.Error("the token of another agent is used")
				}
			})
		})
	}
}

// TestSameSecondKept: two sign-ins of one agent within a second get one token, which
// the published server then refuses until one of them is refreshed (fact 3).
func TestSameSecondKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		sessions := make([]*authagent.Session, 5)
		for i := range sessions {
			sessions[i] = k.MustSignIn(k.Browser(), k.Agent)
		}
		var group sync.WaitGroup
		for _, s := range sessions {
			group.Go(func() { k.mustCall(k.RP, s) })
		}
		group.Wait()
		for _, s := range sessions {
			k.mustCall(k.RP, s)
		}
		if n := k.refreshes(); n > len(sessions) {
			t.Errorf("%d refreshes", n)
		}
		k.wantEvents()
	})
}

// TestHalfRefresh: a refresh that the server's database takes half of.
func TestHalfRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t)
		s := k.MustSignIn(k.Browser(), k.Agent)
		time.Sleep(2 * time.Hour)
		k.AS.Outage(authagenttest.OutageUpdates) // the old pair stays alive
		k.mustCall(k.RP, s)
		time.Sleep(2 * time.Hour)
		k.AS.Outage(authagenttest.OutageInserts) // the old pair dies, and there is no new one
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Server) {
			t.Errorf("err %v", err)
		}
		k.AS.Outage(authagenttest.OutageNone)
		time.Sleep(5 * time.Minute)
		if _, err := k.call(k.RP, s); !errors.Is(err, problem.Reason("no_tokens")) {
			t.Errorf("err %v", err)
		}
		k.wantEvents("refresh_failed:server_unavailable", "refresh_failed:no_tokens")
	})
}
