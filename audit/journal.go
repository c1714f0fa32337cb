package audit

import "context"

// A Journal keeps on record what agents change, without a gap: authagent.Config.Journal. Whatever
// an agent changes is a deed. Its two events have the same [Event.Deed]:
//
//   - [ActionBegun] is written before the deed. If it cannot be written, nothing is done, and the
//     request is refused.
//   - [ActionPerformed] is written after it, with the outcome.
//
// If the second is missing, nobody knows how the deed has ended: the process was killed, the deed
// is still under way, or the event could not be written, which the log says.
//
// Implementations are safe for concurrent use. Journal of sqlstore.Store is one.
type Journal interface {
	// Write stores an event before it returns. An error means that the event may not be stored.
	// Write returns soon after ctx ends, within 10 seconds: until then a request waits. It never
	// changes an event that is stored.
	Write(ctx context.Context, e Event) error
}

// DeedFrom returns the ID of the deed that is being done, for a site that keeps it beside what was
// changed: in the same transaction, so that each row leads to the events of its deed. It is empty
// for people, for what changes nothing, and without a Journal.
func DeedFrom(ctx context.Context) (id string) {
	id, _ = ctx.Value(deedKey{}).(string)
	return id
}

// WithDeed returns a context from which DeedFrom finds a deed: for what goes on with it elsewhere,
// such as a job.
func WithDeed(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, deedKey{}, id)
}

type deedKey struct{}
