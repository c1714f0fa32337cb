package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Fresh returns the same server, of which nothing is known yet. What is asked of
// it leaves s as it is.
func (s *Server) Fresh() *Server {
	return NewServer(s.client, NewSource(s.client, s.settings), s.Registration)
}

// Reads asks the token endpoint which encoding it reads, whatever is pinned or
// known, by requests that carry neither code nor secret.
func (s *Server) Reads(ctx context.Context) (Encoding, error) {
	m, err := s.Get(ctx)
	if err != nil {
		return Unknown, err
	}
	e, err := s.learn(ctx, m)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.learned.encoding = e
	}
	return e, err
}

// Takes asks the server how the client may prove itself by its secret, whatever is
// pinned, published or known.
func (s *Server) Takes(ctx context.Context) (Auth, error) {
	m, err := s.Get(ctx)
	if err != nil {
		return AuthUnknown, err
	}
	return s.learnAuth(ctx, m)
}

// InUse returns how the client proves itself at the token endpoint.
func (s *Server) InUse(ctx context.Context) (Auth, error) {
	m, err := s.Get(ctx)
	if err != nil {
		return AuthUnknown, err
	}
	known, err := s.manner(ctx, m)
	return s.authAt(known, m.TokenAuth), err
}

// RefusesClient reports whether endpoint refuses the client that proves itself in
// this way. The request asks for a token that was made up.
func (s *Server) RefusesClient(ctx context.Context, endpoint string, auth Auth) (bool, error) {
	m, err := s.Get(ctx)
	if err != nil {
		return false, err
	}
	secret, err := s.proof(ctx, m)
	if err != nil {
		return false, err
	}
	made := probePrefix + rand.Text()
	f := fields{{"token", made}}
	if endpoint == m.Token {
		f = fields{
			{"grant_type", "authorization_code"}, {"code", made}, {"redirect_uri", s.RedirectURL}, {"code_verifier", rand.Text() + rand.Text()},
		}
	}
	p, err := s.ask(ctx, question{endpoint, f}, auth, secret)
	return p.refusesClient(true), err
}

// Skew returns how far the server's clock is ahead of this one, by the Date of
// an answer, and how exact that is. ok is false where there is no Date.
func (s *Source) Skew(ctx context.Context) (ahead, exact time.Duration, ok bool) {
	start := time.Now()
	a, err := s.client.get(ctx, "clock request", s.wellKnown()[0])
	if err != nil {
		return 0, 0, false
	}
	took := time.Since(start)
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return 0, 0, false
	}
	// An answer from a cache has the Date of when it was made, and an Age since.
	if age, err := strconv.Atoi(a.header.Get("Age")); err == nil && age > 0 {
		date = date.Add(time.Duration(min(age, 1<<30)) * time.Second)
	}
	// A Date is a whole second, cut off, of some moment between the two.
	middle := start.Add(took / 2)
	return date.Add(time.Second / 2).Sub(middle), (took + time.Second) / 2, true
}

// KeysReadable reports whether the published keys, if there are any, can be had.
func (s *Server) KeysReadable(ctx context.Context) error {
	m, err := s.Get(ctx)
	if err != nil || m.Keys == nil {
		return err
	}
	_, err = m.Keys.Any(ctx)
	return err
}

// A Page is what a browser would get.
type Page struct {
	Status   int
	Location string // where it is sent on to, as an absolute URL; empty for nowhere
	Header   http.Header
	Body     []byte
}

// Open gets an address of the front channel as a browser does, and goes no
// further. What is in the page is for the caller to look at, and not to pass on.
func (s *Server) Open(ctx context.Context, step, address string) (*Page, error) {
	return s.Visit(ctx, step, http.MethodGet, address, http.Header{"Accept": {"text/html"}})
}

// Visit sends a request without a body and follows no redirect.
func (s *Server) Visit(ctx context.Context, step, method, address string, header http.Header) (*Page, error) {
	c := s.client
	u, err := url.Parse(address)
	if err != nil {
		return nil, &Error{Kind: Invalid, Step: step, Err: errors.New("address is not a URL")}
	}
	if err := c.acquire(ctx, step); err != nil {
		return nil, err
	}
	defer func() { <-c.slots }()
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req := (&http.Request{Method: method, URL: u, Host: u.Host, Header: header}).WithContext(ctx)
	// The transport itself follows nothing, keeps no cookie, and leaves the
	// Location that bounded takes away.
	resp, err := c.transport.next.RoundTrip(req)
	if err != nil {
		return nil, &Error{Kind: Unavailable, Step: step, Err: connectionError(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, &Error{Kind: Unavailable, Step: step, Status: resp.StatusCode, Err: connectionError(err)}
	}
	p := &Page{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if to, err := resp.Location(); err == nil {
		p.Location = to.String()
	}
	return p, nil
}

// maxPage is how much of a page is looked at.
const maxPage = 64 << 10
