package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A Registration is what a server knows a client by, and what the client's
// settings pin of the way to talk to it.
type Registration struct {
	ID          string
	Secret      Secret
	Assertion   Assertion // instead, with AuthKey
	RedirectURL string
	Encoding    Encoding // pinned, unless it is Unknown
	Auth        Auth     // pinned, unless it is AuthUnknown
	Resources   []string // what tokens are asked for (RFC 8707 section 2.2)
}

// Server is an authorization server as one client sees it. It is safe for
// concurrent use.
type Server struct {
	*Source
	Registration
	client *Client

	mu       sync.Mutex
	learned  manner
	learning *learning // nil while nobody asks
	paused   time.Time // until when Learn leaves the server alone

	collisions collisions
	discards   discards
}

// A Secret returns the client secret as it is now. It is called for each request.
type Secret func(context.Context) (string, error)

// An Assertion returns a new assertion of the client, for one request. algorithms are the
// signatures that the server's metadata lists; nil where it lists none.
type Assertion func(algorithms []string) (string, error)

// What says that the client has nothing to prove itself with.
var (
	ErrSecret    = errors.New("no client secret")
	ErrAssertion = errors.New("no client assertion")
)

// Unproven reports whether an error is one of those.
func Unproven(err error) bool { return errors.Is(err, ErrSecret) || errors.Is(err, ErrAssertion) }

// NewServer returns the server that source describes, for one client.
func NewServer(client *Client, source *Source, r Registration) *Server {
	return &Server{Source: source, Registration: r, client: client, discards: discards{slots: make(chan struct{}, maxDiscards)}}
}

// HasProof returns nil, or why the client cannot prove itself.
func (s *Server) HasProof(ctx context.Context, m *Metadata) error {
	_, err := s.proof(ctx, m)
	return err
}

func (s *Server) proof(ctx context.Context, m *Metadata) (string, error) {
	if s.Auth == AuthKey {
		assertion, err := s.Assertion(m.AuthAlgorithms)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrAssertion, err)
		}
		return assertion, nil
	}
	secret, err := s.Secret(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrSecret, err)
	case secret == "":
		return "", fmt.Errorf("%w: it is empty", ErrSecret)
	}
	return secret, nil
}

// A manner is how requests to the token endpoint are made.
type manner struct {
	encoding Encoding
	auth     Auth
}

func (m manner) complete() bool { return m.encoding != Unknown && m.auth != AuthUnknown }

// Prepare learns what has to be known before something is sent that works only
// once: which encoding the token endpoint reads, by requests that carry neither code
// nor secret, and how it wants the client to prove itself, with a code that was made
// up. To find out with a real code would burn it at a server that reads it and then
// fails. Both are learned once.
func (s *Server) Prepare(ctx context.Context, m *Metadata) error {
	_, err := s.manner(ctx, m)
	return err
}

func (s *Server) manner(ctx context.Context, m *Metadata) (manner, error) {
	s.mu.Lock()
	if known := s.known(m); known.complete() {
		defer s.mu.Unlock()
		return known, nil
	}
	flight := s.startLearning(m)
	s.mu.Unlock()
	select {
	case <-flight.done:
		return flight.manner, flight.err
	case <-ctx.Done():
		return manner{}, &Error{Kind: Unavailable, Step: "encoding probe", Err: ctx.Err()}
	}
}

// known returns what is pinned, published or learned. The caller holds mu.
func (s *Server) known(m *Metadata) manner {
	k := manner{encoding: s.Encoding, auth: s.Auth}
	if k.auth == AuthKey { // which the one server that reads JSON does not know
		k.encoding = Form
	}
	if k.encoding == Unknown {
		k.encoding = s.learned.encoding
	}
	if k.auth == AuthUnknown {
		k.auth = only(m.TokenAuth)
		if k.encoding == JSON { // nobody but the published server reads it, and that no header
			k.auth = AuthPost
		}
	}
	if k.auth == AuthUnknown {
		k.auth = s.learned.auth
	}
	return k
}

// Learn has what Prepare needs learned in the background, if it is not known. A
// flood of logins, which anybody can send, costs the server no more than an attempt
// now and then.
func (s *Server) Learn(m *Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known(m).complete() && time.Now().After(s.paused) {
		s.startLearning(m)
	}
}

// startLearning returns the attempt that is under way, or a new one. The caller
// holds mu.
func (s *Server) startLearning(m *Metadata) *learning {
	if s.learning == nil {
		s.learning = &learning{done: make(chan struct{}), manner: s.known(m)}
		go s.learnFor(s.learning, m)
	}
	return s.learning
}

// learning is one attempt to learn, for which all wait that need it: waiting for one
// another's attempts, they would wait for minutes where the server hangs. It
// belongs to none of them, so none can cut it off for the others.
type learning struct {
	done   chan struct{}
	manner manner // this and err are final when done is closed
	err    error
}

func (s *Server) learnFor(flight *learning, m *Metadata) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	learned := flight.manner
	var err error
	if learned.encoding == Unknown {
		learned.encoding, err = s.learn(ctx, m)
	}
	s.mu.Lock()
	s.learned.encoding = learned.encoding
	learned = s.known(m)
	s.mu.Unlock()
	if err == nil && learned.auth == AuthUnknown {
		learned.auth, err = s.learnAuth(ctx, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	flight.manner, flight.err = learned, err
	s.learning = nil
	if err == nil {
		s.learned = learned
	} else {
		s.paused = time.Now().Add(forgetFailure)
	}
	close(flight.done)
}

// call posts f to endpoint as the client. methods are those that the endpoint offers.
func (s *Server) call(ctx context.Context, m *Metadata, step, endpoint string, methods []string, f fields) (answer, error) {
	known, err := s.manner(ctx, m)
	if err != nil {
		return answer{}, err
	}
	proof, err := s.proof(ctx, m)
	if err != nil {
		return answer{}, err
	}
	return s.post(ctx, step, endpoint, manner{known.encoding, s.authAt(known, methods)}, proof, f)
}

// forget drops what was learned after an answer that a server gives which reads
// another encoding, or wants another proof of the client: it may have been exchanged
// for a newer.
func (s *Server) forget(a answer) {
	p := readProbe(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	// What comes from a proxy, or says "later", says nothing of the body.
	if p.status == http.StatusInternalServerError || p.code == "unsupported_grant_type" || p.code == "invalid_request" {
		s.learned = manner{}
	}
	if p.refusesClient(true) {
		s.learned.auth = AuthUnknown
	}
}
