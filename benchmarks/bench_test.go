package benchmarks

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSites: everything that is compared does what it is compared for.
func TestSites(t *testing.T) {
	for _, subject := range subjects() {
		t.Run(subject.name, func(t *testing.T) {
			s := subject.setUp(newProvider())
			defer s.server.Close()
			begun, w := s.begin(), newDiscard()
			s.finish.ServeHTTP(w, begun)
			if ok := w.status == http.StatusFound || w.status == http.StatusSeeOther || subject.name == "pkgz" && w.status == http.StatusOK; !ok {
				t.Fatalf("callback: status %d, Location %q", w.status, w.header.Get("Location"))
			}
			cookies := pairs(w.header)
			if len(cookies) == 0 {
				t.Fatal("callback: no session")
			}
			forged := begun.Clone(t.Context())
			forged.URL.RawQuery = strings.Replace(forged.URL.RawQuery, "state=", "state=x", 1)
			w.reset()
			if s.finish.ServeHTTP(w, forged); w.status < 400 {
				t.Errorf("callback with another state: status %d", w.status)
			}
			if got := challenged(s); got != s.pkce {
				t.Errorf("PKCE %v, want %v", got, s.pkce)
			}
		})
	}
}

func challenged(s *site) bool {
	w := newDiscard()
	s.login.ServeHTTP(w, get(origin+loginPath))
	return strings.Contains(w.header.Get("Location"), "code_challenge_method=S256")
}

// TestCheckers: the ways to check a session let the right ones through.
func TestCheckers(t *testing.T) {
	for _, c := range slices.Concat(checkers(), renewers()) {
		t.Run(c.name, func(t *testing.T) {
			cookies := c.signIn()
			for _, test := range []struct {
				name string
				r    *http.Request
				want int
			}{
				{"valid", get(origin+ordersPath, cookies...), http.StatusOK},
				{"forged", get(origin+ordersPath, forge(cookies)...), http.StatusUnauthorized},
				{"absent", get(origin + ordersPath), http.StatusUnauthorized},
			} {
				w := newDiscard()
				if c.orders.ServeHTTP(w, test.r); w.status != test.want {
					t.Errorf("%s: status %d, want %d", test.name, w.status, test.want)
				}
			}
		})
	}
}

// forge changes a character in the middle of each cookie's value.
func forge(cookies []string) (forged []string) {
	for _, c := range cookies {
		b := []byte(c)
		at := len(b) - len(b)/4
		if b[at] ^= 1; b[at] == '.' || b[at] == ';' || b[at] == ',' {
			b[at] = 'A'
		}
		forged = append(forged, string(b))
	}
	return forged
}

// BenchmarkLogin is the redirect to the authorization server. (A)
func BenchmarkLogin(b *testing.B) {
	for _, s := range subjects() {
		s.run(b, newProvider, func(b *testing.B, s *site) {
			s.begin() // metadata is known to all
			serve(b, s.login, get(origin+loginPath), func(status int) bool { return status >= 300 && status < 400 })
		})
	}
	b.Run("limit", func(b *testing.B) {
		aead := newAEAD()
		value, sealed := make([]byte, 96), make([]byte, 0, 160)
		m := startMeter(b)
		for b.Loop() {
			rand.Read(value[:64])
			sha256.Sum256(value[32:64])
			sealed = aead.Seal(sealed[:0], nil, value, nil)
		}
		m.report()
	})
}

// warmUp does what is going to be measured, so that memory and caches are as in a
// process that has run for a while: it takes some collections until no page is new.
func warmUp(f func()) {
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
		f()
	}
}

// A meter measures what the process spends beside what the wall clock says.
type meter struct {
	b     *testing.B
	since time.Duration
	spent time.Duration
}

func startMeter(b *testing.B) *meter {
	b.ReportAllocs()
	return &meter{b: b, since: processTime()}
}

// pause leaves what f does out of all figures.
func (m *meter) pause(f func()) {
	m.b.StopTimer()
	m.spent += processTime() - m.since
	f()
	m.since = processTime()
	m.b.StartTimer()
}

// report is called when the loop has ended.
func (m *meter) report() {
	m.spent += processTime() - m.since
	m.b.ReportMetric(float64(m.spent)/float64(m.b.N), "cpu-ns/op")
}

// serve measures a handler's answers to one request.
func serve(b *testing.B, h http.Handler, like *http.Request, ok func(status int) bool) {
	w, r := newDiscard(), new(http.Request)
	once := func() {
		w.reset()
		*r = *like // some keep what they found in the request
		h.ServeHTTP(w, r)
		if !ok(w.status) {
			b.Fatal("status", w.status)
		}
	}
	warmUp(once)
	m := startMeter(b)
	for b.Loop() {
		once()
	}
	m.report()
	b.ReportMetric(float64(len(strings.Join(pairs(w.header), "; "))), "cookie-bytes")
}

// withLimit are the subjects and the bare round trips.
func withLimit() []subject { return append(subjects(), subject{"limit", bareSite}) }

// BenchmarkCallback is the callback with its two round trips. (B)
func BenchmarkCallback(b *testing.B) {
	for _, s := range withLimit() {
		s.run(b, newProvider, finishLogins)
	}
}

// finishLogins finishes logins that were begun before.
func finishLogins(b *testing.B, s *site) {
	w := newDiscard()
	var begun []*http.Request
	warmUp(func() { s.finish.ServeHTTP(newDiscard(), s.begin()) }) // keys are fetched, connections warm
	m := startMeter(b)
	for b.Loop() {
		if len(begun) == 0 {
			m.pause(func() {
				for range 64 {
					begun = append(begun, s.begin())
				}
			})
		}
		w.reset()
		s.finish.ServeHTTP(w, begun[0])
		if begun = begun[1:]; w.status >= 400 {
			b.Fatal("status", w.status)
		}
	}
	m.report()
}

// BenchmarkSigned is the callback at a provider that signs each id_token. (B)
func BenchmarkSigned(b *testing.B) {
	for _, signer := range signers() {
		b.Run(signer.alg, func(b *testing.B) {
			for _, s := range signedSubjects() {
				s.run(b, func() *provider { return newSigningProvider(signer) }, finishLogins)
			}
			b.Run("signing", func(b *testing.B) { signing(b, signer) })
		})
	}
}

// signing is what the provider itself spends on each signature. It is a part of all the others, since it runs in the same
// process.
func signing(b *testing.B, s *signer) {
	claims := make([]byte, 256)
	warmUp(func() { s.sign(claims) })
	m := startMeter(b)
	for b.Loop() {
		s.sign(claims)
	}
	m.report()
}

// BenchmarkSession is the check of a session with each request. (C)
func BenchmarkSession(b *testing.B) {
	all := checkers()
	for _, test := range []struct {
		name   string
		cookie func(cookies []string) []string
		status int
	}{
		{"valid", func(cookies []string) []string { return cookies }, http.StatusOK},
		{"forged", forge, http.StatusUnauthorized},
		{"absent", func([]string) []string { return nil }, http.StatusUnauthorized},
	} {
		b.Run(test.name, func(b *testing.B) {
			for _, c := range all {
				b.Run(c.name, func(b *testing.B) {
					r := get(origin+ordersPath, test.cookie(c.signIn())...)
					serve(b, c.orders, r, func(status int) bool { return status == test.status })
				})
			}
			if test.name == "valid" {
				b.Run("limit", sessionLimit)
			}
		})
	}
	b.Run("action", func(b *testing.B) { // what is recorded of a request that does something
		for _, test := range []struct {
			name string
			*site
		}{{"authagent", authagentSite()}, {"authagent-owners", ownersSite()}} {
			b.Run(test.name, func(b *testing.B) {
				serve(b, test.act, get(origin+ordersPath, test.signIn()...), func(status int) bool { return status == http.StatusOK })
			})
		}
	})
	b.Run("renew", func(b *testing.B) {
		for _, c := range renewers() {
			b.Run(c.name, func(b *testing.B) {
				r := get(origin+ordersPath, c.signIn()...)
				if c.name == "authagent" {
					time.Sleep(aged + 50*time.Millisecond)
				}
				serve(b, c.orders, r, func(status int) bool { return status == http.StatusOK })
			})
		}
	})
}

// sessionLimit is the cryptography of a session check alone: an AEAD that opens
// what a session holds.
func sessionLimit(b *testing.B) {
	aead := newAEAD()
	s := newSession(agentID)
	sealed := encode(aead.Seal(nil, nil, s.append(nil), nil))
	raw, opened := make([]byte, len(sealed)), make([]byte, 0, len(sealed))
	m := startMeter(b)
	for b.Loop() {
		n, _ := base64.RawURLEncoding.Decode(raw, []byte(sealed))
		if _, err := aead.Open(opened[:0], nil, raw[:n], nil); err != nil {
			b.Fatal(err)
		}
	}
	m.report()
}

const browsers = 32

// BenchmarkSignIns is whole sign-ins by 32 browsers at once, on real listeners:
// login, and the callback with its two round trips. What the browser does at
// the provider is nobody's here and left out. (D)
//
// In "pooled" the transport that the peers fall back on, http.DefaultTransport,
// keeps enough idle connections. As it comes it keeps two. In "http2" and "http1" the
// provider is reached over TLS. In "signed" it signs each id_token.
func BenchmarkSignIns(b *testing.B) {
	b.Run("default", func(b *testing.B) { signIns(b, withLimit(), newProvider) })
	b.Run("pooled", func(b *testing.B) {
		t := http.DefaultTransport.(*http.Transport)
		b.Cleanup(t.CloseIdleConnections)
		t.MaxIdleConnsPerHost = 4 * browsers
		defer func() { t.MaxIdleConnsPerHost = 0 }()
		signIns(b, withLimit(), newProvider)
	})
	b.Run("http1", func(b *testing.B) { signIns(b, withLimit(), overHTTP1) })
	b.Run("http2", func(b *testing.B) { signIns(b, withLimit(), overHTTP2) })
	b.Run("signed", func(b *testing.B) {
		signer := signers()[0]
		signIns(b, signedSubjects(), func() *provider { return newSigningProvider(signer) })
	})
}

func signIns(b *testing.B, all []subject, provider func() *provider) {
	for _, s := range all {
		s.run(b, provider, func(b *testing.B, s *site) {
			server := listen(s)
			defer server.Close()
			client := &http.Client{
				Transport:     pooled(),
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			defer client.CloseIdleConnections()
			warm(client, server.URL)
			dialled := s.server.dialled.Load()
			var mu sync.Mutex
			var took []time.Duration
			b.SetParallelism(browsers) // of one processor
			b.ResetTimer()
			m := startMeter(b)
			b.RunParallel(func(pb *testing.PB) {
				var own []time.Duration
				for pb.Next() {
					began := time.Now()
					if err := visit(client, server.URL); err != nil {
						b.Error(err)
						return
					}
					own = append(own, time.Since(began))
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, own...)
			})
			m.report()
			slices.Sort(took)
			if len(took) > 0 {
				b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "sign-ins/s")
				b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
				b.ReportMetric(float64(s.server.dialled.Load()-dialled)/float64(len(took)), "dials/op")
			}
		})
	}
}

// listen puts a site on a listener.
func listen(s *site) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle(loginPath, s.login)
	mux.Handle(callbackPath, s.finish)
	return httptest.NewServer(mux)
}

// warm signs in as often at once as the benchmark will.
func warm(client *http.Client, site string) {
	var wg sync.WaitGroup
	for range browsers {
		wg.Go(func() { warmUp(func() { visit(client, site) }) })
	}
	wg.Wait()
}

// visit signs a browser in.
func visit(client *http.Client, site string) error {
	login, err := fetch(client, site+loginPath, nil)
	if err != nil {
		return err
	}
	done, err := fetch(client, site+callbackPath+callbackQuery(login.Header.Get("Location")), pairs(login.Header))
	if err != nil {
		return err
	}
	if done.StatusCode >= 400 {
		return fmt.Errorf("callback: status %d", done.StatusCode)
	}
	return nil
}

func fetch(client *http.Client, address string, cookies []string) (*http.Response, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if len(cookies) > 0 {
		r.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	resp, err := client.Do(r)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			return nil, op
		}
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// TestCallbackAllocations: a callback at a provider that signs its id_tokens allocates no more than 85 times beside the bare
// round trips. The verification of the signature is among the 85.
func TestCallbackAllocations(t *testing.T) {
	es256 := signers()[0] // which allocates the most
	own := allocations(t, authagentDefault(newSigningProvider(es256)))
	bare := allocations(t, roundTrips(newSigningProvider(es256), func([]byte) {}))
	t.Logf("%v times, the bare round trips %v", own, bare)
	if own > bare+85 {
		t.Errorf("a callback allocates %v times, the bare round trips %v", own, bare)
	}
}

// allocations returns how often the callback of a site allocates, and the provider's part of it.
func allocations(t *testing.T, s *site) float64 {
	t.Helper()
	defer s.server.Close()
	const runs = 200
	begun, w := make([]*http.Request, 0, 2*runs), newDiscard()
	for range cap(begun) {
		begun = append(begun, s.begin())
	}
	finish := func() {
		w.reset()
		s.finish.ServeHTTP(w, begun[0])
		if begun = begun[1:]; w.status >= 400 {
			t.Fatal("status", w.status)
		}
	}
	for range runs - 1 { // keys are fetched, connections warm; AllocsPerRun warms up once itself
		finish()
	}
	return testing.AllocsPerRun(runs, finish)
}
