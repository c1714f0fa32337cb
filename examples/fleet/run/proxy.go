//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// clientHeader is by which an agent of this run tells the proxy where it is, since
// all of them are on loopback.
const clientHeader = "Run-Client"

// A balancer is the proxy in front of the instances, which takes them in turn. An
// instance that cannot be reached is passed over; what was sent is not sent again.
type balancer struct {
	origins []string // http://host:port
	turn    atomic.Uint64
	next    http.RoundTripper
}

func newProxy() (*httptest.Server, *balancer) {
	b := &balancer{next: &http.Transport{
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, MaxIdleConnsPerHost: 100, IdleConnTimeout: 30 * time.Second,
	}}
	proxy := &httputil.ReverseProxy{
		Transport: b,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header.Set("X-Forwarded-For", r.In.Header.Get(clientHeader))
			r.Out.Header.Del(clientHeader)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	return httptest.NewServer(proxy), b
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	for range b.origins {
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.URL.Scheme, r.URL.Host = "http", b.origins[b.turn.Add(1)%uint64(len(b.origins))][len("http://"):]
		resp, err = b.next.RoundTrip(r)
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" {
			return resp, err
		}
	}
	return nil, err
}
