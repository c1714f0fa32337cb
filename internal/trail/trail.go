// Package trail puts events into a site's log and into its audit trail.
package trail

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/pseudonyms"
	"github.com/authagent-go/authagent/internal/sink"
	"github.com/authagent-go/authagent/internal/tally"
	"github.com/authagent-go/authagent/problem"
)

// A Trail takes the events of one relying party. It is safe for concurrent use.
type Trail struct {
	issuer   string
	logger   *slog.Logger
	site     func(context.Context, audit.Event) // nil for none
	meter    *meter.Meter
	sink     *sink.Sink[delivery]
	refusals *tally.Tally[audit.Event, audit.Event] // on their way to the sink
	erased   pseudonyms.Names
}

// delivery is an event on its way to the site's function.
type delivery struct {
	ctx   context.Context
	event audit.Event
}

// New returns a trail to the log and to a function of the site, which may be nil. The meter is told of sign-ins.
// lifetime is that of sessions.
func New(issuer string, logger *slog.Logger, site func(context.Context, audit.Event), m *meter.Meter, lifetime time.Duration) *Trail {
	t := &Trail{issuer: issuer, logger: logger, site: site, meter: m}
	t.erased.Lifetime = lifetime
	t.sink = sink.New(func(d delivery) { site(d.ctx, t.erased.In(d.event)) }, func(why string) {
		logger.Error("authagent: audit event lost", "why", why)
	})
	t.sink.Watch(m, meter.Events)
	t.refusals = tally.New[audit.Event](time.Minute, t.addCounted)
	return t
}

// Observed returns a function that passes events on to the site's, which may be nil, and
// then to each of parts that observes events, even if one before it panics. It returns the
// site's if no part does. The site's does not hear of deeds: these are in a journal.
func Observed(site func(context.Context, audit.Event), parts ...any) func(context.Context, audit.Event) {
	site = withoutDeeds(site)
	for _, part := range parts {
		observer, ok := part.(interface {
			Observer(audit func(context.Context, audit.Event)) func(context.Context, audit.Event)
		})
		if ok {
			site = then(site, observer.Observer(site))
		}
	}
	return site
}

func withoutDeeds(site func(context.Context, audit.Event)) func(context.Context, audit.Event) {
	if site == nil {
		return nil
	}
	return func(ctx context.Context, e audit.Event) {
		if e.Deed == "" {
			site(ctx, e)
		}
	}
}

func then(site, observe func(context.Context, audit.Event)) func(context.Context, audit.Event) {
	return func(ctx context.Context, e audit.Event) {
		defer observe(ctx, e)
		if site != nil {
			site(ctx, e)
		}
	}
}

// Issuer returns whose events these are.
func (t *Trail) Issuer() string { return t.issuer }

// Wants reports whether anybody would see an event of this name and failure: what is
// nobody's to read need not be put together.
func (t *Trail) Wants(ctx context.Context, name audit.Name, f *failure.Failure) bool {
	return t.site != nil || t.meter != nil && signIns[name] || t.logger.Enabled(ctx, levelOf(name, f))
}

// signIns are the events of sign-ins. Nothing changes it.
var signIns = map[audit.Name]bool{
	audit.LoginStarted: true, audit.LoginSucceeded: true, audit.LoginFailed: true, audit.PersonSignedIn: true,
	audit.TokenAccepted: true, audit.SessionContinued: true,
}

// measure records the event of a sign-in, and of an action that was refused outside of an HTTP request: what is answered
// is recorded where that is done.
func (t *Trail) measure(e audit.Event, f *failure.Failure) {
	switch {
	case t.meter == nil:
		return
	case e.Method == "" && (e.Name == audit.PermissionDenied || e.Name == audit.ActionPending):
		failure.Refused(t.meter, f)
		return
	case !signIns[e.Name]:
		return
	}
	door, outcome := string(e.Door), e.Outcome
	if e.Door == audit.Browser {
		door = meter.Browser
	}
	switch e.Name {
	case audit.LoginStarted:
		outcome = meter.Started
	case audit.PersonSignedIn:
		outcome = meter.Person
	}
	t.meter.SignedIn(door, outcome)
}

// Record puts an event into the log and into the audit trail. f is why something was
// refused; nil if nothing was.
func (t *Trail) Record(ctx context.Context, event audit.Event, f *failure.Failure) {
	event.Time, event.Issuer, event.Count = time.Now().UTC(), t.issuer, 1
	if event.Outcome == "" {
		event.Outcome = f.Outcome()
	}
	if f != nil {
		event.RequestID, event.Reason, event.Detail = f.RequestID, f.Reason, f.Error()
		if event.SessionID == "" {
			event.Agent = f.Agent
		}
	}
	t.measure(event, f)
	event = t.erased.In(event)
	ctx = context.WithoutCancel(ctx)
	if level := levelOf(event.Name, f); t.logger.Enabled(ctx, level) {
		t.logger.LogAttrs(ctx, level, "authagent: "+string(event.Name), event.LogValue().Group()...)
	}
	if t.site == nil || isRefusal(event) && t.refusals.Count(kindOf(event), event) {
		return
	}
	t.sink.Deliver(delivery{ctx, event})
}

// levelOf is the level at which an event is logged.
func levelOf(name audit.Name, f *failure.Failure) slog.Level {
	switch {
	case name == audit.LoginStarted:
		return slog.LevelDebug
	case f != nil && f.Fault() != problem.Agent && f.Reason != problem.Paused: // of agents at fault there are many, and a pause is what the site wants
		return slog.LevelError
	}
	return slog.LevelInfo
}

// isRefusal reports whether e is one of the events of which a client can cause as
// many as it sends requests.
func isRefusal(e audit.Event) bool {
	switch e.Name {
	case audit.LoginFailed, audit.LogoutFailed, audit.PermissionDenied:
		return e.Outcome == audit.Refused || e.Outcome == audit.Failed
	}
	return false
}

// kindOf has the fields that refusals have in common which are counted together.
func kindOf(e audit.Event) audit.Event {
	kind := audit.Event{
		Name: e.Name, Reason: e.Reason, Route: e.Route, Action: e.Action,
		Agent: e.Agent, UserID: e.UserID, HumanID: e.HumanID, GrantID: e.GrantID, Scenario: e.Scenario, Door: e.Door,
	}
	if e.Agent == (audit.Agent{}) {
		kind.RemoteAddr = limit.Network(e.RemoteAddr)
	}
	return kind
}

// addCounted passes on n refusals of a kind as one event. The tally holds its lock meanwhile, and not in after.
func (t *Trail) addCounted(last audit.Event, n int) (after func()) {
	last.Time, last.Count = time.Now().UTC(), n
	return t.sink.Queue(delivery{context.Background(), last})
}

// Flush passes on at once what has been counted.
func (t *Trail) Flush() { t.refusals.Flush() }

// Renamed returns an event as it may be kept: with the pseudonym of an account that was erased.
func (t *Trail) Renamed(e audit.Event) audit.Event { return t.erased.In(e) }

// Rename has every event of an account that was erased, also those on their way, carry its pseudonym.
func (t *Trail) Rename(userID, pseudonym string) { t.erased.Give(userID, pseudonym) }

// Erased are the accounts that were erased in this process, by Rename.
func (t *Trail) Erased() *pseudonyms.Names { return &t.erased }

// Wait passes on at once what has been counted, and waits until all events so far are where they belong.
func (t *Trail) Wait(ctx context.Context) error {
	t.Flush()
	return t.wait(ctx)
}

// Shutdown passes on what has been counted, and waits until all events are where they
// belong. Later refusals are not counted.
func (t *Trail) Shutdown(ctx context.Context) error {
	t.refusals.Close()
	return t.wait(ctx)
}

func (t *Trail) wait(ctx context.Context) error {
	if err := t.sink.Wait(ctx); err != nil {
		return fmt.Errorf("wait for the audit trail: %w", err)
	}
	return nil
}
