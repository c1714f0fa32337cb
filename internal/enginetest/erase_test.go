package enginetest_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
)

// linkedUsers is a site's user store that keeps its links in the database, and erases them.
type linkedUsers struct{ users }

func (u linkedUsers) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	return u.links.EraseUser(ctx, e)
}

func (u linkedUsers) ExportUser(ctx context.Context, x *authagent.Export) error {
	return u.links.ExportUser(ctx, x)
}

// kindOf are the kinds of an export, and of a receipt's rows, by the table that they are in.
var kindOf = map[string]string{
	"grants": "grants", "approvals": "approvals", "allowances": "allowances", "activity": "activity", "uses": "uses", "deeds": "deeds",
	"profiles": "profiles", "links": "links", "tokens": "tokens", "events": "events",
}

// userColumns returns the columns of all tables that have the ID of an account, as the schema of a dialect has them.
func userColumns(t *testing.T, d sqlstore.Dialect) (columns map[string][]string) {
	t.Helper()
	migrations, err := sqlstore.Migrations(d, "p_")
	if err != nil {
		t.Fatal(err)
	}
	columns = make(map[string][]string)
	for _, m := range migrations {
		for statement := range strings.SplitSeq(regexp.MustCompile(`--.*`).ReplaceAllString(m.SQL, ""), ";") {
			table := regexp.MustCompile(`(?:CREATE|ALTER) TABLE (?:IF NOT EXISTS )?p_(\w+)`).FindStringSubmatch(statement)
			if table == nil {
				continue
			}
			for _, column := range regexp.MustCompile(`\b(?:\w+_)?(?:user|human|owner|account)_id\b`).FindAllString(statement, -1) {
				if !slices.Contains(columns[table[1]], column) {
					columns[table[1]] = append(columns[table[1]], column)
				}
			}
		}
	}
	return columns
}

// TestPersonalTables_ERA_8: each column of the schema that has the ID of an account is in a statement that erases
// and in one that exports.
func TestPersonalTables_ERA_8(t *testing.T) {
	d := newDatabase(t, sqlite)
	_, db := d.migrated(t)
	spied := &spy{on: db.Driver(), dsn: d.with(d.usual...)}
	observed := sql.OpenDB(spied)
	t.Cleanup(func() { observed.Close() })
	s, err := sqlstore.New(observed, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect})
	if err != nil {
		t.Fatal(err)
	}
	e, err := stores.NewErasure("", "alice")
	if err != nil {
		t.Fatal(err)
	}
	x, err := stores.NewExport(io.Discard, "alice")
	if err != nil {
		t.Fatal(err)
	}
	owners := grants.OwnerApproval(s.Grants())
	_, err = s.Tokens().UserTokens(t.Context(), "alice") // by which they are erased one by one, and exported
	if err != nil {
		t.Fatal(err)
	}
	both := statementsOf(spied)
	for _, eraser := range []authagent.Eraser{owners, s.Links(), s.Profiles(), s.Revocations(), s.Trail()} {
		if err := eraser.EraseUser(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	erases := both + statementsOf(spied)
	for _, exporter := range []authagent.Exporter{owners, s.Links(), s.Profiles(), s.Trail()} {
		if err := exporter.ExportUser(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	exports := both + statementsOf(spied)
	for _, on := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL, sqlstore.SQLite} {
		columns := userColumns(t, on)
		if len(columns) != len(kindOf) {
			t.Errorf("ERA-8: the schema for %v has %d tables with accounts, and the tests know %d", on, len(columns), len(kindOf))
		}
		for table, names := range inOrder(columns) {
			for _, column := range names {
				statement := regexp.MustCompile(`(?m)^.*\b` + d.prefix + table + `\b.*\b` + column + ` = \?`)
				if !statement.MatchString(erases) {
					t.Errorf("ERA-8: no statement erases by %s of table %s", column, table)
				}
				if !statement.MatchString(exports) {
					t.Errorf("ERA-8: no statement exports by %s of table %s", column, table)
				}
			}
		}
	}
}

// statementsOf returns what was sent since the last call, a statement a line.
func statementsOf(s *spy) string {
	var b strings.Builder
	for _, q := range s.take() {
		b.WriteString(strings.Join(strings.Fields(q.text), " ") + "\n")
	}
	return b.String()
}

// A row is one of a table, as text.
type row struct{ table, text string }

// dump returns all rows of all tables.
func (d *database) dump(t testing.TB, db *sql.DB) (rows []row) {
	t.Helper()
	for _, table := range tables {
		found, err := db.QueryContext(t.Context(), `SELECT * FROM `+d.prefix+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := found.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
			for i := range values {
				dest[i] = &values[i]
			}
			if err := found.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for i, v := range values {
				fmt.Fprintf(&b, "%s=%s|", columns[i], v)
			}
			rows = append(rows, row{table, b.String()})
		}
		if err := errors.Join(found.Err(), found.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// rowsOf counts the rows of a table.
func rowsOf(all []row, table string) (n int) {
	for _, r := range all {
		if r.table == table {
			n++
		}
	}
	return n
}

// with returns the rows that have a text in any column.
func with(rows []row, text string) (found []row) {
	for _, r := range rows {
		if strings.Contains(r.text, text) {
			found = append(found, r)
		}
	}
	return found
}

// byTable counts rows.
func byTable(rows []row) map[string]int {
	counts := make(map[string]int)
	for _, r := range rows {
		counts[r.table]++
	}
	return counts
}

// A filledSite has rows of two accounts in every table that has accounts.
type filledSite struct {
	*site
	owners *grants.Policy
	store  *sqlstore.Store
}

func newFilledSite(t *testing.T, s *sqlstore.Store, change ...func(*authagent.Config)) *filledSite {
	t.Helper()
	f := &filledSite{store: s}
	f.site = newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, u *memstore.Users) {
		f.owners = grants.OwnerApproval(s.Grants())
		f.owners.Logger = slog.New(slog.DiscardHandler)
		f.owners.Approvals = map[string]string{"pay": "Pay"}
		f.owners.Allowances = map[string][]grants.Currency{"pay": {{Code: "USD", Digits: 2}}}
		f.owners.Amount = func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, nil }
		c.Scenario = authagent.ContextualProfile(linkedUsers{users{u, s.Links()}}, s.Profiles(), f.owners)
		c.Erasers = []authagent.Eraser{s.Trail()}
		for _, f := range change {
			f(c)
		}
	})
	return f
}

// letIn has the agent of an account let in, and returns its grant and the cookies of its session.
func (f *filledSite) letIn(t *testing.T, userID, email string) (g grants.Grant, cookies string) {
	t.Helper()
	f.Users.Put(memstore.Account{User: authagent.User{ID: userID, EmailVerified: true}, Email: email, Name: "N."})
	agent := f.AS.AddAgent(authagenttest.Agent{ID: "agent-of-" + userID[:3], Email: email})
	f.refused(t, agent)
	all, err := f.store.Grants().OwnerGrants(t.Context(), userID)
	if err != nil || len(all) != 1 {
		t.Fatalf("grants %+v, %v", all, err)
	}
	g = f.decide(t, all[0], grants.Approved)
	c := f.Browser()
	f.For(t).MustSignIn(c, agent)
	return g, f.Cookies(c)
}

func (f *filledSite) decide(t *testing.T, g grants.Grant, state grants.State) grants.Grant {
	t.Helper()
	g, err := f.owners.Decide(t.Context(), g.UserID, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (f *filledSite) refused(t *testing.T, agent *authagenttest.Agent) string {
	t.Helper()
	resp := f.For(t).SignIn(f.Browser(), agent)
	if resp.StatusCode != 403 {
		t.Fatalf("signing in ended with %d", resp.StatusCode)
	}
	f.owners.Wait()
	return string(resp.Reason())
}

// fill lets in the agent of an account, and puts rows of it into all tables.
func (f *filledSite) fill(t *testing.T, userID, email string) (cookies string) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	g, cookies := f.letIn(t, userID, email)
	if resp := f.get(t, "/me", cookies); resp.StatusCode != 200 {
		t.Fatalf("/me: %d", resp.StatusCode)
	}
	store := f.store.Grants()
	_, _, err := store.CreateApproval(ctx, grants.Approval{
		ID: "approval of " + userID, Version: 1, UserID: userID, GrantID: g.ID, Agent: g.Agent, Action: "pay", Digest: "d", State: grants.Approved,
		Method: "POST", Target: "/pay?to=" + email, Body: []byte("payer=" + email), Description: "for " + email, RequestedAt: now, ExpiresAt: now.Add(time.Hour),
	})
	if err == nil {
		_, _, err = store.CreateApproval(ctx, grants.Approval{ // which has expired
			ID: "expired of " + userID, Version: 1, UserID: userID, GrantID: g.ID, Agent: g.Agent, Action: "pay", Digest: "e", State: grants.Used,
			Method: "POST", Body: []byte{0xff}, RequestedAt: now, ExpiresAt: now.Add(-time.Hour),
		})
	}
	var allowed grants.Allowance
	if err == nil {
		allowed, err = f.owners.Allow(ctx, userID, grants.Terms{GrantID: g.ID, Action: "pay", Limit: grants.Amount{Value: 5, Currency: "USD"}})
	}
	if err == nil {
		allowed.Open = []grants.Taking{{ID: "t", Value: 1, At: now, Description: "for " + email}}
		_, err = store.UpdateAllowance(ctx, allowed)
	}
	if err == nil {
		_, err = f.store.Links().LinkAgent(ctx, authagent.Agent{Issuer: "https://other.example", ID: "agent-of-" + userID[:3]}, userID)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.store.Audit(ctx, audit.Event{ // a human who has decided something in another account
		Name: grants.EventRules, Time: now, UserID: "somebody", HumanID: userID, RemoteAddr: "192.0.2.7", Detail: "by " + email, Outcome: audit.OK,
	})
	f.store.Audit(ctx, audit.Event{Name: grants.EventRenamed, Time: now, UserID: userID, HumanID: userID, RemoteAddr: "192.0.2.7", Detail: email, Outcome: audit.OK})
	return cookies
}

const (
	aliceID, aliceMail = "ali-4711-of-the-site", "alice.liddell@wonderland.example"
	bobID, bobMail     = "bob-4712-of-the-site", "bob.dylan@highway61.example"
)

// TestEraseUser_ERA_1_ERA_2_ERA_3_ERA_7: nothing of an account that was erased is left in any column of any table, the export before
// has all of its rows, and another account's rows are as they were: ERA-1, ERA-2, ERA-3, ERA-4, ERA-7.
func TestEraseUser_ERA_1_ERA_2_ERA_3_ERA_7(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		f := newFilledSite(t, s)
		cookies := f.fill(t, aliceID, aliceMail)
		bobs := f.fill(t, bobID, bobMail)
		if err := f.RP.EndUserSessions(t.Context(), aliceID); err != nil {
			t.Fatal(err)
		}
		d.must(t, db, `UPDATE authagent_revocations SET subject = 'user:`+aliceID+`' WHERE subject = 'user:'`) // as an earlier version has written it
		f.export(t, bobID)                                                                                     // which waits for the events on their way, and for what else nobody waits for
		before := d.dump(t, db)
		counts := byTable(with(before, aliceID))
		for table := range kindOf {
			if counts[table] == 0 || counts[table] != byTable(with(before, bobID))[table] {
				t.Fatalf("table %s has %d rows of one account and %d of the other", table, counts[table], byTable(with(before, bobID))[table])
			}
		}

		document := f.export(t, aliceID)
		for table, kind := range inOrder(kindOf) {
			if n := len(document[kind]); n != counts[table] {
				t.Errorf("ERA-7: %d records of %s, and %d rows", n, kind, counts[table])
			}
		}
		if text := fmt.Sprintf("%s", document); !strings.Contains(text, aliceMail) || strings.Contains(text, bobID) || strings.Contains(text, "somebody") {
			t.Errorf("ERA-7: the export is not of the account: %s", text)
		}
		for _, sealed := range secrets(before) {
			if strings.Contains(fmt.Sprintf("%s", document), sealed) {
				t.Error("ERA-7: the export has a secret")
			}
		}

		f.Users.Remove(aliceID)
		revoked := f.AS.Count(authagenttest.PathRevoke)
		receipt, err := f.RP.EraseUser(t.Context(), aliceID, aliceID)
		if err != nil {
			t.Fatal(err)
		}
		f.owners.Wait()
		after := d.dump(t, db)
		for _, name := range []string{aliceID, aliceMail} {
			for _, r := range with(after, name) {
				t.Errorf("ERA-1: table %s still has %q: %s", r.table, name, r.text)
			}
		}
		if turns := "turns"; rowsOf(before, turns) == 0 || rowsOf(after, turns) != rowsOf(before, turns)-1 {
			t.Errorf("ERA-1: %d rows of turns, and then %d", rowsOf(before, turns), rowsOf(after, turns))
		}
		if f.AS.Count(authagenttest.PathRevoke) == revoked {
			t.Error("ERA-3: the server was not asked to revoke the tokens")
		}
		for _, r := range with(before, bobID) {
			if !slices.Contains(after, r) {
				t.Errorf("ERA-1: a row of another account has changed: %+v", r)
			}
		}
		erased := make(map[string]int64)
		for _, s := range receipt.Stores {
			maps.Copy(erased, s.Rows)
		}
		for table, kind := range inOrder(kindOf) {
			if kind != "events" && erased[kind] != int64(counts[table]) || erased[kind] < int64(counts[table]) {
				t.Errorf("ERA-2: the receipt has %d %s, and there were %d", erased[kind], kind, counts[table])
			}
		}
		if text, err := json.Marshal(receipt); err != nil || strings.Contains(string(text), aliceID) {
			t.Errorf("ERA-2: %v, receipt %s", err, text)
		}
		f.wantPseudonym(t, with(before, aliceID), receipt.Pseudonym)

		for range 2 { // a session that ended, and another call, bring nothing back
			if resp := f.get(t, "/me", cookies); resp.StatusCode != 401 {
				t.Errorf("ERA-1: the session goes on: %d", resp.StatusCode)
			}
			if _, err := f.RP.EraseUser(t.Context(), aliceID, aliceID); err != nil {
				t.Error(err)
			}
			f.owners.Wait()
		}
		if left := with(d.dump(t, db), aliceID); len(left) > 0 {
			t.Errorf("ERA-4: it has come back: %+v", left)
		}
		if resp := f.get(t, "/me", bobs); resp.StatusCode != 200 {
			t.Errorf("another account's session: %d", resp.StatusCode)
		}
	})
}

// export returns the records of an export, by their kind.
func (f *filledSite) export(t *testing.T, userID string) map[string][]json.RawMessage {
	t.Helper()
	var b bytes.Buffer
	if err := f.RP.ExportUser(t.Context(), userID, &b); err != nil {
		t.Fatal(err)
	}
	var document struct {
		UserID string `json:"user_id"`
		Data   []struct {
			Kind    string
			Records []json.RawMessage
		}
		Stores []struct {
			Store    string
			Exported bool
		}
	}
	if err := json.Unmarshal(b.Bytes(), &document); err != nil || document.UserID != userID {
		t.Fatalf("%v: %s", err, b.String())
	}
	all := make(map[string][]json.RawMessage)
	for _, section := range document.Data {
		all[section.Kind] = append(all[section.Kind], section.Records...)
	}
	for _, s := range document.Stores {
		if s.Exported != (s.Store != "Config.Session" && s.Store != "Config.Revocations") {
			t.Errorf("ERA-7: store %s, exported %v", s.Store, s.Exported)
		}
	}
	return all
}

// secrets are the values that no export may have.
func secrets(rows []row) (all []string) {
	for _, r := range rows {
		for _, column := range []string{"sealed=", "data="} {
			if _, value, has := strings.Cut(r.text, column); has {
				value, _, _ = strings.Cut(value, "|")
				all = append(all, value)
			}
		}
	}
	return all
}

// wantPseudonym checks that the events of an account have its pseudonym, and are the same else.
func (f *filledSite) wantPseudonym(t *testing.T, before []row, pseudonym string) {
	t.Helper()
	want := byTable(before)["events"]
	var found int
	for q := (sqlstore.EventQuery{}); ; {
		page, next, err := f.store.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if e.UserID != pseudonym && e.HumanID != pseudonym {
				continue
			}
			if e.RemoteAddr != "" || e.Detail != "" || e.Name == "" || e.Outcome == "" || e.Time.IsZero() {
				t.Errorf("ERA-4: event %+v", e)
			}
			if e.Name == audit.UserErased && e.HumanID != pseudonym {
				t.Errorf("ERA-4: the erasure itself: %+v", e)
			}
			if e.Time.Before(time.Now().Add(-time.Hour)) {
				t.Errorf("ERA-4: its time has changed: %+v", e)
			}
			found++
		}
		if q.After = next; next == "" {
			break
		}
	}
	if found < want {
		t.Errorf("ERA-4: %d events have the pseudonym, and there were %d", found, want)
	}
}

// TestEraseWithoutRight_ERA_5: where the trail's table is append-only by the database's rights, the error names the
// right that is missing, the rest is erased, and with that right alone another call finishes it.
func TestEraseWithoutRight_ERA_5(t *testing.T) {
	for _, e := range []engine{postgres, mysql} {
		t.Run(e.name, func(t *testing.T) {
			d := newDatabase(t, e)
			_, db := d.migrated(t)
			user := d.prefix + "site"
			create, grant, remove, dsn := d.restricted(user)
			d.must(t, db, create)
			t.Cleanup(func() {
				for _, statement := range remove {
					if _, err := db.Exec(statement); err != nil {
						t.Error(err)
					}
				}
			})
			for _, table := range tables {
				rights := "SELECT, INSERT, UPDATE, DELETE"
				if table == "events" {
					rights = "SELECT, INSERT"
				}
				d.must(t, db, fmt.Sprintf(grant, rights, d.prefix+table))
			}
			own := *d
			own.dsn = dsn
			s := own.open(t, own.connect(t))
			f := newFilledSite(t, s)
			f.fill(t, aliceID, aliceMail)
			f.Users.Remove(aliceID)
			receipt, err := f.RP.EraseUser(t.Context(), "", aliceID)
			named := slices.ContainsFunc(receipt.Stores, func(s stores.Erased) bool {
				return strings.Contains(s.Error, "UPDATE (user_id, human_id, remote_addr, detail) ON "+d.prefix+"events")
			})
			if !errors.Is(err, sqlstore.ErrNoRight) || !named {
				t.Errorf("ERA-5: %v\n%+v", err, receipt)
			}
			if left := byTable(with(d.dump(t, db), aliceID)); len(left) != 1 || left["events"] == 0 {
				t.Errorf("ERA-5: left in %v", left)
			}
			d.must(t, db, fmt.Sprintf(grant, "UPDATE (user_id, human_id, remote_addr, detail)", d.prefix+"events"))
			if _, err := f.RP.EraseUser(t.Context(), "", aliceID); err != nil {
				t.Errorf("ERA-5: with the right: %v", err)
			}
			if left := with(d.dump(t, db), aliceID); len(left) > 0 {
				t.Errorf("ERA-5: left %v", left)
			}
		})
	}
}

// restricted returns how a user is made, is given rights on a table and is removed, and the DSN with which it connects.
func (d *database) restricted(user string) (create, grant string, remove []string, dsn string) {
	grant = `GRANT %s ON %s TO ` + user
	if d.name == postgres.name {
		dsn = regexp.MustCompile(`//[^@]*@`).ReplaceAllString(d.dsn, "//"+user+"@")
		return `CREATE ROLE ` + user + ` LOGIN`, grant, []string{`DROP OWNED BY ` + user, `DROP ROLE ` + user}, dsn
	}
	dsn = regexp.MustCompile(`^[^@]*@`).ReplaceAllString(d.dsn, user+"@")
	return `CREATE USER ` + user, grant, []string{`DROP USER ` + user}, dsn
}
