package enginetest_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestKilled: what a process has acknowledged when it is killed is there, and
// what it was writing is there as a whole or not at all.
func TestKilled(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
		child.Env = append(os.Environ(), "AUTHAGENT_KILLED="+d.name+" "+d.prefix, "AUTHAGENT_KILLED_DSN="+d.with(d.usual...))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		const enough = 300
		acknowledged := make(map[string]int)
		var names []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if len(names) >= enough && len(acknowledged) == len(kinds) {
				child.Process.Kill() // SIGKILL: nothing of it runs after that
			}
			if kind, name, ok := strings.Cut(lines.Text(), " "); ok && len(name) == len(rand.Text()) {
				acknowledged[kind]++
				names = append(names, lines.Text())
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() || len(names) < enough {
			t.Fatalf("the child was not killed in the middle: %v, %d acknowledged", child.ProcessState, len(names))
		}
		lost := 0
		for _, line := range names {
			kind, name, _ := strings.Cut(line, " ")
			if there, err := kept(s, kind, name); err != nil || !there {
				lost++
				t.Errorf("%s is lost (%v)", line, err)
			}
		}
		t.Logf("%v acknowledged, %d lost", acknowledged, lost)
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_profiles WHERE id = '' OR agent_id = ''`); n != 0 {
			t.Errorf("%d profiles are half-made", n)
		}
		if err := s.Check(t.Context()); err != nil { // nothing is locked
			t.Error(err)
		}
	})
}

var kinds = []string{"profile", "state", "revocation", "tokens"}

// TestKilledChild is the process that is killed. It writes for ever, and says
// what it has written when it has been told so.
func TestKilledChild(t *testing.T) {
	name, prefix, _ := strings.Cut(os.Getenv("AUTHAGENT_KILLED"), " ")
	if name == "" {
		return
	}
	d := &database{engine: engineNamed(name), prefix: prefix, dsn: os.Getenv("AUTHAGENT_KILLED_DSN")}
	d.usual = nil
	s := d.open(t, d.connect(t))
	var group sync.WaitGroup
	for i := range 4 * len(kinds) {
		group.Go(func() {
			for {
				name := rand.Text()
				if err := write(s, kinds[i%len(kinds)], name); err != nil {
					panic(err)
				}
				fmt.Println(kinds[i%len(kinds)], name) // one write each
			}
		})
	}
	group.Wait()
}

func write(s *sqlstore.Store, kind, name string) error {
	ctx, later := context.Background(), time.Now().Add(time.Hour)
	switch kind {
	case "profile":
		_, err := s.Profiles().FindOrCreateProfile(ctx, authagent.Profile{Agent: authagent.Agent{Issuer: "https://as.example", ID: name}, UserID: name})
		return err
	case "state":
		_, err := s.States().UseState(ctx, name, later)
		return err
	case "revocation":
		return s.Revocations().Revoke(ctx, name, "mark", later)
	}
	return s.Tokens().SaveTokens(ctx, name, nil, []byte(name), later)
}

// kept reports whether what write wrote is there.
func kept(s *sqlstore.Store, kind, name string) (bool, error) {
	ctx := context.Background()
	switch kind {
	case "profile": // an existing one keeps its user
		p, err := s.Profiles().FindOrCreateProfile(ctx, authagent.Profile{Agent: authagent.Agent{Issuer: "https://as.example", ID: name}, UserID: "new"})
		return p.UserID == name, err
	case "state":
		first, err := s.States().UseState(ctx, name, time.Now())
		return !first, err
	case "revocation":
		marks, err := s.Revocations().Marks(ctx, []string{name})
		return err == nil && marks[0] != "", err
	}
	sealed, err := s.Tokens().LoadTokens(ctx, name)
	return string(sealed) == name, err
}
