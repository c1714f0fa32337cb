// Package answer writes the answers to requests that are refused: a page for a
// browser, application/problem+json (RFC 9457) for a program. It also has what the
// handlers of several packages answer alike.
package answer

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// A Problem is what there is to say. Title and Detail are constant texts.
type Problem struct {
	Type         string   `json:"type,omitempty"` // where the problem is explained
	Status       int      `json:"status"`
	Title        string   `json:"title"`
	Detail       string   `json:"detail"`
	Code         string   `json:"error"`                    // the reason
	RequestID    string   `json:"request_id"`               // finds the request in the site's log
	Retry        bool     `json:"retry"`                    // whether asking anew, later, may succeed
	Allowed      []string `json:"allowed,omitempty"`        // the methods that would have passed
	Action       string   `json:"action,omitempty"`         // what was to be done, as the site names it
	Approval     string   `json:"approval,omitempty"`       // where to look at how its approval stands
	SignIn       string   `json:"sign_in,omitempty"`        // where to sign in, if that is what to do next
	SignInMethod string   `json:"sign_in_method,omitempty"` // if not GET
	Issuer       string   `json:"issuer,omitempty"`         // by which authorization server
	Scopes       []string `json:"scopes,omitempty"`         // all that are needed
	Field        string   `json:"field,omitempty"`          // the form field that it is about
	Compare      string   `json:"compare,omitempty"`        // by what the agent's owner knows its request
	OwnerPage    string   `json:"owner_page,omitempty"`     // where the owner decides
}

// WriteProblem answers with p as application/problem+json.
func WriteProblem(w http.ResponseWriter, p Problem) { write(w, p.Status, p.text()) }

// text is p as it is written.
func (p Problem) text() []byte {
	text, _ := json.Marshal(p) // strings and numbers cannot fail
	return append(text, '\n')
}

// write leaves Content-Length to net/http, which knows what becomes of the body.
func write(w http.ResponseWriter, status int, body ...[]byte) {
	h := w.Header()
	Protect(h)
	h["Content-Type"] = []string{"application/problem+json"}
	w.WriteHeader(status)
	for _, part := range body {
		_, _ = w.Write(part) // an error means that the client has gone
	}
}

// Prepared is a Problem as WriteProblem writes it, but for its RequestID.
type Prepared struct {
	status        int
	before, after []byte // what is written around the RequestID
}

// Prepare returns p to be written with another RequestID each time.
func Prepare(p Problem) Prepared {
	p.RequestID = ""
	text, member := p.text(), []byte(`"request_id":"`) // which can be nowhere else: in a string its quotes are escaped
	at := bytes.Index(text, member) + len(member)
	return Prepared{p.Status, text[:at:at], text[at:]}
}

// Write answers with the problem. It takes the requestID as it is, which has to
// be a word of letters and digits.
func (p Prepared) Write(w http.ResponseWriter, requestID string) {
	write(w, p.status, p.before, []byte(requestID), p.after)
}
