package authagenttest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A call is one request on its way through an endpoint: the body is read, the
// server's lock is held, and the time does not move.
type call struct {
	*Server
	r      *http.Request
	body   []byte
	now    time.Time
	issuer string
}

// An answer is what an endpoint decides. It is written after the lock is
// released, so that a client that reads slowly holds up nobody.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// endpoint is the table of what exists. Everything else is 404, and so is every
// wrong method: the published server never answers 405.
func endpoint(method, path string) func(*call) answer {
	if method == http.MethodHead {
		method = http.MethodGet // with every side effect of GET
	}
	switch method + " " + path {
	case "GET " + PathAuthorize:
		return (*call).authorize
	case "POST " + PathToken:
		return (*call).token
	case "GET " + PathUserInfo:
		return (*call).userInfo
	case "POST " + PathIntrospect:
		return (*call).introspect
	case "POST " + PathPushed:
		return (*call).push
	case "POST " + PathRevoke:
		return (*call).revoke
	case "GET " + PathMetadata:
		return (*call).metadata
	case "GET " + PathDiscovery:
		return (*call).discovery
	case "GET " + PathJWKS:
		return (*call).jwks
	case "POST " + PathAuthenticate:
		return (*call).authenticate
	case "GET " + PathCheckStatus:
		return (*call).checkStatus
	case "GET " + PathHealth:
		return (*call).health
	case "GET " + PathError:
		return (*call).errorPage
	case "POST " + PathDevAnswer:
		return (*call).devAnswer
	case "GET " + PathAdminAgents:
		return (*call).listAgents
	case "POST " + PathAdminAgents:
		return (*call).createAgent
	case "GET " + PathAdminClients:
		return (*call).listClients
	case "POST " + PathAdminClients:
		return (*call).createClient
	case "POST " + PathAdminClientsUpdate:
		return (*call).updateClient
	}
	return (*call).notFound
}

// ServeHTTP records the request and answers it, through the wrappers set for its path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.record(r)
	h := http.Handler(http.HandlerFunc(s.serve))
	s.mu.Lock()
	wrap, wrapAll := s.wraps[r.URL.Path], s.wraps[""]
	s.mu.Unlock()
	if wrap != nil {
		h = wrap(h)
	}
	if wrapAll != nil {
		h = wrapAll(h)
	}
	h.ServeHTTP(w, r)
}

// serve is the server without its wrappers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	body := readBody(r)
	s.fetchKeys(r, body)
	a := s.decide(r, body)
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	h.Set("Access-Control-Allow-Origin", "*") // on every answer, errors included
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write(a.body)
	}
}

// decide runs the endpoint under the lock.
func (s *Server) decide(r *http.Request, body []byte) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{Server: s, r: r, body: body, now: time.Now(), issuer: s.issuerFor(r)}
	a := endpoint(r.Method, r.URL.Path)(c)
	if !s.Quirks.BareAnswers {
		c.dress(&a)
	}
	return a
}

// dress adds the headers that RFC 6749 section 5.1 and RFC 6750 section 3 ask
// for, and that the published server leaves out.
func (c *call) dress(a *answer) {
	a.header.Set("Cache-Control", "no-store")
	if a.status != http.StatusUnauthorized {
		return
	}
	if c.r.URL.Path != PathUserInfo {
		a.header.Set("WWW-Authenticate", `Basic realm="authagenttest"`)
		return
	}
	challenge := `Bearer realm="authagenttest"`
	if c.r.Header.Get("Authorization") != "" {
		challenge += `, error="invalid_token"`
	}
	a.header.Set("WWW-Authenticate", challenge)
}

// preflight answers OPTIONS on any path, also one that does not exist.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,POST,DELETE,PATCH")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		names := strings.Split(asked, ",")
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
		}
		h.Set("Access-Control-Allow-Headers", strings.Join(names, ","))
		h.Set("Vary", "Access-Control-Request-Headers")
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *call) notFound() answer { return textAnswer(http.StatusNotFound, "404 Not Found") }

func newAnswer(status int, contentType string, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

func textAnswer(status int, text string) answer {
	return newAnswer(status, "text/plain; charset=UTF-8", []byte(text))
}

func htmlAnswer(status int, page []byte) answer {
	return newAnswer(status, "text/html; charset=UTF-8", page)
}

func jsonAnswer(status int, v any) answer {
	return newAnswer(status, "application/json", marshal(v))
}

// redirectAnswer exists for servers without AuthorizeErrorPages: the published
// one answers nothing with a redirect.
func redirectAnswer(location string) answer {
	return answer{status: http.StatusFound, header: http.Header{"Location": {location}}}
}

// errorAnswer is an OAuth error, RFC 6749 section 5.2.
func errorAnswer(status int, code, description string) answer {
	return jsonAnswer(status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
}

func serverError() answer {
	return errorAnswer(http.StatusInternalServerError, "server_error", "Internal server error")
}

// marshal writes JSON as JavaScript does: nothing escaped for HTML, no newline at the end.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only this package's own types come here
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
