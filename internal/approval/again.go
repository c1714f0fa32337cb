package approval

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/returnpath"
)

// A Sender is how a page without script has a browser send a request.
type Sender struct {
	Enctype string  // of the form; empty for a link
	Fields  []Field // of the form, to be hidden inputs in this order
}

// SenderOf returns what sends a request with these parts from a page of the same host.
// It returns false if nothing does: the browser's request would have another Digest, or
// lead elsewhere.
func SenderOf(method, target, contentType string, body []byte) (Sender, bool) {
	switch {
	case !keepsTarget(target):
		return Sender{}, false
	case method == http.MethodGet:
		return Sender{}, contentType == "" && len(body) == 0
	case method != http.MethodPost:
		return Sender{}, false
	case len(body) == 0: // of a form without fields, parse makes nothing
		return Sender{Enctype: urlencoded}, contentType == urlencoded
	}
	f, ok := parse(contentType, body)
	if !ok {
		return Sender{}, false
	}
	sent := f.throughPage()
	same := slices.Equal(meaning(sent.contentType(), sent.body()), meaning(contentType, body)) && len(sent.body()) <= MaxBody
	return Sender{f.media, f.fields}, same
}

// throughPage returns the form as a browser sends it whose page has the fields as
// hidden inputs (HTML, "constructing the entry list" and "form submission"). Lines end
// in CRLF then, and what is no text becomes U+FFFD. It leaves out what no hidden input
// sends: a field without a name, and all that a part says beside its name.
func (f form) throughPage() form {
	sent := form{media: f.media, boundary: rand.Text() + rand.Text()} // longer than browsers make it
	for _, field := range f.fields {
		if field.Name == "" || strings.EqualFold(field.Name, "_charset_") { // the browser writes a value of its own
			continue
		}
		sent.fields = append(sent.fields, newField(throughText(field.Name), throughText(field.Value)))
	}
	return sent
}

func throughText(s string) string {
	s = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n", "\x00", "\uFFFD").Replace(s)
	return strings.ToValidUTF8(s, "\uFFFD")
}

// keepsTarget reports whether a link or form of html/template leads to this path and
// query of the page's own site exactly: neither the template nor the browser escapes
// any of the characters or resolves any segment.
func keepsTarget(target string) bool {
	return returnpath.Check(target) == nil && !strings.ContainsFunc(target, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("-._~/?%:@!$&*+,;=[]", c)
	})
}
