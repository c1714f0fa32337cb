//go:debug x509usefallbackroots=1

package benchmarks

import (
	"net/http"
	"testing"
)

func overHTTP1() *provider { return newProviderOver(overTLS(false)) }

func overHTTP2() *provider { return newProviderOver(overTLS(true)) }

// TestOverTLS: everything that is compared signs in over TLS with the client that it comes with.
func TestOverTLS(t *testing.T) {
	for name, start := range map[string]func() *provider{"http1": overHTTP1, "http2": overHTTP2} {
		for _, subject := range withLimit() {
			t.Run(name+"/"+subject.name, func(t *testing.T) {
				s := subject.setUp(start())
				defer s.server.Close()
				w := newDiscard()
				if s.finish.ServeHTTP(w, s.begin()); w.status >= 400 {
					t.Errorf("status %d", w.status)
				}
			})
		}
	}
}

// BenchmarkRoundTrip is one request to the provider, on a connection that was kept and on a new one. What is
// between the two is what a kept connection saves: over TLS, a handshake. The time is of both sides. (D)
func BenchmarkRoundTrip(b *testing.B) {
	for _, over := range []struct {
		name     string
		provider func() *provider
	}{{"plain", newProvider}, {"http1", overHTTP1}, {"http2", overHTTP2}} {
		for _, kept := range []bool{true, false} {
			name := map[bool]string{true: "/kept", false: "/new"}[kept]
			b.Run(over.name+name, func(b *testing.B) {
				p := over.provider()
				defer p.Close()
				transport := pooled()
				client := &http.Client{Transport: transport}
				once := func() {
					bare(client, must(http.NewRequest(http.MethodGet, p.URL+"/userinfo", nil)))
					if !kept {
						transport.CloseIdleConnections()
					}
				}
				warmUp(once)
				dialled := p.dialled.Load()
				m := startMeter(b)
				for b.Loop() {
					once()
				}
				m.report()
				b.ReportMetric(float64(p.dialled.Load()-dialled)/float64(b.N), "dials/op")
			})
		}
	}
}
