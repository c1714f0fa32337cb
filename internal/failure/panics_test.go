package failure_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/problem"
)

// TestPanics: a panic is a fault of the site. The log says where, and of the value only the
// type, since it may hold a secret.
func TestPanics(t *testing.T) {
	var log bytes.Buffer
	p := failure.Panics{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	recovered := func() (err error) {
		defer p.Recover("load session", &err)
		panic("hunter2")
	}
	for name, err := range map[string]error{
		"protected": p.Protect("load session", func() error { panic("hunter2") }),
		"recovered": recovered(),
	} {
		if !errors.Is(err, problem.StoreFailed) || err.Error() != "authagent: load session: store_failed: panic" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := log.String(); strings.Count(text, "panic=string") != 2 || strings.Count(text, "panics_test.go") < 2 || strings.Contains(text, "hunter2") {
		t.Errorf("the log has\n%s", text)
	}
	if err := p.Protect("load session", func() error { return problem.Blocked }); err != error(problem.Blocked) {
		t.Errorf("without a panic: %v", err)
	}
}
