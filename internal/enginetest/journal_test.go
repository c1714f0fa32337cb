package enginetest_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestUnfinished_JRN_10 is JRN-10: what has begun and not ended is found, whenever it ends, and among any number of others.
func TestUnfinished_JRN_10(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
		write := func(name audit.Name, deed string, after time.Duration) {
			t.Helper()
			e := audit.Event{Name: name, Time: at.Add(after), Deed: deed, Count: 1, UserID: "u", Action: "a:do", Detail: "\u00e9", Outcome: string(name)}
			if err := s.Journal().Write(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		const many = 550 // deeds: more events than a page of Unfinished
		for i := range many {
			write(audit.ActionBegun, fmt.Sprint("d", i), time.Duration(i/3)) // several at once
			write(audit.ActionPerformed, fmt.Sprint("d", i), time.Duration(i/3))
		}
		s.Audit(t.Context(), audit.Event{Name: audit.LoginSucceeded, Time: at.Add(time.Hour)})
		write(audit.ActionBegun, "first", -time.Second)
		write(audit.ActionBegun, "killed", 10)
		write(audit.ActionBegun, "slow", 20)
		write(audit.ActionPerformed, "slow", time.Hour)
		write(audit.ActionBegun, "last", 2*time.Hour)
		write(audit.ActionPerformed, "of another time", 5)
		for _, test := range []struct {
			from, to time.Duration
			want     []string
		}{
			{0, time.Minute, []string{"killed"}}, {-time.Hour, time.Minute, []string{"first", "killed"}}, {11, time.Minute, nil}, {0, 10, nil}, {10, 11, []string{"killed"}},
			{20, 21, nil}, {-time.Hour, 3 * time.Hour, []string{"first", "killed", "last"}}, {3 * time.Hour, 4 * time.Hour, nil}, {time.Minute, 0, nil},
		} {
			found, err := s.Unfinished(t.Context(), at.Add(test.from), at.Add(test.to))
			var got []string
			for _, e := range found {
				if got = append(got, e.Deed); e.Name != audit.ActionBegun || e.UserID != "u" || e.Detail != "\u00e9" {
					t.Errorf("JRN-10: %+v", e)
				}
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("JRN-10 from %v to %v: %q, want %q (%v)", test.from, test.to, got, test.want, err)
			}
		}
		page, _, err := s.Events(t.Context(), sqlstore.EventQuery{From: at.Add(time.Hour)})
		if err != nil || len(page) != 3 || page[0].Deed != "last" || page[1].Deed+page[2].Deed != "slow" {
			t.Errorf("JRN-10: %+v, %v", page, err)
		}
	})
}

// TestJournalFails_JRN_2 is JRN-2: a database that cannot store an event says so, and soon.
func TestJournalFails_JRN_2(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, err := sqlstore.New(d.connect(t), sqlstore.Config{Prefix: d.prefix})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Journal().Write(t.Context(), audit.Event{Name: audit.ActionBegun}); !errors.Is(err, sqlstore.ErrNotMigrated) {
			t.Errorf("JRN-2: %v", err)
		}
	})
}

// TestKilledInDeed_JRN_10 is JRN-10: of a process that is killed in the middle of a handler, what it did before is on record with
// its end, and what it was doing as begun.
func TestKilledInDeed_JRN_10(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		child := exec.Command(os.Args[0], "-test.run=^TestKilledInDeedChild$")
		child.Env = append(os.Environ(), "AUTHAGENT_DEED="+d.name+" "+d.prefix, "AUTHAGENT_DEED_DSN="+d.with(d.usual...))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var done, doing string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			what, deed, _ := strings.Cut(lines.Text(), " ")
			switch what {
			case "done":
				done = deed
			case "doing":
				doing = deed
				child.Process.Kill() // SIGKILL: nothing of it runs after that
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() || doing == "" || done == "" {
			t.Fatalf("the child was not killed in the middle: %v, done %q, doing %q", child.ProcessState, done, doing)
		}
		found, err := s.Unfinished(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil || len(found) != 1 || found[0].Deed != doing || found[0].Action != "a:do" || found[0].Outcome != audit.Begun || found[0].Agent.ID == "" {
			t.Errorf("JRN-10: unfinished %+v, want %q (%v)", found, doing, err)
		}
		all, _, err := s.Events(t.Context(), sqlstore.EventQuery{})
		var outcomes []string
		for _, e := range all { // the newest first
			if e.Deed != "" {
				outcomes = append(outcomes, e.Outcome+" "+map[string]string{done: "done", doing: "doing"}[e.Deed])
			}
		}
		if want := []string{"begun doing", "ok done", "begun done"}; err != nil || !slices.Equal(outcomes, want) {
			t.Errorf("JRN-10: on record %q, want %q (%v)", outcomes, want, err)
		}
	})
}

// TestKilledInDeedChild is the process that is killed: a site whose handler says which deed it is doing, and goes on for ever.
func TestKilledInDeedChild(t *testing.T) {
	name, prefix, _ := strings.Cut(os.Getenv("AUTHAGENT_DEED"), " ")
	if name == "" {
		return
	}
	d := &database{engine: engineNamed(name), prefix: prefix, dsn: os.Getenv("AUTHAGENT_DEED_DSN")}
	d.usual = nil
	b := newSite(t, d.open(t, d.connect(t)), withJournal)
	b.Mux("").Handle("POST /act", b.RP.RequireAction("a:do")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fmt.Println(r.URL.RawQuery, audit.DeedFrom(r.Context())); r.URL.RawQuery == "doing" {
			select {}
		}
	})))
	cookies := b.signIn(t, b.Browser())
	b.post(t, "/act?done", cookies)
	b.post(t, "/act?doing", cookies)
}

func withJournal(c *authagent.Config, s *sqlstore.Store, _ *memstore.Users) { c.Journal = s.Journal() }
