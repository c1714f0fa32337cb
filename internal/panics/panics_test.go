package panics_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/panics"
)

func TestCatch(t *testing.T) {
	failed := errors.New("failed")
	for _, want := range []error{nil, failed} {
		if err := panics.Catch(func() error { return want }); err != want {
			t.Errorf("an error came back as %v, want %v", err, want)
		}
	}
	var caught *panics.Error
	err := panics.Catch(func() error { panic("secret") })
	if !errors.As(err, &caught) || caught.Value != "secret" || !strings.Contains(string(caught.Stack), "TestCatch") {
		t.Fatalf("a panic came back as %#v", err)
	}
	if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "panic: string\n") {
		t.Errorf("the text is %q", text)
	}
}
