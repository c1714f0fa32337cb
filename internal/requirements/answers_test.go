package requirements_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

// TestLongAnswers_NET_5: NET-5. An answer may have 1 MiB when it is unpacked, and one
// that is longer is refused, not cut, and costs no memory.
func TestLongAnswers_NET_5(t *testing.T) {
	padded := func(size int) wrapper {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				own := httptest.NewRecorder()
				next.ServeHTTP(own, r)
				w.Header().Set("Content-Type", "application/json")
				n, _ := own.Body.WriteTo(w)
				io.WriteString(w, strings.Repeat(" ", size-int(n)))
			})
		}
	}
	for _, test := range []struct {
		name string
		mw   wrapper
		ok   bool
	}{
		{"endless", authagenttest.Endless(), false},
		{"gzip, 10 GiB", authagenttest.GzipBomb(10 << 30), false},
		{"gzip, 1 MiB and a byte", authagenttest.GzipBomb(1<<20 + 1), false},
		{"1 MiB", padded(1 << 20), true},
		{"1 MiB and a byte", padded(1<<20 + 1), false},
		{"100 MB", padded(100e6), false},
	} {
		for _, path := range []string{authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathJWKS, authagenttest.PathMetadata} {
			if test.name == "100 MB" && path != authagenttest.PathUserInfo {
				continue // it is the server here that takes the memory
			}
			t.Run(test.name+path, func(t *testing.T) {
				as := quickServer(t)
				as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens = "ES256" })
				b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
				mw := test.mw
				if path == authagenttest.PathToken {
					mw = onCode(mw)
				}
				as.Wrap(path, mw)
				c := b.Browser()
				grown := heapGrowth(func() {
					resp := b.Get(c, "/auth/agent/login")
					if resp.StatusCode == http.StatusSeeOther {
						resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
					}
					if (resp.StatusCode == http.StatusSeeOther) != test.ok {
						t.Errorf("status %d %s", resp.StatusCode, resp.Text)
					}
				})
				if grown > 16<<20 && test.name != "100 MB" {
					t.Errorf("the heap grew by %d bytes", grown)
				}
			})
		}
	}
}

// heapGrowth returns by how much the heap grew, at its largest, during f.
func heapGrowth(f func()) int64 {
	// What other tests hold must not let garbage count: by default as much of it may lie about.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-watched
	return int64(most) - int64(before)
}

// TestStrictAnswers_NET_7: NET-6 and NET-7, at each endpoint that says who somebody is.
func TestStrictAnswers_NET_7(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
	b.Users.Add("victim@example.com", "Victim")
	good := map[string]string{
		authagenttest.PathToken:      `"access_token":"x","token_type":"Bearer"`,
		authagenttest.PathUserInfo:   `"sub":"agent_alice","email":"alice@example.com"`,
		authagenttest.PathIntrospect: `"active":true,"client_id":"site","sub":"agent_alice"`,
	}
	for path, members := range good {
		for _, test := range []struct{ name, contentType, body string }{
			{"HTML", "text/html", "{" + members + "}"},
			{"no type", "", "{" + members + "}"},
			{"JavaScript", "application/javascript", "{" + members + "}"},
			{"array", "application/json", "[{" + members + "}]"},
			{"null", "application/json", "null"},
			{"string", "application/json", `"x"`},
			{"empty", "application/json", ""},
			{"two objects", "application/json", "{" + members + "}{}"},
			{"something after it", "application/json", "{" + members + "}x"},
			{"byte order mark", "application/json", "\ufeff{" + members + "}"},
			{"comma", "application/json", "{" + members + ",}"},
			{"invalid UTF-8", "application/json", "{" + members + ",\"x\":\"\xff\"}"},
			{"half a surrogate", "application/json", "{" + members + `,"x":"\ud800"}`},
			{"depth", "application/json", "{" + members + `,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}"},
			{"error", "application/json", "{" + members + `,"error":"invalid_grant"}`},
			{"error null", "application/json", "{" + members + `,"error":null}`},
			{"repeated member", "application/json", "{" + members + `,"sub":"victim","sub":"victim"}`},
			{"repeated by an escape", "application/json", "{" + members + `,"\u0061":1,"a":2}`},
			{"repeated inside", "application/json", "{" + members + `,"x":{"a":1,"a":2}}`},
		} {
			t.Run(test.name+path, func(t *testing.T) {
				b.T = t
				mw := authagenttest.Reply(200, test.contentType, test.body)
				if path == authagenttest.PathToken {
					mw = onCode(mw)
				}
				b.AS.Wrap(path, mw)
				defer b.AS.Wrap(path, nil)
				s.lookups = nil
				if resp := b.RefusedSignIn(b.Browser(), b.Agent); resp.StatusCode >= 500 && resp.StatusCode != 502 || len(s.lookups) != 0 {
					t.Errorf("status %d, looked up %q", resp.StatusCode, s.lookups)
				}
			})
		}
	}
	for _, contentType := range []string{"application/json; charset=utf-8", "Application/JSON", "application/json;charset=\"UTF-8\""} {
		b.T = t
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, contentType, "{"+good[authagenttest.PathUserInfo]+"}"))
		b.MustSignIn(b.Browser(), b.Agent)
	}
	for _, status := range []int{201, 203, 204, 206, 400, 403, 404} { // the right answer with the wrong status
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(status, "application/json", "{"+good[authagenttest.PathUserInfo]+"}"))
		b.RefusedSignIn(b.Browser(), b.Agent)
	}
	for _, body := range []string{ // NET-7: never the victim
		`{"sub":"agent_alice","Sub":"victim","email":"alice@example.com","Email":"victim@example.com","EMAIL":"victim@example.com"}`,
		`{"Sub":"victim","sub":"agent_alice","Email":"victim@example.com","email":"alice@example.com"}`,
		`{"sub":"agent_alice","email":"alice@example.com","e\u006dail ":"victim@example.com","ſub":"victim"}`,
	} {
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, "application/json", body))
		if got := b.MustSignIn(b.Browser(), b.Agent); got.UserID != b.AliceID || got.Agent.ID != "agent_alice" {
			t.Errorf("%s: %+v", body, got)
		}
	}
	for _, body := range []string{
		`{"sub":"agent_alice","email":"alice@example.com","email":"victim@example.com"}`,
		`{"sub":"agent_alice","email":"alice@example.com","\u0065mail":"victim@example.com"}`,
		`{"sub":"victim","sub":"agent_alice","email":"victim@example.com"}`,
		`{"Sub":"agent_alice","Email":"victim@example.com"}`,
	} {
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, "application/json", body))
		b.RefusedSignIn(b.Browser(), b.Agent)
	}
}

// TestTokenAnswers_NET_8_NET_26: NET-8, NET-9, and NET-26, what a refresh token may have.
func TestTokenAnswers_NET_8_NET_26(t *testing.T) {
	b := newBenchOn(t, quickServer(t))
	try := func(name string, value any, ok bool) {
		t.Helper()
		mw := authagenttest.WithMember(name, value)
		if value == "absent" {
			mw = authagenttest.WithoutMember(name)
		}
		b.AS.Wrap(authagenttest.PathToken, onCode(mw))
		if ok {
			s := b.MustSignIn(b.Browser(), b.Agent)
			if left := time.Until(s.ExpiresAt); left > 12*time.Hour || left < 11*time.Hour {
				t.Errorf("%s %v: the session lasts %v", name, value, left)
			}
			return
		}
		before := b.AS.Count(authagenttest.PathUserInfo)
		b.RefusedSignIn(b.Browser(), b.Agent)
		if n := b.AS.Count(authagenttest.PathUserInfo) - before; n != 0 {
			t.Errorf("%s %.40v: %d userinfo requests", name, value, n)
		}
	}
	for _, token := range []any{
		"absent", nil, "", 1, true, []string{"x"}, "a\r\nX-Evil: 1", "a b", "a\tb", "ä", "a,b", `a"b`, "\x00", "a!b", strings.Repeat("a", 16<<10+1),
	} {
		try("access_token", token, false)
	}
	for _, refresh := range []any{"a b", "a\n", "a\x7f", "\u00e4", 1, strings.Repeat("a", 16<<10+1)} {
		try("refresh_token", refresh, false)
	}
	// NET-26, NET-27: what some servers do give.
	visible := ""
	for c := byte('!'); c <= '~'; c++ {
		visible += string(c)
	}
	for _, refresh := range []string{"1//!*$", visible, strings.Repeat("!", 5000), strings.Repeat("~", 16<<10)} {
		try("refresh_token", refresh, true)
	}
	try("refresh_token", "absent", true)
	for _, kind := range []any{"absent", nil, "", "DPoP", "mac", "Bearer ", "Bearer,mac", 1, []string{"Bearer"}} {
		try("token_type", kind, false)
	}
	for _, kind := range []any{"bEARER", "bearer", "BEARER"} {
		before := len(b.AS.Requests(authagenttest.PathUserInfo))
		try("token_type", kind, true)
		for _, r := range b.AS.Requests(authagenttest.PathUserInfo)[before:] {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				t.Errorf("%v: %q", kind, r.Header.Get("Authorization"))
			}
		}
	}
	for _, lifetime := range []any{
		"absent", nil, "3600", 3600.5, 0, -1, "-1", json.Number("1e30"), json.Number("1e999"), json.Number("-1e999"),
		json.Number("9223372036854775807"), json.Number("9223372036854775808"), json.Number("1e-9"),
	} {
		try("expires_in", lifetime, true)
	}
	for _, lifetime := range []any{"", "soon", "1h", " 1", true, []int{1}} {
		try("expires_in", lifetime, false)
	}
	try("anything_else", map[string]any{"access_token": "x"}, true)
}

// TestLongAccessToken_NET_27: NET-27. An access token of 16 KiB, full of roles, signs in, is
// kept, refreshed and sent on.
func TestLongAccessToken_NET_27(t *testing.T) {
	roles := make([]string, 900)
	for i := range roles {
		roles[i] = fmt.Sprintf("role-%05d", i)
	}
	as := quickServer(t)
	b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
	long := signedHS256(testsite.NewKey(), nil, with(b.accessClaims(), members{"roles": roles}))
	long = long[:strings.LastIndexByte(long, '.')+1] + strings.Repeat("A", 16<<10-strings.LastIndexByte(long, '.')-1)
	if len(long) != 16<<10 {
		t.Fatalf("the token has %d bytes", len(long))
	}
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	b.gives(members{"access_token": long, "refresh_token": strings.Repeat("!", 16<<10)})
	s := b.MustSignIn(b.Browser(), b.Agent)
	token, err := b.RP.TokenSource(t.Context(), s).Token()
	if err != nil || token.AccessToken != long {
		t.Errorf("kept: %v", err)
	}
	for _, r := range as.Requests(authagenttest.PathUserInfo) {
		if r.Header.Get("Authorization") != "Bearer "+long {
			t.Error("userinfo was asked with another token")
		}
	}
}

// TestLongIDToken_NET_27: NET-27. An id_token of more than 64 KiB is refused: what a person's says is kept for
// a minute.
func TestLongIDToken_NET_27(t *testing.T) {
	for size, refused := range map[int]bool{60 << 10: false, 66 << 10: true} {
		b := newBenchOn(t, subjectServer(t), func(_ *bench, c *authagent.Config) { c.Provider.SubjectIsUser = true })
		b.gives(members{"id_token": strings.Repeat("x", size)}) // which is none in any case
		resp := b.SignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}))
		if resp.StatusCode < 400 || strings.Contains(b.Log.String(), "id_token is too long") != refused {
			t.Errorf("%d bytes: %d %s\n%s", size, resp.StatusCode, resp.Text, b.Log)
		}
	}
}
