package failure

import (
	"errors"
	"runtime/debug"
	"time"

	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
)

// Meter returns the meter to a site's recorder, whose panics are logged.
func (p Panics) Meter(to metrics.Recorder) *meter.Meter {
	return meter.New(to, func(value any, stack []byte) { p.Log("record metric", value, stack) })
}

// Refused records why a request is refused; nil is no refusal.
func Refused(m *meter.Meter, f *Failure) {
	if m != nil && f != nil {
		m.Refused(string(f.Reason), string(f.Fault()))
	}
}

// Checked, deferred, is Recover for the check of a session, and records what came of that: the error, or that the session
// holds. byToken says that it is the session of an access token. A request without a session, whose error is nobody,
// is not recorded: there was nothing to check.
func (p Panics) Checked(step string, m *meter.Meter, began time.Time, byToken bool, err *error, nobody error) {
	if value := recover(); value != nil {
		*err = p.caught(step, value, debug.Stack())
	}
	if m == nil || *err == nobody {
		return
	}
	door := meter.Browser
	if byToken {
		door = meter.API
	}
	m.Checked(began, door, standing(*err))
}

// standing is what the error of a session's check says of the session.
func standing(err error) string {
	reason, decides := ReasonOf(err)
	switch {
	case err == nil:
		return meter.OK
	case errors.Is(err, problem.Paused):
		return meter.Paused
	case reason == problem.NoSession:
		return meter.Ended
	case decides:
		return meter.Refused
	}
	return meter.Failed
}
