package authagenttest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A Request is one that the server got, as it got it.
type Request struct {
	Method string
	Path   string
	URL    *url.URL
	Host   string
	Header http.Header
	Body   []byte
	Time   time.Time
}

// maxRequests bounds the log, so that a development server whose waiting page
// is left open in a browser does not grow without end.
const maxRequests = 1 << 16

// requestLog is every request in order, the oldest dropped beyond maxRequests,
// and how many there were of each path, which stays exact.
type requestLog struct {
	requests []Request
	counts   map[string]int
	total    int
}

func (l *requestLog) add(r Request) {
	if l.counts == nil {
		l.counts = make(map[string]int)
	}
	l.counts[r.Path]++
	l.total++
	if len(l.requests) == maxRequests {
		l.requests = append([]Request(nil), l.requests[maxRequests/2:]...)
	}
	l.requests = append(l.requests, r)
}

// Requests returns the requests that came for a path, or all of them if path is
// empty, in the order in which they came. Requests for paths that do not exist
// are among them, and so are those that a wrapper answered. Of very many
// requests, only the latest tens of thousands are kept.
func (s *Server) Requests(path string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "" {
		return slices.Clone(s.log.requests)
	}
	var found []Request
	for _, r := range s.log.requests {
		if r.Path == path {
			found = append(found, r)
		}
	}
	return found
}

// Count returns how many requests came for a path, or in all if path is empty.
func (s *Server) Count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path == "" {
		return s.log.total
	}
	return s.log.counts[path]
}

// Reset forgets the recorded requests. Clients, agents, tokens and wrappers stay.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = requestLog{}
}

// Wrap puts mw around the endpoint at path, in place of an earlier wrapper
// there; the empty path stands for all paths. The wrapper gets the endpoint's
// own handler and can answer instead of it, change the request or the answer,
// wait, or cut the connection with panic([http.ErrAbortHandler]). A request's
// body can be read in full by both. Wrap(path, nil) restores the endpoint.
func (s *Server) Wrap(path string, mw func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mw == nil {
		delete(s.wraps, path)
		return
	}
	s.wraps[path] = mw
}

// record notes a request and leaves it readable for those who come after.
func (s *Server) record(r *http.Request) {
	body := readBody(r)
	u := *r.URL
	entry := Request{
		Method: r.Method,
		Path:   r.URL.Path,
		URL:    &u,
		Host:   r.Host,
		Header: r.Header.Clone(),
		Body:   body,
		Time:   time.Now(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.add(entry)
}

// readBody returns the body and puts a fresh reader of it in its place. A body
// that breaks off is taken as far as it came.
func readBody(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}
