package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	errNoJSON    = errors.New("the body is not JSON from its beginning to its end")
	errUTF8      = errors.New("the body has text that is not UTF-8")
	errDuplicate = errors.New("the body has two members of one name, or of names that differ in case alone: programs differ about which counts")
)

// JSON returns a body with the characters in place of their escapes, as far as they
// can be seen, so that an owner reads what a program reads. It returns false for a
// body that is not one JSON value after another, and for one that programs would
// read in different ways.
func JSON(body []byte) (shown []byte, ok bool) {
	if !beginsJSON(body) && !json.Valid(body) {
		return nil, false
	}
	shown, err := decoded(body)
	return shown, err == nil
}

// beginsJSON reports whether a program that takes a body for JSON finds an object or
// an array at its beginning, whatever follows.
func beginsJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n")
	if len(body) == 0 || body[0] != '{' && body[0] != '[' {
		return false
	}
	var value json.RawMessage
	return json.NewDecoder(bytes.NewReader(body)).Decode(&value) == nil
}

// decoded writes out the strings of a body, and finds what is no JSON in it.
func decoded(body []byte) ([]byte, error) {
	for values := json.NewDecoder(bytes.NewReader(body)); ; {
		var value json.RawMessage
		switch err := values.Decode(&value); err {
		case nil:
			continue
		case io.EOF:
			return decodeStrings(body)
		default:
			return nil, errNoJSON
		}
	}
}

// decodeStrings replaces the strings of a body that is valid JSON.
func decodeStrings(body []byte) ([]byte, error) {
	var shown bytes.Buffer
	var open []map[string]bool // the names so far, of each object or array around
	for len(body) > 0 {
		if body[0] == '"' {
			end := stringEnd(body)
			var s string
			if json.Unmarshal(body[:end], &s) != nil || strings.ContainsRune(s, utf8.RuneError) { // half of a surrogate pair
				return nil, errUTF8
			}
			rest := body[end:]
			if bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":")) {
				names, name := open[len(open)-1], folded(s)
				if names[name] {
					return nil, errDuplicate
				}
				names[name] = true
			}
			writeString(&shown, s)
			body = rest
			continue
		}
		switch body[0] {
		case '{', '[':
			open = append(open, make(map[string]bool))
		case '}', ']':
			open = open[:len(open)-1]
		}
		shown.WriteByte(body[0])
		body = body[1:]
	}
	return shown.Bytes(), nil
}

// stringEnd returns where the string ends that a text begins with.
func stringEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// writeString escapes only what would end the string or cannot be seen in it.
func writeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a string is always encoded
	b.Truncate(b.Len() - 1) // the line break
}

// folded is the same for names that differ in case alone, which encoding/json takes
// for one.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
