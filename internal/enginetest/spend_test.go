package enginetest_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

const (
	price = 7   // of each payout, in the smallest unit
	limit = 700 // of the allowance
)

// A payroll is a site whose agent pays out within an allowance.
type payroll struct {
	*grants.Policy
	db    *sql.DB
	store *sqlstore.Grants
	grant string
	kind  string // "transaction" if a payout and its reservation are committed together
}

const payee = "https://as.example"

func (d *database) payroll(t testing.TB, kind string) *payroll {
	t.Helper()
	db := d.connect(t)
	p := &payroll{db: db, store: d.open(t, db).Grants(), kind: kind}
	p.Policy = grants.OwnerApproval(p.store)
	p.Logger = slog.New(slog.DiscardHandler)
	p.Approvals = map[string]string{"payouts:create": "Pay out"}
	p.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
	p.Amount = func(context.Context, action.Request) (grants.Amount, error) {
		return grants.Amount{Value: price, Currency: "USD"}, nil
	}
	if kind == "transaction" {
		p.InTransaction = []string{"payouts:create"}
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

// reserve asks for one payout.
func (p *payroll) reserve(digest string) (*action.Reservation, error) {
	r, _, err := p.Approve(context.Background(), action.Request{
		Agent: authagent.Agent{Issuer: payee, ID: p.kind}, UserID: p.kind, GrantID: p.grant, Action: "payouts:create", Digest: digest, Method: "POST", Target: "/payouts",
	})
	return r, err
}

// pay performs the payout, as the site's handler does.
func (p *payroll) pay(d *database, r *action.Reservation) error {
	insert := d.sql(`INSERT INTO authagent_payouts (reservation) VALUES ('` + r.ID + `')`)
	if p.kind != "transaction" {
		_, err := p.db.Exec(insert)
		return err
	}
	tx, err := p.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := p.store.Use(context.Background(), tx, r); err != nil {
		return err
	}
	if _, err := tx.Exec(insert); err != nil {
		return err
	}
	return tx.Commit()
}

// TestSpend_ALW_10 is ALW-10 and RES-7: 50 at once at four instances, some of which do nothing and
// some of which panic, while processes that pay as well are killed.
func TestSpend_ALW_10(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, kind := range []string{"plain", "transaction"} {
			t.Run(kind, func(t *testing.T) {
				owners, _ := d.owners(t, 1)
				if err := owners[0].LinkByOwner(t.Context(), authagent.LinkRequest{Agent: authagent.Agent{Issuer: payee, ID: kind}, Scenario: "FullAccount", User: &authagent.User{ID: kind}}); err != nil {
					t.Fatal(err)
				}
				var all []*payroll
				for range 4 {
					all = append(all, d.payroll(t, kind))
				}
				d.must(t, all[0].db, `CREATE TABLE authagent_payouts (reservation VARCHAR(64) NOT NULL PRIMARY KEY)`)
				t.Cleanup(func() {
					if _, err := all[0].db.Exec(d.sql(`DROP TABLE authagent_payouts`)); err != nil {
						t.Error(err)
					}
				})
				o, err := all[0].Overview(t.Context(), kind)
				if err != nil || len(o.Grants) != 1 {
					t.Fatalf("%+v, %v", o.Grants, err)
				}
				for _, p := range all {
					p.grant = o.Grants[0].ID
				}
				terms := grants.Terms{GrantID: o.Grants[0].ID, Action: "payouts:create", Limit: grants.Amount{Value: limit, Currency: "USD"}}
				if _, err := all[0].Allow(t.Context(), kind, terms); err != nil {
					t.Fatal(err)
				}
				d.killPayers(t, kind, o.Grants[0].ID)
				d.checkSpent(t, all[0], "after the kills")
				var outcomes [4]atomic.Int64 // performed, given back, unknown, refused
				var group sync.WaitGroup
				for n := range 150 {
					group.Go(func() { outcomes[all[n%4].one(t, d, n)].Add(1) })
					if n%50 == 49 {
						group.Wait()
					}
				}
				t.Logf("at once: %d used, %d given back, %d unknown, %d wait or are refused",
					outcomes[0].Load(), outcomes[1].Load(), outcomes[2].Load(), outcomes[3].Load())
				if outcomes[0].Load() == 0 || outcomes[1].Load() == 0 || outcomes[2].Load() == 0 || outcomes[3].Load() == 0 {
					t.Error("not every outcome was tried")
				}
				d.checkSpent(t, all[0], "in the end")
			})
		}
	})
}

// one asks for a payout, and returns how that has ended.
func (p *payroll) one(t *testing.T, d *database, n int) int {
	r, err := p.reserve(fmt.Sprint("payout ", n))
	switch {
	case errors.Is(err, problem.ApprovalPending), errors.Is(err, problem.Limited):
		return 3
	case err != nil:
		t.Errorf("reserve: %v", err)
		return 3
	}
	outcome := 0
	switch {
	case n%3 == 1:
		outcome = 1
		r.NothingDone()
		err = r.End(t.Context())
	case n%13 == 2:
		outcome = 2
		err = r.EndUnknown(t.Context())
	default:
		err = errors.Join(p.pay(d, r), r.End(t.Context()))
	}
	if err != nil {
		t.Errorf("pay: %v", err)
	}
	return outcome
}

// checkSpent holds what was taken of the allowance against what was paid.
func (d *database) checkSpent(t *testing.T, p *payroll, when string) {
	t.Helper()
	o, err := p.Overview(t.Context(), p.kind)
	if err != nil || len(o.Allowances) != 1 {
		t.Fatalf("allowances %+v, %v", o.Allowances, err)
	}
	a := o.Allowances[0]
	paid := int64(d.count(t, p.db, `SELECT COUNT(*) FROM authagent_payouts`)) * price
	unused := int64(0)
	for _, open := range a.Open {
		if p.kind != "transaction" || open.Unknown {
			continue
		}
		switch used, err := p.store.Settle(t.Context(), open.ID); {
		case err != nil:
			t.Error(err)
		case !used:
			unused += price
		}
	}
	t.Logf("%s: of %d are %d taken and %d paid; %d actions are open", when, int64(limit), a.Taken, paid, len(a.Open))
	if a.Taken > limit || paid > a.Taken || paid < a.Taken-int64(len(a.Open))*price {
		t.Errorf("%s: %d taken, %d paid, %d open", when, a.Taken, paid, len(a.Open))
	}
	if p.kind == "transaction" {
		for _, open := range a.Open {
			if open.Unknown {
				unused += price // by EndUnknown above, without a payout
			}
		}
		if paid != a.Taken-unused {
			t.Errorf("%s: %d taken, of which %d were not paid, and %d paid", when, a.Taken, unused, paid)
		}
	}
}

// killPayers has three processes pay, and kills each in the middle.
func (d *database) killPayers(t *testing.T, kind, grant string) {
	t.Helper()
	var group sync.WaitGroup
	for n := range 3 {
		group.Go(func() {
			child := exec.Command(os.Args[0], "-test.run=^TestSpendChild$")
			child.Env = append(os.Environ(), fmt.Sprintf("AUTHAGENT_SPENDING=%s %s %s %s", d.name, d.prefix, kind, grant), "AUTHAGENT_SPENDING_DSN="+d.with(d.usual...))
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err == nil {
				err = child.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			paid := 0
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "paid ") {
					paid++
				}
				if paid == 10+n {
					child.Process.Kill() // SIGKILL: nothing of it runs after that
				}
			}
			if err := child.Wait(); err == nil || child.ProcessState.Exited() {
				t.Errorf("the child was not killed in the middle: %v, %d paid", child.ProcessState, paid)
			}
		})
	}
	group.Wait()
}

// TestSpendChild is the process that is killed. It pays until then.
func TestSpendChild(t *testing.T) {
	words := strings.Fields(os.Getenv("AUTHAGENT_SPENDING"))
	if len(words) == 0 {
		return
	}
	d := &database{engine: engineNamed(words[0]), prefix: words[1], dsn: os.Getenv("AUTHAGENT_SPENDING_DSN")}
	d.usual = nil
	p := d.payroll(t, words[2])
	p.grant = words[3]
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				r, err := p.reserve(rand.Text())
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if err := p.pay(d, r); err != nil {
					panic(err)
				}
				fmt.Println("paid", r.ID)
				if err := r.End(context.Background()); err != nil {
					panic(err)
				}
			}
		})
	}
	group.Wait()
}
