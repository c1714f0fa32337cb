package testsite

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// A Counter counts requests.
type Counter struct {
	mu sync.Mutex
	n  int
}

// Add adds one.
func (c *Counter) Add() { c.mu.Lock(); c.n++; c.mu.Unlock() }

// Count returns how many there were.
func (c *Counter) Count() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// Events is an audit trail.
type Events struct {
	mu  sync.Mutex
	all []audit.Event
}

// Add is for Config.Audit.
func (l *Events) Add(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// All returns all events so far.
func (l *Events) All() []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// Named returns the events of one name.
func (l *Events) Named(name audit.Name) (found []audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e.Name == name {
			found = append(found, e)
		}
	}
	return found
}

// Logged returns what the log has of the events of one name. It has each refusal,
// and the trail counts those of a kind together.
func (s *Site) Logged(name audit.Name) (found []audit.Event) {
	for line := range strings.Lines(s.Log.String()) {
		if !strings.Contains(line, ` msg="authagent: `+string(name)+`" `) {
			continue
		}
		has := make(map[string]string)
		for _, m := range logAttribute.FindAllStringSubmatch(line, -1) {
			value, err := strconv.Unquote(m[2])
			if err != nil {
				value = m[2] // it has no quotes
			}
			has[m[1]] = value
		}
		found = append(found, audit.Event{
			Name: name, RequestID: has["request_id"], Outcome: has["outcome"], Reason: problem.Reason(has["reason"]), Detail: has["detail"],
		})
	}
	return found
}

var logAttribute = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S*)`)

// A Log is what a logger writes to.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is for a slog handler.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
