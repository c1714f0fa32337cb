package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
)

// ErrPanic says that the site's own transport panicked, or did what makes others panic.
var ErrPanic = errors.New("panic of HTTPClient's Transport")

// careful calls a site's own transport. Its panics become errors: most requests
// are sent from goroutines, where a panic would end the process. That holds for
// http.ErrAbortHandler as well, as there is no handler to abort.
type careful struct {
	next     http.RoundTripper
	panicked func(value any, stack []byte)
}

// RoundTrip implements [http.RoundTripper].
func (t careful) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer t.recovered(&err)
	resp, err = t.next.RoundTrip(r)
	if resp != nil && resp.Body != nil {
		resp.Body = &carefulBody{resp.Body, t}
	}
	return resp, err
}

// recovered, deferred, turns a panic into an error.
func (t careful) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = fmt.Errorf("%w (%T)", ErrPanic, p)
	if t.panicked != nil {
		t.panicked(p, debug.Stack())
	}
}

// carefulBody is the body of an answer, which is the transport's code as well.
type carefulBody struct {
	io.ReadCloser
	transport careful
}

func (b *carefulBody) Read(p []byte) (n int, err error) {
	defer b.transport.recovered(&err)
	if n, err = b.ReadCloser.Read(p); n < 0 || n > len(p) {
		return 0, fmt.Errorf("%w: its body was read with an impossible count", ErrPanic) // io.ReadAll would panic
	}
	return n, err
}

func (b *carefulBody) Close() (err error) {
	defer b.transport.recovered(&err)
	return b.ReadCloser.Close()
}

// unanswered is the error of a request that got no whole answer. Where the site's
// transport is to blame, the server is not.
func unanswered(ctx context.Context, step string, status int, err error) *Error {
	switch {
	case errors.Is(err, ErrPanic):
		return &Error{Kind: Broken, Step: step, Err: err}
	case isOver(ctx): // HTTP/2 says no more than that it was canceled
		err = context.DeadlineExceeded
	}
	return &Error{Kind: Unavailable, Step: step, Status: status, Err: err}
}
