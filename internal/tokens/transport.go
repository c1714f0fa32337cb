package tokens

import (
	"context"
	"crypto/subtle"
	"io"
	"net/http"

	"golang.org/x/oauth2"
)

// A Transport sends a session's token with each request.
type Transport struct {
	// Token returns the token in use, or another one if that is the one that was
	// refused; empty for none.
	Token func(ctx context.Context, refused string) (*oauth2.Token, error)

	Next http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip sends r with the token. Answered with 401, it sends it once more if
// there is another token by then and the body can be sent again. To another
// origin than the first, where a redirect has led, it sends no token.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if redirectedElsewhere(r) {
		return t.next().RoundTrip(r)
	}
	token, err := t.Token(r.Context(), "")
	if err != nil {
		closeBody(r.Body) // a RoundTripper always does
		return nil, err
	}
	resp, err := t.send(r, r.Body, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	body, ok := bodyAgain(r)
	if !ok {
		return resp, nil
	}
	fresh, err := t.Token(r.Context(), token.AccessToken)
	if err != nil || subtle.ConstantTimeCompare([]byte(fresh.AccessToken), []byte(token.AccessToken)) == 1 {
		closeBody(body)
		return resp, nil // the API's own answer says most
	}
	resp.Body.Close()
	return t.send(r, body, fresh)
}

// bodyAgain returns the body of a request that was sent, if it can be had again.
func bodyAgain(r *http.Request) (body io.ReadCloser, ok bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		body.Close()
	}
}

// send sends r, which it may not change, with a body and a token.
func (t *Transport) send(r *http.Request, body io.ReadCloser, token *oauth2.Token) (*http.Response, error) {
	own := r.Clone(r.Context())
	own.Body = body
	token.SetAuthHeader(own)
	return t.next().RoundTrip(own)
}

func (t *Transport) next() http.RoundTripper {
	if t.Next == nil {
		return http.DefaultTransport
	}
	return t.Next
}

// redirectedElsewhere reports whether a redirect has led to an origin that the
// site did not ask for.
func redirectedElsewhere(r *http.Request) bool {
	for via := r.Response; via != nil && via.Request != nil; via = via.Request.Response {
		if from := via.Request.URL; from.Scheme != r.URL.Scheme || from.Host != r.URL.Host {
			return true
		}
	}
	return false
}
