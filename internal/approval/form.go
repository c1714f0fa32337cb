package approval

import (
	"bytes"
	"crypto/rand"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	urlencoded    = "application/x-www-form-urlencoded"
	multipartForm = "multipart/form-data"
)

// A Field is a field of a form.
type Field struct {
	Name, Value string
	HasMore     bool // it says more than its name and value: the name of a file, a type
	header      textproto.MIMEHeader
	raw         string // as it was sent, in a form that is urlencoded
}

// A form is the fields of a body in their order. The zero value is no form.
type form struct {
	media    string
	boundary string
	fields   []Field
}

// Fields returns the fields of a form in their order. It returns false for a body
// that is no form, or none that every program reads in the same way.
func Fields(contentType string, body []byte) ([]Field, bool) {
	f, ok := parse(contentType, body)
	return f.fields, ok
}

func parse(contentType string, body []byte) (form, bool) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return form{}, false
	}
	switch media {
	case urlencoded:
		fields, ok := Query(string(body))
		return form{media, "", fields}, ok
	case multipartForm:
		fields, ok := parseMultipart(body, params["boundary"])
		return form{media, params["boundary"], fields}, ok
	}
	return form{}, false
}

// Query returns the fields of a query or of a form that is urlencoded, like Fields.
func Query(encoded string) (fields []Field, ok bool) {
	fields, _ = pairs(encoded)
	return fields, len(fields) > 0
}

// pairs is Query, with true for no fields.
func pairs(encoded string) (fields []Field, ok bool) {
	for pair := range strings.SplitSeq(encoded, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		if nameErr != nil || valueErr != nil || strings.Contains(pair, ";") || !utf8.ValidString(name+value) {
			return nil, false
		}
		if pair != "" {
			fields = append(fields, Field{Name: name, Value: value, raw: pair})
		}
	}
	return fields, true
}

// parseMultipart refuses a body that is not exactly what its parts make when they
// are put together again with the headers that browsers give them (RFC 7578 section
// 4.2 and 4.4): what another program might find beside or in between is not shown.
func parseMultipart(body []byte, boundary string) (fields []Field, ok bool) {
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false
		}
		value, readErr := io.ReadAll(part)
		if readErr != nil {
			return nil, false
		}
		disposition := part.Header.Get("Content-Disposition")
		kind, params, err := mime.ParseMediaType(disposition)
		if err != nil || strings.Contains(disposition, "*=") { // which RFC 7578 section 4.2 forbids, and programs differ about
			return nil, false
		}
		_, hasName := params["name"]
		more := len(part.Header) > 1 || kind != "form-data" || len(params) != 1 || !hasName
		fields = append(fields, Field{Name: part.FormName(), Value: string(value), HasMore: more, header: part.Header})
	}
	return fields, len(fields) > 0 && (isWhole(body, assemble(fields, boundary, "Content-Disposition", "Content-Type")) ||
		isWhole(body, assemble(fields, boundary, "Content-Type", "Content-Disposition"))) // as some programs write them
}

func isWhole(body, assembled []byte) bool {
	end := []byte("\r\n") // which not every program adds
	return bytes.EqualFold(bytes.TrimSuffix(assembled, end), bytes.TrimSuffix(body, end))
}

// assemble writes the parts as browsers do, with the headers in this order.
func assemble(fields []Field, boundary string, names ...string) []byte {
	var body bytes.Buffer
	for _, f := range fields {
		body.WriteString("--" + boundary + "\r\n")
		for _, name := range names {
			if value := f.header.Get(name); value != "" {
				body.WriteString(name + ": " + value + "\r\n")
			}
		}
		body.WriteString("\r\n" + f.Value + "\r\n")
	}
	body.WriteString("--" + boundary + "--\r\n")
	return body.Bytes()
}

// newField returns a field as browsers write it.
func newField(name, value string) Field {
	return Field{
		Name: name, Value: value, raw: url.QueryEscape(name) + "=" + url.QueryEscape(value),
		header: textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"`}},
	}
}

func (f form) contentType() string {
	if f.media == multipartForm {
		return mime.FormatMediaType(f.media, map[string]string{"boundary": f.boundary})
	}
	return f.media
}

func (f form) body() []byte {
	if f.media == multipartForm {
		return assemble(f.fields, f.boundary, "Content-Disposition", "Content-Type")
	}
	pairs := make([]string, len(f.fields))
	for i, field := range f.fields {
		pairs[i] = field.raw
	}
	return []byte(strings.Join(pairs, "&"))
}

// split takes the ignored fields out of a body. One that has none stays as it is.
func split(contentType string, body []byte, ignored []string) (rest []byte, fresh form) {
	all, ok := parse(contentType, body)
	says := func(f Field) bool { return f.HasMore || !slices.Contains(ignored, f.Name) }
	if !ok || !slices.ContainsFunc(all.fields, func(f Field) bool { return !says(f) }) {
		return body, form{}
	}
	kept := form{media: all.media, boundary: all.boundary}
	fresh = kept
	for _, f := range all.fields {
		if says(f) {
			kept.fields = append(kept.fields, f)
			continue
		}
		f.header = textproto.MIMEHeader{"Content-Disposition": {mime.FormatMediaType("form-data", map[string]string{"name": f.Name})}}
		fresh.fields = append(fresh.fields, f)
	}
	return kept.body(), fresh
}

// join puts the ignored fields of a new request into a body that was approved. The
// agent knows the boundary that was approved, and could write further parts into
// such a field. So it gets a new one.
func join(contentType string, body []byte, fresh form) (string, []byte) {
	if len(fresh.fields) == 0 {
		return contentType, body
	}
	approved, _ := parse(contentType, body)
	all := form{media: fresh.media, fields: append(slices.Clone(approved.fields), fresh.fields...)}
	if all.media == multipartForm {
		all.boundary = rand.Text()
		contentType = all.contentType()
	}
	return contentType, all.body()
}

// meaning is the same for bodies that mean the same: forms with the same fields in
// the same order, whatever the boundary between them and however they are escaped.
// Of any other body it is each byte.
func meaning(contentType string, body []byte) []string {
	f, ok := parse(contentType, body)
	if !ok {
		return []string{"body", contentType, string(body)}
	}
	_, params, _ := mime.ParseMediaType(contentType)
	delete(params, "boundary")
	parts := []string{"form", mime.FormatMediaType(f.media, params)}
	for _, field := range f.fields {
		parts = append(parts, field.Name, field.Value, field.header.Get("Content-Disposition"), field.header.Get("Content-Type"))
	}
	return parts
}
