package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// transport is one that a site could have written.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// response is an answer of JSON, unless header says otherwise.
func response(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {jsonType}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// serverBy returns a server with all endpoints, unless change takes some away, that
// is asked by this transport.
func serverBy(answer transport, change ...func(*Settings, *Registration)) *Server {
	const issuer = "https://as.example"
	settings := Settings{Issuer: issuer, Pins: Endpoints{
		Authorization: issuer + "/authorize", Token: issuer + "/token", UserInfo: issuer + "/userinfo",
		Introspection: issuer + "/introspect", Revocation: issuer + "/revoke",
	}}
	r := Registration{ID: "site", Encoding: Form, Auth: AuthPost, Secret: func(context.Context) (string, error) { return "secret", nil }}
	for _, c := range change {
		c(&settings, &r)
	}
	client := NewClient(&http.Client{Transport: answer}, nil)
	return NewServer(client, NewSource(client, settings), r)
}

func wantKind(t *testing.T, name string, err error, kind Kind) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s: %v, want kind %d", name, err, kind)
	}
}

// TestConnectionError: what the machine itself says is kept, and no word of whoever
// sits at the other end.
func TestConnectionError(t *testing.T) {
	dns := &net.DNSError{Err: "no such host", Name: "as.example", IsNotFound: true}
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	certificate := func(err error) error { return fmt.Errorf("canary: %w", &tls.CertificateVerificationError{Err: err}) }
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("canary: %w", dns), dns.Error()},
		{fmt.Errorf("canary: %w", dial), dial.Error()},
		{fmt.Errorf("canary: %w", io.EOF), io.ErrUnexpectedEOF.Error()},
		{fmt.Errorf("canary: %w", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF.Error()},
		{context.Canceled, context.Canceled.Error()},
		{context.DeadlineExceeded, context.DeadlineExceeded.Error()},
		{fmt.Errorf("%w (string)", ErrPanic), ErrPanic.Error() + " (string)"},
		{errors.New("canary"), "no complete HTTP answer (*errors.errorString)"},
		{certificate(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "canary"}), "it is for another host"},
		{certificate(x509.UnknownAuthorityError{}), "it is signed by an authority that this machine does not trust"},
		{certificate(x509.CertificateInvalidError{Reason: x509.Expired, Detail: "canary"}), "it has expired or is not yet valid, or the clock of this machine is wrong"},
		{certificate(x509.CertificateInvalidError{Reason: x509.TooManyIntermediates, Detail: "canary"}), "it is not valid (x509 reason 3)"},
		{certificate(errors.New("canary")), "it cannot be verified (*errors.errorString)"},
	} {
		if got := connectionError(test.err).Error(); !strings.HasSuffix(got, test.want) || strings.Contains(got, "canary") {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}

// TestTimeout: whatever ran out of time says so.
func TestTimeout(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded: true, os.ErrDeadlineExceeded: true, &net.DNSError{IsTimeout: true}: true,
		&net.DNSError{}: false, context.Canceled: false, errors.New("x"): false,
	} {
		if got := (&Error{Err: err}).Timeout(); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestCarelessTransport: a transport that answers with nothing, or counts wrong, is an
// error, and no panic.
func TestCarelessTransport(t *testing.T) {
	for _, test := range []struct {
		name string
		resp *http.Response
		kind Kind
		says string
	}{
		{"no answer", nil, Unavailable, "gave no answer"},
		{"no body", &http.Response{StatusCode: 200}, Unavailable, "gave no answer"},
		{"less than nothing read", &http.Response{StatusCode: 200, Body: count(-1), ContentLength: -1}, Broken, "impossible count"},
		{"more than there is room", &http.Response{StatusCode: 200, Body: count(1 << 30), ContentLength: -1}, Broken, "impossible count"},
		{"more than was announced, and broken", &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader("{}"), failing{})), ContentLength: 2}, Unavailable, "EOF"},
		{"a length beyond all bounds", &http.Response{StatusCode: 200, Body: io.NopCloser(endless{}), ContentLength: 1 << 60}, Malformed, "longer than"},
	} {
		c := NewClient(&http.Client{Transport: transport(func(*http.Request) (*http.Response, error) { return test.resp, nil })}, func(value any, _ []byte) {
			t.Errorf("%s: panic %v", test.name, value)
		})
		_, err := c.get(t.Context(), "request", "https://as.example/")
		wantKind(t, test.name, err, test.kind)
		if err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	_, err := NewClient(nil, nil).get(t.Context(), "request", "https://as.example/\x7f")
	wantKind(t, "no URL", err, Invalid)
}

// TestPanicIsTold: a panic of the site's transport is an error, and whoever wants to is told.
func TestPanicIsTold(t *testing.T) {
	var told []any
	for _, panicked := range []func(any, []byte){nil, func(value any, stack []byte) { told = append(told, value, len(stack) > 0) }} {
		c := NewClient(&http.Client{Transport: transport(func(*http.Request) (*http.Response, error) { panic("canary") })}, panicked)
		_, err := c.get(t.Context(), "request", "https://as.example/")
		wantKind(t, "panic", err, Broken)
		if !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), "canary") {
			t.Error(err)
		}
	}
	if len(told) != 2 || told[0] != "canary" || told[1] != true {
		t.Errorf("told %v", told)
	}
}

// TestErrorText: what an operator reads of a request that failed.
func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"request": {Step: "request"}, "request: status 400": {Step: "request", Status: 400}, "request: no": {Step: "request", Err: errors.New("no")},
		"request: status 400 invalid_grant: no": {Step: "request", Status: 400, Code: "invalid_grant", Err: errors.New("no")},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestClientTimeout: a site's client may be more impatient, and not more patient.
func TestClientTimeout(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: Timeout, time.Second: time.Second, time.Hour: Timeout} {
		if got := NewClient(&http.Client{Timeout: set}, nil).timeout; got != want {
			t.Errorf("%v: %v", set, got)
		}
	}
	if got := NewClient(nil, nil).timeout; got != Timeout {
		t.Error(got)
	}
}

// TestFull: while too many requests are under way, none is sent, and it is the site's own
// bound that is named.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serverBy(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("down")
		})
		for range maxInFlight {
			s.client.slots <- struct{}{}
		}
		_, err := s.UserInfo(t.Context(), "t")
		wantKind(t, "UserInfo", err, Overloaded)
		_, err = s.Open(t.Context(), "page", "https://as.example/")
		wantKind(t, "Open", err, Overloaded)
	})
}

type count int

func (n count) Read([]byte) (int, error) { return int(n), nil }
func (count) Close() error               { return nil }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestAnswerTypes: which answers are JSON.
func TestAnswerTypes(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "application/token-introspection+json": true,
		"": false, "text/html": false, "text/json": false, "application/jsonx": false, "application/json; charset": false, "json": false,
	} {
		a := answer{status: 200, header: http.Header{"Content-Type": {contentType}}, body: []byte(`{}`)}
		if _, err := a.object("request"); (err == nil) != want {
			t.Errorf("%q: %v", contentType, err)
		}
	}
}

// TestFailures: which answers say "later", and when.
func TestFailures(t *testing.T) {
	for status, kind := range map[int]Kind{408: Unavailable, 429: Unavailable, 500: Unavailable, 503: Unavailable, 400: Refused, 401: Refused, 404: Refused, 409: Refused} {
		e := (answer{status: status, header: http.Header{"Retry-After": {"7"}}, body: []byte(`{"error":"invalid_grant"}`)}).failure("request")
		if e.Kind != kind || e.Code != "invalid_grant" || (e.RetryAfter == 7*time.Second) != (kind == Unavailable) {
			t.Errorf("%d: %+v", status, e)
		}
		if later := (probed{status: status}).later(); later != (kind == Unavailable) {
			t.Errorf("%d: later %v", status, later)
		}
	}
}

// TestOnlySlash: the one redirect that is followed adds a slash to the very address
// that was asked.
func TestOnlySlash(t *testing.T) {
	const asked = "https://as.example/a%2fb/openid-configuration"
	for _, test := range []struct {
		asked, location string
		follows         bool
	}{
		{asked, asked + "/", true},
		{asked, "openid-configuration/", true},
		{asked, "/a%2fb/openid-configuration/", true},
		{asked, "HTTPS://AS.example:443/a%2fb/openid-configuration/", true},
		{asked, "", false},
		{asked, asked, false},
		{asked, asked + "//", false},
		{asked, asked + "/?code=1", false},
		{asked, asked + "/#x", false},
		{asked, "https://user@as.example/a%2fb/openid-configuration/", false},
		{asked, "http://as.example/a%2fb/openid-configuration/", false},
		{asked, "https://as.example:8443/a%2fb/openid-configuration/", false},
		{asked, "https://evil.example/a%2fb/openid-configuration/", false},
		{asked, "/a/b/openid-configuration/", false},
		{asked, "https://%zz/", false},
		{asked + "?x=1", "/a%2fb/openid-configuration/", false},
	} {
		u, err := url.Parse(test.asked)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Location": {test.location}}
		onlySlash(u, header)
		want := ""
		if test.follows {
			want = asked + "/"
		}
		if got := header.Get("Location"); got != want {
			t.Errorf("%s to %s: %q", test.asked, test.location, got)
		}
	}
}

// TestNoServer: where nothing answers, every question says so, and none of the answers
// is taken for one.
func TestNoServer(t *testing.T) {
	down := func() *Server {
		return serverBy(func(*http.Request) (*http.Response, error) { return nil, errors.New("down") }, func(s *Settings, _ *Registration) { s.Pins = Endpoints{} })
	}
	ctx := t.Context()
	for name, ask := range map[string]func(*Server) error{
		"Exchange":   func(s *Server) error { _, err := s.Exchange(ctx, "c", "v", "r"); return err },
		"Refresh":    func(s *Server) error { _, err := s.Refresh(ctx, "r"); return err },
		"UserInfo":   func(s *Server) error { _, err := s.UserInfo(ctx, "t"); return err },
		"Introspect": func(s *Server) error { _, err := s.Introspect(ctx, "t"); return err },
		"Revoke":     func(s *Server) error { return s.Revoke(ctx, "t", "access_token") },
		"Reads":      func(s *Server) error { _, err := s.Reads(ctx); return err },
		"Takes":      func(s *Server) error { _, err := s.Takes(ctx); return err },
		"InUse":      func(s *Server) error { _, err := s.InUse(ctx); return err },
		"RefusesClient": func(s *Server) error {
			_, err := s.RefusesClient(ctx, "https://as.example/token", AuthPost)
			return err
		},
		"KeysReadable":   func(s *Server) error { return s.KeysReadable(ctx) },
		"Open":           func(s *Server) error { _, err := s.Open(ctx, "page", "https://as.example/"); return err },
		"a body cut off": func(*Server) error { _, err := brokenPage().Open(ctx, "page", "https://as.example/"); return err },
	} {
		wantKind(t, name, ask(down()), Unavailable)
	}
	if _, _, ok := down().Skew(ctx); ok {
		t.Error("the clock of a server that does not answer is known")
	}
	_, err := down().Open(ctx, "page", "https://as.example/\x7f")
	wantKind(t, "no URL", err, Invalid)
}

func brokenPage() *Server {
	return serverBy(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(bytes.NewReader([]byte("x")), failing{}))}, nil
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestNoSecret: without the secret nothing is sent that needs it.
func TestNoSecret(t *testing.T) {
	lost := errors.New("vault is sealed")
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("down")
	}, func(_ *Settings, r *Registration) {
		r.Secret = func(context.Context) (string, error) { return "half a secret", lost }
	})
	ctx := t.Context()
	_, takes := s.Takes(ctx)
	_, exchange := s.Exchange(ctx, "c", "v", "r")
	_, refuses := s.RefusesClient(ctx, "https://as.example/token", AuthPost)
	for name, err := range map[string]error{"Takes": takes, "Exchange": exchange, "RefusesClient": refuses, "HasProof": s.HasProof(ctx, &Metadata{})} {
		if !errors.Is(err, ErrSecret) || !errors.Is(err, lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoEndpoint: a server is not asked at an address that it does not have.
func TestNoEndpoint(t *testing.T) {
	s := serverBy(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("down")
	}, func(s *Settings, _ *Registration) {
		s.Pins.UserInfo, s.Pins.Introspection, s.Pins.Revocation = "", "", ""
	})
	ctx := t.Context()
	_, userinfo := s.UserInfo(ctx, "t")
	_, introspect := s.Introspect(ctx, "t")
	for name, err := range map[string]error{"UserInfo": userinfo, "Introspect": introspect, "Revoke": s.Revoke(ctx, "t", "access_token")} {
		wantKind(t, name, err, Invalid)
		if err != nil && !strings.Contains(err.Error(), "endpoint") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSkew: the clock of a server, of which a cache's answer is older by its Age.
func TestSkew(t *testing.T) {
	for age, want := range map[string]time.Duration{"": 0, "60": time.Minute, "0": 0, "-60": 0, "x": 0, "99999999999": 1 << 30 * time.Second, "99999999999999999999": 0} {
		s := serverBy(func(*http.Request) (*http.Response, error) {
			return response(404, "", "Date", time.Now().UTC().Format(http.TimeFormat), "Age", age), nil
		})
		if ahead, _, ok := s.Skew(t.Context()); !ok || (ahead-want).Abs() > 5*time.Second {
			t.Errorf("Age %q: %v ahead, %v", age, ahead, ok)
		}
	}
	s := serverBy(func(*http.Request) (*http.Response, error) { return response(200, "", "Date", "today"), nil })
	if _, _, ok := s.Skew(t.Context()); ok {
		t.Error("a date that is none is known")
	}
}
