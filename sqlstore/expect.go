package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/stores"
)

// Expect implements [stores.Expecter], for all stores of the database: what is expected is read in one statement.
func (v *Revocations) Expect(ctx context.Context, e stores.Expected) (expecting context.Context, done func()) {
	return v.s.expect(ctx, e)
}

// Expect implements [stores.Expecter], like that of [Revocations].
func (t *Grants) Expect(ctx context.Context, e stores.Expected) (expecting context.Context, done func()) {
	return t.s.expect(ctx, e)
}

// Expect implements [stores.Expecter], like that of [Revocations]. A session that is saved with what is expected of it is
// read together with that from then on.
func (m *Sessions) Expect(ctx context.Context, e stores.Expected) (expecting context.Context, done func()) {
	return m.s.expect(ctx, e)
}

// expectKey is the key of a store's expectation in a context.
type expectKey struct{ *Store }

func (s *Store) expect(ctx context.Context, e stores.Expected) (context.Context, func()) {
	if x := s.expected(ctx); x != nil && x.includes(e) {
		return ctx, func() {}
	}
	x := &expectation{s: s, what: e}
	return context.WithValue(ctx, expectKey{s}, x), x.end
}

// expected returns what is expected to be asked with a context, or nil.
func (s *Store) expected(ctx context.Context) *expectation {
	x, _ := ctx.Value(expectKey{s}).(*expectation)
	return x
}

// An expectation is what is about to be asked. The first question reads all of it. Each is answered once: whoever asks
// again wants to know what has changed since.
type expectation struct {
	s *Store

	mu    sync.Mutex
	what  stores.Expected // zero if only the row of a session says it
	found *foundAhead     // nil until it was read
	over  bool
}

func (x *expectation) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over, x.found = true, nil
}

func isZero(e stores.Expected) bool {
	return len(e.Keys) == 0 && e.GrantID == "" && e.Agent == (audit.Agent{})
}

// isID reports whether an ID can be stored.
func isID(id string) bool { return checkFields("", field{"ID", id, maxID}) == nil }

// includes reports whether e is what is expected already, and nothing of it was answered: who expects it after that wants to know
// what has changed since. Where nothing is known so far, it is expected from then on.
func (x *expectation) includes(e stores.Expected) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over, x.found != nil && !x.found.isWhole():
		return false
	case isZero(x.what) && (x.found == nil || x.found.isOf(e)):
		x.what = e
		return true
	}
	return slices.Equal(x.what.Keys, e.Keys) && x.what.GrantID == e.GrantID && x.what.Agent == e.Agent
}

// foundAhead is what was read. What was taken is nil.
type foundAhead struct {
	marks, grantID []byte // of the row of a session
	revoked        *[]revocation
	rules          *sql.NullString
	grants         *grantsAhead
}

// grantsAhead are the grants that were read, or what is wrong with one of them.
type grantsAhead struct {
	all []grants.Grant
	err error
}

// isWhole reports whether nothing of it was taken.
func (f *foundAhead) isWhole() bool { return f.revoked != nil && f.rules != nil && f.grants != nil }

// isOf reports whether it was read for e.
func (f *foundAhead) isOf(e stores.Expected) bool {
	return e.Agent == (audit.Agent{}) && string(f.grantID) == e.GrantID && string(f.marks) == string(marksColumn(e.Keys))
}

// take returns one of the parts that were found, and reads them if that was not done. It returns nil if asked is not what is expected.
func take[T any](ctx context.Context, s *Store, asked func(stores.Expected) bool, part func(*foundAhead) **T) (*T, error) {
	x := s.expected(ctx)
	if x == nil {
		return nil, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || isZero(x.what) || !asked(x.what) {
		return nil, nil
	}
	if x.found == nil {
		if err := x.read(ctx); err != nil {
			return nil, err
		}
	}
	p := part(x.found)
	taken := *p
	*p = nil
	return taken, nil
}

// A rowAhead is a row of what is read ahead: each has all of it, but one grant and one mark at most.
type rowAhead struct {
	data, marks, grantID []byte
	rules                sql.NullString
	key                  []byte
	mark                 sql.NullString
	at                   sql.NullInt64
	grant                grants.Grant
	err                  error // of the grant's columns
}

func rowAheadDest(r *rowAhead) []any {
	dest := []any{&r.data, &r.marks, &r.grantID, &r.rules, &r.key, &r.mark, &r.at}
	for _, to := range grantDest(&r.grant) {
		dest = append(dest, optional{to, &r.err})
	}
	return dest
}

// read reads what is expected.
func (x *expectation) read(ctx context.Context) error {
	grant, revoked, args := `1 = 0`, `1 = 0`, []any(nil)
	switch e := x.what; {
	case e.GrantID != "" && isID(e.GrantID):
		grant, args = `g.id = ?`, append(args, e.GrantID)
	case e.GrantID == "" && e.Agent != (audit.Agent{}):
		grant, args = `g.agent_key = ? AND g.state IN ('approved', 'suspended')`, append(args, agentKey(e.Agent))
	}
	if n := len(x.what.Keys); n > 0 {
		revoked = `r.revocation_key IN (?` + strings.Repeat(`, ?`, n-1) + `)`
	}
	for _, k := range x.what.Keys {
		args = append(args, key(k))
	}
	rows, err := x.list(ctx, `NULL, NULL, NULL`, `(SELECT 1 AS one) o`, grant, revoked, "", args)
	if err != nil {
		return err
	}
	x.keep(rows)
	return nil
}

// session reads the session of a key, with what its row says is going to be asked. ok is false if that is known already.
func (x *expectation) session(ctx context.Context, key []byte) (data []byte, found, ok bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || x.found != nil || !isZero(x.what) {
		return nil, false, false, nil
	}
	rows, err := x.list(ctx, `s.data, s.marks, s.grant_id`, `authagent_sessions s`, `g.id = s.grant_id`, `r.revocation_key IN (`+marksOfRow+`)`,
		` WHERE s.session_key = ? AND s.expires_at > ?`, []any{key, time.Now().UnixNano()})
	if err != nil || len(rows) == 0 {
		return nil, false, true, err
	}
	x.keep(rows)
	return rows[0].data, true, true, nil
}

func (x *expectation) list(ctx context.Context, session, from, grant, revoked, where string, args []any) ([]rowAhead, error) {
	return list(ctx, x.s, "read what a request is checked against", `SELECT `+session+`, (SELECT rules FROM authagent_rules WHERE id = 1),
		r.revocation_key, r.mark, r.revoked_at, `+grantColumnsAhead+` FROM `+from+` LEFT JOIN authagent_grants g ON `+grant+
		` LEFT JOIN authagent_revocations r ON `+revoked+where, args, rowAheadDest)
}

var grantColumnsAhead = reading(`g.`+strings.Join(strings.Fields(grantColumns), " g."), "g.name", "g.model")

// keep keeps what the rows have, of which there is one at least.
func (x *expectation) keep(rows []rowAhead) {
	first := &rows[0]
	found := &foundAhead{marks: first.marks, grantID: first.grantID, revoked: new([]revocation), rules: &first.rules, grants: &grantsAhead{}}
	have := make(map[string]bool, len(rows)) // an agent may have very many grants
	isNew := func(kind, id string) bool {
		if id == "" || have[kind+id] {
			return false
		}
		have[kind+id] = true
		return true
	}
	for _, r := range rows {
		if isNew("mark ", string(r.key)) {
			*found.revoked = append(*found.revoked, revocation{r.key, r.mark.String, r.at.Int64})
		}
		if isNew("grant ", r.grant.ID) {
			found.grants.all = append(found.grants.all, r.grant)
		}
		found.grants.err = errors.Join(found.grants.err, r.err)
	}
	x.found = found
}

// maxMarks is how many keys of marks a session has at most, and markLength is the length of each in its row.
const (
	maxMarks   = 8
	markLength = 32
)

// marksColumn returns the keys of the marks of a session as its row has them.
func marksColumn(keys []string) []byte {
	column := make([]byte, 0, len(keys)*markLength)
	for _, k := range keys {
		column = append(column, key(k)...)
	}
	return column
}

// columns returns the columns marks and grant_id of a session that starts, null if nothing is expected of it.
func (x *expectation) columns() (marks, grantID any) {
	if x == nil {
		return nil, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if isZero(x.what) || len(x.what.Keys) > maxMarks || !isID(x.what.GrantID) {
		return nil, nil
	}
	return marksColumn(x.what.Keys), x.what.GrantID
}

// marksOfRow lists the keys in marksColumn.
var marksOfRow = func() string {
	all := make([]string, maxMarks)
	for i := range all {
		all[i] = fmt.Sprintf("SUBSTR(s.marks, %d, %d)", 1+i*markLength, markLength)
	}
	return strings.Join(all, ", ")
}()

// optional reads a column of a row that may not be there: then all its columns are null. What is wrong with one is noted, for
// whoever asks for the row.
type optional struct {
	to  any
	err *error
}

// Scan implements [sql.Scanner].
func (o optional) Scan(src any) error {
	if src == nil {
		return nil
	}
	if err := scanInto(o.to, src); err != nil {
		*o.err = errors.Join(*o.err, err)
	}
	return nil
}

// scanInto is what database/sql does with a column that is not null.
func scanInto(to, src any) error {
	if s, ok := to.(sql.Scanner); ok {
		return s.Scan(src)
	}
	switch v := reflect.ValueOf(to).Elem(); v.Kind() {
	case reflect.String:
		var text sql.NullString
		err := text.Scan(src)
		v.SetString(text.String)
		return err
	case reflect.Int, reflect.Int64:
		var n sql.NullInt64
		err := n.Scan(src)
		v.SetInt(n.Int64)
		return err
	case reflect.Bool:
		var b sql.NullBool
		err := b.Scan(src)
		v.SetBool(b.Bool)
		return err
	default:
		return fmt.Errorf("a column cannot be read into a %s", v.Type())
	}
}
