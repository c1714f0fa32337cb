package authagenttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

func ExampleFailFirst() {
	as := authagenttest.NewServer()
	defer as.Close()

	// The health check is down for one request, then works again.
	as.Wrap(authagenttest.PathHealth, authagenttest.FailFirst(1, authagenttest.Reply(503, "text/plain", "try later")))
	for range 2 {
		resp, err := as.Client().Get(as.URL + authagenttest.PathHealth)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 503
	// 200
}

func ExampleWithMember() {
	as := authagenttest.NewUnstartedServer()
	as.URL = "https://as.example"

	// The server's metadata sends sites elsewhere with their codes.
	as.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint", "https://evil.example/token"))
	resp, err := as.Client().Get(as.URL + authagenttest.PathMetadata)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var metadata map[string]any
	json.NewDecoder(resp.Body).Decode(&metadata)
	fmt.Println(metadata["issuer"])
	fmt.Println(metadata["token_endpoint"])
	// Output:
	// https://as.example
	// https://evil.example/token
}

func TestHostile(t *testing.T) {
	as := authagenttest.NewServer()
	defer as.Close()
	const path = authagenttest.PathHealth
	client := as.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	get := func(ctx context.Context) (*http.Response, []byte, error) {
		t.Helper()
		req, _ := http.NewRequestWithContext(ctx, "GET", as.URL+path, nil)
		resp, err := client.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
		return resp, body, err
	}
	for _, test := range []struct {
		name   string
		mw     func(http.Handler) http.Handler
		status int
		header string // name: value
		body   string
	}{
		{"RedirectTo", authagenttest.RedirectTo(308, "https://evil.example/x"), 308, "Location: https://evil.example/x", ""},
		{"Reply", authagenttest.Reply(418, "text/html", "<p>"), 418, "Content-Type: text/html", "<p>"},
		{"Reply without a type", authagenttest.Reply(200, "", "<p>"), 200, "Content-Type: ", "<p>"},
		{"Rewrite", authagenttest.Rewrite(func(body map[string]any) { clear(body); body["a"] = 1 }), 200, "Content-Type: application/json", `{"a":1}`},
		{"WithMember", compose(authagenttest.WithMember("status", nil), authagenttest.WithoutMember("timestamp", "version")), 200, "", `{"status":null}`},
		{"not an object", compose(authagenttest.WithMember("a", 1), authagenttest.Reply(200, "", `[1]`)), 200, "", `[1]`},
		{"not a success", compose(authagenttest.WithMember("a", 1), authagenttest.Reply(500, "", `{}`)), 500, "", `{}`},
		{"Trickle", compose(authagenttest.Trickle(time.Microsecond), authagenttest.Reply(201, "", "slow")), 201, "", "slow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			as.Wrap(path, test.mw)
			resp, body, err := get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var name, value string
			if test.header != "" {
				fmt.Sscanf(test.header, "%s %s", &name, &value)
				if got := resp.Header.Get(name[:len(name)-1]); got != value {
					t.Errorf("%s %q, want %q", name, got, value)
				}
			}
			if resp.StatusCode != test.status || string(body) != test.body {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}

	t.Run("Endless", func(t *testing.T) {
		as.Wrap(path, authagenttest.Endless())
		if _, body, err := get(t.Context()); err != nil || len(body) != 8<<20 {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	})
	t.Run("GzipBomb", func(t *testing.T) {
		for _, size := range []int64{8, 100, 1 << 20, 1<<20 + 7} {
			as.Wrap(path, authagenttest.GzipBomb(size))
			if _, body, err := get(t.Context()); err != nil || int64(len(body)) != size || body[len(body)-1] != '}' {
				t.Errorf("%d bytes of %d, %v", len(body), size, err)
			}
		}
	})
	t.Run("Cut", func(t *testing.T) {
		as.Wrap(path, authagenttest.Cut())
		resp, body, err := get(t.Context())
		if resp == nil || resp.StatusCode != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
			t.Errorf("%v %q %v", resp, body, err)
		}
	})
	t.Run("Hang", func(t *testing.T) {
		as.Wrap(path, authagenttest.Hang())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, _, err := get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Close does not wait for a client to lose its patience.
func TestHangCloses(t *testing.T) {
	as := authagenttest.NewServer()
	reached := make(chan struct{})
	as.Wrap("", func(next http.Handler) http.Handler {
		close(reached)
		return authagenttest.Hang()(next)
	})
	failed := make(chan error)
	go func() {
		_, err := as.Client().Get(as.URL)
		failed <- err
	}()
	<-reached
	as.Close()
	if err := <-failed; err == nil {
		t.Error("an answer")
	}
}

// compose has a wrap what b makes of the endpoint.
func compose(a, b func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return a(b(next)) }
}
