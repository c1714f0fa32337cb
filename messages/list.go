package messages

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// List joins texts into one: "see your account, place orders and cancel orders".
func (l *Language) List(texts []string) string {
	switch n := len(texts); n {
	case 0:
		return ""
	case 1:
		return texts[0]
	default:
		return l.Text("list.and", "first", strings.Join(texts[:n-1], ", "), "last", texts[n-1])
	}
}

// Inside returns a text that begins a sentence, as it is written inside of one: English
// does not have "Place orders" there, but "place orders". German keeps the first letter.
func (l *Language) Inside(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	second, _ := utf8.DecodeRuneInString(text[size:])
	if l.Text("list.lower") != "yes" || unicode.IsUpper(second) { // an abbreviation stays
		return text
	}
	return string(unicode.ToLower(first)) + text[size:]
}

// Beginning returns a text as it is written at the beginning of a sentence.
func (l *Language) Beginning(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return text
	}
	return string(unicode.ToUpper(first)) + text[size:]
}
