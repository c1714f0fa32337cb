package strictjson

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxDepth is how many objects and arrays may stand inside each other.
	// Replies need three; the parser is recursive, and so is many another that
	// a raw claim is handed to.
	maxDepth = 32

	// fewMembers is up to how many members an object is searched for a
	// duplicate name one by one. Beyond it a map keeps the work linear.
	fewMembers = 32
)

var (
	errUTF8      = errors.New("strictjson: not valid UTF-8")
	errObject    = errors.New("strictjson: not a JSON object")
	errSyntax    = errors.New("strictjson: not valid JSON")
	errTrailing  = errors.New("strictjson: text after the object")
	errDepth     = errors.New("strictjson: nested too deeply")
	errDuplicate = errors.New("strictjson: two members of one name")
	errSurrogate = errors.New("strictjson: unpaired surrogate in a string")
)

// scanner reads JSON text once, from left to right. Each method reads what it is
// named after at pos and leaves pos behind it.
type scanner struct {
	text  string
	pos   int
	depth int
}

// document reads text that is one object and nothing else.
func (s *scanner) document() ([]member, error) {
	if !utf8.ValidString(s.text) {
		return nil, errUTF8
	}
	if s.peek() != '{' {
		return nil, errObject
	}
	members, err := s.object()
	if err != nil {
		return nil, err
	}
	if s.peek(); s.pos != len(s.text) {
		return nil, errTrailing
	}
	return members, nil
}

// peek skips white space and returns the byte after it, 0 at the end. A NUL byte
// begins nothing in JSON, so the two need not be told apart.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take skips white space and reads c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c { // 0 is never looked for
		return false
	}
	s.pos++
	return true
}

func (s *scanner) value() error {
	var err error
	switch s.peek() {
	case '{':
		_, err = s.object()
	case '[':
		err = s.array(s.value)
	case '"':
		_, err = s.string()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	return err
}

func (s *scanner) object() ([]member, error) {
	members := make([]member, 0, 8)
	var seen map[string]bool
	err := s.list('{', '}', func() error {
		s.peek()
		name, err := s.string()
		if err != nil {
			return err
		}
		if len(members) == fewMembers {
			seen = make(map[string]bool, 4*fewMembers)
			for _, m := range members {
				seen[m.name] = true
			}
		}
		if seen != nil {
			if seen[name] {
				return errDuplicate
			}
			seen[name] = true
		} else if _, ok := (Object{members}).find(name); ok {
			return errDuplicate
		}
		if !s.take(':') {
			return errSyntax
		}
		s.peek()
		start := s.pos
		err = s.value()
		members = append(members, member{name, s.text[start:s.pos]})
		return err
	})
	return members, err
}

func (s *scanner) array(element func() error) error {
	return s.list('[', ']', element)
}

// list reads items with commas between them.
func (s *scanner) list(opening, closing byte, item func() error) error {
	if !s.take(opening) {
		return errSyntax
	}
	if s.depth++; s.depth > maxDepth {
		return errDepth
	}
	if !s.take(closing) {
		for {
			if err := item(); err != nil {
				return err
			}
			if s.take(closing) {
				break
			}
			if !s.take(',') {
				return errSyntax
			}
		}
	}
	s.depth--
	return nil
}

func (s *scanner) strings() ([]string, error) {
	values := []string{}
	err := s.array(func() error {
		s.peek()
		value, err := s.string()
		values = append(values, value)
		return err
	})
	return values, err
}

func (s *scanner) bool() (bool, error) {
	if s.text == "true" {
		return true, s.literal("true")
	}
	return false, s.literal("false")
}

func (s *scanner) literal(word string) error {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return errSyntax
	}
	s.pos += len(word)
	return nil
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? of RFC 8259
// section 6.
func (s *scanner) number() error {
	s.byte('-')
	zero := strings.HasPrefix(s.text[s.pos:], "0")
	if n := s.digits(); n == 0 || zero && n > 1 {
		return errSyntax
	}
	if s.byte('.') && s.digits() == 0 {
		return errSyntax
	}
	if s.byte('e') || s.byte('E') {
		if !s.byte('+') {
			s.byte('-')
		}
		if s.digits() == 0 {
			return errSyntax
		}
	}
	return nil
}

// byte reads c if it comes next.
func (s *scanner) byte(c byte) bool {
	if s.pos == len(s.text) || s.text[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) digits() (n int) {
	start := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// string reads a string and returns what it stands for: a part of text if there
// are no escapes in it.
func (s *scanner) string() (string, error) {
	if !s.byte('"') {
		return "", errSyntax
	}
	var unescaped []byte
	for start := s.pos; s.pos < len(s.text); {
		switch c := s.text[s.pos]; {
		case c == '"':
			run := s.text[start:s.pos]
			s.pos++
			if unescaped == nil {
				return run, nil
			}
			return string(append(unescaped, run...)), nil
		case c < 0x20:
			return "", errSyntax
		case c == '\\':
			unescaped = append(unescaped, s.text[start:s.pos]...)
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			unescaped = utf8.AppendRune(unescaped, r)
			start = s.pos
		default:
			s.pos += plain(s.text[s.pos:])
		}
	}
	return "", errSyntax
}

// plain returns how many bytes of s a string may have as they are.
func plain(s string) (n int) {
	for n < len(s) && s[n] >= 0x20 && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

// escape reads one escape, or the two of a surrogate pair.
func (s *scanner) escape() (rune, error) {
	if s.pos+1 >= len(s.text) {
		return 0, errSyntax
	}
	if c := s.text[s.pos+1]; c != 'u' {
		i := strings.IndexByte(`"\/bfnrt`, c)
		if i < 0 {
			return 0, errSyntax
		}
		s.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, err := s.unit()
	if !utf16.IsSurrogate(r) { // as what is no unit
		return r, err
	}
	low, _ := s.unit() // what is no unit is no low surrogate either
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errSurrogate
	}
	return r, nil
}

// unit reads \uXXXX, one UTF-16 code unit.
func (s *scanner) unit() (rune, error) {
	if !strings.HasPrefix(s.text[s.pos:], `\u`) || len(s.text) < s.pos+6 {
		return 0, errSyntax
	}
	n, err := strconv.ParseUint(s.text[s.pos+2:s.pos+6], 16, 16)
	if err != nil {
		return 0, errSyntax // not err, which quotes the digits
	}
	s.pos += 6
	return rune(n), nil
}
