package deed

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The writers that there are: of HTTP/1.1, of HTTP/2, of tests, and of middlewares that hide all else.
type (
	plain    struct{ http.ResponseWriter }
	hijacks  struct{ plain }
	flushes  struct{ plain }
	both     struct{ flushes }
	pushes   struct{ flushes }
	wrapping struct{ plain }
)

func (hijacks) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }
func (both) Hijack() (net.Conn, *bufio.ReadWriter, error)    { return nil, nil, nil }
func (flushes) Flush()                                       {}
func (pushes) Push(string, *http.PushOptions) error          { return nil }
func (w wrapping) Unwrap() http.ResponseWriter               { return w.ResponseWriter }

// TestAsBefore_JRN_9: a handler finds what the writer could do before, and nothing that it could not.
func TestAsBefore_JRN_9(t *testing.T) {
	w := plain{httptest.NewRecorder()}
	for name, under := range map[string]http.ResponseWriter{
		"plain": w, "hijacks": hijacks{w}, "flushes": flushes{w}, "both": both{flushes{w}}, "pushes": pushes{flushes{w}}, "wrapping": wrapping{plain{both{flushes{w}}}},
	} {
		watched, _ := watch(under)
		_, flushed := under.(http.Flusher)
		_, hijacked := under.(http.Hijacker)
		_, pushed := under.(http.Pusher)
		_, flush := watched.(http.Flusher)
		_, hijack := watched.(http.Hijacker)
		_, push := watched.(http.Pusher)
		if flush != flushed || hijack != hijacked || push != pushed {
			t.Errorf("JRN-9 %s: flush %v, hijack %v, push %v", name, flush, hijack, push)
		}
		again, _ := watch(watched) // of an inner guard
		_, flush = again.(http.Flusher)
		if _, hijack = again.(http.Hijacker); flush != flushed || hijack != hijacked {
			t.Errorf("JRN-9 %s twice: flush %v, hijack %v", name, flush, hijack)
		}
		controller := http.NewResponseController(watched)
		canFlush, canHijack := http.NewResponseController(under).Flush() == nil, false
		if _, _, err := http.NewResponseController(under).Hijack(); err == nil {
			canHijack = true
		}
		if _, _, err := controller.Hijack(); (err == nil) != canHijack || (controller.Flush() == nil) != canFlush {
			t.Errorf("JRN-9 %s: the controller cannot do what it could", name)
		}
	}
}

// TestServer_JRN_9: what net/http's own writers can do works behind a watched one.
func TestServer_JRN_9(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan *response, 1)
	serve := func(handle http.HandlerFunc) *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, seen := watch(w)
			handle(w, r)
			seen.returned()
			ended <- seen
		}))
		server.EnableHTTP2 = true
		t.Cleanup(server.Close)
		return server
	}
	get := func(server *httptest.Server) (string, int) {
		t.Helper()
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), resp.StatusCode
	}
	for name, start := range map[string]func(*httptest.Server){"HTTP/1.1": (*httptest.Server).Start, "HTTP/2": (*httptest.Server).StartTLS} {
		for what, test := range map[string]struct {
			handle http.HandlerFunc
			status int32
			length int
		}{
			"file":   {func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }, 200, 100_000},
			"copy":   {func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, strings.NewReader("abc")) }, 200, 3},
			"reads":  {func(w http.ResponseWriter, _ *http.Request) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("abc")) }, 200, 3},
			"string": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "abc") }, 200, 3},
			"twice":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.Write([]byte("abc")) }, 404, 3},
			"flush": {func(w http.ResponseWriter, _ *http.Request) {
				http.NewResponseController(w).Flush()
				io.WriteString(w, "a")
			}, 200, 1},
			"deadlines": {func(w http.ResponseWriter, _ *http.Request) { sets(t, w) }, 200, 0},
			"hints":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, 201, 0},
		} {
			server := serve(test.handle)
			start(server)
			text, status := get(server)
			if seen := (<-ended).status.Load(); len(text) != test.length || status != int(test.status) || seen != test.status {
				t.Errorf("JRN-9 %s %s: %d bytes, status %d, seen %d", name, what, len(text), status, seen)
			}
		}
	}
}

func sets(t *testing.T, w http.ResponseWriter) {
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Errorf("JRN-9: %v", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Errorf("JRN-9: %v", err)
	}
}

// broken is a source of which nothing can be read.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestNothingCopied_JRN_4: a handler that could copy nothing answers with an error, and that is on record.
func TestNothingCopied_JRN_4(t *testing.T) {
	for name, from := range map[string]io.Reader{"fails": broken{}, "is empty": strings.NewReader("")} {
		ended := make(chan *response, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w, seen := watch(w)
			io.Copy(w, from)
			http.Error(w, "bad gateway", http.StatusBadGateway)
			seen.returned()
			ended <- seen
		}))
		resp, err := http.Get(server.URL)
		server.Close()
		seen := <-ended
		if err != nil || resp.StatusCode != http.StatusBadGateway || seen.text() != "status 502" {
			t.Errorf("JRN-4: the source %s: %v, answered %d, on record %q", name, err, resp.StatusCode, seen.text())
		}
		resp.Body.Close()
	}
}
