package wire

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/authagent-go/authagent/internal/strictjson"
)

// Encoding is how the body of a request is written.
type Encoding int32

const (
	Unknown Encoding = iota // to be learned
	JSON                    // application/json, which the published Auth Agent server reads, and nothing else
	Form                    // application/x-www-form-urlencoded, which RFC 6749 demands
)

// probeGrant is a grant type that no server has, so that the request can
// succeed nowhere and each server that understands it says so.
const probeGrant = "urn:authagent:encoding-probe"

type probed struct {
	status int
	code   string
}

func (s *Server) probe(ctx context.Context, m *Metadata, e Encoding, grant string) (probed, error) {
	a, err := s.client.post(ctx, "encoding probe", m.Token, e, fields{{"grant_type", grant}}, nil)
	if err != nil {
		return probed{}, err
	}
	return readProbe(a), nil
}

func readProbe(a answer) probed {
	p := probed{status: a.status}
	if o, err := strictjson.Parse(a.body); err == nil {
		p.code = code(o)
	}
	return p
}

// later reports whether the answer says no more than that the server is not well.
func (p probed) later() bool {
	return p.status >= 500 || p.status == http.StatusTooManyRequests || p.status == http.StatusRequestTimeout
}

// learn asks in JSON first, as that settles it at the published server. A server
// that names the unknown grant type, and has no such complaint of a known one, has
// read the body; some complain of any request in which they find no grant type. One
// that reads only forms complains of something else, and answers a form with an
// OAuth error; the published server answers every form with status 500.
func (s *Server) learn(ctx context.Context, m *Metadata) (Encoding, error) {
	asJSON, err := s.probe(ctx, m, JSON, probeGrant)
	if err != nil {
		return Unknown, err
	}
	blind := false // it may not have found the grant type
	if asJSON.code == "unsupported_grant_type" {
		known, err := s.probe(ctx, m, JSON, "authorization_code")
		switch {
		case err != nil:
			return Unknown, err
		case known.later():
			return Unknown, &Error{Kind: Unavailable, Step: "encoding probe", Status: known.status}
		case known.code != "" && known.code != "unsupported_grant_type":
			return JSON, nil
		}
		blind = true
	}
	asForm, err := s.probe(ctx, m, Form, probeGrant)
	if err != nil {
		return Unknown, err
	}
	switch {
	case asForm.code == "unsupported_grant_type":
		return Form, nil
	case asForm.status == http.StatusInternalServerError && asJSON.code != "" && !asJSON.later() && !blind:
		return JSON, nil
	case asForm.status == http.StatusInternalServerError && asJSON.code == "" && !asJSON.later():
		return Form, nil // it chokes on what nobody sends it, and knows no JSON
	case asForm.later():
		return Unknown, &Error{Kind: Unavailable, Step: "encoding probe", Status: asForm.status}
	}
	return Form, nil // nothing speaks for JSON, and the standard is a form
}

// fields are the members of a request's body, or the fields of its header with
// their names in canonical form, in order. Those of one name stand together.
type fields [][2]string

// with returns f and these values of one name.
func (f fields) with(name string, values []string) fields {
	for _, value := range values {
		f = append(f, [2]string{name, value})
	}
	return f
}

func (f fields) encode(e Encoding) (body []byte, contentType string) {
	body = make([]byte, 0, 512)
	if e == Form {
		for i, pair := range f {
			if i > 0 {
				body = append(body, '&')
			}
			body = append(append(append(body, url.QueryEscape(pair[0])...), '='), url.QueryEscape(pair[1])...)
		}
		return body, "application/x-www-form-urlencoded"
	}
	for i, pair := range f {
		again, more := i > 0 && f[i-1][0] == pair[0], i+1 < len(f) && f[i+1][0] == pair[0]
		body = append(body, ',')
		if !again {
			body = append(appendString(body, pair[0]), ':')
		}
		if more && !again { // a name with several values has an array
			body = append(body, '[')
		}
		body = appendString(body, pair[1])
		if again && !more {
			body = append(body, ']')
		}
	}
	body[0] = '{'
	return append(body, '}'), jsonType
}

// appendString appends s as a JSON string. What may need an escape is left to
// encoding/json.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func (c *Client) post(ctx context.Context, step, endpoint string, e Encoding, f fields, basic *credentials) (answer, error) {
	body, contentType := f.encode(e)
	header := fields{{"Content-Type", contentType}}
	if basic != nil {
		header = append(header, [2]string{"Authorization", basic.header()})
	}
	return c.send(ctx, step, http.MethodPost, endpoint, header, body)
}

// maxToken bounds a token, for the sake of headers and of stores that keep it. Access
// tokens with many roles or groups in them get that long.
const maxToken = 16 << 10

// IsToken holds access tokens to the characters of RFC 6750 section 2.1, so that
// one can never break out of a header.
func IsToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._~+/=-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// validRefresh holds refresh tokens to the visible characters of RFC 6749 appendix
// A.17. They travel in bodies alone.
func validRefresh(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= maxToken
}
