package wire

import (
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// TestDefaultTransport: a busy site keeps the connections that it has made, over HTTP/2 and HTTP/1.1, and so
// shakes hands once and not for each sign-in.
func TestDefaultTransport(t *testing.T) {
	const atOnce = 32
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		var dialled atomic.Int64
		var other atomic.Bool
		var turn sync.WaitGroup // all requests of a round are under way at once
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			turn.Done()
			turn.Wait()
			if r.Proto != proto {
				other.Store(true)
			}
		}))
		s.EnableHTTP2 = http2
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				dialled.Add(1)
			}
		}
		s.StartTLS()
		defer s.Close()
		transport := defaultTransport().(*http.Transport)
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(s.Certificate())
		defer transport.CloseIdleConnections()
		c := NewClient(&http.Client{Transport: transport}, nil)
		for range 8 {
			turn.Add(atOnce)
			var asked sync.WaitGroup
			for range atOnce {
				asked.Go(func() {
					if _, err := c.get(t.Context(), "request", s.URL); err != nil {
						t.Error(err)
					}
				})
			}
			asked.Wait()
		}
		// Some of the first are not needed with HTTP/2, and end before they are used.
		if n := dialled.Load(); n > 2*atOnce {
			t.Errorf("%s: %d connections for %d requests", proto, n, 8*atOnce)
		}
		if other.Load() {
			t.Errorf("not all requests came over %s", proto)
		}
	}
}
