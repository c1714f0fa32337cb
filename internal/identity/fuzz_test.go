package identity_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/identity"
)

// A drawer takes choices out of bytes. Out of bytes, it takes the first.
type drawer struct{ bytes string }

func (d *drawer) draw(n int) int {
	if d.bytes == "" {
		return 0
	}
	b := int(d.bytes[0])
	d.bytes = d.bytes[1:]
	return b % n
}

// Names in the canary's keeping, so that a text shows where it came from.
var names = []any{"canary-user", "canary-agent", "canary-other", "", " ", 1, nil, "canary\u0000", "CANARY-USER", []string{"canary-user"}}

var profiles = []any{"user", "ai_agent", "AI_AGENT", "user ai_agent", "service", "", nil, 1, []string{"ai_agent"}, "canary-kind"}

func (d *drawer) act(level int) any {
	switch d.draw(8) {
	case 0:
		return nil
	case 1:
		return []any{"canary-agent", 1, true, []any{}, claims{}}[d.draw(5)]
	}
	act := claims{"sub": names[d.draw(len(names))]}
	if d.draw(3) == 1 {
		act["iss"] = []any{issuer, "https://canary.example", "", 1, nil}[d.draw(5)]
	}
	if d.draw(3) == 1 {
		act["sub_profile"] = profiles[d.draw(len(profiles))]
	}
	if level < 6 && d.draw(2) == 1 {
		act["act"] = d.act(level + 1)
	}
	if d.draw(16) == 1 {
		act["x"] = strings.Repeat("canary", 700)
	}
	return act
}

// claims draws claims: mostly such as there are.
func (d *drawer) claims() claims {
	c := claims{"sub": names[d.draw(2)]}
	if d.draw(8) == 1 {
		c["sub"] = names[d.draw(len(names))]
	}
	for _, add := range []func(){
		func() { c["act"] = d.act(1) },
		func() { c["sub_profile"] = profiles[d.draw(len(profiles))] },
		func() { c["client_profile"] = profiles[d.draw(len(profiles))] },
		func() { c["scope"] = []any{"canary x", []string{"x"}, 1, nil}[d.draw(4)] },
		func() {
			c[[]string{"Act", "ACT", "https://canary.example/act", "agent_type", "xms_act_fct"}[d.draw(5)]] = d.act(1)
		},
		func() { c["azp"] = []any{"site", "canary", 1}[d.draw(3)] },
		func() { delete(c, "sub") },
	} {
		if d.draw(4) == 1 {
			add()
		}
	}
	return c
}

// members are the claims that a text stands for: those it has, or those that are drawn from its bytes.
func members(text string) claims {
	var c claims
	if json.Unmarshal([]byte(text), &c) != nil || c == nil {
		c = (&drawer{text}).claims()
	}
	for claim, value := range c {
		if value == nil { // which is not the same as no claim
			c[claim] = json.RawMessage("null")
		}
	}
	return c
}

// acts reports whether claims have an act with a value.
func acts(c claims) bool {
	act, _ := json.Marshal(c["act"])
	return string(act) != "null"
}

func isAgent(c claims) bool {
	text, _ := c["sub_profile"].(string)
	return slices.Contains(strings.Fields(strings.ToLower(text)), "ai_agent")
}

func actor(c claims) string {
	act, _ := json.Marshal(c["act"])
	var by struct{ Sub any }
	json.Unmarshal(act, &by)
	return fmt.Sprint(by.Sub)
}

// FuzzWhoIsWho: whatever the three say, an agent is not the user, sub is not the agent unless that is
// proven, and nobody of whom anything says that they are an agent is a person. (ACT-1, ACT-4, ACT-7, ACT-8)
func FuzzWhoIsWho(f *testing.F) {
	for _, g := range goldens(f) {
		id, _ := json.Marshal(g.ID)
		introspection, _ := json.Marshal(g.Introspection)
		f.Add(uint8(0xff), string(id), string(g.Access), string(introspection))
		f.Add(uint8(0x2f), string(id), string(g.Access), string(introspection))
	}
	f.Add(uint8(0xff), "\x00\x00\x01\x02\x01", "\x00\x00\x01\x02\x01", "\x00\x00\x00")
	f.Add(uint8(0xfa), "0", `{"act":{}}`, "0") // too little to be believed, and an act
	f.Add(uint8(0x3f), "\x00", "\x00\x00\x01\x02\x01\x00\x00\x01\x02", "\x00")
	b := newBench(f)
	f.Fuzz(func(t *testing.T, flags uint8, idText, accessText, introspectionText string) {
		has := func(bit int) bool { return flags>>bit&1 == 1 }
		w := said{subjectIsUser: has(0), people: has(1)}
		var parts []claims  // all that is said
		var proven []claims // what can be verified
		if has(2) {
			c := with(members(idText), nil)
			overwrite(c, claims{"iss": issuer, "aud": "site", "iat": b.now.Unix(), "exp": b.now.Unix() + 3600, "nonce": "n", "azp": nil, "nbf": nil, "at_hash": nil})
			w.id, parts, proven = c, append(parts, c), append(proven, c)
		}
		w.access, w.unverified = "opaque", !has(5)
		if has(3) {
			c := with(members(accessText), nil)
			overwrite(c, claims{"exp": b.now.Unix() + 3600, "nbf": nil})
			if has(6) {
				overwrite(c, claims{"iss": issuer, "client_id": "site", "azp": nil})
			}
			w.access, parts = c, append(parts, c)
			if by, said := c["iss"]; !w.unverified && (!said || by == issuer) {
				proven = append(proven, c)
			}
		}
		if has(4) {
			c := with(members(introspectionText), nil)
			overwrite(c, claims{"active": true, "client_id": "site", "iss": nil, "exp": nil})
			w.introspection = c
		}
		id, err := b.establish(t, w)
		if b.asked > 0 { // it is not, if an agent is named already
			parts, proven = append(parts, w.introspection.(claims)), append(proven, w.introspection.(claims))
		}
		if err != nil {
			if text := err.Error(); strings.Contains(strings.ToLower(text), "canary") || len(text) > 400 {
				t.Errorf("%s: error %q quotes what was said", w, text)
			}
			return
		}
		check(t, w, id, parts, proven)
	})
}

// overwrite changes some claims; nil removes one.
func overwrite(c, change claims) {
	for claim, value := range change {
		if c[claim] = value; value == nil {
			delete(c, claim)
		}
	}
}

func check(t *testing.T, w said, id *identity.Identity, parts, proven []claims) {
	t.Helper()
	agent := id.Kind == identity.Agent
	switch {
	case id.Agent != "" && id.Agent == id.User:
		t.Errorf("%s: the agent is the user: %+v", w, id)
	case agent != (id.Agent != ""), !agent && id.User == "", !agent && id.Claims == nil:
		t.Errorf("%s: neither agent nor person: %+v", w, id)
	case !w.subjectIsUser && (!agent || id.User != "" || id.Agent != id.Subject):
		t.Errorf("%s: a user where sub is the agent: %+v", w, id)
	case !w.people && !agent:
		t.Errorf("%s: a person where there are none: %+v", w, id)
	case w.subjectIsUser && id.Agent == id.Subject && !slices.ContainsFunc(proven, isAgent):
		t.Errorf("%s: sub is the agent, and nothing proves it: %+v", w, id)
	case w.subjectIsUser && agent && id.Agent != id.Subject && !slices.ContainsFunc(proven, func(c claims) bool { return actor(c) == id.Agent }):
		t.Errorf("%s: an agent that nothing proves: %+v", w, id)
	case !agent && (w.id == nil || slices.ContainsFunc(parts, acts) || slices.ContainsFunc(parts, isAgent)):
		t.Errorf("%s: an agent passes for a person: %+v", w, id)
	case !w.subjectIsUser && slices.ContainsFunc(proven, acts):
		t.Errorf("%s: an act where sub is the agent: %+v", w, id)
	}
	for _, c := range proven {
		if sub, ok := c["sub"].(string); ok && w.subjectIsUser && sub != id.Subject {
			t.Errorf("%s: %+v is of two subjects", w, id)
		}
		if w.subjectIsUser && acts(c) && actor(c) != id.Agent {
			t.Errorf("%s: %+v is of two agents", w, id)
		}
	}
}
