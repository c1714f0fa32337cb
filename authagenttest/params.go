package authagenttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strings"
)

// params are a body's members or a query's parameters, by name. What is
// missing and what is empty is the same to the server.
type params map[string]string

var errBody = errors.New("body not understood")

// jsonParams reads a body as the published server does: any JSON value but
// null will do, and a value without the members asked for has none of them.
func jsonParams(body []byte) (params, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil || v == nil {
		return nil, errBody
	}
	p := make(params)
	object, _ := v.(map[string]any)
	for name, value := range object {
		switch value := value.(type) {
		case nil:
		case string:
			p[name] = value
		case bool:
			if value {
				p[name] = "true"
			}
		default:
			p[name] = fmt.Sprint(value)
		}
	}
	return p, nil
}

// formParams reads an application/x-www-form-urlencoded body. RFC 6749 section
// 3.2 forbids a parameter that comes twice; resource may (RFC 8707 section 2).
func formParams(contentType string, body []byte) (params, error) {
	if t, _, _ := mime.ParseMediaType(contentType); t != "application/x-www-form-urlencoded" {
		return nil, errBody
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errBody
	}
	p := make(params)
	for name, v := range values {
		if len(v) != 1 && name != "resource" {
			return nil, errBody
		}
		p[name] = strings.Join(v, " ")
	}
	return p, nil
}

// bodyParams reads the body of /token, /introspect and /revoke in whichever
// form this server understands.
func (c *call) bodyParams() (params, error) {
	contentType := c.r.Header.Get("Content-Type")
	if !c.Quirks.JSONBodies {
		return formParams(contentType, c.body)
	}
	if p, err := jsonParams(c.body); err == nil || !c.Features.FormBodies {
		return p, err
	}
	return formParams(contentType, c.body)
}

// notUnderstood is the answer to a body that bodyParams could not read.
func (c *call) notUnderstood() answer {
	if c.Quirks.JSONBodies {
		return serverError()
	}
	return errorAnswer(400, "invalid_request", "The body must be application/x-www-form-urlencoded, each parameter once")
}

// queryParams reads a query as JavaScript's routers do: the first of several
// wins, "+" is a space, and an invalid escape stands for itself. [url.ParseQuery]
// would drop what it cannot parse. Of resource all count (RFC 8707 section 2).
func queryParams(rawQuery string) params {
	p := make(params)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		switch _, ok := p[name]; {
		case !ok:
			p[name] = unescape(value)
		case name == "resource":
			p[name] += " " + unescape(value)
		}
	}
	return p
}

func unescape(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for len(s) > 0 {
		n := 1
		if s[0] == '%' && len(s) >= 3 {
			n = 3
		}
		if u, err := url.PathUnescape(s[:n]); err == nil {
			b.WriteString(u)
		} else {
			n = 1
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
