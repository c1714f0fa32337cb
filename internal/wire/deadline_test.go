package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow answers after a time, or when its request is given up.
type slow time.Duration

func (d slow) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	select {
	case <-time.After(time.Duration(d)):
		return response(200, `{}`), nil
	case <-ctx.Done():
		return nil, ctx.Err() // which does not tell a deadline from a cancellation, as with HTTP/2
	}
}

// trickle answers at once, and sends its body for a time.
type trickle time.Duration

func (d trickle) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := response(200, `{}`)
	resp.ContentLength = -1
	resp.Body = &trickling{r.Context(), time.Now().Add(time.Duration(d))}
	return resp, nil
}

type trickling struct {
	ctx   context.Context
	until time.Time
}

func (b *trickling) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	if time.Now().Before(b.until) {
		return copy(p, " "), nil
	}
	return copy(p, "{}"), io.EOF
}

func (*trickling) Close() error { return nil }

// took returns how long f takes, and its error.
func took(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

func asking(ctx context.Context, by http.RoundTripper) func() error {
	client := NewClient(&http.Client{Transport: by}, nil)
	return func() error {
		_, err := client.get(ctx, "userinfo request", "https://as.example/userinfo")
		return err
	}
}

// TestSharedDeadline_NET_31: the requests of one sign-in take no longer than ten seconds together, however the server is
// slow. What the sign-in does in between takes nothing from them, and all of it has an end.
func TestSharedDeadline_NET_31(t *testing.T) {
	timedOut := func(t *testing.T, err error) {
		t.Helper()
		var failed *Error
		if !errors.As(err, &failed) || failed.Kind != Unavailable || !failed.Timeout() {
			t.Errorf("%v, want one that says that time is over", err)
		}
	}
	within := func(t *testing.T, whole time.Duration, f func(t *testing.T, ctx context.Context)) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := WithDeadline(context.Background(), whole)
			f(t, ctx)
			cancel()
			if ctx.Err() == nil {
				t.Error("the context goes on after its end")
			}
		})
	}
	for name, server := range map[string]func(time.Duration) http.RoundTripper{
		"hangs": func(d time.Duration) http.RoundTripper { return slow(d) }, "trickles": func(d time.Duration) http.RoundTripper { return trickle(d) },
	} {
		within(t, time.Minute, func(t *testing.T, ctx context.Context) {
			ask := asking(ctx, server(6*time.Second))
			if d, err := took(ask); err != nil || d != 6*time.Second {
				t.Errorf("%s, the first: %v, %v", name, d, err)
			}
			time.Sleep(20 * time.Second) // its turn, or a store of the site
			d, err := took(ask)
			if timedOut(t, err); d != 4*time.Second {
				t.Errorf("%s, the second: %v", name, d)
			}
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("%s: the sign-in goes on: %v", name, ctx.Err())
			}
			d, err = took(ask)
			if timedOut(t, err); d != 0 {
				t.Errorf("%s, the third: %v", name, d)
			}
		})
	}
	within(t, time.Minute, func(t *testing.T, ctx context.Context) { // both count once where they overlap
		var both sync.WaitGroup
		ask := asking(ctx, slow(7*time.Second))
		both.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			time.Sleep(2 * time.Second)
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		d, err := took(ask)
		if timedOut(t, err); d != time.Second {
			t.Errorf("after two at once: %v", d)
		}
	})
	within(t, time.Minute, func(t *testing.T, ctx context.Context) { // the end of the whole
		time.Sleep(55 * time.Second)
		d, err := took(asking(ctx, slow(9*time.Second)))
		if timedOut(t, err); d != 5*time.Second {
			t.Errorf("at the end: %v", d)
		}
	})
	within(t, time.Minute, func(t *testing.T, ctx context.Context) { // a store of the site that hangs
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		d, _ := took(func() error { <-child.Done(); return nil })
		if d != time.Minute || !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(child), context.DeadlineExceeded) {
			t.Errorf("the site's store: %v, %v, %v", d, ctx.Err(), context.Cause(child))
		}
		if until, ok := ctx.Deadline(); !ok || time.Now() != until {
			t.Errorf("it said that it ends at %v", until)
		}
	})
	synctest.Test(t, func(t *testing.T) { // one that is canceled has not run out of time
		parent, give := context.WithCancel(context.Background())
		ctx, cancel := WithDeadline(parent, time.Minute)
		defer cancel()
		time.AfterFunc(time.Second, give)
		var failed *Error
		if err := asking(ctx, slow(9*time.Second))(); !errors.As(err, &failed) || failed.Timeout() || !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("canceled: %v, %v", err, ctx.Err())
		}
	})
}

// TestOwnTimeout_NET_31: a shorter Timeout of the site's HTTPClient bounds each request, in a sign-in too.
func TestOwnTimeout_NET_31(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithDeadline(context.Background(), time.Minute)
		defer cancel()
		client := NewClient(&http.Client{Transport: slow(5 * time.Second), Timeout: 2 * time.Second}, nil)
		for range 3 {
			d, err := took(func() error {
				_, err := client.get(ctx, "userinfo request", "https://as.example/userinfo")
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "deadline") || d != 2*time.Second {
				t.Errorf("%v, %v", d, err)
			}
		}
		if ctx.Err() != nil {
			t.Errorf("the sign-in has ended: %v", ctx.Err())
		}
	})
}
