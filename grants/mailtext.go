package grants

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/limit"
)

// oneLine returns s as what can be the header of a mail.
func oneLine(s string) string { return strings.Join(strings.Fields(claims.Show(s)), " ") }

// address returns an IP address without its port, or a network, and nothing else that a
// client may have sent.
func address(s string) string {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.String()
	}
	return limit.Address(s)
}

// maxQuote is how many characters of a description are in a mail. The page has all.
const maxQuote = 300

// quotable returns the description of an action as a mail can quote it: in one line, so
// that nothing in it looks like another part of the mail. It returns "" for one in which
// a mail program could find a link: an agent may have written that, and the mail is the
// site's.
func quotable(description string) string {
	s := oneLine(description)
	if hasLink(s) {
		return ""
	}
	if utf8.RuneCountInString(s) > maxQuote {
		s = string([]rune(s)[:maxQuote]) + " …"
	}
	return s
}

// hasLink reports whether a mail program could find an address in s, of a page or of
// somebody.
func hasLink(s string) bool {
	runes := []rune(s)
	for i, r := range runes {
		switch r {
		case '@':
			return true
		case '.', '。', '．', '｡':
			if i > 0 && isWord(runes[i-1]) && i+2 < len(runes) && unicode.IsLetter(runes[i+1]) && isWord(runes[i+2]) {
				return true
			}
		}
	}
	return strings.Contains(s, "://") || strings.Contains(s, `\\`) // the name of a server in Windows
}

// isWord reports whether r can be in a part of a host's name. Many scripts write vowels as marks.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '-'
}

// text returns the mail as plain text.
func (m mail) text() string {
	var b strings.Builder
	paragraph := func(prefix, s string) {
		if s != "" {
			wrap(&b, prefix, s)
			b.WriteString("\n")
		}
	}
	paragraph("", m.What)
	for _, item := range m.Items {
		paragraph("- ", item)
	}
	paragraph("", m.More)
	if m.Quote != "" {
		paragraph("", m.QuoteHead)
		paragraph("> ", m.Quote)
	}
	paragraph("", m.PlainCode)
	for _, f := range m.Facts {
		wrap(&b, "", f.Name+": "+f.Value)
	}
	if len(m.Facts) > 0 {
		b.WriteString("\n")
	}
	for _, s := range m.Words {
		paragraph("", s)
	}
	fmt.Fprintf(&b, "%s:\n%s\n\n", m.Button, m.Address)
	wrap(&b, "", m.Foot)
	return b.String()
}

// lineLength is how many characters a line of a plain mail has (RFC 5322 section 2.1.1).
const lineLength = 78

// wrap writes s in lines that begin with prefix. The lines after the first of a list's
// item are indented.
func wrap(b *strings.Builder, prefix, s string) {
	line, rest := prefix, prefix
	if prefix == "- " {
		rest = "  "
	}
	begun := false
	put := func(word string) {
		if begun && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineLength {
			b.WriteString(line + "\n")
			line, begun = rest, false
		}
		if begun {
			line += " "
		}
		line, begun = line+word, true
	}
	for _, word := range strings.Fields(s) {
		for utf8.RuneCountInString(word) > lineLength-len(rest) {
			runes := []rune(word)
			put(string(runes[:lineLength-len(rest)]))
			word = string(runes[lineLength-len(rest):])
		}
		put(word)
	}
	b.WriteString(line + "\n")
}
