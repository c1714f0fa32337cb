package requirements_test

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// otherEnd returns base64url of the same bytes with another last letter, whose lowest bit is not used.
func otherEnd(text string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(text) - 1
	return text[:last] + string(letters[strings.IndexByte(letters, text[last])^1])
}

// spelledAnew returns other texts of a JWT that is signed with ES256, as anybody can write them who has it: with another
// letter at its end, and with the other signature that is as good.
func spelledAnew(t testing.TB, token string) []string {
	t.Helper()
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil || len(signature) != 64 {
		t.Fatalf("signature of %d bytes, %v", len(signature), err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return []string{otherEnd(token), token[:dot+1] + base64.RawURLEncoding.EncodeToString(signature)}
}

// TestSpelledAnew_API_20: a JWT is the same session however its signature is written, also without jti. Otherwise whoever
// has it could go on after its session was ended.
func TestSpelledAnew_API_20(t *testing.T) {
	for form, claims := range map[string]map[string]any{"with jti": nil, "without jti": {"jti": nil}} {
		d := newDoorCluster(t)
		token := d.token(claiming(claims))
		s := d.good(form, token)
		texts := spelledAnew(t, token)
		for i, text := range texts {
			if other := d.good(form+", spelled anew", text); other.ID != s.ID {
				t.Errorf("%s: text %d is another session", form, i)
			}
		}
		if err := d.RP.EndSession(context.Background(), s.ID); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			d.bad(form+", after its session was ended", text)
		}
	}
}

// TestPartsSpelledAnew_API_20: header and claims of a JWT are as they were issued, byte for byte.
func TestPartsSpelledAnew_API_20(t *testing.T) {
	d := newDoorCluster(t)
	tried := [2]bool{}
	for n := range 3 {
		pad := strings.Repeat("x", n)
		token := d.token(claiming(map[string]any{"jti": nil, "pad": pad}), func(t *authagenttest.APIToken) { t.Header = map[string]any{"pad": pad} })
		d.good("as issued", token)
		for i := range tried {
			parts := strings.Split(token, ".")
			if len(parts[i])%4 == 0 {
				continue // all bits are used
			}
			tried[i] = true
			parts[i] = otherEnd(parts[i])
			d.bad("a part that is spelled anew", strings.Join(parts, "."))
		}
	}
	if tried != [2]bool{true, true} {
		t.Error("not tried: ", tried)
	}
}

// TestSameID_API_20: two agents whose tokens the server has given the same jti have a session each.
func TestSameID_API_20(t *testing.T) {
	d := newDoorCluster(t)
	other := d.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_a"})
	same := claiming(map[string]any{"jti": "1"})
	mine := d.token(same)
	like := authagenttest.APIToken{Audience: []string{d.resource}}
	same(&like)
	theirs := d.AS.AccessToken(other, like)
	d.good("one agent's", mine)
	s := d.good("the other's", theirs)
	if err := d.RP.EndSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	d.bad("the other's, ended", theirs)
	d.good("one agent's, still", mine)
}

// TestEndedNotAccepted_API_21: where a token is new whose session was ended, there is no event that it was accepted.
func TestEndedNotAccepted_API_21(t *testing.T) {
	d := newDoorCluster(t)
	d.Instance("b")
	token := d.token()
	s := d.good("before", token)
	if err := d.RP.EndSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", "b"); resp.Reason() != "invalid_token" {
		t.Errorf("at an instance that has not seen it: %d %s", resp.StatusCode, resp.Text)
	}
	if n := len(d.Events.Named(audit.TokenAccepted)); n != 1 {
		t.Errorf("%d events that it was accepted", n)
	}
}

// TestEndedLocksNobodyOut_API_21: whoever sends tokens that have ended, maybe stolen ones, does not keep the agent's next
// token out.
func TestEndedLocksNobodyOut_API_21(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t)
		var ended []string
		for range 30 {
			ended = append(ended, d.token())
		}
		if err := d.RP.EndAgentSessions(t.Context(), authagent.Agent{Issuer: d.AS.URL, ID: d.agent.ID}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		for _, token := range ended {
			d.bad("ended", token)
		}
		d.good("the next", d.token())
	})
}

// TestVary_API_1: where agents come with tokens, an answer that the site allows caches to keep is for one token alone.
func TestVary_API_1(t *testing.T) {
	for resource, want := range map[string]string{"https://shop.example/api": "Cookie, Authorization", "": "Cookie"} {
		d := newDoorCluster(t, func(_ *bench, c *authagent.Config) { c.API.Resource = resource })
		if got := strings.Join(d.call("/open", d.token()).Header["Vary"], ", "); got != want {
			t.Errorf("resource %q: Vary %q, want %q", resource, got, want)
		}
	}
}

// TestSmall_API_25: what is remembered of a token does not grow with what the server says in it.
func TestSmall_API_25(t *testing.T) {
	d := newDoorCluster(t)
	h := d.RP.Attach(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	send := func(token string) {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
	}
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = d.token(claiming(map[string]any{"roles": strings.Repeat("r", 10<<10)}))
	}
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	send(tokens[0])
	before := heap()
	for _, token := range tokens {
		send(token)
	}
	if each := (heap() - before) / len(tokens); each > 6<<10 {
		t.Errorf("%d bytes are remembered of each token", each)
	}
	runtime.KeepAlive(tokens)
	runtime.KeepAlive(d)
}

// TestAskedAfterNo_API_18: an agent that asks anew some time after its owner has said no goes on with the token by which it
// has asked, once the owner has said yes.
func TestAskedAfterNo_API_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOwnedDoor(t)
		d.refused("asks", "/me", d.token(), 403, problem.ApprovalNeeded, "")
		d.decide(grants.Denied)
		time.Sleep(5 * time.Minute)
		token := d.token()
		time.Sleep(5 * time.Minute)
		d.letIn(token)
		d.good("the token by which it has asked", token)
	})
}
