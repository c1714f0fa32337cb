package enginetest_test

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent/sqlstore"
)

// rows is what a thousand sessions are compared with. A million take minutes to
// write.
var rows = flag.Int("rows", 100_000, "sessions in the large table of BenchmarkRequest")

// BenchmarkRequest is what a request of a signed-in agent asks of the database:
// its session, and whether it was revoked. That is to cost the same among a
// thousand sessions as among a million.
//
//	go test -run '^$' -bench Request -benchtime 2s -timeout 30m -rows 1000000
func BenchmarkRequest(b *testing.B) {
	for _, e := range engines {
		for _, n := range []int{1_000, *rows} {
			b.Run(fmt.Sprint(e.name, "/", n), func(b *testing.B) { benchmarkRequest(b, newDatabase(b, e), n) })
		}
	}
}

func benchmarkRequest(b *testing.B, d *database, n int) {
	db := d.connect(b, append(d.usual, d.prepares...)...)
	s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.fill(b, db, n, "sessions", "revocations")
	requests := make([]*http.Request, 100)
	for i := range requests {
		gs := sessions.NewSession(s.Sessions(), "name")
		gs.Options = &sessions.Options{MaxAge: 3600}
		gs.Values["authagent"] = rand.Text()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if err := s.Sessions().Save(r, w, gs); err != nil {
			b.Fatal(err)
		}
		requests[i] = httptest.NewRequest(http.MethodGet, "/", nil)
		requests[i].AddCookie(w.Result().Cookies()[0])
	}
	now := time.Now()
	i := 0
	for b.Loop() {
		i++
		gs, err := s.Sessions().New(requests[i%len(requests)], "name")
		if err != nil || gs.IsNew {
			b.Fatal("no session ", err)
		}
		keys := []string{"session:" + rand.Text(), "agent:https://as.example agent_7", "all", "user:7"}
		if revoked, err := s.Revocations().Revoked(b.Context(), keys, now); err != nil || revoked {
			b.Fatal(revoked, err)
		}
	}
}
