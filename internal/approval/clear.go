package approval

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxMethod      = 32
	maxContentType = 4096 // what sqlstore keeps
	maxFields      = 500  // of the query and the form: each is a row of the owner's page
)

// checkClear refuses a request that not every program reads in one way, or that
// means something else than its owner could be shown. The body is the one that was
// sent, with the fields that say nothing.
func (q Request) checkClear(body []byte) error {
	switch {
	case len(q.Method) > maxMethod:
		return tooLong("the method is longer than %d bytes", maxMethod)
	case len(q.ContentType) > maxContentType:
		return tooLong("the content type is longer than %d bytes", maxContentType)
	}
	path, query, _ := strings.Cut(q.Target, "?")
	if path, err := url.PathUnescape(path); err != nil || !utf8.ValidString(path) {
		return malformed("the path is not UTF-8, each byte escaped as %%XX or not at all")
	}
	fields, clear := pairs(query)
	if !clear {
		return malformed("programs differ about how to read the query: it has a semicolon, an incomplete %% escape, or is not UTF-8")
	}
	inBody, err := checkBody(q.ContentType, body)
	if err != nil {
		return err
	}
	if len(fields)+inBody > maxFields {
		return tooLong("the query and the form have more than %d fields", maxFields)
	}
	_, err = checkBody(q.ContentType, q.Body) // what is left could look like JSON
	return err
}

// checkBody returns how many fields a body has.
func checkBody(contentType string, body []byte) (fields int, err error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return 0, malformed("the content type is malformed")
	}
	charset := strings.ToLower(params["charset"])
	switch {
	case charset != "" && charset != "utf-8" && charset != "us-ascii":
		return 0, malformed("the body is in another charset than UTF-8, and the owner could not be shown what it means")
	case len(body) == 0:
		return 0, nil
	case isJSON(media) || beginsJSON(body):
		return 0, checkJSON(media, body)
	case isXML(media, body) && !isClearXML(body):
		return 0, malformed("the XML is not UTF-8, or has character references, comments, CDATA or declarations, which hide what it says: write the characters themselves")
	case media == urlencoded:
		all, clear := pairs(string(body))
		if !clear {
			return 0, malformed("programs differ about how to read the form: it has a semicolon, an incomplete %% escape, or is not UTF-8")
		}
		return len(all), nil
	case media == multipartForm:
		all, clear := parseMultipart(body, params["boundary"])
		if !clear || strings.Contains(contentType, "*") {
			return 0, malformed("programs differ about how to read the form: only its parts may be in it, " +
				"each with one Content-Disposition, and a Content-Type where it needs one")
		}
		return len(all), nil
	case strings.HasPrefix(media, "multipart/"):
		return 0, malformed("the parts of the body are not those of a form, and the owner could not be shown what they mean")
	}
	return 0, nil
}

// isJSON reports whether a content type says that a body is JSON.
func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// isXML reports whether a body is XML by its type or its beginning.
func isXML(media string, body []byte) bool {
	return media == "application/xml" || media == "text/xml" || strings.HasSuffix(media, "+xml") ||
		bytes.HasPrefix(bytes.TrimSpace(body), []byte("<?xml"))
}

// isClearXML reports whether XML has no means to write something in another way.
func isClearXML(body []byte) bool {
	head, _, _ := bytes.Cut(body, []byte("?>"))
	head = bytes.ToLower(head)
	return utf8.Valid(body) && !bytes.Contains(body, []byte("&#")) && !bytes.Contains(body, []byte("<!")) &&
		(!bytes.Contains(head, []byte("encoding")) || bytes.Contains(head, []byte(`"utf-8"`)) || bytes.Contains(head, []byte("'utf-8'")))
}

// checkJSON also looks at a body that only looks like JSON: a handler that takes it
// for that may not look at the type.
func checkJSON(media string, body []byte) error {
	if media == urlencoded || media == multipartForm {
		return malformed("the body is JSON, and its content type says that it is a form")
	}
	_, err := decoded(body)
	if isJSON(media) && !json.Valid(body) {
		err = errNoJSON
	}
	if err != nil {
		return malformed("%s", err.Error())
	}
	return nil
}
