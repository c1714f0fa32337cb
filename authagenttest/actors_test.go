package authagenttest_test

import (
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

// places returns what the server says of a token in each place: the claims, as JSON.
func (b *bench) places(t *testing.T, agent *authagenttest.Agent) map[string]string {
	t.Helper()
	b.agent = agent
	issued := b.token(b.redemption(b.code("scope", "openid profile email x", "nonce", "n")))
	access := issued.member("access_token")
	return map[string]string{
		"id_token": decoded(t, strings.Split(issued.member("id_token"), ".")[1]), "access_token": decoded(t, strings.Split(access, ".")[1]),
		"introspection": b.post(authagenttest.PathIntrospect, fields{"token": access}).body, "userinfo": b.userInfo(access).body,
	}
}

func TestActorIn(t *testing.T) {
	all := []string{"id_token", "access_token", "introspection", "userinfo"}
	for _, in := range append([][]string{nil, {}, {"id_token", "introspection"}}, []string{"access_token"}) {
		b := newBench(t)
		b.s.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true, ActorIn: in}
		says := b.places(t, b.s.AddAgent(authagenttest.Agent{ID: "agent_3", UserID: "u-7"}))
		for _, place := range all {
			want := in == nil || strings.Contains(strings.Join(in, " "), place)
			if got := strings.Contains(says[place], `"act":{"sub":"agent_3"}`); got != want || !strings.Contains(says[place], `"sub":"u-7"`) {
				t.Errorf("in %q: %s says %s", in, place, says[place])
			}
		}
	}
}

func TestClaims(t *testing.T) {
	b := newBench(t)
	b.s.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
	b.s.Features.Claims = func(place string, of authagenttest.Agent) map[string]any {
		return map[string]any{"place": place + " of " + of.ID, "model": nil, "act": map[string]any{"sub": of.ID, "act": map[string]any{"sub": "before"}}}
	}
	for place, says := range b.places(t, b.s.AddAgent(authagenttest.Agent{ID: "agent_3", UserID: "u-7"})) {
		for want, has := range map[string]bool{
			`"place":"` + place + ` of agent_3"`: true, `"act":{"act":{"sub":"before"},"sub":"agent_3"}`: true, `"sub":"u-7"`: true, `"model"`: false,
		} {
			if strings.Contains(says, want) != has {
				t.Errorf("%s says %s; %s: want %v", place, says, want, has)
			}
		}
	}
}

func TestPerson(t *testing.T) {
	for _, actor := range []bool{true, false} {
		b := newBench(t)
		b.s.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: actor}
		for userID, sub := range map[string]string{"": "alice@example.com", "u-7": "u-7"} {
			for place, says := range b.places(t, b.s.AddAgent(authagenttest.Agent{ID: "person_1", Email: "alice@example.com", UserID: userID, Person: true})) {
				if !strings.Contains(says, `"sub":"`+sub+`"`) || strings.Contains(says, "person_1") || strings.Contains(says, `"act"`) || strings.Contains(says, `"model"`) {
					t.Errorf("%s says %s", place, says)
				}
			}
		}
	}
}

func TestGuest(t *testing.T) {
	b := newBench(t)
	b.s.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
	for place, says := range b.places(t, b.s.AddAgent(authagenttest.Agent{ID: "guest_1", Name: "Alice", Guest: true})) {
		if !strings.Contains(says, `"sub":"guest_1"`) || strings.Contains(says, `"act"`) || strings.Contains(says, "example.com") || strings.Contains(says, "Alice") {
			t.Errorf("%s says %s", place, says)
		}
		if strings.Contains(says, `"sub_profile":"ai_agent"`) != (place != "userinfo") {
			t.Errorf("%s says %s", place, says)
		}
	}
}

func TestGrantedScopes(t *testing.T) {
	for _, test := range []struct {
		scopes []string
		want   string
	}{
		{nil, "openid profile x"}, {[]string{}, ""}, {[]string{"x", "openid", "more"}, "openid x"},
	} {
		b := newBench(t)
		b.s.Features.IDToken = true
		b.agent = b.s.AddAgent(authagenttest.Agent{ID: "agent_3", Scopes: test.scopes})
		issued := b.token(b.redemption(b.code("scope", "openid profile x")))
		if got := issued.member("scope"); got != test.want {
			t.Errorf("%q of those: granted %q", test.scopes, got)
		}
		if got := b.post(authagenttest.PathIntrospect, fields{"token": issued.member("access_token")}).member("scope"); got != test.want {
			t.Errorf("%q of those: introspection says %q", test.scopes, got)
		}
		if got := issued.member("id_token") != ""; got != strings.Contains(test.want, "openid") {
			t.Errorf("%q of those: id_token %v", test.scopes, got)
		}
	}
}
