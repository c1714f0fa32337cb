package authagenttest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
)

// Hosts is an [http.RoundTripper] without a network: it answers each host, as the URL
// has it ("127.0.0.1:8080", "shop.example"), by a handler. Inside a testing/synctest
// bubble, where real sockets stop the clock from advancing, a site and its
// authorization server can talk through it:
//
//	as := authagenttest.NewUnstartedServer()
//	as.URL = "http://127.0.0.1:9000"
//	client := &http.Client{Transport: authagenttest.Hosts{
//		"127.0.0.1:9000": as,
//		"127.0.0.1:8080": site,
//	}}
//
// Requests to other hosts are refused. A handler that panics with
// [http.ErrAbortHandler] cuts the connection.
type Hosts map[string]http.Handler

// RoundTrip runs the handler and returns its answer when it is complete, or
// when the request's context ends, whichever is first.
func (h Hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, ok := h[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("authagenttest: no handler for host %q", r.URL.Host)
	}
	incoming, err := asServerSees(r)
	if err != nil {
		return nil, err
	}
	type result struct {
		resp *http.Response
		err  error
	}
	done := make(chan result, 1) // room for one, so that the handler's goroutine ends if nobody waits
	go func() {
		w := httptest.NewRecorder()
		if err := serveUnlessAborted(handler, w, incoming); err != nil {
			done <- result{nil, err}
			return
		}
		resp := w.Result()
		resp.Request = r
		done <- result{resp, nil}
	}()
	select {
	case res := <-done:
		return res.resp, res.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// asServerSees turns an outgoing request into an incoming one. The body is
// read here, for a RoundTripper has to close it.
func asServerSees(r *http.Request) (*http.Request, error) {
	in := r.Clone(r.Context())
	in.Body = http.NoBody
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		in.Body = io.NopCloser(bytes.NewReader(body))
		in.ContentLength = int64(len(body))
	}
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "192.0.2.1:1234" // as in httptest.NewRequest
	in.URL.Scheme, in.URL.Host, in.URL.Fragment = "", "", ""
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	}
	return in, nil
}

func serveUnlessAborted(h http.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF // as when a server closes the connection
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}
