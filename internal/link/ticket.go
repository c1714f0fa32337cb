package link

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/strictjson"
	"github.com/authagent-go/authagent/problem"
)

const (
	// maxTicket and maxBody bound what is read. The largest ticket has the longest path, description and session.
	maxTicket = 16 << 10
	maxBody   = maxTicket + 1<<10

	// maxDescription is how many characters an agent may say of an address.
	maxDescription = 200
)

// A ticket is what an address stands for. Nothing of it is kept at the site.
type ticket struct {
	until       time.Time
	id          string // random
	path        string
	description string // the agent's words
	remoteAddr  string // of the agent that has asked for the address
	session     string // encoded
}

// fields are what is sealed. A new one goes to the end, which older instances do not read.
func (t *ticket) fields(f *seal.Fields) {
	f.Times(&t.until)
	f.Texts(&t.id, &t.path, &t.description, &t.remoteAddr, &t.session)
}

func (t *ticket) seal(box *seal.Box) string {
	f := seal.WriteTo(nil)
	t.fields(f)
	return box.Seal(f.Written(), ticketField)
}

// openTicket opens the one sealed value of a request, if it is ours.
func openTicket(box *seal.Box, sealed []string) (*ticket, error) {
	if len(sealed) != 1 || len(sealed[0]) > maxTicket {
		return nil, failure.New(reasons.AddressUnknown, step, "the address has no ticket, or several")
	}
	value, err := box.Open(sealed[0], ticketField)
	if err != nil {
		return nil, failure.New(reasons.AddressUnknown, step, "the ticket does not open")
	}
	f, t := seal.ReadFrom(value), &ticket{}
	t.fields(f)
	if f.Err() != nil {
		return nil, failure.New(reasons.AddressUnknown, step, "the ticket is of another version")
	}
	return t, nil
}

// A wish is what an agent says of the address that it asks for.
type wish struct{ path, description string }

// readWish reads a wish, in JSON or a form.
func readWish(w http.ResponseWriter, r *http.Request) (asked wish, err error) {
	field, err := readFields(w, r)
	if err != nil {
		return wish{}, err
	}
	for name, to := range map[string]*string{"path": &asked.path, "description": &asked.description} {
		if *to, err = field(name); err != nil {
			return wish{}, wrong(name, name+" is repeated or no text")
		}
	}
	if utf8.RuneCountInString(asked.description) > maxDescription {
		return wish{}, wrong("description", "the description is longer than 200 characters")
	}
	asked.description = claims.Text(asked.description)
	return asked, nil
}

// readFields returns what reads a field of the body; one that is not there is empty.
func readFields(w http.ResponseWriter, r *http.Request) (func(name string) (string, error), error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, malformed("the body is too long, or ends early")
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		object, err := strictjson.Parse(body)
		if err != nil {
			return nil, malformed("the body is no JSON object")
		}
		return func(name string) (string, error) {
			value, _, err := object.String(name)
			return value, err
		}, nil
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed("the body is no form")
		}
		return func(name string) (string, error) {
			if len(form[name]) > 1 {
				return "", errors.New("repeated")
			}
			return form.Get(name), nil
		}, nil
	}
	return nil, malformed("the body is neither JSON nor a form")
}

// readTicket returns what the page's form has sent: one sealed value, unless the request is another.
func readTicket(w http.ResponseWriter, r *http.Request) ([]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return nil, malformed("the body is no form")
	}
	return r.PostForm[ticketField], nil
}

func malformed(why string) *problem.Error {
	return failure.New(problem.InvalidRequest, step, "%s", why)
}

func wrong(field, why string) *problem.Error {
	e := malformed(why)
	e.Field = field
	return e
}
