package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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

// TestLostConnection: if the network loses an HTTP/2 connection without a word, requests go over a new one soon. Each that
// times out would not end it, since others may be under way on it.
func TestLostConnection(t *testing.T) {
	// The server is a real one, whose certificate is borrowed here: sockets do not work with a clock of the test's own.
	borrowed := httptest.NewTLSServer(nil)
	defer borrowed.Close()
	certificate, roots := borrowed.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	synctest.Test(t, func(t *testing.T) {
		accepted := make(pipes)
		server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				t.Error(r.Proto)
			}
		}), ErrorLog: log.New(io.Discard, "", 0)}
		go server.Serve(tls.NewListener(accepted, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}))
		defer server.Close()
		var last *lossy
		transport := defaultTransport().(*http.Transport)
		transport.TLSClientConfig.RootCAs = roots
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			accepted <- theirs
			last = &lossy{Conn: ours}
			return last, nil
		}
		defer transport.CloseIdleConnections()
		c := NewClient(&http.Client{Transport: transport}, nil)
		get := func() error {
			_, err := c.get(t.Context(), "request", "https://example.com/")
			return err
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		last.lost.Store(true)
		began := time.Now()
		for get() != nil {
			if took := time.Since(began); took > 30*time.Second {
				t.Fatalf("no request has succeeded for %v", took)
			}
		}
	})
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// lossy is a connection that loses what is written, once it is lost.
type lossy struct {
	net.Conn
	lost atomic.Bool
}

func (l *lossy) Write(p []byte) (int, error) {
	if l.lost.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}
