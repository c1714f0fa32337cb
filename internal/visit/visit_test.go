package visit

import (
	"context"
	"testing"
)

type (
	visitor  = Visitor[string]
	attached = Attached[string, string]
)

// TestPerson: beside an agent's session, even an ended one, nobody is recognised.
func TestPerson(t *testing.T) {
	session := "s"
	for _, test := range []struct {
		visitor visitor
		want    string
	}{
		{visitor{}, ""}, {visitor{Human: "alice"}, "alice"}, {visitor{Human: "alice", Former: &session}, "alice"},
		{visitor{Human: "alice", Session: &session}, ""}, {visitor{Human: "alice", Ended: true}, ""},
	} {
		if got := test.visitor.Person(); got != test.want {
			t.Errorf("%+v: %q", test.visitor, got)
		}
	}
}

// TestInnermost: of several relying parties, the innermost one that knows who sends a request is
// believed.
func TestInnermost(t *testing.T) {
	inner, outer := "inner", "outer"
	nobody, alice, bob := visitor{}, visitor{Human: "alice"}, visitor{Human: "bob"}
	for name, test := range map[string]struct {
		inner, outer visitor
		session      *string
		person       string
	}{
		"nobody":                    {nobody, nobody, nil, ""},
		"a human, inside":           {alice, nobody, nil, "alice"},
		"a human, outside":          {nobody, alice, nil, "alice"},
		"two humans":                {alice, bob, nil, "alice"},
		"an agent, inside":          {visitor{Session: &inner}, nobody, &inner, ""},
		"an agent, outside":         {nobody, visitor{Session: &outer}, &outer, ""},
		"two agents":                {visitor{Session: &inner}, visitor{Session: &outer}, &inner, ""},
		"an agent before a human":   {visitor{Session: &inner}, alice, &inner, ""},
		"a human before an agent":   {alice, visitor{Session: &outer}, &outer, "alice"},
		"an agent that has ended":   {visitor{Ended: true, Human: "bob"}, alice, nil, "alice"},
		"an agent beside its human": {visitor{Session: &inner, Human: "bob"}, alice, &inner, ""},
	} {
		a := &attached{Context: context.Background(), Party: "inner", Visitor: test.inner, Before: &attached{Context: context.Background(), Party: "outer", Visitor: test.outer}}
		if got := a.Session(); got != test.session {
			t.Errorf("%s: session %v", name, got)
		}
		if got := a.Person(); got != test.person {
			t.Errorf("%s: person %q", name, got)
		}
	}
	var none *attached
	if none.Session() != nil || none.Person() != "" || none.By("inner") != nil || none.Elsewhere("inner", true) {
		t.Error("where nobody has looked, somebody is known")
	}
}

// TestElsewhere: what another relying party has seen, and not the one that asks.
func TestElsewhere(t *testing.T) {
	session := "s"
	live, ended := visitor{Session: &session}, visitor{Ended: true}
	for _, test := range []struct {
		inner, outer visitor
		ended, alive bool // what inner is told of others
	}{
		{visitor{}, visitor{}, false, false},
		{visitor{}, visitor{Human: "alice"}, false, false},
		{live, visitor{}, false, false},
		{ended, visitor{}, false, false},
		{visitor{}, live, false, true},
		{visitor{}, ended, true, true},
		{ended, live, false, true},
	} {
		a := &attached{Context: context.Background(), Party: "inner", Visitor: test.inner, Before: &attached{Context: context.Background(), Party: "outer", Visitor: test.outer}}
		if got := a.Elsewhere("inner", false); got != test.ended {
			t.Errorf("%+v: ended elsewhere %v", test, got)
		}
		if got := a.Elsewhere("inner", true); got != test.alive {
			t.Errorf("%+v: ended or alive elsewhere %v", test, got)
		}
	}
}

// TestAttached: what was attached is found by its key, by its party, and nothing else is hidden.
func TestAttached(t *testing.T) {
	type own struct{}
	ctx := context.WithValue(t.Context(), own{}, "value")
	outer := &attached{Context: ctx, Party: "outer"}
	inner := &attached{Context: outer, Party: "inner", Before: outer}
	if To[string, string](ctx) != nil || To[string, string](outer) != outer || To[string, string](inner) != inner || To[int, string](inner) != nil {
		t.Error("another one is found than was attached last")
	}
	if inner.Value(own{}) != "value" {
		t.Error("the context's own values are hidden")
	}
	if inner.By("inner") != inner || inner.By("outer") != outer || inner.By("other") != nil {
		t.Error("another party's is found")
	}
}
