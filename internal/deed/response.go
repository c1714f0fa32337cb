package deed

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/authagent-go/authagent/audit"
)

// A response passes on what a handler answers, and notes the status. A handler may write from several goroutines one
// after the other, and one in an http.TimeoutHandler after it has returned.
type response struct {
	http.ResponseWriter
	status   atomic.Int32 // 0 until there is one
	hijacked atomic.Bool
}

// watch returns a writer that can do what w can of what handlers ask a writer for. What else w can do, they find by
// [http.ResponseController].
func watch(w http.ResponseWriter) (http.ResponseWriter, *response) {
	s := &response{ResponseWriter: w}
	_, flushes := w.(http.Flusher)
	_, hijacks := w.(http.Hijacker)
	pusher, pushes := w.(http.Pusher)
	switch {
	case flushes && hijacks: // HTTP/1.1
		return struct {
			*response
			flusher
			hijacker
		}{s, flusher{s}, hijacker{s}}, s
	case flushes && pushes: // HTTP/2
		return struct {
			*response
			flusher
			http.Pusher
		}{s, flusher{s}, pusher}, s
	case flushes:
		return struct {
			*response
			flusher
		}{s, flusher{s}}, s
	case hijacks:
		return struct {
			*response
			hijacker
		}{s, hijacker{s}}, s
	}
	return s, s
}

// returned notes that the handler has returned: without a status, net/http answers 200.
func (s *response) returned() { s.status.CompareAndSwap(0, http.StatusOK) }

// outcome is what the status says of how a handler has ended that has returned.
func (s *response) outcome() string {
	switch status := s.status.Load(); {
	case s.hijacked.Load(), status < 400:
		return audit.OK
	case status < 500:
		return audit.Refused
	}
	return audit.Failed
}

// WriteHeader implements [http.ResponseWriter]. What comes before the answer, such as 103, is no status of it; 101 is.
func (s *response) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		s.status.CompareAndSwap(0, int32(status))
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (s *response) Write(p []byte) (int, error) {
	s.status.CompareAndSwap(0, http.StatusOK)
	return s.ResponseWriter.Write(p)
}

// WriteString implements [io.StringWriter].
func (s *response) WriteString(text string) (int, error) {
	s.status.CompareAndSwap(0, http.StatusOK)
	return io.WriteString(s.ResponseWriter, text)
}

// ReadFrom implements [io.ReaderFrom], with which net/http lets the kernel send files.
func (s *response) ReadFrom(from io.Reader) (int64, error) {
	n, err := io.Copy(s.ResponseWriter, from)
	if n > 0 { // otherwise nothing is sent yet, and the handler may answer with an error
		s.status.CompareAndSwap(0, http.StatusOK)
	}
	return n, err
}

// Unwrap is for [http.ResponseController].
func (s *response) Unwrap() http.ResponseWriter { return s.ResponseWriter }

type flusher struct{ of *response }

// Flush implements [http.Flusher].
func (f flusher) Flush() { f.FlushError() }

// FlushError is for [http.ResponseController].
func (f flusher) FlushError() error {
	f.of.status.CompareAndSwap(0, http.StatusOK)
	return http.NewResponseController(f.of.ResponseWriter).Flush()
}

type hijacker struct{ of *response }

// Hijack implements [http.Hijacker].
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.of.ResponseWriter.(http.Hijacker).Hijack()
	h.of.hijacked.Store(h.of.hijacked.Load() || err == nil)
	return conn, rw, err
}
