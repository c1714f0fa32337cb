// Package wire is the back channel: the requests that a relying party sends to
// its authorization server, and what it accepts as an answer.
//
// Every request has a deadline and follows no redirect; every answer is bounded
// in length and is either one strict JSON object or an error. No error text
// contains a secret or words that the server chose.
package wire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/strictjson"
)

const (
	// Timeout bounds one request, from connecting to the last byte of the answer.
	Timeout = 10 * time.Second

	// maxBody is the longest answer that is read, after decompression.
	maxBody = 1 << 20

	// maxInFlight bounds the requests under way at once, so that a server that
	// hangs cannot pile up the goroutines of the site.
	maxInFlight = 128

	// maxWait is how long a request waits for its turn before it is refused.
	maxWait = 500 * time.Millisecond
)

const jsonType = "application/json"

// Kind says what went wrong with a request, which decides what to do about it.
type Kind int

const (
	Unavailable Kind = iota // no answer, or an answer that says "later": retrying may help
	Overloaded              // not sent: too many requests are under way
	Malformed               // an answer that this protocol does not know
	Invalid                 // a well-formed answer with a value that cannot be accepted
	Refused                 // the server says no
	Broken                  // the site's own part in it failed
)

// An Error is a request that did not succeed.
type Error struct {
	Kind       Kind
	Step       string        // what was being done: "token request"
	Status     int           // the answer's HTTP status; 0 when there was none
	Code       string        // the OAuth error code (RFC 6749 section 5.2), if it is one of the known ones
	RetryAfter time.Duration // what the server asked for; 0 when it did not
	Err        error
}

func (e *Error) Error() string {
	text := e.Step
	if e.Status != 0 {
		text += ": status " + strconv.Itoa(e.Status)
	}
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Unreachable reports whether the server could not be used, and whether it answered
// all the same.
func (e *Error) Unreachable() (answered, ok bool) { return e.Status != 0, e.Kind == Unavailable }

// Timeout reports whether the request ran out of time.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Client sends requests. It is safe for concurrent use.
//
// It asks the transport itself: what an http.Client adds, cookies and following
// redirects, is what is not wanted here. A redirect would carry code, verifier and
// secret to wherever it points (307, 308), or take a token from there; cookies
// would tie the sign-ins of different agents together.
type Client struct {
	Meter *meter.Meter // set before the first use; nil for none

	transport bounded
	timeout   time.Duration // of one request
	slots     chan struct{}
}

// NewClient returns a Client that uses base's transport, or one of its own when
// base is nil. base itself is never changed. panicked, if it is not nil, is told
// what the transport panicked with.
func NewClient(base *http.Client, panicked func(value any, stack []byte)) *Client {
	next := defaultTransport()
	if base != nil {
		next = careful{cmp.Or(base.Transport, http.DefaultTransport), panicked}
	}
	c := &Client{transport: bounded{next}, timeout: Timeout, slots: make(chan struct{}, maxInFlight)}
	if base != nil && base.Timeout > 0 {
		c.timeout = min(base.Timeout, Timeout)
	}
	return c
}

// defaultTransport is http.DefaultTransport with enough idle connections that
// a busy site does not dial, and shake hands, for each sign-in. HTTP/2 has one connection for all requests.
// If the network loses it without a word, all of them would time out until the system gives it up, which takes
// a quarter of an hour. So a server that has been silent is asked whether it is there.
func defaultTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		MaxIdleConns:          maxInFlight,
		MaxIdleConnsPerHost:   maxInFlight,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// bounded cuts every answer off after maxBody bytes, with an error, and keeps
// the server's words out of all errors (see connectionError).
type bounded struct{ next http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	switch {
	case err != nil:
		return nil, connectionError(err)
	case resp == nil, resp.Body == nil: // a site's own transport may be careless
		return nil, errors.New("the transport gave no answer")
	}
	onlySlash(r.URL, resp.Header)
	resp.Body = &boundedBody{resp.Body, maxBody}
	return resp, nil
}

var errTooLong = fmt.Errorf("answer is longer than %d bytes", maxBody)

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	if err != nil && err != io.EOF {
		err = connectionError(err)
	}
	return n, err
}

// An answer is what came back, with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send sends one request, once.
func (c *Client) send(ctx context.Context, step, method, address string, header fields, body []byte) (answer, error) {
	if err := c.acquire(ctx, step); err != nil {
		return answer{}, err
	}
	defer func() { <-c.slots }()
	began := c.Meter.Now()
	a, err := c.exchange(ctx, step, method, address, header, body)
	if c.Meter != nil {
		c.Meter.Answered(began, endpointOf(step), statusOf(a, err))
	}
	return a, err
}

// exchange is send without bounds on how many there are at once.
func (c *Client) exchange(ctx context.Context, step, method, address string, header fields, body []byte) (answer, error) {
	shared := deadlineOf(ctx)
	shared.begin()
	defer shared.done()
	if shared == nil || c.timeout < Timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	var content io.Reader // nil for no body at all
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return answer{}, &Error{Kind: Invalid, Step: step, Err: errors.New("address is not a URL")}
	}
	values := make([]string, 1+len(header)) // of the fields, one each
	values[0] = jsonType
	req.Header["Accept"] = values[:1:1]
	for i, field := range header {
		values[i+1] = field[1]
		req.Header[field[0]] = values[i+1 : i+2 : i+2]
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return answer{}, unanswered(ctx, step, 0, err)
	}
	defer resp.Body.Close()
	answered, err := readBody(resp)
	switch {
	case errors.Is(err, errTooLong):
		return answer{}, &Error{Kind: Malformed, Step: step, Status: resp.StatusCode, Err: err}
	case err != nil:
		return answer{}, unanswered(ctx, step, resp.StatusCode, err)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		err := ErrRedirect
		if to := resp.Header.Get("Location"); to != "" {
			err = &slashRedirect{to}
		}
		return answer{}, &Error{Kind: Malformed, Step: step, Status: resp.StatusCode, Err: err}
	}
	return answer{resp.StatusCode, resp.Header, answered}, nil
}

func (c *Client) get(ctx context.Context, step, address string) (answer, error) {
	return c.send(ctx, step, http.MethodGet, address, nil, nil)
}

// readBody reads a body, in a buffer of its length where that is announced.
func readBody(resp *http.Response) ([]byte, error) {
	if resp.ContentLength < 0 || resp.ContentLength > maxBody {
		return io.ReadAll(resp.Body)
	}
	body := make([]byte, resp.ContentLength)
	n, err := io.ReadFull(resp.Body, body)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body) // the end of an HTTP/2 stream may come by itself
	}
	return body[:n], err
}

// connectionError returns err without the words of the other side: net/http
// quotes what it cannot read as HTTP, which may be anything, a token included.
// What the machine itself says of an address is kept.
func connectionError(err error) error {
	var (
		timeout     net.Error
		network     *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, ErrPanic):
		return err
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate): // of a proxy, too
		return &tls.CertificateVerificationError{Err: certificateFault(certificate.Err)}
	case errors.As(err, &network):
		return network
	case errors.As(err, &name):
		return name
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("no complete HTTP answer (%T)", err)
}

// certificateFault is what is wrong with a certificate, without the names in it,
// which whoever sits in the network may have written.
func certificateFault(err error) error {
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		return errors.New("it is for another host")
	case errors.As(err, &authority):
		return errors.New("it is signed by an authority that this machine does not trust")
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return errors.New("it has expired or is not yet valid, or the clock of this machine is wrong")
		}
		return fmt.Errorf("it is not valid (x509 reason %d)", invalid.Reason)
	}
	return fmt.Errorf("it cannot be verified (%T)", err)
}

func (c *Client) acquire(ctx context.Context, step string) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return &Error{Kind: Overloaded, Step: step, Err: fmt.Errorf("%d requests are under way", maxInFlight)}
	case <-ctx.Done():
		return &Error{Kind: Unavailable, Step: step, Err: ctx.Err()}
	}
}

// object returns the JSON object of a 200 answer, or the error that the answer is.
func (a answer) object(step string) (strictjson.Object, error) {
	var none strictjson.Object
	if a.status != http.StatusOK {
		return none, a.failure(step)
	}
	if !a.isJSON() {
		return none, &Error{Kind: Malformed, Step: step, Status: a.status, Err: errors.New("answer is not application/json")}
	}
	o, err := strictjson.Parse(a.body)
	if err != nil {
		return none, &Error{Kind: Malformed, Step: step, Status: a.status, Err: err}
	}
	if o.Has("error") {
		return none, &Error{Kind: Refused, Step: step, Status: a.status, Code: code(o), Err: errors.New("a success that carries an error")}
	}
	return o, nil
}

func (a answer) isJSON() bool {
	contentType := a.header.Get("Content-Type")
	if contentType == jsonType {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// failure makes the error of an answer that is not 200.
func (a answer) failure(step string) *Error {
	e := &Error{Kind: Refused, Step: step, Status: a.status}
	if o, err := strictjson.Parse(a.body); err == nil {
		e.Code = code(o)
	}
	if a.status >= 500 || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout {
		e.Kind = Unavailable
		e.RetryAfter = retryAfter(a.header.Get("Retry-After"))
	}
	return e
}

// retryAfter reads the header of RFC 9110 section 10.2.3, which is a number of
// seconds or a date. It returns zero for anything else.
func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(header); err == nil {
		wait = time.Duration(min(seconds, 3600)) * time.Second
	} else if date, err := http.ParseTime(header); err == nil {
		wait = time.Until(date)
	}
	return max(0, min(wait, time.Hour))
}

// code returns the OAuth error code of an answer. Only known codes are passed
// on: anything else is text that a stranger may have written.
func code(o strictjson.Object) string {
	switch s, _, _ := o.String("error"); s {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
		"invalid_scope", "invalid_token", "insufficient_scope", "server_error", "temporarily_unavailable", "unsupported_token_type":
		return s
	}
	return ""
}
