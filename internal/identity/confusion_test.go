package identity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/wire"
)

// A said is what the three say. A nil map is none of it; text is a payload or a token as it is.
type said struct {
	id                    any // claims, or the text of a payload
	access                any // claims, or a token as it is
	introspection         any // claims, or the text of the answer
	unverified            bool
	subjectIsUser, people bool
}

// personal is what a person's tokens say.
func personal() said {
	return said{
		id: claims{"sub": "user"}, access: claims{"sub": "user"}, introspection: claims{"sub": "user"},
		subjectIsUser: true, people: true,
	}
}

// bench signs and answers what is said.
type bench struct {
	*provider
	now time.Time
}

func newBench(t testing.TB) *bench {
	return &bench{&provider{issuer: issuer, key: newKey(t)}, time.Now()}
}

// payload completes claims, unless they are text.
func payload(of any, frame claims) []byte {
	if text, ok := of.(string); ok {
		return []byte(text)
	}
	text, _ := json.Marshal(with(frame, of.(claims)))
	return text
}

// establish asks whom it speaks of.
func (b *bench) establish(t testing.TB, w said) (*identity.Identity, error) {
	t.Helper()
	until := b.now.Add(time.Hour).Unix()
	token := &wire.Token{Access: "opaque"}
	if w.id != nil {
		token.ID = b.sign(payload(w.id, claims{"iss": issuer, "aud": "site", "iat": b.now.Unix(), "exp": until, "nonce": "n"}))
	}
	switch access := w.access.(type) {
	case string:
		token.Access = access
	case claims:
		token.Access = b.sign(payload(access, claims{"iss": issuer, "client_id": "site", "exp": until}))
	}
	if w.unverified {
		token.Access = token.Access[:strings.LastIndexByte(token.Access, '.')+1] + strings.Repeat("A", 86)
	}
	b.provider.introspection, b.asked = nil, 0
	if w.introspection != nil {
		b.provider.introspection = payload(w.introspection, claims{"active": true, "client_id": "site", "exp": until})
	}
	v := identity.Verifier{Issuer: issuer, ClientID: "site", SubjectIsUser: w.subjectIsUser, People: w.people}
	return v.Establish(t.Context(), b.server(), token, "n")
}

func (w said) String() string {
	return fmt.Sprintf("id %v, access %v (unverified %v), introspection %v, people %v", w.id, w.access, w.unverified, w.introspection, w.people)
}

// nested is act so many levels deep.
func nested(levels int) claims {
	act := claims{"sub": fmt.Sprint("agent_", levels)}
	for i := levels - 1; i > 0; i-- {
		act = claims{"sub": fmt.Sprint("agent_", i), "act": act}
	}
	return act
}

// TestNobodyIsAPerson_ACT_8: whatever speaks of an agent, anywhere, verified or not, keeps its bearer from
// passing for a person, and so does what cannot be read or has not been verified.
func TestNobodyIsAPerson_ACT_8(t *testing.T) {
	b := newBench(t)
	if id, err := b.establish(t, personal()); err != nil || id.Kind != identity.Person || id.User != "user" || id.Agent != "" {
		t.Fatalf("a person: %+v, %v", id, err)
	}
	good := personal()
	for name, c := range map[string]claims{
		"act null": {"act": nil}, "act true": {"act": true}, "act text": {"act": "agent"}, "act empty": {"act": claims{}},
		"act list": {"act": []any{claims{"sub": "a"}}}, "act the user": {"act": claims{"sub": "user"}}, "act odd sub": {"act": claims{"sub": 1}},
		"act of another issuer": {"act": claims{"sub": "a", "iss": "https://evil.example"}}, "act without issuer": {"act": claims{"sub": "a", "iss": ""}},
		"act by a person": {"act": claims{"sub": "a", "sub_profile": "user"}},
		"act too deep":    {"act": nested(5)}, "act beyond what is read": {"act": nested(40)}, "act too long": {"act": claims{"sub": "a", "x": strings.Repeat("x", 4096)}},
		"Act": {"Act": claims{"sub": "a"}}, "ACT": {"ACT": claims{"sub": "a"}}, "act at the site": {"https://shop.example/act": claims{"sub": "a"}},
		"ai_agent": {"sub_profile": "ai_agent"}, "AI_Agent": {"sub_profile": "  AI_Agent\tnative_app"}, "both": {"sub_profile": "user ai_agent"},
		"a service": {"sub_profile": "service"}, "list of profiles": {"sub_profile": []string{"ai_agent"}}, "no profile": {"sub_profile": nil},
		"agent client": {"client_profile": "web_app ai_agent"}, "agent client by another word": {"client_profile": "agentic"}, "odd client": {"client_profile": 1},
		"agent_id": {"agent_id": "a"}, "agent_type": {"agent_type": "coding"}, "AgentKeychain": {"https://agentkeychain.com/agent_id": "a"},
		"facets": {"xms_act_fct": "3 9 11"}, "blueprint": {"xms_par_app_azp": "b"}, "is_agent": {"is_agent": true},
		"agentId": {"agentId": "a"}, "agent-id": {"https://x.example/agent-id": "a"}, "aiAgent": {"ai_agent": true}, "acting agent": {"acting_agent": "a"}, "actor_id": {"actor_id": "a"},
		"another sub": {"sub": "other"}, "odd sub": {"sub": 1}, "empty sub": {"sub": ""},
	} {
		for place, w := range map[string]said{
			"id_token": with1(good, c, "id"), "access token": with1(good, c, "access"),
			"unverified access token": unverified(with1(good, c, "access")), "introspection": with1(good, c, "introspection"),
		} {
			if id, err := b.establish(t, w); err == nil && id.Kind == identity.Person {
				t.Errorf("%s in the %s is a person's: %+v", name, place, id)
			} else if err == nil && !strings.Contains(name, "ai_agent") && !strings.Contains(name, "AI_Agent") {
				t.Errorf("%s in the %s is believed: %+v", name, place, id)
			}
		}
	}
}

// TestNoAgentNamed_ACT_8: a claim that only sounds like it makes no agent of a person.
func TestNoAgentNamed_ACT_8(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"user_agent", "userAgent", "reagents", "contract", "may_act", "factor"} {
		if id, err := b.establish(t, with1(personal(), claims{name: "x"}, "id")); err != nil || id.Kind != identity.Person {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

// TestWhatIsMissing_ACT_8: where something was not verified, cannot be read or is for somebody else, nobody is a person.
// What is not there at all is no reason.
func TestWhatIsMissing_ACT_8(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*said){
		"no id_token":                    func(w *said) { w.id = nil },
		"no access token to read":        func(w *said) { w.access, w.introspection = "opaque", nil },
		"active and no more":             func(w *said) { w.access, w.introspection = "opaque", claims{} },
		"unverified access token":        func(w *said) { w.unverified, w.introspection = true, nil },
		"unverified, and active alone":   func(w *said) { w.unverified, w.introspection = true, claims{} },
		"access token with two acts":     func(w *said) { w.access = b.sign([]byte(`{"sub":"user","act":null,"act":{"sub":"a"}}`)) },
		"access token that is no object": func(w *said) { w.access = b.sign([]byte(`["act"]`)) },
		"access token without alg": func(w *said) {
			w.access = encode(claims{"alg": 1}) + "." + encode(claims{"act": claims{"sub": "a"}}) + ".x"
		},
		"inactive":                        func(w *said) { w.introspection = claims{"active": false} },
		"introspection of another client": func(w *said) { w.introspection = claims{"sub": "user", "client_id": "other"} },
		"introspection of another issuer": func(w *said) { w.introspection = claims{"sub": "user", "iss": "https://evil.example"} },
		"introspection that is none":      func(w *said) { w.introspection = "[]" },
		"two acts in the introspection": func(w *said) {
			w.introspection = `{"active":true,"client_id":"site","sub":"user","act":null,"act":{"sub":"a"}}`
		},
		"expired access token":             func(w *said) { w.access = claims{"sub": "user", "exp": 1} },
		"access token of another client":   func(w *said) { w.access = claims{"sub": "user", "client_id": "other"} },
		"access token of two clients":      func(w *said) { w.access, w.introspection = claims{"sub": "user", "azp": "other"}, nil },
		"foreign access token":             func(w *said) { w.access, w.introspection = claims{"sub": "x", "iss": "https://evil.example"}, nil },
		"foreign access token with an act": func(w *said) { w.access = claims{"sub": "x", "iss": "https://evil.example", "act": claims{"sub": "a"}} },
		"access token without a subject":   func(w *said) { w.access, w.introspection = claims{}, nil },
		"access token of null":             func(w *said) { w.access, w.introspection = claims{"sub": json.RawMessage("null")}, nil },
		"no people":                        func(w *said) { w.people = false },
	} {
		w := personal()
		change(&w)
		if id, err := b.establish(t, w); err == nil {
			t.Errorf("%s: %+v", name, id)
		}
	}
	// And these say nothing of an agent.
	for name, change := range map[string]func(*said){
		"opaque":                 func(w *said) { w.access = "opaque" },
		"no introspection":       func(w *said) { w.introspection = nil },
		"unverified, but asked":  func(w *said) { w.unverified = true },
		"foreign, but asked":     func(w *said) { w.access = claims{"sub": "x", "iss": "https://graph.example"} },
		"introspection says sub": func(w *said) { w.access, w.introspection = "a.b.c", claims{"sub": "user"} },
		"a user by profile":      func(w *said) { w.id = claims{"sub": "user", "sub_profile": "User", "client_profile": "web_app"} },
	} {
		w := personal()
		change(&w)
		if id, err := b.establish(t, w); err != nil || id.Kind != identity.Person {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

// with1 returns w with some claims changed in one place. Those that are nil are said as null.
func with1(w said, change claims, place string) said {
	add := func(c any) claims {
		all := with(c.(claims), nil)
		for claim, value := range change {
			if value == nil {
				value = json.RawMessage("null")
			}
			all[claim] = value
		}
		return all
	}
	switch place {
	case "id":
		w.id = add(w.id)
	case "access":
		w.access = add(w.access)
	default:
		w.introspection = add(w.introspection)
	}
	return w
}

func unverified(w said) said {
	w.unverified = true
	return w
}

// TestWhoActs_ACT_2_ACT_3_ACT_5: act counts wherever it is, what is not verified names nobody, and all that say
// something agree.
func TestWhoActs_ACT_2_ACT_3_ACT_5(t *testing.T) {
	b := newBench(t)
	user, by := claims{"sub": "user"}, func(agent string) claims { return claims{"sub": "user", "act": claims{"sub": agent}} }
	for name, test := range map[string]struct {
		said
		agent string // empty if refused
	}{
		"id_token":                        {said{id: by("a"), access: "opaque"}, "a"},
		"access token beside":             {said{id: user, access: by("a")}, "a"},
		"access token alone":              {said{access: by("a")}, "a"},
		"introspection beside":            {said{id: user, access: "opaque", introspection: by("a")}, "a"},
		"introspection of a silent JWT":   {said{id: user, access: user, introspection: by("a")}, "a"},
		"introspection alone":             {said{access: "opaque", introspection: by("a")}, "a"},
		"all":                             {said{id: by("a"), access: by("a"), introspection: by("a")}, "a"},
		"unverified, and it agrees":       {said{id: by("a"), access: by("a"), unverified: true}, "a"},
		"unverified, and the server says": {said{id: user, access: by("a"), unverified: true, introspection: by("a")}, "a"},
		"nobody":                          {said{id: user, access: user, introspection: user}, ""},
		"unverified alone":                {said{id: user, access: by("a"), unverified: true}, ""},
		"unverified, and another":         {said{id: by("a"), access: by("b"), unverified: true}, ""},
		"unverified, of another user":     {said{id: by("a"), access: with(by("a"), claims{"sub": "other"}), unverified: true}, ""},
		"two agents":                      {said{id: by("a"), access: by("b")}, ""},
		"two agents, one asked about":     {said{id: user, access: "opaque", introspection: by("user")}, ""},
		"two users":                       {said{id: by("a"), access: with(by("a"), claims{"sub": "other"})}, ""},
		"two users, asked":                {said{id: user, access: "opaque", introspection: with(by("a"), claims{"sub": "other"})}, ""},
		"a foreign token's act":           {said{id: by("a"), access: with(by("b"), claims{"iss": "https://other.example", "sub": 7})}, ""},
		"a foreign token without act":     {said{id: by("a"), access: claims{"iss": "https://other.example", "sub": 7}}, "a"},
		"the user is an agent":            {said{id: with(by("a"), claims{"sub_profile": "ai_agent"}), access: "opaque"}, ""},
		"the user is a service":           {said{id: by("a"), access: claims{"sub": "user", "sub_profile": "service"}}, ""},
		"the user is one":                 {said{id: by("a"), access: claims{"sub": "user", "sub_profile": "user"}}, "a"},
		"a person acts":                   {said{id: by("a"), access: claims{"sub": "user", "act": claims{"sub": "a", "sub_profile": "user"}}}, ""},
		"four levels":                     {said{id: claims{"sub": "user", "act": nested(4)}, access: "opaque"}, "agent_1"},
		"five levels":                     {said{id: claims{"sub": "user", "act": nested(5)}, access: "opaque"}, ""},
		"4 KiB":                           {said{id: by("a"), access: claims{"sub": "user", "act": claims{"sub": "a", "x": strings.Repeat("x", 4096)}}}, ""},
	} {
		for _, people := range []bool{false, true} {
			w := test.said
			w.subjectIsUser, w.people = true, people
			id, err := b.establish(t, w)
			switch {
			case test.agent == "" && name == "nobody" && people: // a person
				continue
			case test.agent == "":
				if !errors.Is(err, identity.ErrMismatch) {
					t.Errorf("%s, people %v: %+v, %v", name, people, id, err)
				}
			case err != nil || id.Agent != test.agent || id.User != "user" || id.Subject != "user" || id.Kind != identity.Agent:
				t.Errorf("%s, people %v: %+v, %v", name, people, id, err)
			}
		}
	}
}

// TestUnverifiedTellsNothing_ACT_2: what cannot be verified is only good to refuse. Nothing else of it is taken.
func TestUnverifiedTellsNothing_ACT_2(t *testing.T) {
	b := newBench(t)
	access := claims{"sub": "user", "act": claims{"sub": "a", "act": claims{"sub": "earlier"}}, "model": "m", "sid": "s", "scope": "x"}
	for _, unverified := range []bool{false, true} {
		for name, w := range map[string]said{
			"beside": {id: claims{"sub": "user", "act": claims{"sub": "a"}}, access: access},
			"asked":  {id: claims{"sub": "user"}, access: access, introspection: claims{"sub": "user", "act": claims{"sub": "a"}}},
		} {
			w.subjectIsUser, w.unverified = true, unverified
			id, err := b.establish(t, w)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			taken := id.Model == "m" && id.SID == "s" && slices.Equal(id.Scopes, []string{"x"}) && len(id.Prior) == 1
			nothing := id.Model == "" && id.SID == "" && id.Scopes == nil && id.Prior == nil
			if unverified && !nothing || !unverified && !taken {
				t.Errorf("%s, unverified %v: %+v", name, unverified, id)
			}
		}
	}
}

// TestGuests_ACT_7: sub is the agent only if that is verified, and nothing says that it is somebody's.
func TestGuests_ACT_7(t *testing.T) {
	b := newBench(t)
	guest, silent := claims{"sub": "g", "sub_profile": "ai_agent"}, claims{"sub": "g"}
	self := claims{"sub": "g", "act": claims{"sub": "g"}}
	for name, test := range map[string]struct {
		said
		ok bool
	}{
		"access token alone":       {said{access: guest}, true},
		"id_token":                 {said{id: guest, access: "opaque"}, true},
		"introspection":            {said{id: silent, access: "opaque", introspection: guest}, true},
		"acts for itself":          {said{id: with(self, guest), access: "opaque"}, true},
		"unverified":               {said{id: silent, access: guest, unverified: true}, false},
		"unverified, beside act":   {said{id: self, access: guest, unverified: true}, false},
		"acts for itself, no kind": {said{id: self, access: "opaque"}, false},
		"a person elsewhere":       {said{id: guest, access: claims{"sub": "g", "sub_profile": "user"}}, false},
		"a service elsewhere":      {said{id: guest, access: claims{"sub": "g", "sub_profile": "service"}}, false},
		"for somebody, unverified": {said{id: guest, access: claims{"sub": "g", "act": claims{"sub": "a"}}, unverified: true}, false},
		"of another subject":       {said{id: guest, access: claims{"sub": "h"}}, false},
	} {
		for _, people := range []bool{false, true} {
			w := test.said
			w.subjectIsUser, w.people = true, people
			id, err := b.establish(t, w)
			if test.ok != (err == nil) || err == nil && (id.Agent != "g" || id.User != "" || id.Kind != identity.Agent) {
				t.Errorf("%s, people %v: %+v, %v", name, people, id, err)
			}
		}
	}
}

// TestAgentAlone_ACT_4: where the settings say that sub is the agent, a token that names somebody else by
// act, or a person by sub_profile, is refused, be it verified or not.
func TestAgentAlone_ACT_4(t *testing.T) {
	b := newBench(t)
	agent := claims{"sub": "a"}
	for name, test := range map[string]struct {
		said
		ok bool
	}{
		"id_token":                           {said{id: agent, access: "opaque"}, true},
		"ai_agent":                           {said{id: claims{"sub": "a", "sub_profile": "ai_agent"}, access: "opaque"}, true},
		"foreign access token":               {said{id: agent, access: claims{"sub": 7, "iss": "https://other.example"}}, true},
		"act null":                           {said{id: agent, access: claims{"act": json.RawMessage("null")}}, true},
		"act in an unverified access token":  {said{id: agent, access: claims{"act": claims{"sub": "b"}}, unverified: true}, false},
		"act in a foreign access token":      {said{id: agent, access: claims{"iss": "https://other.example", "act": claims{"sub": "b"}}}, false},
		"act in the access token":            {said{access: claims{"sub": "a", "act": claims{"sub": "a"}}}, false},
		"act in a token that lacks the rest": {said{access: claims{"act": claims{}}, introspection: agent}, false},
		"act in the introspection":           {said{access: "opaque", introspection: claims{"sub": "a", "act": claims{"sub": "a"}}}, false},
		"a person":                           {said{id: claims{"sub": "a", "sub_profile": "user"}, access: "opaque"}, false},
		"a person and an agent":              {said{id: claims{"sub": "a", "sub_profile": "ai_agent user"}, access: "opaque"}, false},
	} {
		for _, people := range []bool{false, true} { // which has no effect
			w := test.said
			w.people = people
			id, err := b.establish(t, w)
			if test.ok != (err == nil) || err == nil && (id.Agent != "a" || id.User != "" || id.Kind != identity.Agent) {
				t.Errorf("%s, people %v: %+v, %v", name, people, id, err)
			}
		}
	}
}

// TestWithoutKeys_ACT_8: where nothing is published, only TokenKey makes a person, and for both tokens.
func TestWithoutKeys_ACT_8(t *testing.T) {
	now := time.Now()
	idToken := claims{"iss": issuer, "aud": "site", "sub": "user", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	access := with(accessClaims(), claims{"sub": "user"})
	for name, test := range map[string]struct {
		key   []byte
		token wire.Token
		ok    bool
	}{
		"both":                      {key, wire.Token{ID: signed(idToken), Access: signed(access)}, true},
		"access token, another key": {key, wire.Token{ID: signed(idToken), Access: signed(access) + "A"}, false},
		"access token, RS256":       {key, wire.Token{ID: signed(idToken), Access: signedAs(claims{"alg": "RS256"}, access)}, false},
		"access token, none":        {key, wire.Token{ID: signed(idToken), Access: encode(claims{"alg": "none"}) + "." + encode(access) + "."}, false},
		"id_token, RS256":           {key, wire.Token{ID: signedAs(claims{"alg": "RS256"}, idToken), Access: signed(access)}, false},
		"no key":                    {nil, wire.Token{ID: signed(idToken), Access: signed(access)}, false},
		"of another access token":   {key, wire.Token{ID: signed(with(idToken, claims{"at_hash": halfHash("x")})), Access: signed(access)}, false},
	} {
		v := identity.Verifier{Issuer: issuer, ClientID: "site", SubjectIsUser: true, People: true, TokenKey: test.key}
		p := &provider{issuer: issuer}
		id, err := v.Establish(t.Context(), p.server(), &test.token, "n")
		if test.ok != (err == nil) || err == nil && id.Kind != identity.Person {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

// TestLater_ACT_9: neither a refresh nor a later answer of the server makes another agent, or none, of an
// agent.
func TestLater_ACT_9(t *testing.T) {
	by := claims{"sub": "user", "act": claims{"sub": "a"}}
	idToken := func(c claims) string { return signed(with(claims{"iss": issuer, "sub": "user"}, c)) }
	access := func(c claims) string { return signed(with(accessClaims(), with(by, c))) }
	null := json.RawMessage("null")
	for _, people := range []bool{false, true} {
		v := identity.Verifier{Issuer: issuer, ClientID: "site", SubjectIsUser: true, People: people}
		want := identity.Identity{Agent: "a", Subject: "user"}
		for name, test := range map[string]struct {
			before string
			fresh  wire.Token
			ok     bool
		}{
			"as before":              {access(nil), wire.Token{Access: access(nil), ID: idToken(by)}, true},
			"its issuer":             {access(nil), wire.Token{Access: access(claims{"act": claims{"sub": "a", "iss": issuer}})}, true},
			"an id_token of less":    {access(nil), wire.Token{Access: access(nil), ID: idToken(nil)}, true},
			"another, in the JWT":    {"opaque", wire.Token{Access: access(claims{"act": claims{"sub": "b"}})}, false},
			"another issuer's":       {access(nil), wire.Token{Access: access(claims{"act": claims{"sub": "a", "iss": "https://evil.example"}})}, false},
			"no act":                 {access(nil), wire.Token{Access: access(claims{"act": nil})}, false},
			"act null":               {access(nil), wire.Token{Access: access(claims{"act": null})}, false},
			"act text":               {access(nil), wire.Token{Access: access(claims{"act": "a"})}, false},
			"another, id_token":      {"opaque", wire.Token{Access: "o", ID: idToken(claims{"act": claims{"sub": "b"}})}, false},
			"the user is an agent":   {"opaque", wire.Token{Access: "o", ID: idToken(claims{"sub_profile": "ai_agent"})}, false},
			"the user is, in access": {access(nil), wire.Token{Access: access(claims{"sub_profile": "ai_agent"})}, false},
		} {
			if err := v.Refreshed(test.before, &test.fresh, want); (err == nil) != test.ok || err != nil && !errors.Is(err, identity.ErrMismatch) {
				t.Errorf("refreshed, %s: %v", name, err)
			}
		}
		for name, test := range map[string]struct {
			says claims
			ok   bool
		}{
			"as before":            {by, true},
			"less":                 {claims{}, true},
			"no act":               {claims{"sub": "user"}, true},
			"another":              {claims{"sub": "user", "act": claims{"sub": "b"}}, false},
			"another issuer's":     {claims{"act": claims{"sub": "a", "iss": "https://evil.example"}}, false},
			"the user is an agent": {claims{"sub": "user", "sub_profile": "ai_agent"}, false},
			"another user":         {claims{"sub": "other"}, false},
		} {
			err := v.Confirm(t.Context(), server(t, with(test.says, claims{"active": true})), "token", want)
			if (err == nil) != test.ok || err != nil && !errors.Is(err, identity.ErrMismatch) {
				t.Errorf("confirmed, %s: %v", name, err)
			}
		}
	}
	alone := identity.Verifier{Issuer: issuer, ClientID: "site"}
	if err := alone.Refreshed("opaque", &wire.Token{Access: signed(with(accessClaims(), claims{"act": claims{"sub": "a"}}))}, identity.Identity{Agent: "a", Subject: "a"}); err == nil {
		t.Error("an act where sub is the agent")
	}
}

// TestScopes_ACT_13: scopes are what all say that say something, however they write it. What cannot be read
// grants nothing.
func TestScopes_ACT_13(t *testing.T) {
	b := newBench(t)
	by := claims{"sub": "user", "act": claims{"sub": "a"}}
	for name, test := range map[string]struct {
		access, introspection claims
		want                  []string
	}{
		"nothing":           {nil, nil, nil},
		"text":              {claims{"scope": "x  y"}, nil, []string{"x", "y"}},
		"a list":            {claims{"scope": []string{"x", "y"}}, nil, []string{"x", "y"}},
		"scp":               {claims{"scp": "x"}, nil, []string{"x"}},
		"scp as a list":     {claims{"scp": []string{"x"}}, nil, []string{"x"}},
		"empty":             {claims{"scope": ""}, nil, []string{}},
		"odd":               {claims{"scope": 1}, nil, []string{}},
		"odd in it":         {claims{"scope": []any{"x", 1}}, nil, []string{}},
		"odd beside scp":    {claims{"scope": claims{}, "scp": "x"}, nil, []string{}},
		"null beside scp":   {claims{"scope": json.RawMessage("null"), "scp": "x"}, nil, []string{"x"}},
		"less in the other": {claims{"scope": "x y"}, claims{"scope": "y z"}, []string{"y"}},
		"none in the other": {claims{"scope": "x"}, claims{"scope": ""}, []string{}},
	} {
		w := said{id: claims{"sub": "user", "scope": "admin"}, access: with(claims{"sub": "user"}, test.access), introspection: with(by, test.introspection), subjectIsUser: true}
		id, err := b.establish(t, w)
		if err != nil || !slices.Equal(id.Scopes, test.want) || (id.Scopes == nil) != (test.want == nil) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}
