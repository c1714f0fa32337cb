package testsite

import (
	"bytes"
	"net/http"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// MustRefuse requests a callback, which must be refused for this reason, with one
// event, no request to the server and no cookie. It returns the answer.
func (s *Site) MustRefuse(c *http.Client, callback string, want problem.Reason, header ...string) *Response {
	s.T.Helper()
	before, events := s.BackChannel(), len(s.Logged(audit.LoginFailed))
	resp := s.Get(c, callback, header...)
	if got := s.Refused(resp, before); got != want {
		s.T.Errorf("reason %q, want %q", got, want)
	}
	failed := s.Logged(audit.LoginFailed)[events:]
	if len(failed) != 1 || failed[0].Reason != want {
		s.T.Errorf("events %+v, want one with reason %q", failed, want)
	}
	return resp
}

// Refused checks everything that the answer to a refused callback has to be, and
// returns the reason. before is what BackChannel returned beforehand.
func (s *Site) Refused(resp *Response, before int) problem.Reason {
	s.T.Helper()
	s.refused(resp)
	if got := s.BackChannel() - before; got != 0 {
		s.T.Errorf("%d requests to the server, want none", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		s.T.Errorf("Cache-Control %q, want no-store", got)
	}
	for _, cookie := range resp.Cookies() {
		if cookie.MaxAge >= 0 {
			s.T.Errorf("a refusal sets cookie %s", cookie.Name)
		}
	}
	return resp.Reason()
}

func (s *Site) refused(resp *Response) {
	s.T.Helper()
	if resp.StatusCode < 400 {
		s.T.Errorf("status %d with Location %q, want a refusal", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// RefusedSignIn signs an agent in, which must not succeed, whatever the reason. It
// returns the callback's answer.
func (s *Site) RefusedSignIn(c *http.Client, agent *authagenttest.Agent) *Response {
	s.T.Helper()
	resp := s.SignIn(c, agent)
	s.refused(resp)
	if session := s.Me(c); session != nil {
		s.T.Errorf("signed in after a refusal: %+v", session)
	}
	return resp
}

// MustRefuseSignIn is RefusedSignIn in a new browser, with a status and a reason.
func (s *Site) MustRefuseSignIn(agent *authagenttest.Agent, status int, reason problem.Reason) {
	s.T.Helper()
	if resp := s.RefusedSignIn(s.Browser(), agent); resp.StatusCode != status || resp.Reason() != reason {
		s.T.Errorf("refused with %d %q, want %d %q\nlog: %s", resp.StatusCode, resp.Reason(), status, reason, s.Log)
	}
}

// BackChannel returns how many requests the server has had that only a relying party
// sends, probes left out.
func (s *Site) BackChannel() int {
	n := 0
	for _, path := range []string{
		authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathRevoke,
	} {
		for _, r := range s.AS.Requests(path) {
			if !IsProbe(r) {
				n++
			}
		}
	}
	return n
}

// IsProbe reports whether a request to the server only asks how requests are to be made.
func IsProbe(r authagenttest.Request) bool { return AsksForEncoding(r.Body) || AsksForAuth(r.Body) }

// AsksForEncoding: with a grant type that nobody has, or with one and nothing else.
func AsksForEncoding(body []byte) bool {
	return bytes.Contains(body, []byte("encoding-probe")) || string(body) == `{"grant_type":"authorization_code"}`
}

// AsksForAuth: with a code or a token that was made up.
func AsksForAuth(body []byte) bool { return bytes.Contains(body, []byte("authagent-probe-")) }
