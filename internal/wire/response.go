package wire

import (
	"errors"
	"fmt"
	"net/url"
)

// maxQuery is the longest query that is read.
const maxQuery = 8 << 10

// A Response is an authorization response (RFC 6749 section 4.1.2): what the
// server has the browser bring back.
type Response struct {
	Code, State string
	Error       string  // the error code, if the server reports one instead of a code
	Issuer      *string // iss (RFC 9207); nil when absent
}

// ParseResponse reads a query, and nothing else of a request. A parameter that
// the protocol knows may occur once; others are ignored (RFC 6749 section 3.1).
func ParseResponse(query string) (*Response, error) {
	if len(query) > maxQuery {
		return nil, errors.New("the query is too long")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	for _, name := range [...]string{"code", "state", "error", "error_description", "error_uri", "iss"} {
		if len(values[name]) > 1 {
			return nil, fmt.Errorf("%s is repeated", name)
		}
	}
	r := &Response{Code: values.Get("code"), State: values.Get("state"), Error: values.Get("error")}
	if iss, ok := values["iss"]; ok {
		r.Issuer = &iss[0]
	}
	switch {
	case values.Has("error") && values.Has("code"):
		return nil, errors.New("there are both code and error")
	case values.Has("error") && r.Error == "", !values.Has("error") && !validCode(r.Code):
		return nil, errors.New("there is no code that could be one")
	}
	return r, nil
}

// validCode holds a code to the characters of RFC 6749 appendix A.11.
func validCode(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= 2048
}
