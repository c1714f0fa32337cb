//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// A balancer is the proxy in front of the instances. It asks each whether it is ready, and
// takes those that are in turn; all of them if none is, as balancers do. An instance that
// cannot be reached is passed over; what was sent is not sent again.
type balancer struct {
	behind []*backend
	turn   atomic.Uint64
	next   http.RoundTripper
}

// A backend is an instance as the proxy knows it.
type backend struct {
	host  string // host:port
	ready string // URL
	up    atomic.Bool
}

// checkEvery is how often the proxy asks whether an instance is ready, and drain, for how long
// one that stops goes on after it has said that it is not: several times that.
const (
	checkEvery = 300 * time.Millisecond
	drain      = 3 * checkEvery
)

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

// add adds an instance. All are added before the first request.
func (b *balancer) add(ctx context.Context, i *instance) {
	one := &backend{host: i.origin[len("http://"):], ready: i.ready}
	b.behind, i.inProxy = append(b.behind, one), one
	go one.watch(ctx)
}

// watch asks until ctx ends.
func (b *backend) watch(ctx context.Context) {
	client := newClient()
	client.Timeout = time.Second
	for ctx.Err() == nil {
		b.up.Store(send(ctx, client, "", request{method: http.MethodGet, url: b.ready}).status == http.StatusOK)
		sleep(ctx, checkEvery)
	}
}

// await waits until the proxy has found that the instance is ready.
func (b *backend) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for !b.up.Load() {
		if sleep(ctx, checkEvery/4); ctx.Err() != nil {
			return fmt.Errorf("the proxy does not find %s ready: %w", b.host, ctx.Err())
		}
	}
	return nil
}

// hosts returns where to send a request, the first choice first.
func (b *balancer) hosts() (all []string) {
	turn := int(b.turn.Add(1) % uint64(len(b.behind)))
	for _, wantUp := range []bool{true, false} {
		for i := range b.behind {
			if one := b.behind[(turn+i)%len(b.behind)]; one.up.Load() || !wantUp {
				all = append(all, one.host)
			}
		}
		if len(all) > 0 {
			break
		}
	}
	return all
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	for _, host := range b.hosts() {
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.URL.Scheme, r.URL.Host = "http", host
		resp, err = b.next.RoundTrip(r)
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" {
			return resp, err
		}
	}
	return nil, err
}
