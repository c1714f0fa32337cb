package tokens_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent/internal/tokens"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSentAgain: a request that was answered with 401 is sent once more with another token,
// if its body can be had again.
func TestSentAgain(t *testing.T) {
	get := func(text string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	for _, test := range []struct {
		name    string
		body    io.ReadCloser
		getBody func() (io.ReadCloser, error)
		sent    int
	}{
		{"no body", nil, nil, 2},
		{"NoBody", http.NoBody, nil, 2},
		{"a body that can be had again", io.NopCloser(strings.NewReader("a")), get("a"), 2},
		{"a body that cannot", io.NopCloser(strings.NewReader("a")), nil, 1},
	} {
		var sent []string
		transport := &tokens.Transport{
			Token: func(_ context.Context, refused string) (*oauth2.Token, error) {
				return &oauth2.Token{AccessToken: map[string]string{"": "first", "first": "second"}[refused]}, nil
			},
			Next: roundTripper(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r.Header.Get("Authorization"))
				return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
			}),
		}
		r, err := http.NewRequest(http.MethodPost, "https://api.example/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.GetBody = test.body, test.getBody
		if _, err := transport.RoundTrip(r); err != nil || len(sent) != test.sent || sent[0] != "Bearer first" || sent[len(sent)-1] == sent[0] && test.sent > 1 {
			t.Errorf("%s: sent %q, %v", test.name, sent, err)
		}
	}
}

// TestNoTokenElsewhere: a request that a redirect has led to another origin has no token.
func TestNoTokenElsewhere(t *testing.T) {
	for _, test := range []struct {
		way  []string // the addresses, in their order
		sent bool
	}{
		{[]string{"https://api.example/a"}, true},
		{[]string{"https://api.example/a", "https://api.example/b"}, true},
		{[]string{"https://api.example/a", "https://evil.example/a"}, false},
		{[]string{"https://api.example/a", "http://api.example/a"}, false},
		{[]string{"https://api.example/a", "https://api.example:8443/a"}, false},
		{[]string{"https://api.example/a", "https://evil.example/a", "https://evil.example/b"}, false},
		{[]string{"", "https://api.example/a"}, true}, // an answer that does not say to what
	} {
		var token string
		transport := &tokens.Transport{
			Token: func(context.Context, string) (*oauth2.Token, error) { return &oauth2.Token{AccessToken: "secret"}, nil },
			Next: roundTripper(func(r *http.Request) (*http.Response, error) {
				token = r.Header.Get("Authorization")
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			}),
		}
		var before *http.Response
		for i, address := range test.way {
			if address == "" {
				before = &http.Response{}
				continue
			}
			r, err := http.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Response = before
			if before = (&http.Response{Request: r}); i < len(test.way)-1 {
				continue
			}
			if _, err := transport.RoundTrip(r); err != nil || (token == "Bearer secret") != test.sent {
				t.Errorf("%s: sent %q, %v", test.way, token, err)
			}
		}
	}
}

// closing notes that a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestNoFreshToken: where there is no other token, the API's own answer stays, and no body
// is left open.
func TestNoFreshToken(t *testing.T) {
	none := errors.New("session has none")
	for name, test := range map[string]struct {
		first, fresh error
		again        string // the token after the refusal
		getBody      error
		sent         int
	}{
		"none at all":       {none, nil, "", nil, 0},
		"none after that":   {nil, none, "", nil, 1},
		"the same":          {nil, nil, "first", nil, 1},
		"another":           {nil, nil, "second", nil, 2},
		"no body once more": {nil, nil, "second", errors.New("gone"), 1},
	} {
		sent := 0
		first, again := &closing{Reader: strings.NewReader("a")}, &closing{Reader: strings.NewReader("a")}
		transport := &tokens.Transport{
			Token: func(_ context.Context, refused string) (*oauth2.Token, error) {
				if refused == "" {
					return &oauth2.Token{AccessToken: "first"}, test.first
				}
				return &oauth2.Token{AccessToken: test.again}, test.fresh
			},
			Next: roundTripper(func(r *http.Request) (*http.Response, error) {
				sent++
				r.Body.Close()
				return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
			}),
		}
		r, err := http.NewRequest(http.MethodPost, "https://api.example/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.GetBody = first, func() (io.ReadCloser, error) { return again, test.getBody }
		resp, err := transport.RoundTrip(r)
		if !errors.Is(err, test.first) || sent != test.sent || (resp == nil) != (test.first != nil) || !first.closed {
			t.Errorf("%s: %v, %v, sent %d times, closed %v", name, resp, err, sent, first.closed)
		}
		if had := test.getBody == nil && test.first == nil; had && !again.closed {
			t.Errorf("%s: the second body is left open", name)
		}
	}
	transport := &tokens.Transport{Token: func(context.Context, string) (*oauth2.Token, error) { return nil, none }}
	r, err := http.NewRequest(http.MethodGet, "https://api.example/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(r); !errors.Is(err, none) {
		t.Errorf("without a body: %v", err)
	}
}
