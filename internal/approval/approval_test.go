package approval_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/problem"
)

const urlencoded = "application/x-www-form-urlencoded"

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest("POST", "/pay", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// multi is a form with a part of each of these headers, and a last line.
func multi(last string, headers ...string) string {
	var b strings.Builder
	for _, header := range headers {
		b.WriteString("--b\r\n" + header + "\r\n\r\n1\r\n")
	}
	return b.String() + last
}

// TestClear: a body that programs could read in two ways is refused, and one that only
// looks unusual is not.
func TestClear(t *testing.T) {
	const form, part = "multipart/form-data; boundary=b", `Content-Disposition: form-data; name="n"`
	for _, test := range []struct {
		contentType, body string
		clear             bool
	}{
		{"text/plain; charset=us-ascii", "x", true},
		{"text/plain; charset=latin1", "x", false},
		{"application/json", "", true},
		{"text/json", "1 x", false},
		{"application/merge-patch+json", "1 x", false},
		{"text/plain", "1 x", true},
		{"text/xml", "<a>&#65;</a>", false},
		{"text/plain", "<a>&#65;</a>", true},
		{"text/xml", `<?xml version="1.0"?><a/>`, true},
		{"text/xml", `<?xml version="1.0" encoding="UTF-8"?><a/>`, true},
		{"text/xml", `<?xml version="1.0" encoding='utf-8'?><a/>`, true},
		{"text/xml", `<?xml version="1.0" encoding="utf-7"?><a/>`, false},
		{"application/json", "{\"a\":\"\xff\"}", false},
		{"application/json", "{\"a\":\xff}", false},
		{urlencoded, `{"a":1}`, false},
		{form, `{"a":1}`, false},
		{urlencoded, "a=1&csrf=2", true},
		{urlencoded, "%zz=1", false},
		{urlencoded, "a=%zz", false},
		{urlencoded, "<?xml=1&csrf=2", true},
		{urlencoded, "<?xml=1&csrf=<!", false}, // which the handler gets as well
		{form, multi("--b--\r\n", part), true},
		{form, multi("--b--", part), true},
		{"multipart/form-data; boundary*=utf-8''b", multi("--b--\r\n", part), false},
		{"multipart/form-data", multi("--b--\r\n", part), false},
		{"multipart/mixed; boundary=b", multi("--b--\r\n", part), false},
	} {
		_, err := approval.Read(post(test.contentType, test.body), []string{"csrf"})
		var refusal *approval.Refusal
		if (err == nil) != test.clear || err != nil && (!errors.As(err, &refusal) || refusal.Code != problem.InvalidRequest) {
			t.Errorf("%s %q: %v", test.contentType, test.body, err)
		}
	}
}

// TestFields: what is no form, or no form of browsers, has no fields to show.
func TestFields(t *testing.T) {
	const form = "multipart/form-data; boundary=b"
	const part, typed = `Content-Disposition: form-data; name="n"`, "Content-Type: text/plain"
	one := []string{"n=1"}
	for _, test := range []struct {
		contentType, body string
		want              []string
	}{
		{urlencoded, "n=1", one},
		{urlencoded, "n=1&", one},
		{urlencoded, "", nil},
		{urlencoded, "&", nil},
		{urlencoded, "n=1;m=2", nil},
		{urlencoded, "n%3=1", nil},
		{urlencoded, "n=%3", nil},
		{urlencoded + "; charset", "n=1", nil},
		{"text/plain", "n=1", nil},
		{form, multi("--b--\r\n", part), one},
		{form, multi("--b--\r\n", part+"\r\n"+typed), one},
		{form, multi("--b--\r\n", typed+"\r\n"+part), one},
		{form, "--b--\r\n", nil},
		{form, "n=1", nil},
		{form, multi("", part), nil},
		{form, strings.TrimSuffix(multi("", part), "\r\n"), nil},
		{form, multi("--b--\r\nmore", part), nil},
		{form, multi("--b--\r\n", typed), nil},
		{form, multi("--b--\r\n", part+"\r\n"+part), nil},
		{form, multi("--b--\r\n", part+"\r\nX-More: 1"), nil},
		{form, multi("--b--\r\n", part+"; filename*=utf-8''x"), nil},
	} {
		fields, ok := approval.Fields(test.contentType, []byte(test.body))
		var got []string
		for _, f := range fields {
			got = append(got, f.Name+"="+f.Value)
		}
		if ok != (test.want != nil) || ok && !cmp.Equal(got, test.want) {
			t.Errorf("%s %q: %q, %v", test.contentType, test.body, got, ok)
		}
	}
}

// TestReadRefuses: what the owner could not be shown in full is refused.
func TestReadRefuses(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"an address without a path": func(r *http.Request) { r.URL.Opaque = "pay" },
		"a body that breaks off":    func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(r.Body, broken{})) },
		"a path that is not UTF-8":  func(r *http.Request) { r.RequestURI = "/%ff" },
		"half an escape in a path":  func(r *http.Request) { r.RequestURI = "/%f" },
	} {
		r := post("text/plain", "x")
		if _, err := approval.Read(r, nil); err != nil {
			t.Fatal(err)
		}
		r = post("text/plain", "x")
		change(r)
		var refusal *approval.Refusal
		if _, err := approval.Read(r, nil); !errors.As(err, &refusal) || refusal.Code != problem.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestNothingIgnored: a form without fields that say nothing is shown and kept as it was sent.
func TestNothingIgnored(t *testing.T) {
	const body = "n=1&&m=%31"
	q, err := approval.Read(post(urlencoded, body), []string{"csrf"})
	if err != nil || string(q.Body) != body {
		t.Errorf("%q, %v", q.Body, err)
	}
}

// TestGivenHeader: the handler gets the length of what was approved, and no header that
// CGI or a framework could take for another.
func TestGivenHeader(t *testing.T) {
	for _, test := range []struct{ body, said, want string }{{"x", "", "1"}, {"x", "9", "1"}, {"", "0", "0"}, {"", "", ""}} {
		r := post("text/plain", test.body)
		if test.said != "" {
			r.Header.Set("Content-Length", test.said)
		}
		kept := []string{"X-Az09", "Content-Type"}
		r.Header["X-Az09"] = []string{"1"}
		for c := byte('!'); c <= '~'; c++ {
			if !strings.ContainsRune("-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", rune(c)) {
				r.Header["X"+string(c)+"y"] = []string{"1"}
			}
		}
		q, err := approval.Read(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Give(r)
		if got := r.Header.Get("Content-Length"); got != test.want {
			t.Errorf("body %q, said %q: length %q, want %q", test.body, test.said, got, test.want)
		}
		r.Header.Del("Content-Length")
		if len(r.Header) != len(kept) || r.Header["X-Az09"] == nil {
			t.Errorf("headers %v", r.Header)
		}
	}
}

// TestSender: a link or a form is offered for what a browser sends from it unchanged,
// and for nothing else.
func TestSender(t *testing.T) {
	for _, test := range []struct {
		method, contentType, body string
		ok                        bool
	}{
		{"GET", "", "", true},
		{"GET", "", "x", false},
		{"GET", urlencoded, "", false},
		{"PUT", urlencoded, "n=1", false},
		{"POST", urlencoded, "n=1", true},
		{"POST", urlencoded, "", true},
		{"POST", "", "", false},
		{"POST", "text/plain", "n=1", false},
		{"POST", urlencoded, "=1", false},
	} {
		if _, ok := approval.SenderOf(test.method, "/pay", test.contentType, []byte(test.body)); ok != test.ok {
			t.Errorf("%s %s %q: %v", test.method, test.contentType, test.body, ok)
		}
	}
	// Of all characters, these are left as they are by template and browser.
	const kept = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~/?%:@!$&*+,;=[]"
	for c := rune(' '); c <= 0x7f; c++ {
		if _, ok := approval.SenderOf("GET", "/pay?q=a"+string(c)+"a", "", nil); ok != strings.ContainsRune(kept, c) {
			t.Errorf("%q: %v", c, ok)
		}
	}
}
