package marks

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/memory"
)

// store is a Store that keeps all marks. suffix is what it appends to each.
type store struct {
	marks  map[string]string
	suffix string
}

func (s *store) Revoke(_ context.Context, key, mark string, _ time.Time) error {
	s.marks[key] = mark + s.suffix
	return nil
}

func (s *store) Marks(_ context.Context, keys []string) (marks []string, err error) {
	for _, key := range keys {
		marks = append(marks, s.marks[key])
	}
	return marks, nil
}

// TestMarkSaysWhen_API_21: a mark says when it was made, whatever the time and whatever a store appends, and no two are alike.
func TestMarkSaysWhen_API_21(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(0, 1), time.Now(), time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)} {
		one, two := memory.NewMark(at), memory.NewMark(at)
		for _, mark := range []string{one, one + "/7"} {
			if got, says := madeAt(mark); !says || !got.Equal(at) {
				t.Errorf("%s was made at %v, %v, want %v", mark, got, says, at)
			}
		}
		if one == two || len(one) > 64 || strings.Trim(one, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			t.Errorf("marks %q and %q", one, two)
		}
	}
	for _, mark := range []string{"", "short", strings.Repeat("?", 30), "0000000000-00", strings.Repeat("Z", 26)} {
		if at, says := madeAt(mark); says {
			t.Errorf("%q was made at %v", mark, at)
		}
	}
}

// TestUnderEnded_API_21: what began before a mark was made, or at the same moment, has ended, and so has what does not say
// when it began. Each of the marks counts.
func TestUnderEnded_API_21(t *testing.T) {
	at := time.Now()
	mark := memory.NewMark(at)
	for what, under := range map[string]Under{"site": {Site: mark}, "agent": {Agent: mark}, "user": {User: mark}, "subject": {Subject: mark}} {
		for began, want := range map[time.Time]bool{at.Add(-1): true, at: true, at.Add(1): false, {}: true} {
			if got := under.Ended(began); got != want {
				t.Errorf("%s: began %v, ended %v", what, began.Sub(at), got)
			}
		}
	}
	if (Under{}).Ended(time.Time{}) {
		t.Error("ended without a mark")
	}
	if !(Under{Agent: "of another version"}).Ended(at.Add(time.Hour)) {
		t.Error("a mark that does not say when it was made ends nothing")
	}
}

// TestEndedSince_API_21: a session of a token begins under the marks that there are, and one that is older has ended.
func TestEndedSince_API_21(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := audit.Agent{Issuer: "https://as.example", ID: "agent_1"}
		for what, end := range map[string]func(m *Register) error{
			"site":    func(m *Register) error { return m.End(t.Context(), Site) },
			"agent":   func(m *Register) error { return m.End(t.Context(), Agent(agent)) },
			"user":    func(m *Register) error { return m.EndUser(t.Context(), "user_1") },
			"subject": func(m *Register) error { return m.End(t.Context(), Subject(agent.Issuer, "sub")) },
		} {
			m := &Register{Store: &store{marks: map[string]string{}, suffix: "/1"}, Lifetime: time.Hour}
			before := time.Now()
			time.Sleep(time.Minute)
			if err := end(m); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			under, err := m.Begin(t.Context(), agent, "sub", func(context.Context) (string, error) { return "user_1", nil })
			if err != nil || !under.Ended(before) || under.Ended(time.Now()) {
				t.Errorf("%s: %+v, %v", what, under, err)
			}
			s := Of{ID: "session", Agent: agent, UserID: "user_1", Subject: "sub", Under: under}
			if ended, err := m.HasEnded(t.Context(), &s); ended || err != nil {
				t.Errorf("%s: what began later has ended: %v", what, err)
			}
			time.Sleep(time.Minute)
			end(m)
			if ended, _ := m.HasEnded(t.Context(), &s); !ended {
				t.Errorf("%s: it goes on", what)
			}
		}
	})
}

// TestInMemory_SES_16 is SES-16: the store in memory, which is asked in a way of its own, ends the same sessions as any other.
func TestInMemory_SES_16(t *testing.T) {
	ctx := context.Background()
	agent := audit.Agent{Issuer: "https://as.example", ID: "agent_1"}
	of := Of{ID: "s1", Parent: "s0", Agent: agent, UserID: "u", Subject: "sub", SID: "sid"}
	for key, ends := range map[string]bool{
		Session("s1"): true, Session("s0"): true, Session(Lowered("s0")): true, Agent(agent): true, Site: true, User("u"): true,
		Subject(agent.Issuer, "sub"): true, SID(agent.Issuer, "sid"): true,
		Session("s2"): false, Session(Lowered("s1")): false, User(""): false, Session(""): false, anyUser: false,
		Subject("https://other.example", "sub"): false, SID("https://other.example", "sid"): false,
	} {
		for name, s := range map[string]Store{"in memory": new(memory.Revocations), "any other": &store{marks: map[string]string{}}} {
			m := Register{Store: s, Lifetime: time.Hour}
			if err := m.End(ctx, key); err != nil {
				t.Fatal(err)
			}
			if got, err := m.HasEnded(ctx, &of); got != ends || err != nil {
				t.Errorf("SES-16: %s, %s: ended %v, %v", name, key, got, err)
			}
			marks, _ := s.Marks(ctx, []string{Site, Agent(agent), User("u"), Subject(agent.Issuer, "sub")})
			later := of
			later.Under = Under{marks[0], marks[1], marks[2], marks[3]}
			own := key == Session("s1") || key == Session("s0") || key == Session(Lowered("s0")) || key == SID(agent.Issuer, "sid")
			if got, err := m.HasEnded(ctx, &later); got != own || err != nil {
				t.Errorf("SES-16: %s, %s, began under it: ended %v, %v", name, key, got, err)
			}
		}
	}
}
