package enginetest_test

import (
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// texts are names that agents have.
var texts = []string{"Alice", "Zoë", "漢字 エージェント", "😀 agent 🤖", "𠮷野家", "it's \\ \"quoted\" ?{x}"}

// charsets are what DSNs for MySQL and MariaDB have.
var charsets = []string{"utf8", "utf8mb3", "latin1", "ascii", "utf8mb4"}

// TestText_DB_2: DB-2. Whatever the connection's charset is, text is stored as it is, for
// whoever reads it.
func TestText_DB_2(t *testing.T) {
	for _, charset := range charsets {
		for _, interpolate := range []string{"false", "true"} {
			t.Run(charset+" interpolateParams="+interpolate, func(t *testing.T) {
				d := newDatabase(t, mysql)
				s, _ := d.migrated(t, "charset="+charset, "interpolateParams="+interpolate)
				other := d.open(t, d.connect(t, "charset=utf8mb4"))
				if err := s.Check(t.Context()); err != nil {
					t.Errorf("Check: %v", err)
				}
				for _, text := range texts {
					keepsText(t, s, other, text)
					if charset == "utf8" {
						signsIn(t, s, text)
					}
				}
			})
		}
	}
}

// keepsText has each kind of text come back, by the store that wrote it and by another.
func keepsText(t *testing.T, s, other *sqlstore.Store, text string) {
	t.Helper()
	ctx := t.Context()
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_" + rand.Text()}
	user := "user " + text + rand.Text()
	now := time.Now().Round(time.Second)
	check := func(what, got string, err error) {
		t.Helper()
		if got != text || err != nil {
			t.Errorf("%s: %q came back as %q, %v", what, text, got, err)
		}
	}
	want := authagent.Profile{Agent: agent, Scenario: "S", UserID: user, Name: text, Model: text}
	p, err := s.Profiles().FindOrCreateProfile(ctx, want)
	check("profile", p.Name, err)
	p, err = other.Profiles().Get(ctx, p.ID)
	check("profile elsewhere", p.Model, err)
	if p.UserID != user {
		t.Errorf("user ID %q came back as %q", user, p.UserID)
	}
	g, _, err := s.Grants().CreateGrant(ctx, grants.Grant{
		ID: rand.Text(), Version: 1, Agent: agent, Scenario: "S", UserID: user, State: grants.Pending, Name: text, Model: text, Email: text, RequestedAt: now,
	})
	check("grant", g.Name, err)
	g.Model, g.Name = text+"2", text
	if g, err = s.Grants().UpdateGrant(ctx, g); err != nil {
		t.Errorf("update of grant: %v", err)
	}
	for _, store := range []*sqlstore.Store{s, other} {
		g, err = store.Grants().Grant(ctx, g.ID)
		check("grant, updated", g.Name, err)
		check("grant, updated", strings.TrimSuffix(g.Model, "2"), err)
		all, err := store.Grants().OwnerGrants(ctx, user)
		if len(all) != 1 || err != nil {
			t.Errorf("%d grants of %q, %v", len(all), user, err)
		}
	}
	request := rand.Text()
	s.Audit(ctx, audit.Event{Name: "x", Time: now, RequestID: request, UserID: user, Detail: text})
	for _, store := range []*sqlstore.Store{s, other} {
		events, _, err := store.Events(ctx, sqlstore.EventQuery{UserID: user})
		if len(events) != 1 || err != nil || events[0].Detail != text {
			t.Errorf("events of %q: %v, %v", user, events, err)
		}
	}
	if err := s.Grants().AddDeed(ctx, grants.Deed{GrantID: g.ID, UserID: user, At: now, Route: text}); err != nil {
		t.Errorf("deed: %v", err)
	}
	deeds, err := other.Grants().OwnerDeeds(ctx, user, 1)
	if len(deeds) != 1 || err != nil || deeds[0].Route != text {
		t.Errorf("deeds of %q: %v, %v", user, deeds, err)
	}
}

// signsIn has an agent of this name sign in, twice.
func signsIn(t *testing.T, s *sqlstore.Store, name string) {
	t.Helper()
	site := namedSite(t, s, name)
	for range 2 {
		site.signIn(t, site.Browser())
	}
}

// namedSite is a site whose agent has this name, and a profile.
func namedSite(t *testing.T, s *sqlstore.Store, name string) *site {
	t.Helper()
	site := newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, users *memstore.Users) {
		c.Scenario = authagent.ContextualProfile(users, s.Profiles(), authagent.InsecureTrustEmail)
	})
	site.Agent = site.AS.AddAgent(authagenttest.Agent{ID: "agent_named", Email: "alice@example.com", Name: name, Model: name})
	return site
}

var databaseName = regexp.MustCompile(`/[a-z_]+$`)

// TestEncoding_DB_3: DB-3. What a database cannot hold is refused, and the encoding is
// named; what it can hold is kept.
func TestEncoding_DB_3(t *testing.T) {
	d := newDatabase(t, postgres)
	name := "latin_" + strings.ToLower(rand.Text()[:8])
	admin := d.connect(t)
	d.must(t, admin, `CREATE DATABASE `+name+` ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	t.Cleanup(func() {
		if _, err := admin.Exec(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	latin := &database{engine: d.engine, prefix: d.prefix, dsn: databaseName.ReplaceAllString(d.dsn, "/"+name)}
	s, db := latin.migrated(t, "client_encoding=UTF8")
	t.Cleanup(func() { db.Close() })
	names := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, sqlstore.ErrEncoding) || !strings.Contains(err.Error(), "LATIN1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	names("Check", s.Check(t.Context()))
	_, err := s.Profiles().FindOrCreateProfile(t.Context(), authagent.Profile{Agent: authagent.Agent{Issuer: "i", ID: "a"}, Scenario: "S", Name: "漢字"})
	names("FindOrCreateProfile", err)
	signsIn(t, s, "Zoë")
	site := namedSite(t, s, "漢字")
	started := site.begin(t)
	if resp := site.get(t, started.callback, started.cookies); resp.StatusCode < 500 || resp.Reason() != problem.StoreFailed {
		t.Errorf("callback of a name that cannot be stored: %d %s", resp.StatusCode, resp.Text)
	}
	t.Run("client_encoding", func(t *testing.T) {
		_, db := d.migrated(t, "client_encoding=LATIN1")
		names("Check", d.open(t, db).Check(t.Context()))
	})
	t.Run("columns", func(t *testing.T) {
		d := newDatabase(t, mysql)
		s, db := d.migrated(t)
		d.must(t, db, `ALTER TABLE authagent_profiles MODIFY name TEXT CHARACTER SET latin1 NOT NULL`)
		if err := s.Check(t.Context()); !errors.Is(err, sqlstore.ErrEncoding) || !strings.Contains(err.Error(), "CHARACTER SET") {
			t.Errorf("Check: %v", err)
		}
	})
}
