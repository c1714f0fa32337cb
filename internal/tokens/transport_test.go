package tokens_test

import (
	"context"
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
