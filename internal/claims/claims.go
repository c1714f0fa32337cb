// Package claims decides what in a claim may be believed to be well formed.
//
// An authorization server passes on text that whoever registered an agent has
// typed in. Each function here takes one kind of it: the subject, which
// identifies (OpenID Connect Core 1.0 sections 2 and 5.3.2), the e-mail address,
// which is looked up, and free text, which is shown. None of them says that a
// claim is true.
package claims

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSubject = 255 // bytes; OpenID Connect Core 1.0 section 2
	maxText    = 256 // runes
	maxEmail   = 254 // bytes; RFC 5321 section 4.5.3.1.3 without the angle brackets
	maxLocal   = 64  // bytes; RFC 5321 section 4.5.3.1.1
	maxLabel   = 63  // bytes; RFC 1035 section 2.3.4
)

// Email returns s in the form in which addresses are compared, or false if s is
// not an address to compare at all: the caller must then treat the claim as
// absent and look nothing up.
//
// The rule is that of <input type="email"> in the HTML standard with a domain of
// two labels or more: one "@", an unquoted ASCII local part, no comment, display
// name, white space or trailing dot. It is stricter than RFC 5322, as a parser
// that is generous on one side only lets one mailbox pass for another:
// net/mail.ParseAddress un-quotes "alice@example.com"@evil.example, and
// oauth2-proxy (CVE-2026-40574) and Auth.js (GHSA-7rqj-j65f-68wh) were entered
// by way of several "@" and of Unicode normalisation.
//
// Only the bytes A-Z are lower-cased. strings.ToLower would make the Kelvin sign
// a "k"; providers' own rules (dots, "+tag") are not applied, as they make two
// people one.
func Email(s string) (normalized string, ok bool) {
	if len(s) > maxEmail {
		return "", false
	}
	local, domain, _ := strings.Cut(s, "@")
	if !isLocal(local) || !isDomain(domain) {
		return "", false
	}
	return LowerASCII(s), true
}

func isLocal(s string) bool {
	if s == "" || len(s) > maxLocal {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte(".!#$%&'*+/=?^_`{|}~-", s[i]) < 0 {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	for labels := 1; ; labels++ {
		label, rest, more := strings.Cut(s, ".")
		if !isLabel(label) {
			return false
		}
		if !more {
			return labels >= 2
		}
		s = rest
	}
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// LowerASCII lowers ASCII letters and leaves all others alone: some fold into ASCII ones.
func LowerASCII(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) { // as most: nothing is allocated
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// Subject returns nil if s can serve as a subject identifier. Subjects are
// compared byte by byte, so Subject changes nothing; it refuses those that some
// store, log or page on the way would change, as two of them could become one:
// over-long ones that a column cuts off, invalid UTF-8 and U+FFFD, which
// decoders put in its place, control characters, and white space at either end.
//
// The error never contains s.
func Subject(s string) error {
	switch {
	case s == "":
		return errors.New("subject: empty")
	case len(s) > maxSubject:
		return errors.New("subject: longer than 255 bytes")
	case strings.ContainsRune(s, utf8.RuneError): // which finds bytes that are no UTF-8 as well
		return errors.New("subject: not valid UTF-8, or contains U+FFFD")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("subject: contains a control character")
	case strings.TrimSpace(s) != s:
		return errors.New("subject: white space at the beginning or end")
	}
	return nil
}

// Text returns a free-text claim, such as name or model, fit to be stored,
// logged in one line and shown: at most 256 runes of valid UTF-8 that can be
// seen, with single spaces between words.
//
// White space of any kind, line and paragraph separators too, becomes a space.
// All else without a shape of its own is dropped: invalid UTF-8, control
// characters, format characters (which reverse text, "\u202Egnp.exe", or hide in
// it), Unicode tags, variation selectors and blank fillers (which carry
// instructions to a language model that no human sees), private-use and
// unassigned characters. What has nothing left to be seen is "".
//
// The result is still the claimant's word, and has to be escaped like any other
// text where it is put into a page.
func Text(s string) string {
	var b strings.Builder
	runes, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = runes > 0
			continue
		case !isVisible(r):
			continue
		}
		if space {
			if runes+2 > maxText {
				break
			}
			b.WriteByte(' ')
			runes++
			space = false
		}
		b.WriteRune(r)
		if runes++; runes == maxText {
			break
		}
	}
	if text := b.String(); strings.ContainsFunc(text, func(r rune) bool { return r != ' ' && !unicode.IsMark(r) }) {
		return text
	}
	return "" // marks with nothing to stand on
}

// Show returns s with all that Text would drop written out, as in "‹U+202E›",
// so that nothing in it is hidden from a person who has to judge it, or changes
// how the rest is shown. Line feeds and tabs stay as they are, and so do line
// feeds that follow a carriage return, without it.
func Show(s string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(s, "\r\n", "\n") {
		if isHidden(r) {
			fmt.Fprintf(&b, "‹%U›", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isHidden(r rune) bool { return r != '\n' && r != '\t' && !isVisible(r) }

func isVisible(r rune) bool {
	if r <= unicode.MaxLatin1 { // none of which the tables below have
		return unicode.IsGraphic(r)
	}
	return r != utf8.RuneError && unicode.IsGraphic(r) && !isBlank(r) &&
		!unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// isBlank reports whether r is called a symbol or a mark, and is drawn as nothing.
func isBlank(r rune) bool {
	switch r {
	case '\u2800', '\U00016fe4', '\U0001d159': // Braille pattern blank, Khitan filler, musical null notehead
		return true
	}
	return false
}

// Escape returns s in one line, with all that Text would drop, line breaks and tabs
// written out as in a Go string, "\u202e". A backslash is doubled where it could be
// taken for the beginning of one, so that no two texts become the same.
func Escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || !isVisible(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"): // a byte that is no UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\' && beginsEscape(s[i+1:]):
			b.WriteString(`\\`)
		case isVisible(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Spell returns an identifier for a person to compare. All that is not ASCII or cannot be
// seen is written out as in a Go string, and so are backslashes and each space that
// follows another, which pages show as one: a letter that only looks like another one is
// seen.
func Spell(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"): // a byte that is no UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case r > unicode.MaxASCII, !isVisible(r), r == ' ' && i > 0 && s[i-1] == ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// beginsEscape reports whether a backslash before s would read as an escape.
func beginsEscape(s string) bool {
	next, n := utf8.DecodeRuneInString(s)
	return n > 0 && (strings.ContainsRune(`\xuU`, next) || !isVisible(next))
}
