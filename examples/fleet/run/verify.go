//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// verify looks for all that was acknowledged, when nothing goes wrong any more.
func (f *fleet) verify(ctx context.Context) {
	f.ledger.do(func() {
		f.ledger.counts["sessions that instances had confirmed by the Auth Agent server, or tried"] = f.auth.Count(authagenttest.PathIntrospect)
	})
	f.verifySessions(ctx)
	f.verifyGrants(ctx)
	f.verifyDone(ctx, "fleet_orders", orderLost, func(key string) (acknowledged bool) { return f.ledger.orders[key] })
	f.verifyDone(ctx, "fleet_payouts", payoutLost, func(key string) (acknowledged bool) { return f.ledger.payouts[key] > 0 })
	f.verifyPayouts(ctx)
	for id, profiles := range f.ledger.profiles {
		if len(profiles) > 1 {
			f.ledger.fault(profileDoubled, "%s was told of %d", id, len(profiles))
		}
	}
	for _, id := range f.strings(ctx, `SELECT agent_id FROM authagent_profiles GROUP BY issuer, agent_id, scenario HAVING COUNT(*) > 1`) {
		f.ledger.fault(profileDoubled, "%s has several in the database", id)
	}
}

// verifySessions shows every session to every instance.
func (f *fleet) verifySessions(ctx context.Context) {
	work := make(chan *session)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for s := range work {
				f.verifySession(ctx, s)
			}
		})
	}
	for _, s := range f.ledger.sessions {
		work <- s
	}
	close(work)
	group.Wait()
}

func (f *fleet) verifySession(ctx context.Context, s *session) {
	ending, ended := s.state()
	for _, i := range f.instances {
		if ended {
			s.agent.refused(ctx, i, s)
			continue
		}
		if ending {
			return // nobody was told what became of it
		}
		a := send(ctx, f.client, s.from, request{method: http.MethodGet, url: i.origin + "/me", cookie: s.cookie})
		for tries := 0; tries < 50 && a.status == http.StatusTooManyRequests; tries++ {
			sleep(ctx, 200*time.Millisecond)
			a = send(ctx, f.client, s.from, request{method: http.MethodGet, url: i.origin + "/me", cookie: s.cookie})
		}
		if a.status != http.StatusOK {
			f.ledger.fault(sessionLost, "%s, session %s, at the end, at %s: %v", s.agent.as.ID, s.id, i.name, a)
			return
		}
		f.ledger.count("sessions that were there at the end, at each instance")
	}
}

func (f *fleet) verifyGrants(ctx context.Context) {
	for _, a := range f.agents {
		id := a.approved()
		all, err := f.store.OwnerGrants(ctx, a.userID)
		switch {
		case id == "":
			f.ledger.fault(notAsIntended, "the owner of %s never approved it", a.as.ID)
		case len(all) > 1:
			f.ledger.fault(grantDoubled, "%s has %d", a.as.ID, len(all))
		case err != nil || len(all) == 0 || all[0].ID != id || all[0].Now() != grants.Approved:
			f.ledger.fault(grantLost, "%s: %s was approved, and there is %+v (%v)", a.as.ID, id, all, err)
		default:
			f.ledger.count("grants that were there at the end")
		}
	}
}

// strings returns the only column of a query.
func (f *fleet) strings(ctx context.Context, query string) (all []string) {
	rows, err := f.db.QueryContext(ctx, query)
	if err != nil {
		f.ledger.fault(notAsIntended, "%s: %v", query, err)
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err = rows.Scan(&s); err != nil {
			break
		}
		all = append(all, s)
	}
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		f.ledger.fault(notAsIntended, "%s: %v", query, err)
	}
	return all
}

// verifyDone looks for what agents were told was done.
func (f *fleet) verifyDone(ctx context.Context, table, lost string, acknowledged func(key string) bool) {
	there := map[string]int{}
	for _, key := range f.strings(ctx, `SELECT request_key FROM `+table) {
		there[key]++
	}
	keys := make([]string, 0, len(f.ledger.orders)+len(f.ledger.payouts))
	for key := range f.ledger.orders {
		keys = append(keys, key)
	}
	for key := range f.ledger.payouts {
		keys = append(keys, key)
	}
	for _, key := range keys {
		if !acknowledged(key) {
			continue
		}
		f.ledger.count("acknowledged in " + table)
		if there[key] == 0 {
			f.ledger.fault(lost, "%s", key)
		}
	}
}

// acts are the tables of what agents have done.
var acts = []string{"fleet_orders", "fleet_payouts"}

// verifyDeeds looks for the deed of each order and payout in the audit trail, when all instances
// have stopped. The release before knows no deeds: what it did is left out.
func (f *fleet) verifyDeeds(ctx context.Context) {
	for _, table := range acts {
		query := fmt.Sprintf(`SELECT COALESCE(deed, '') || ' in %[1]s, ' || id FROM %[1]s AS act WHERE (deed IS NOT NULL OR id > %[2]d)
			AND NOT EXISTS (SELECT 1 FROM authagent_events WHERE name = '%[3]s' AND deed = act.deed)`, table, f.lastOld[table], audit.ActionBegun)
		for _, deed := range f.strings(ctx, query) {
			f.ledger.fault(deedUnrecorded, "%s", deed)
		}
		n := len(f.strings(ctx, `SELECT deed FROM `+table+` WHERE deed IS NOT NULL`))
		f.ledger.do(func() { f.ledger.counts["rows of "+table+" that have a deed"] += n })
	}
	unfinished, err := f.sql.Unfinished(ctx, f.start, time.Now())
	if err != nil {
		f.ledger.fault(notAsIntended, "unfinished deeds: %v", err)
	}
	for _, e := range unfinished {
		if f.times.inOutage(e.Time) {
			f.ledger.count("deeds begun that the trail does not tell the end of, around an outage")
		} else {
			f.ledger.fault(deedUnfinished, "%s, begun %v", e.Deed, e.Time.Format("15:04:05.000"))
		}
	}
}

// verifyPayouts compares the payouts with the owners' approvals. What an instance that was
// killed has left open is settled as the policy does it after a while: in the database.
func (f *fleet) verifyPayouts(ctx context.Context) {
	there := map[string]int{}
	for _, key := range f.strings(ctx, `SELECT request_key FROM fleet_payouts`) {
		there[key]++
	}
	for key, acknowledged := range f.ledger.payouts {
		if n := max(there[key], acknowledged); n > 1 {
			f.ledger.fault(payoutDoubled, "%s, %d times", key, n)
		}
		switch used, err := f.used(ctx, f.ledger.approvals[key]); {
		case err != nil:
			f.ledger.fault(notAsIntended, "approval %s: %v", f.ledger.approvals[key], err)
		case used && there[key] == 0:
			f.ledger.fault(approvalWasted, "%s", key)
		case there[key] == 0:
			f.ledger.count("approvals of single actions that were not used")
		}
	}
}

// used reports whether an approval has been used up.
func (f *fleet) used(ctx context.Context, id string) (bool, error) {
	a, err := f.store.Approval(ctx, id)
	if err != nil || a.Reservation == "" || a.State != grants.Reserved {
		return a.State == grants.Used || a.State == grants.Unknown, err
	}
	return f.store.Settle(ctx, a.Reservation)
}

// stopAll stops the instances as one should, and looks at what they leave behind.
func (f *fleet) stopAll(ctx context.Context, dir string) {
	last := f.faults.Load()
	f.lastActs(ctx)
	var group sync.WaitGroup
	for _, i := range f.instances {
		group.Go(func() {
			if err := i.stop(syscall.SIGTERM); err != nil {
				f.ledger.fault(stopFailed, "%v: %s", err, i.tail())
			}
		})
	}
	group.Wait()
	f.verifyEvents(ctx, int(last))
	f.verifyDeeds(ctx)
	f.readLogs(dir)
}

// lastActs leaves something to be recorded until the last moment.
func (f *fleet) lastActs(ctx context.Context) {
	var group sync.WaitGroup
	for _, a := range f.agents {
		group.Go(func() { a.signInOnce(ctx) })
	}
	group.Wait()
}

// verifyEvents looks for sign-ins in the audit trail. It is written after the
// answer, so those of an instance that is killed can be lost.
func (f *fleet) verifyEvents(ctx context.Context, last int) {
	recorded := map[string]bool{}
	query := sqlstore.EventQuery{Limit: 1000}
	for {
		page, next, err := f.sql.Events(ctx, query)
		if err != nil {
			f.ledger.fault(notAsIntended, "audit trail: %v", err)
			return
		}
		for _, e := range page {
			if e.Name == audit.LoginSucceeded {
				recorded[e.SessionID] = true
			}
		}
		if query.After = next; next == "" {
			break
		}
	}
	for _, s := range f.ledger.sessions {
		switch {
		case s.id == "": // it was not asked who it is
		case recorded[s.id]:
			f.ledger.count("sign-ins in the audit trail")
		case s.faults >= last:
			f.ledger.fault(eventLost, "sign-in of %s, session %s", s.agent.as.ID, s.id)
		default:
			f.ledger.count("sign-ins that the audit trail lacks, begun before: " + f.ledger.events[s.faults])
		}
	}
}

var bad = regexp.MustCompile(`(?m)^.*(DATA RACE|authagent: panic|^panic:|runtime error).*$`)

func (f *fleet) readLogs(dir string) {
	for _, i := range f.instances {
		log, err := os.ReadFile(filepath.Join(dir, i.name+".log"))
		if err != nil {
			f.ledger.fault(notAsIntended, "log: %v", err)
		}
		for _, line := range bad.FindAllString(string(log), 5) {
			f.ledger.fault(raceFound, "%s: %s", i.name, line)
		}
		f.ledger.do(func() {
			f.ledger.counts["audit events that an instance could not store, by its log"] += strings.Count(string(log), "audit event lost")
		})
	}
}
