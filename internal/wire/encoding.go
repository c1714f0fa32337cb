package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// Encoding is how the body of a request is written.
type Encoding int32

const (
	Unknown Encoding = iota // to be learned
	JSON                    // application/json, which the published Auth Agent server reads, and nothing else
	Form                    // application/x-www-form-urlencoded, which RFC 6749 demands
)

// probeGrant is a grant type that no server has, so that the request can
// succeed nowhere and each server that understands it says so.
const probeGrant = "urn:authagent:encoding-probe"

// Server is an authorization server as one client sees it. It is safe for
// concurrent use.
type Server struct {
	*Source
	client   *Client
	id       string
	secret   Secret
	pinned   Encoding
	mu       sync.Mutex
	learned  Encoding
	learning *learning // nil while nobody asks
	paused   time.Time // until when Learn leaves the server alone

	collisions collisions
}

// A Secret returns the client secret as it is now. It is called for each request.
type Secret func(context.Context) (string, error)

// ErrSecret says that the client secret could not be had.
var ErrSecret = errors.New("no client secret")

// HasSecret returns nil, or why the client secret cannot be had.
func (s *Server) HasSecret(ctx context.Context) error {
	_, err := s.currentSecret(ctx)
	return err
}

func (s *Server) currentSecret(ctx context.Context) (string, error) {
	secret, err := s.secret(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrSecret, err)
	case secret == "":
		return "", fmt.Errorf("%w: it is empty", ErrSecret)
	}
	return secret, nil
}

// NewServer returns the server that source describes, for the client with this
// ID and secret. encoding pins the encoding unless it is Unknown.
func NewServer(client *Client, source *Source, id string, secret Secret, encoding Encoding) *Server {
	return &Server{Source: source, client: client, id: id, secret: secret, pinned: encoding}
}

// Encoding returns the encoding that the token endpoint reads. It is learned
// once, by requests that carry neither code nor secret: sending the code to find
// out would burn it at a server that reads it and then fails.
func (s *Server) Encoding(ctx context.Context, m *Metadata) (Encoding, error) {
	if e := s.known(); e != Unknown {
		return e, nil
	}
	s.mu.Lock()
	if s.learned != Unknown {
		defer s.mu.Unlock()
		return s.learned, nil
	}
	flight := s.startLearning(m)
	s.mu.Unlock()
	select {
	case <-flight.done:
		return flight.encoding, flight.err
	case <-ctx.Done():
		return Unknown, &Error{Kind: Unavailable, Step: "encoding probe", Err: ctx.Err()}
	}
}

// Learn has the encoding learned in the background, if it is not known. A flood
// of logins, which anybody can send, costs the server no more than an attempt
// now and then.
func (s *Server) Learn(m *Metadata) {
	if s.known() != Unknown {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.learned == Unknown && time.Now().After(s.paused) {
		s.startLearning(m)
	}
}

// startLearning returns the attempt that is under way, or a new one. The caller
// holds mu.
func (s *Server) startLearning(m *Metadata) *learning {
	if s.learning == nil {
		s.learning = &learning{done: make(chan struct{})}
		go s.learnFor(s.learning, m)
	}
	return s.learning
}

// learning is one attempt to learn the encoding, for which all wait that need
// it: waiting for one another's attempts, they would wait for minutes where the
// server hangs. It belongs to none of them, so none can cut it off for the others.
type learning struct {
	done     chan struct{}
	encoding Encoding // this and err are set when done is closed
	err      error
}

func (s *Server) learnFor(flight *learning, m *Metadata) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	flight.encoding, flight.err = s.learn(ctx, m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learned, s.learning = flight.encoding, nil
	if flight.err != nil {
		s.paused = time.Now().Add(forgetFailure)
	}
	close(flight.done)
}

func (s *Server) known() Encoding {
	if s.pinned != Unknown {
		return s.pinned
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learned
}

func (s *Server) set(e Encoding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learned = e
}

// learn asks in JSON first, as that settles it at the published server. A
// server that names the unknown grant type has read the body. One that reads
// only forms complains of something else, and answers a form with an OAuth error;
// the published server answers every form with status 500.
func (s *Server) learn(ctx context.Context, m *Metadata) (Encoding, error) {
	asJSON, err := s.probe(ctx, m, JSON)
	if err != nil {
		return Unknown, err
	}
	if asJSON.code == "unsupported_grant_type" {
		return JSON, nil
	}
	asForm, err := s.probe(ctx, m, Form)
	if err != nil {
		return Unknown, err
	}
	switch {
	case asForm.code == "unsupported_grant_type":
		return Form, nil
	case asForm.status >= 500 && (asJSON.status >= 500 || asJSON.status == http.StatusTooManyRequests),
		asForm.status == http.StatusTooManyRequests:
		return Unknown, &Error{Kind: Unavailable, Step: "encoding probe", Status: asForm.status}
	case asForm.status >= 500 && asJSON.code != "":
		return JSON, nil
	}
	return Form, nil // nothing speaks for JSON, and the standard is a form
}

type probed struct {
	status int
	code   string
}

func (s *Server) probe(ctx context.Context, m *Metadata, e Encoding) (probed, error) {
	a, err := s.client.post(ctx, "encoding probe", m.Token, e, fields{{"grant_type", probeGrant}}, nil)
	if err != nil {
		return probed{}, err
	}
	p := probed{status: a.status}
	if o, err := strictjson.Parse(a.body); err == nil {
		p.code = code(o)
	}
	return p, nil
}

// fields are the members of a request's body, or the fields of its header with
// their names in canonical form, in order.
type fields [][2]string

func (f fields) encode(e Encoding) (body []byte, contentType string) {
	if e == Form {
		values := url.Values{}
		for _, pair := range f {
			values.Set(pair[0], pair[1])
		}
		return []byte(values.Encode()), "application/x-www-form-urlencoded"
	}
	body = make([]byte, 0, 512)
	for _, pair := range f {
		body = append(append(append(body, ',', '"'), pair[0]...), '"', ':') // no name needs an escape
		body = appendString(body, pair[1])
	}
	body[0] = '{'
	return append(body, '}'), jsonType
}

// appendString appends s as a JSON string. What may need an escape is left to
// encoding/json.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// credentials is the HTTP Basic form of client authentication.
type credentials struct{ id, secret string }

func (c *Client) post(ctx context.Context, step, endpoint string, e Encoding, f fields, basic *credentials) (*answer, error) {
	body, contentType := f.encode(e)
	header := fields{{"Content-Type", contentType}}
	if basic != nil {
		// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
		joined := url.QueryEscape(basic.id) + ":" + url.QueryEscape(basic.secret)
		header = append(header, [2]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(joined))})
	}
	return c.send(ctx, step, http.MethodPost, endpoint, header, body)
}

// call posts f to endpoint as the client, which proves itself by one of the
// methods in auth.
func (s *Server) call(ctx context.Context, m *Metadata, step, endpoint string, auth []string, f fields) (*answer, error) {
	e, err := s.Encoding(ctx, m)
	if err != nil {
		return nil, err
	}
	secret, err := s.currentSecret(ctx)
	if err != nil {
		return nil, err
	}
	if e == Form && usesBasic(auth) {
		return s.client.post(ctx, step, endpoint, e, f, &credentials{s.id, secret})
	}
	f = append(f, [2]string{"client_id", s.id}, [2]string{"client_secret", secret})
	return s.client.post(ctx, step, endpoint, e, f, nil)
}

// usesBasic reports whether HTTP Basic is what the server offers. One method is
// used, never both, and never one after the other: the second try would send the
// code again.
func usesBasic(methods []string) bool {
	return slices.Contains(methods, "client_secret_basic") && !slices.Contains(methods, "client_secret_post")
}

// forget drops what was learned about the encoding after an answer that a
// server gives which reads another one: it may have been exchanged for a newer.
func (s *Server) forget(a *answer) {
	unread := a.status == http.StatusInternalServerError // what comes from a proxy, or says "later", says nothing of the body
	if o, err := strictjson.Parse(a.body); err == nil && !unread {
		c := code(o)
		unread = c == "unsupported_grant_type" || c == "invalid_request"
	}
	if unread {
		s.set(Unknown)
	}
}

// validToken holds tokens to the characters of RFC 6750 section 2.1, so that one
// can never break out of a header.
func validToken(s string) bool {
	if s == "" || len(s) > 4096 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._~+/=-", c) >= 0:
		default:
			return false
		}
	}
	return true
}
