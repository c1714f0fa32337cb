package door

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

func keyOf(n int) (k key) {
	binary.LittleEndian.PutUint64(k[:], uint64(n))
	return k
}

// TestTableBounds_API_25: whatever comes, what is remembered has a bound, and what is in use is not crowded out.
func TestTableBounds_API_25(t *testing.T) {
	var known table[int]
	now := time.Now()
	one := 1
	inUse := &entry[int]{session: &one, until: now.Add(time.Hour)}
	known.keep(keyOf(0), inUse)
	for n := range 5 * maxKnown {
		known.keep(keyOf(n+1), &entry[int]{})
		if n%100 == 0 {
			if e, _ := known.find(keyOf(0), now); e != inUse {
				t.Fatalf("what is in use is forgotten after %d", n)
			}
		}
	}
	if n := len(known.young) + len(known.old); n > maxKnown {
		t.Errorf("%d are remembered", n)
	}
	if e, _ := known.find(keyOf(1), now); e != nil {
		t.Error("the oldest is remembered")
	}
	for n := range 5 * refusedSlots {
		known.refuse(keyOf(n+1<<20), now.Add(time.Second))
	}
	if len(known.refused) != refusedSlots {
		t.Errorf("%d slots", len(known.refused))
	}
}

// TestRefusedIsForgotten_API_24: a token that was refused is refused until the time has come, another one of its slot is
// not, and one that is refused is not known as good.
func TestRefusedIsForgotten_API_24(t *testing.T) {
	var known table[int]
	now := time.Now()
	first, second := keyOf(7), keyOf(7+refusedSlots<<8)
	second[0], second[1], second[2], second[3], second[9] = first[0], first[1], first[2], first[3], 1
	refused := func(k key, at time.Time) bool { _, refused := known.find(k, at); return refused }
	known.keep(first, &entry[int]{})
	known.refuse(first, now.Add(refusedFor))
	if e, is := known.find(first, now); e != nil || !is {
		t.Errorf("refused: %v, %v", e, is)
	}
	if refused(second, now) || refused(first, now.Add(refusedFor)) || !refused(first, now.Add(refusedFor-1)) {
		t.Error("another token is refused, or this one too long or too short")
	}
	known.refuse(second, now.Add(refusedFor))
	if !refused(second, now) || refused(first, now) {
		t.Error("a slot does not have the last")
	}
	known.keep(second, &entry[int]{}) // it was verified by another request meanwhile
	if e, is := known.find(second, now); e == nil || is {
		t.Error("a good token is refused")
	}
}

// TestAsking_API_25: introspections under way are bounded for a client address, its /64 network, its /48 network (LIM-7),
// and in all.
func TestAsking_API_25(t *testing.T) {
	var a asking
	begin := func(address string) func() {
		done, err := a.begin(address)
		if err != nil {
			if !errors.Is(err, problem.Limited) {
				t.Errorf("%s: %v", address, err)
			}
			return nil
		}
		return done
	}
	fill := func(address string, want int) (done []func()) {
		t.Helper()
		for range want {
			if f := begin(address); f == nil {
				t.Errorf("%s: after %d of %d", address, len(done), want)
			} else {
				done = append(done, f)
			}
		}
		return done
	}
	first := fill("8.8.8.8:1", maxAsking)
	if begin("8.8.8.8:2") != nil {
		t.Error("one address has more than its own")
	}
	fill("[2a00:1::1]:1", maxAsking)
	if begin("[2a00:1::2]:1") != nil {
		t.Error("one /64 network has more than its own")
	}
	for i := 2; i <= maxAskingWide/maxAsking; i++ {
		fill(fmt.Sprintf("[2a00:1:0:%d::1]:1", i), maxAsking)
	}
	if begin("[2a00:1:0:ff::1]:1") != nil {
		t.Error("LIM-7: one /48 network has more than its own")
	}
	fill("[2a00:2::1]:1", 1)[0]()
	fill("10.0.0.1:1", maxAskingAll-maxAskingWide-maxAsking) // a proxy's, behind which everybody is
	if begin("9.9.9.9:1") != nil || begin("10.0.0.1:1") != nil {
		t.Error("there are more in all")
	}
	first[0]()
	fill("8.8.8.8:3", 1)
	for _, done := range first[1:] {
		done()
	}
	if len(a.byFrom) != 3+maxAskingWide/maxAsking {
		t.Errorf("%d addresses are counted", len(a.byFrom))
	}
}

// TestNews_API_24: of refusals that anybody can cause, the operator is told of ten in a minute for each address. Of what the
// site has decided, they are told of each.
func TestNews_API_24(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Door[int]{told: limit.NewAddresses(toldRefusals, time.Minute)}
		d.Address = func(r *http.Request) string { return r.RemoteAddr }
		for _, reason := range []problem.Reason{reasons.InvalidToken, problem.Limited, reasons.Unavailable, reasons.InvalidResponse} {
			for _, address := range []string{"8.8.8.8:1", "9.9.9.9:1"} {
				told := 0
				r := httptest.NewRequest("GET", "/", nil)
				r.RemoteAddr = address
				for range 100 {
					err := d.bounded(r, failure.New(reason, step, "x"))
					if got, _ := failure.ReasonOf(err); got != reason || failure.As(err).Reason != reason {
						t.Fatalf("%s became %v", reason, err)
					}
					if IsNews(fmt.Errorf("in a guard: %w", err)) {
						told++
					}
				}
				if told != toldRefusals && reason != reasons.InvalidToken || told == 0 {
					t.Errorf("%s: told %d times", reason, told)
				}
			}
			time.Sleep(time.Minute)
		}
		r := httptest.NewRequest("GET", "/", nil)
		for range 100 {
			if !IsNews(d.bounded(r, failure.New(problem.NoAccount, "link", "x"))) {
				t.Fatal("a decision of the site's is not told")
			}
		}
		if IsNews(ErrToken) || d.bounded(r, ErrToken) != error(ErrToken) {
			t.Error("a refusal without a reason is news")
		}
	})
}

// TestTokenOfRequest_API_6: who reads the header in another way than this package finds no token that it has not seen.
func TestTokenOfRequest_API_6(t *testing.T) {
	for line, want := range map[string]string{
		"Bearer a.b-c_~+/=": "a.b-c_~+/=", "bEaReR   a": "a", "Bearer a ": "a", "Basic YTpi": "none", "": "none", "Bearera": "none", "DPoP a": "none", "a": "none",
		"Bearer": "400", "Bearer ": "400", "Bearer\ta": "400", "Bearer \ta": "400", "Bearer a b": "400", "Bearer a,Bearer b": "400", "Basic a, Bearer b": "400",
		"Basic a,\tbearer\tb": "400", "Bearer, a": "400", "Bearer\ta b": "400", "Bearer a,": "400", "Bearer " + strings.Repeat("a", 16<<10+1): "400",
	} {
		r := &http.Request{Header: http.Header{"Authorization": {line}}}
		token, came, err := Token(r)
		got := token
		switch {
		case err != nil && came && errors.Is(err, problem.Reason(reasons.InvalidCredentials)) && token == "":
			got = "400"
		case err == nil && !came && token == "":
			got = "none"
		}
		if got != want {
			t.Errorf("%.20q: %q, %v, %v, want %q", line, token, came, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "aaa") {
			t.Errorf("the error has the token: %v", err)
		}
	}
	if _, came, err := (*Door[int])(nil).Token(&http.Request{Header: http.Header{"Authorization": {"Bearer a"}}}); came || err != nil {
		t.Errorf("a closed door: %v, %v", came, err)
	}
}
