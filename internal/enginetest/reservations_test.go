package enginetest_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/sqlstore"
)

// A payer is a site that pays out in transactions of its own, in which it uses
// reservations.
type payer struct {
	*database
	kind  transaction
	site  *sql.DB         // of the transactions
	store *sqlstore.Store // waits long
	quick *sqlstore.Store // waits for a moment
}

// onPayers runs a test on each engine with each kind of transaction.
func onPayers(t *testing.T, test func(t *testing.T, p *payer)) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, kind := range d.transactions {
			t.Run(kind.name, func(t *testing.T) {
				if d.variable == "" { // the mode of its journal is the file's
					d = newDatabase(t, d.engine)
				}
				test(t, d.payer(t, kind))
			})
		}
	})
}

func (d *database) payer(t *testing.T, kind transaction) *payer {
	t.Helper()
	settings := d.usual
	if kind.setting != "" {
		settings = []string{kind.setting}
	}
	p := &payer{database: d, kind: kind}
	p.store, p.site = d.migrated(t, settings...)
	quick, err := sqlstore.New(d.connect(t, settings...), sqlstore.Config{Prefix: d.prefix, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p.quick = quick
	d.must(t, p.site, `CREATE TABLE authagent_payouts (reservation VARCHAR(64) NOT NULL)`)
	t.Cleanup(func() {
		if _, err := p.site.Exec(d.sql(`DROP TABLE authagent_payouts`)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// begin begins a transaction, which ends with the test at the latest.
func (p *payer) begin(t testing.TB) *sql.Tx {
	t.Helper()
	tx, err := p.site.BeginTx(context.Background(), &sql.TxOptions{Isolation: p.kind.isolation})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

// pay uses a reservation and pays, in tx.
func (p *payer) pay(tx *sql.Tx, id string) error {
	ctx := context.Background()
	if err := p.store.Grants().Use(ctx, tx, &action.Reservation{ID: id}); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, p.sql(`INSERT INTO authagent_payouts (reservation) VALUES ('`+id+`')`))
	return err
}

// settles checks what is known of a reservation in the end, and that it was paid for just
// if it was used, and can be used no more.
func (p *payer) settles(t testing.TB, id string, want bool) {
	t.Helper()
	for range 2 {
		if used, err := p.store.Grants().Settle(context.Background(), id); used != want || err != nil {
			t.Errorf("Settle: %v, %v, want %v", used, err, want)
		}
	}
	paid := 0
	if want {
		paid = 1
	}
	if n := p.count(t, p.site, `SELECT COUNT(*) FROM authagent_payouts WHERE reservation = '`+id+`'`); n != paid {
		t.Errorf("paid %d times, want %d", n, paid)
	}
	tx := p.begin(t)
	if err := p.pay(tx, id); !errors.Is(err, authagent.ErrConflict) {
		t.Errorf("a late Use: %v", err)
	}
	var n int // the site can still look into it
	if err := tx.QueryRow(p.sql(`SELECT COUNT(*) FROM authagent_payouts`)).Scan(&n); err != nil {
		t.Errorf("after a late Use: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
}

// TestReservationOnce_DB_4 is DB-4: however many use a reservation and settle it at once, it has one
// outcome, and everybody who learns of it learns the same.
func TestReservationOnce_DB_4(t *testing.T) {
	onPayers(t, func(t *testing.T, p *payer) {
		outcomes := make(map[bool]int)
		for round := range 6 {
			id := rand.Text()
			answers, committed := p.atOnce(t, id, round%2 == 0)
			outcome, err := p.store.Grants().Settle(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			outcomes[outcome]++
			if answers[!outcome] > 0 || answers[outcome] == 0 && committed == 0 || outcome != (committed == 1) {
				t.Errorf("used: %v; Settle has answered %v, and %d transactions were committed", outcome, answers, committed)
			}
			p.settles(t, id, outcome)
		}
		t.Logf("used or not: %v", outcomes)
		if outcomes[true] == 0 {
			t.Error("no reservation was used")
		}
	})
}

// atOnce has 25 transactions use a reservation while 25 others settle it; late are those
// who wait until one transaction has used it. It returns how often Settle has given each
// answer, and how many transactions were committed.
func (p *payer) atOnce(t *testing.T, id string, late bool) (answers map[bool]int, committed int) {
	t.Helper()
	answers = make(map[bool]int)
	var mu sync.Mutex
	var payers, settlers sync.WaitGroup
	start, used := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(used) })
	if !late {
		first()
	}
	for range 25 {
		payers.Go(func() {
			<-start
			tx := p.begin(t)
			defer tx.Rollback()
			if p.pay(tx, id) != nil {
				return
			}
			first()
			if tx.Commit() == nil {
				mu.Lock()
				defer mu.Unlock()
				committed++
			}
		})
		settlers.Go(func() {
			<-start
			<-used
			answer, err := p.store.Grants().Settle(context.Background(), id)
			if err != nil {
				t.Errorf("Settle: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[answer]++
		})
	}
	close(start)
	payers.Wait()
	first() // or they would wait for ever
	settlers.Wait()
	return answers, committed
}

// TestReservationTooLate_DB_4 is DB-4: once a reservation is settled as unused, no transaction uses it, not even
// one that began before and does not see what came since.
func TestReservationTooLate_DB_4(t *testing.T) {
	onPayers(t, func(t *testing.T, p *payer) {
		id := rand.Text()
		tx := p.begin(t)
		var n int
		if err := tx.QueryRow(p.sql(`SELECT COUNT(*) FROM authagent_payouts`)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		used, err := p.quick.Grants().Settle(t.Context(), id)
		if p.kind.alone {
			if err == nil {
				t.Errorf("settled while nobody can write: %v", used)
			}
			return
		}
		if used || err != nil {
			t.Fatalf("Settle: %v, %v", used, err)
		}
		err = p.pay(tx, id)
		if err == nil || !p.kind.own && !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("a transaction that began before: %v", err)
		}
		t.Logf("it began before: %v", err)
		tx.Rollback()
		p.settles(t, id, false)
	})
}

// TestReservationWaits_DB_4 is DB-4: as long as a transaction that has used a reservation is open, nobody is
// told how it ends, and nobody else uses it.
func TestReservationWaits_DB_4(t *testing.T) {
	onPayers(t, func(t *testing.T, p *payer) {
		for _, commit := range []bool{true, false} {
			id := rand.Text()
			tx := p.begin(t)
			if err := p.pay(tx, id); err != nil {
				t.Fatal(err)
			}
			if err := p.quick.Grants().Use(t.Context(), tx, &action.Reservation{ID: id}); !errors.Is(err, authagent.ErrConflict) {
				t.Errorf("used twice in one transaction: %v", err)
			}
			start := time.Now()
			if used, err := p.quick.Grants().Settle(t.Context(), id); err == nil {
				t.Errorf("settled in the meantime: %v", used)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v to learn nothing", took)
			}
			if commit {
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			} else if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			p.settles(t, id, commit)
		}
	})
}

// TestReservationAgain: what was rolled back can be tried again, and IDs are compared byte for
// byte.
func TestReservationAgain(t *testing.T) {
	onPayers(t, func(t *testing.T, p *payer) {
		random := rand.Text()
		id := random + "_a"
		for _, commit := range []bool{false, true} {
			tx := p.begin(t)
			if err := p.pay(tx, id); err != nil {
				t.Fatal(err)
			}
			end := tx.Rollback
			if commit {
				end = tx.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range []string{random + "_A", id + " ", random + "_", random + "_\u00e4"} {
			if used, err := p.store.Grants().Settle(t.Context(), other); used || err != nil {
				t.Errorf("Settle %q: %v, %v", other, used, err)
			}
		}
		p.settles(t, id, true)
	})
}

// TestReservationRefuses: an ID that cannot be stored is no reservation, and a transaction is
// needed.
func TestReservationRefuses(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		p := d.payer(t, d.transactions[0])
		tx := p.begin(t)
		for _, id := range []string{"", "\xff", "a\x00", strings.Repeat("r", 256)} {
			err := p.store.Grants().Use(t.Context(), tx, &action.Reservation{ID: id})
			if err == nil || errors.Is(err, authagent.ErrConflict) || !strings.Contains(err.Error(), "sqlstore: use reservation: ") {
				t.Errorf("Use %.5q: %v", id, err)
			}
			if used, err := p.store.Grants().Settle(t.Context(), id); used || err == nil {
				t.Errorf("Settle %.5q: %v, %v", id, used, err)
			}
		}
		r := &action.Reservation{ID: "r"}
		if err := p.store.Grants().Use(t.Context(), nil, r); err == nil || !strings.Contains(err.Error(), "no transaction") {
			t.Errorf("without a transaction: %v", err)
		}
		if outcome := r.Outcome(); outcome != action.InTransaction {
			t.Errorf("after a Use that failed, the outcome is %s", outcome)
		}
		if err := p.store.Grants().Use(t.Context(), tx, nil); err != nil {
			t.Errorf("a person: %v", err)
		}
		if err := errors.Join(p.pay(tx, "r"), tx.Commit()); err != nil {
			t.Errorf("the transaction goes on: %v", err)
		}
		if n := d.count(t, p.site, `SELECT COUNT(*) FROM authagent_reservations`); n != 1 {
			t.Errorf("%d reservations, want 1", n)
		}
	})
}

// TestReservationWrongSetUp: Use says what is wrong with the database, and needs no connection but
// that of the transaction.
func TestReservationWrongSetUp(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		use := func(db *sql.DB) error {
			t.Helper()
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if err := d.open(t, db).Grants().Use(t.Context(), tx, &action.Reservation{ID: rand.Text()}); err != nil {
				return err
			}
			return tx.Commit()
		}
		if err := use(d.connect(t)); !errors.Is(err, sqlstore.ErrNotMigrated) {
			t.Errorf("without tables: %v", err)
		}
		_, db := d.migrated(t)
		db.SetMaxOpenConns(1)
		if err := use(db); err != nil {
			t.Errorf("with one connection: %v", err)
		}
		if err := use(d.connect(t, d.readOnly)); !errors.Is(err, sqlstore.ErrReadOnlyDatabase) {
			t.Errorf("read-only: %v", err)
		}
		d.must(t, db, `INSERT INTO authagent_migrations (version, oldest) VALUES (1000, 1000)`)
		if err := use(db); !errors.Is(err, sqlstore.ErrNewerSchema) {
			t.Errorf("newer: %v", err)
		}
	})
}

// TestReservationKilled_DB_4 is DB-4: a process that is killed before it has committed has not used the
// reservation, and one that is killed afterwards has.
func TestReservationKilled_DB_4(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		p := d.payer(t, d.transactions[0])
		for _, committed := range []bool{false, true} {
			id := rand.Text()
			child := exec.Command(os.Args[0], "-test.run=^TestReservationKilledChild$")
			child.Env = append(os.Environ(), fmt.Sprintf("AUTHAGENT_USING=%s %s %s %v", d.name, d.prefix, id, committed), "AUTHAGENT_USING_DSN="+d.with(d.usual...))
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if line != "done\n" {
				t.Errorf("the child said %q, %v", line, err)
			}
			if used, err := p.quick.Grants().Settle(t.Context(), id); (err == nil) != committed || used != committed {
				t.Errorf("before it is killed: %v, %v", used, err)
			}
			child.Process.Kill() // SIGKILL: nothing of it runs after that
			if err := child.Wait(); err == nil || child.ProcessState.Exited() {
				t.Errorf("the child was not killed: %v", child.ProcessState)
			}
			p.settles(t, id, committed)
		}
	})
}

// TestReservationKilledChild is the process that is killed.
func TestReservationKilledChild(t *testing.T) {
	words := strings.Fields(os.Getenv("AUTHAGENT_USING"))
	if len(words) == 0 {
		return
	}
	d := &database{engine: engineNamed(words[0]), prefix: words[1], dsn: os.Getenv("AUTHAGENT_USING_DSN")}
	d.usual = nil
	p := &payer{database: d, kind: d.transactions[0], site: d.connect(t)}
	p.store = d.open(t, p.site)
	tx := p.begin(t)
	if err := p.pay(tx, words[2]); err != nil {
		t.Fatal(err)
	}
	if words[3] == "true" {
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("done")
	select {}
}
