package marks

import (
	"context"
	"net/http"

	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/stores"
)

// Expecters returns those of a site's parts that want to know beforehand what is asked: stores, and policies that have such
// a store.
func Expecters(parts ...any) (all []stores.Expecter) {
	for _, part := range parts {
		if policy, ok := part.(interface{ Expecter() stores.Expecter }); ok {
			part = policy.Expecter()
		}
		if e, ok := part.(stores.Expecter); ok {
			all = append(all, e)
		}
	}
	return all
}

// Load returns a request with which a session is going to be loaded and checked, until done is called.
func (m *Register) Load(r *http.Request) (expecting *http.Request, done func()) {
	if len(m.Expecters) == 0 {
		return r, func() {}
	}
	ctx, done := m.expect(r.Context(), stores.Expected{})
	return r.WithContext(ctx), done
}

// Start returns a request with which a session with this grant is going to be started, until done is called: a store that
// knows what the session is checked against can keep that beside it.
func (m *Register) Start(r *http.Request, s *Of, grantID string) (expecting *http.Request, done func()) {
	if len(m.Expecters) == 0 {
		return r, func() {}
	}
	ctx, done := m.Expect(r.Context(), s, grantID)
	return r.WithContext(ctx), done
}

// Expect returns a context with which a session with this grant is going to be checked, until done is called.
func (m *Register) Expect(ctx context.Context, s *Of, grantID string) (expecting context.Context, done func()) {
	if len(m.Expecters) == 0 {
		return ctx, func() {}
	}
	keys, _ := keysOf(s)
	return m.expect(ctx, stores.Expected{Keys: keys, GrantID: grantID})
}

// expect tells all who want to know. They are asked by one context, so that each finds what it was told before. Marks in memory
// need nobody to read them.
func (m *Register) expect(ctx context.Context, e stores.Expected) (expecting context.Context, done func()) {
	if len(m.Expecters) == 0 {
		return ctx, func() {}
	}
	if _, inMemory := m.Store.(*memory.Revocations); inMemory {
		e.Keys = nil
	}
	var all []func()
	for _, x := range m.Expecters {
		next, done := x.Expect(ctx, e)
		ctx, all = next, append(all, done)
	}
	return ctx, func() {
		for _, done := range all {
			done()
		}
	}
}
