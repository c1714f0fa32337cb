package requirements_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A recordingApprover approves what it has filed when it is asked once more.
type recordingApprover struct {
	asked []action.Request
	then  func(action.Request) action.Request // what it says to have approved
}

func (a *recordingApprover) Approve(_ context.Context, r action.Request) (*action.Reservation, string, error) {
	a.asked = append(a.asked, r)
	for _, filed := range a.asked[:len(a.asked)-1] {
		if filed.Digest != r.Digest {
			continue
		}
		r.Method, r.Host, r.Target, r.ContentType, r.Body = filed.Method, filed.Host, filed.Target, filed.ContentType, filed.Body
		if a.then != nil {
			r = a.then(r)
		}
		return &action.Reservation{Request: r}, "", nil
	}
	return nil, "", problem.ApprovalPending
}

// withCookies gives a request that was made by hand the cookies of a browser.
func (b *bench) withCookies(c *http.Client, r *http.Request) *http.Request {
	for _, cookie := range c.Jar.Cookies(mustParse(b.T, b.URL)) {
		r.AddCookie(cookie)
	}
	return r
}

const formType = "application/x-www-form-urlencoded"

// twoFields is a multipart form as browsers send it.
func twoFields(boundary, amount, token string) string {
	field := func(name, value string) string {
		return fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", boundary, name, value)
	}
	return field("amount", amount) + field("csrf", token) + "--" + boundary + "--\r\n"
}

// TestReadOutside is APR-1: where something outside has read the request of an
// agent, the owner would be shown another request than the handler sees. It is the
// site's fault, and the log says what to do. People's requests stay as they are.
func TestReadOutside(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, body string
		outside           func(*http.Request)
	}{
		"ParseForm":            {formType, "amount=1", func(r *http.Request) { r.ParseForm() }},
		"ParseForm of nothing": {"", "", func(r *http.Request) { r.ParseForm() }},
		"FormValue of JSON":    {"application/json", "{}", func(r *http.Request) { r.FormValue("_method") }},
		"ParseMultipartForm":   {"multipart/form-data; boundary=b", twoFields("b", "1", ""), func(r *http.Request) { r.ParseMultipartForm(1 << 20) }},
		"MultipartReader":      {"multipart/form-data; boundary=b", twoFields("b", "1", ""), func(r *http.Request) { r.MultipartReader() }},
		"only MultipartForm":   {"text/plain", "x", func(r *http.Request) { r.MultipartForm = &multipart.Form{} }},
		"only Form":            {"text/plain", "x", func(r *http.Request) { r.Form = map[string][]string{} }},
		"only PostForm":        {"text/plain", "x", func(r *http.Request) { r.PostForm = map[string][]string{} }},
		"body read":            {"text/plain", "amount=1", func(r *http.Request) { io.Copy(io.Discard, r.Body) }},
		"a byte read":          {"text/plain", "amount=1", func(r *http.Request) { r.Body.Read(make([]byte, 1)) }},
	} {
		t.Run("APR-1 "+name, func(t *testing.T) {
			var log bytes.Buffer
			k := newCluster(t, func(_ *bench, c *authagent.Config) {
				c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
				c.Human = func(*http.Request) (string, error) { return "user_1", nil }
			})
			ran := 0
			guarded := k.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) {
				t.Error("the owner was asked")
				return "", nil
			}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
			k.Mux("").HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
				test.outside(r)
				form := r.PostForm
				guarded.ServeHTTP(w, r)
				if ran > 0 && fmt.Sprint(form) != fmt.Sprint(r.PostForm) {
					t.Error("a person's form is another")
				}
			})
			c := k.Browser()
			if resp := k.Send(c, "POST", "/pay", test.body, "Content-Type", test.contentType); resp.StatusCode != 200 || ran != 1 {
				t.Errorf("a person: %d %s", resp.StatusCode, resp.Text)
			}
			k.MustSignIn(c, k.Agent)
			resp := k.Send(c, "POST", "/pay", test.body, "Content-Type", test.contentType)
			if resp.StatusCode != 500 || ran != 1 || strings.Contains(resp.Text, "inside") {
				t.Errorf("an agent: %d %s; ran %d times", resp.StatusCode, resp.Text, ran)
			}
			if !strings.Contains(log.String(), "inside of RequireApproval") {
				t.Errorf("the log does not say what to do: %s", log.String())
			}
		})
	}
}

// TestUnmeasuredBody is APR-1: that nothing is left of a body of unknown length
// may be the agent's fault or the site's.
func TestUnmeasuredBody(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	guarded := b.RP.RequireApproval("a:do", approverFunc(approveAll))(http.NotFoundHandler())
	for body, want := range map[string]int{"": 400, "x": 404} {
		r := b.withCookies(c, httptest.NewRequest("POST", b.URL+"/pay", struct{ io.Reader }{strings.NewReader(body)}))
		w := httptest.NewRecorder()
		if guarded.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", body, w.Code, want)
		}
	}
}

// TestApprovedRequest is APR-1: the handler gets what the owner has approved and
// nothing else that could decide.
func TestApprovedRequest(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	approver := &recordingApprover{}
	var got *http.Request
	var body string
	guarded := b.RP.RequireApproval("a:do", approver)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		text, _ := io.ReadAll(r.Body)
		body = string(text)
	}))
	mux := http.NewServeMux()
	mux.Handle("POST /pay/{who}", guarded)
	send := func(form string) int {
		r := b.withCookies(c, httptest.NewRequest("POST", "http://user@shop.example/pay/a%2Fb?x=1", strings.NewReader(form)))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Trailer", "X")
		r.Header["Content_Type"] = []string{"application/json"}
		r.Trailer, r.TransferEncoding, r.ContentLength = http.Header{"X": nil}, []string{"chunked"}, -1
		r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("another body") }
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	if first, second := send("amount=1&to=b"), send("amount=%31&&to=%62"); first != 202 || second != 200 || got == nil {
		t.Fatalf("%d, then %d", first, second)
	}
	type seen struct {
		Method, Host, RequestURI, URL, RawPath, Who, Body, ContentType, Length string
		ContentLength                                                          int64
		Forms, Trailer, Encoding, GetBody, Underscore                          bool
	}
	want := seen{"POST", "shop.example", "/pay/a%2Fb?x=1", "/pay/a%2Fb?x=1", "/pay/a%2Fb", "a/b", "amount=1&to=b", formType, "13", 13, false, false, false, false, false}
	if diff := cmp.Diff(want, seen{
		got.Method, got.Host, got.RequestURI, got.URL.String(), got.URL.RawPath, got.PathValue("who"), body, got.Header.Get("Content-Type"),
		got.Header.Get("Content-Length"), got.ContentLength, got.Form != nil || got.PostForm != nil || got.MultipartForm != nil,
		got.Trailer != nil, got.TransferEncoding != nil, got.GetBody != nil, slices.Contains(slices.Collect(maps.Keys(got.Header)), "Content_Type"),
	}); diff != "" {
		t.Errorf("the handler sees (-want +got):\n%s", diff)
	}
	if a := approver.asked[0]; a.Host != "shop.example" || a.Target != "/pay/a%2Fb?x=1" || string(a.Body) != "amount=1&to=b" {
		t.Errorf("the owner is shown %+v", a)
	}
}

// TestApprovesAnother is APR-1: an Approver whose record is of another request lets
// nothing through.
func TestApprovesAnother(t *testing.T) {
	type request = action.Request
	for name, change := range map[string]func(request) request{
		"nothing":      func(request) request { return request{} },
		"method":       func(r request) request { r.Method = "PUT"; return r },
		"host":         func(r request) request { r.Host = "x"; return r },
		"target":       func(r request) request { r.Target += "?"; return r },
		"content type": func(r request) request { r.ContentType = "text/html"; return r },
		"body":         func(r request) request { r.Body = []byte("x"); return r },
		"the same":     func(r request) request { return r },
	} {
		t.Run("APR-1 "+name, func(t *testing.T) {
			k := newCluster(t)
			k.handle("/pay", k.RP.RequireApproval("a:do", &recordingApprover{then: change}))
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			k.Send(c, "POST", "/pay", "amount=1")
			before := k.Handled.Count()
			want := map[bool]int{true: 200, false: 500}[name == "the same"]
			if resp := k.Send(c, "POST", "/pay", "amount=1"); resp.StatusCode != want || (k.Handled.Count() > before) != (want == 200) {
				t.Errorf("%d %s", resp.StatusCode, resp.Text)
			}
		})
	}
}

// TestRewrittenOutside is APR-1: what the site makes of the address before the
// handler sees it is a part of what is approved.
func TestRewrittenOutside(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	approver := &recordingApprover{}
	guarded := b.RP.RequireApproval("a:do", approver)(http.NotFoundHandler())
	var digests []string
	for _, rewrite := range []func(*http.Request){
		func(*http.Request) {},
		func(r *http.Request) { r.URL.Path = "/y" },
		func(r *http.Request) { r.URL.RawQuery = "to=eve" },
		func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/p/x", "/p%2Fx" },
		func(r *http.Request) { r.URL.Path = "/p/x" },
		func(r *http.Request) { r.Pattern = "/{id}"; r.SetPathValue("id", "1") },
		func(r *http.Request) { r.Pattern = "/{id...}"; r.SetPathValue("id", "2") },
		func(r *http.Request) { r.RequestURI = "/z" },
		func(r *http.Request) { r.Header["Idempotency-Key"] = []string{"", "a"} },
		func(r *http.Request) { r.Header["Idempotency-Key"] = []string{"", "b"} },
	} {
		r := b.withCookies(c, httptest.NewRequest("POST", "/pay", strings.NewReader("x")))
		rewrite(r)
		guarded.ServeHTTP(httptest.NewRecorder(), r)
		digest := approver.asked[len(approver.asked)-1].Digest
		if i := slices.Index(digests, digest); i >= 0 {
			t.Errorf("APR-1: %d is the same as %d", len(digests), i)
		}
		digests = append(digests, digest)
	}
}

// TestUnshown_APR_2 is APR-2: what would make something else of the request than its
// owner is shown is refused, whatever the access.
func TestUnshown_APR_2(t *testing.T) {
	b := newBench(t) // full access
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	ran, asked := 0, 0
	guarded := b.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) { asked++; return "", nil }))(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	for name, test := range map[string]struct {
		method, header string
		lines          []string
		status         int
	}{
		"nothing":                      {"POST", "X", nil, 200},
		"two content types":            {"POST", "Content-Type", []string{"text/plain", "application/json"}, 400},
		"the first of two is empty":    {"POST", "Content-Type", []string{"", "application/json"}, 400},
		"encoded":                      {"POST", "Content-Encoding", []string{"gzip"}, 400},
		"two encodings, one empty":     {"POST", "Content-Encoding", []string{"", "gzip"}, 400},
		"an empty encoding":            {"POST", "Content-Encoding", []string{""}, 400},
		"a part":                       {"PUT", "Content-Range", []string{"bytes 0-1/2"}, 400},
		"upgrade":                      {"GET", "Upgrade", []string{"websocket"}, 400},
		"the first upgrade is empty":   {"GET", "Upgrade", []string{"", "h2c"}, 400},
		"a tunnel":                     {"CONNECT", "X", nil, 400},
		"a host longer than is stored": {"POST", "Host", []string{strings.Repeat("h", 256)}, 413},
		"a long key":                   {"POST", "Idempotency-Key", []string{strings.Repeat("h", 8<<10)}, 413},
	} {
		ran, asked = 0, 0
		r := b.withCookies(c, httptest.NewRequest(test.method, "http://shop.example/pay", strings.NewReader("x")))
		if r.Header[test.header] = test.lines; test.header == "Host" {
			r.Host = test.lines[0]
		}
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if want := map[bool]int{true: 1}[test.status == 200]; w.Code != test.status || ran != want || asked != want {
			t.Errorf("APR-2 %s: %d, want %d; asked %d times, ran %d times", name, w.Code, test.status, asked, ran)
		}
	}
}

// TestOneMeaning: a request that programs read in different ways, or that is larger
// than an owner's page or a store can take, is not put before an owner.
func TestOneMeaning(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	asked := 0
	guarded := b.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) { asked++; return "", nil }), "csrf")(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	const multi, json, xml = "multipart/form-data; boundary=b", "application/json", "application/xml"
	part := func(header string) string { return "--b\r\n" + header + "\r\n\r\nx\r\n--b--\r\n" }
	for _, test := range []struct {
		name, method, target, contentType, body string
		status                                  int
	}{
		{"APR-9 form", "", "", formType, "a=1+2&b=%20&&a", 200},
		{"APR-9 form, nothing", "", "", formType, "", 200},
		{"APR-9 form, semicolon", "", "", formType, "a=b;c=d", 400},
		{"APR-9 form, only a semicolon", "", "", formType, "a=b&;", 400},
		{"APR-9 form, escape", "", "", formType, "a=%zz", 400},
		{"APR-9 form, half an escape", "", "", formType, "a=%4", 400},
		{"APR-9 form, not UTF-8", "", "", formType, "a=\xff", 400},
		{"APR-9 form, escaped, not UTF-8", "", "", formType, "a=%ff", 400},
		{"APR-9 form, type has a tail", "", "", formType + "; x", "a=b", 400},
		{"APR-9 form, two types in one", "", "", formType + ", " + json, "a=b", 400},
		{"APR-9 form, ends with a semicolon", "", "", formType + ";", "a=b", 200},
		{"APR-9 form, charset", "", "", formType + "; charset=UTF-8", "a=b", 200},
		{"APR-9 form, another charset", "", "", formType + "; charset=ibm037", "a=b", 400},
		{"APR-9 form that is JSON", "", "", formType, `{"a":"b"}`, 400},
		{"APR-9 form that is JSON but for what is ignored", "", "", formType, `csrf=1&{"a":"b"}`, 400},
		{"APR-9 multipart", "", "", multi, part(`Content-Disposition: form-data; name="a"`), 200},
		{"APR-9 multipart, the type first", "", "", multi, part("Content-Type: text/plain\r\nContent-Disposition: form-data; name=a"), 200},
		{"APR-9 multipart, file", "", "", multi, part(`Content-Disposition: form-data; name="a"; filename="x"`), 200},
		{"APR-9 multipart, no boundary", "", "", "multipart/form-data", part(`Content-Disposition: form-data; name="a"`), 400},
		{"APR-9 multipart, something before", "", "", multi, "hidden\r\n" + part(`Content-Disposition: form-data; name="a"`), 400},
		{"APR-9 multipart, malformed disposition", "", "", multi, part(`Content-Disposition: form-data; name="a"; x`), 400},
		{"APR-9 multipart, name of the file in another way", "", "", multi, part(`Content-Disposition: form-data; name="a"; filename*=utf-8''%61`), 400},
		{"APR-9 multipart, encoded", "", "", multi, part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable"), 400},
		{"APR-9 parts of another kind", "", "", "multipart/mixed; boundary=b", part("Content-Disposition: form-data; name=a"), 400},
		{"APR-9 JSON", "", "", json, ` {"a":[{"a":"\u00e4"},{"a":null}],"b":1e3} `, 200},
		{"APR-9 JSON, cut off", "", "", json, `{"a":`, 400},
		{"APR-9 JSON, something after", "", "", json, `{"a":1} x`, 400},
		{"APR-9 JSON, another after", "", "", json, `{"a":1}{"a":2}`, 400},
		{"APR-9 JSON, another type", "", "", "text/plain", `{"a":1,"\u0061":2}`, 400},
		{"APR-9 JSON, no type, something after", "", "", "", `{"a":1} x`, 400},
		{"APR-9 JSON, a mark before", "", "", "text/plain", "\ufeff{\"a\":1}", 400},
		{"APR-9 JSON, by the line", "", "", "application/x-ndjson", "{\"a\":1}\n{\"a\":2}\n", 200},
		{"APR-9 JSON, a name twice", "", "", json, `{"a":1,"b":{"c":1},"\u0061":2}`, 400},
		{"APR-9 JSON, a name twice but for its case", "", "", "application/merge-patch+json", `{"id":1,"ID":2}`, 400},
		{"APR-9 JSON, a name twice to Unicode", "", "", json, `{"kind":1,"\u212aind":2}`, 400},
		{"APR-9 JSON, half a character", "", "", json, `{"a":"\ud800"}`, 400},
		{"APR-9 JSON, not UTF-8", "", "", json, "{\"a\":\"\xff\"}", 400},
		{"APR-9 text", "", "", "text/plain", "[1: a note", 200},
		{"APR-9 XML", "", "", xml, `<?xml version="1.0" encoding="UTF-8"?><a b="c">d &amp; e</a>`, 200},
		{"APR-9 XML, references", "", "", xml, "<a>&#109;</a>", 400},
		{"APR-9 XML, comment", "", "", "image/svg+xml", "<a>b<!-- --></a>", 400},
		{"APR-9 XML, another encoding", "", "", "text/plain", `<?xml version="1.0" encoding="utf-7"?><a/>`, 400},
		{"APR-9 XML, not UTF-8", "", "", xml, "\xfe\xff\x00<", 400},
		{"APR-9 query", "", "?a=b&a=%2B", "", "", 200},
		{"APR-9 query, semicolon", "", "?a=b&;", "", "", 400},
		{"APR-9 query, not UTF-8", "", "?a=%ff", "", "", 400},
		{"APR-9 path, not UTF-8", "", "/%ff", "", "", 400},
		{"APR-11 method", strings.Repeat("A", 32), "", "", "", 200},
		{"APR-11 long method", strings.Repeat("A", 33), "", "", "", 413},
		{"APR-11 long content type", "", "", "text/plain; a=" + strings.Repeat("x", 4096), "x", 413},
		{"APR-12 fields", "", "?" + strings.Repeat("a&", 250), formType, strings.Repeat("a&", 250), 200},
		{"APR-12 too many fields", "", "?" + strings.Repeat("a&", 250), formType, strings.Repeat("a&", 251), 413},
		{"APR-12 too many fields that are ignored", "", "", formType, strings.Repeat("csrf&", 501), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked = 0
			r := b.withCookies(c, httptest.NewRequest(or(test.method, "POST"), "/pay"+test.target, strings.NewReader(test.body)))
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			if want := map[bool]int{true: 1}[test.status == 200]; w.Code != test.status || asked != want {
				t.Errorf("%d, want %d; asked %d times: %s", w.Code, test.status, asked, w.Body)
			}
		})
	}
}

// TestOverrides_APR_3 is APR-3: headers that claim another method or address, and those
// that CGI takes for others, do not reach the handler in any spelling.
func TestOverrides_APR_3(t *testing.T) {
	b := newBench(t)
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	guarded := b.RP.RequireApproval("a:do", approverFunc(approveAll))
	for name, passes := range map[string]bool{
		"X-Http-Method-Override": false, "X-Http-Method": false, "X-Method-Override": false, "X-Method": false, "Http-Method-Override": false,
		"X_HTTP_Method_Override": false, "x_http_method_override": false, "X-Http_method-Override": false, "x-http-method-override": false,
		"X.Http.Method.Override": false, "X-Forwarded-Method": false, "X-Original-Method": false, "X-Original-Url": false, "X-Original-Uri": false,
		"X-Rewrite-Url": false, "Content_Type": false, "Content_Encoding": false, "Idempotency_Key": false, ":protocol": false,
		"Accept": true, "User-Agent": true, "X-Request-Id": true, "Cookie": true, "X2": true,
	} {
		var got http.Header
		r := b.withCookies(c, httptest.NewRequest("POST", "/pay", strings.NewReader("x")))
		if name != "Cookie" {
			r.Header[name] = []string{"DELETE"}
		}
		guarded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header })).ServeHTTP(httptest.NewRecorder(), r)
		if _, has := got[name]; got == nil || has != passes {
			t.Errorf("APR-3 %s reaches the handler: %v, want %v", name, has, passes)
		}
	}
}

// keptSession is a store of one session.
type keptSession struct{ *authagent.Session }

func (o *keptSession) Start(_ http.ResponseWriter, _ *http.Request, s *authagent.Session) error {
	o.Session = s
	return nil
}

func (o *keptSession) Load(http.ResponseWriter, *http.Request) (*authagent.Session, error) {
	if o.Session == nil {
		return nil, authagent.ErrNoSession
	}
	own := *o.Session
	return &own, nil
}

func (o *keptSession) End(http.ResponseWriter, *http.Request) error { o.Session = nil; return nil }

// TestAnotherSessionMeanwhile_APR_8 is APR-8: a request that was begun in one session is
// not put before an owner, or performed, in another one of the same client.
func TestAnotherSessionMeanwhile_APR_8(t *testing.T) {
	kept := &keptSession{}
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Session.Own = kept })
	b.SignIn(b.Browser(), b.Agent)
	ran, asked := 0, 0
	guarded := b.RP.RequireApproval("a:do", approverFunc(func(action.Request) (string, error) { asked++; return "", nil }))(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	for _, another := range []string{"", "another"} {
		r := httptest.NewRequest("POST", "/pay", tapped{strings.NewReader("amount=1"), func() {
			if another != "" {
				kept.ID = another
			}
		}})
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if want := map[bool]int{true: 200, false: 401}[another == ""]; w.Code != want || ran != 1 || asked != 1 {
			t.Errorf("APR-8 session %q: status %d, want %d; asked %d times, ran %d times", another, w.Code, want, asked, ran)
		}
	}
}

// TestForms is APR-7: a form that is sent again is the same, whatever its boundary
// and its CSRF token, which alone the handler gets from the new request.
func TestForms(t *testing.T) {
	multi := func(boundary string) string { return "multipart/form-data; boundary=" + boundary }
	for name, test := range map[string]struct {
		first, then [2]string // content type and body
		status      int
		shown       string
		amount      string
		token       string
	}{
		"multipart, another boundary": {[2]string{multi("one"), twoFields("one", "1", "t1")}, [2]string{multi("two"), twoFields("two", "1", "t2")}, 200,
			"--one\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1\r\n--one--\r\n", "[1]", "[t2]"},
		"multipart, another amount": {[2]string{multi("one"), twoFields("one", "1", "t1")}, [2]string{multi("one"), twoFields("one", "2", "t1")}, 202, "", "", ""},
		"multipart, a part inside the token": {[2]string{multi("one"), twoFields("one", "1", "t1")},
			[2]string{multi("two"), twoFields("two", "1", "x\r\n--one\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n9")}, 200, "",
			"[1]", "[x\r\n--one\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n9]"},
		"urlencoded":                {[2]string{formType, "csrf=t1&amount=1"}, [2]string{formType, "amount=1&csrf=t2"}, 200, "amount=1", "[1]", "[t2]"},
		"urlencoded, another order": {[2]string{formType, "amount=1&amount=2"}, [2]string{formType, "amount=2&amount=1"}, 202, "", "", ""},
		"urlencoded, escaped":       {[2]string{formType, "amount=1+2&csrf=x"}, [2]string{formType, "amount=%31%202"}, 200, "amount=1+2", "[1 2]", "[]"},
		"urlencoded, a name split":  {[2]string{formType, "amount=1&b=2"}, [2]string{formType, "amount=1%26b=2"}, 202, "", "", ""},
		"another kind of form":      {[2]string{multi("one"), twoFields("one", "1", "")}, [2]string{formType, "amount=1&csrf="}, 202, "", "", ""},
		"a file of that name": {
			[2]string{multi("b"), strings.Replace(twoFields("b", "1", "t1"), `name="csrf"`, `name="csrf"; filename="x"`, 1)},
			[2]string{multi("b"), strings.Replace(twoFields("b", "1", "t2"), `name="csrf"`, `name="csrf"; filename="x"`, 1)}, 202, "", "", ""},
		"JSON": {[2]string{"application/json", `{"csrf":1}`}, [2]string{"application/json", `{"csrf":2}`}, 202, "", "", ""},
	} {
		t.Run("APR-7 "+name, func(t *testing.T) {
			k := newCluster(t)
			approver := &recordingApprover{}
			var amount, token string
			k.Mux("").Handle("/pay", k.RP.RequireApproval("a:do", approver, "csrf")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				r.ParseMultipartForm(1 << 20)
				amount, token = fmt.Sprint(r.PostForm["amount"]), fmt.Sprint(r.PostForm["csrf"])
			})))
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			if resp := k.Send(c, "POST", "/pay", test.first[1], "Content-Type", test.first[0]); resp.StatusCode != 202 {
				t.Fatalf("first: %d", resp.StatusCode)
			}
			if shown := string(approver.asked[0].Body); test.shown != "" && shown != test.shown {
				t.Errorf("the owner is shown %q, want %q", shown, test.shown)
			}
			resp := k.Send(c, "POST", "/pay", test.then[1], "Content-Type", test.then[0])
			if resp.StatusCode != test.status || amount != test.amount || token != test.token {
				t.Errorf("then: %d, want %d; amount %q, want %q; token %q, want %q", resp.StatusCode, test.status, amount, test.amount, token, test.token)
			}
		})
	}
}

// TestLimitsOfApprovals_APR_6 is APR-6: to ask how a request stands uses up no budget, so
// that what was approved passes.
func TestLimitsOfApprovals_APR_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memstore.Grants{}
		owners := grants.OwnerApproval(store)
		owners.Logger = discardLog()
		k := newCluster(t, func(_ *bench, c *authagent.Config) {
			c.Limits = limits.Settings{Actions: map[string]limits.Rate{"a:do": {N: 2, Per: time.Hour}}}
			c.Session.Idle, c.Session.Lifetime = 99*time.Hour, 99*time.Hour
		})
		k.AS.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
		k.handle("/pay", k.RP.RequireApproval("a:do", owners))
		c := k.Browser()
		k.SignIn(c, k.Agent)
		pay := func(what, body string, times, want int) {
			t.Helper()
			for range times {
				if got := k.Send(c, "POST", "/pay", body).StatusCode; got != want {
					t.Fatalf("APR-6 %s: %d, want %d", what, got, want)
				}
			}
		}
		approveWaiting := func() {
			o, _ := owners.Overview(context.Background(), k.AliceID)
			for _, a := range o.Approvals {
				if a.State == grants.Pending {
					if _, err := owners.DecideAction(context.Background(), k.AliceID, a.ID, a.Version, true); err != nil {
						t.Error(err)
					}
				}
			}
		}
		pay("file and ask", "one", 20, 202)
		pay("file and ask", "two", 20, 202)
		pay("file a third", "three", 3, 429)
		approveWaiting()
		pay("the first that was approved", "one", 1, 200)
		pay("again", "one", 5, 409)
		pay("the second", "two", 1, 200)
		time.Sleep(30 * time.Minute)
		pay("file a third", "three", 5, 202)
		approveWaiting()
		pay("the third", "three", 1, 200)
		time.Sleep(2 * time.Hour)
		for i := range 2 { // two are filed and approved at once, and then two more
			pay("file", fmt.Sprint("more", i), 1, 202)
		}
		time.Sleep(time.Hour)
		for i := range 2 {
			pay("file", fmt.Sprint("most", i), 1, 202)
		}
		approveWaiting()
		pay("perform", "more0", 1, 200)
		pay("perform", "more1", 1, 200)
		pay("perform a third", "most0", 5, 429)
		time.Sleep(31 * time.Minute)
		pay("perform a third, which is still approved", "most0", 1, 200)
		owners.Wait()
	})
}

// TestUncountedActions_APR_6 is APR-6: an action that an Approver refuses after it was
// counted does not count.
func TestUncountedActions_APR_6(t *testing.T) {
	k := newCluster(t, func(_ *bench, c *authagent.Config) {
		c.Limits = limits.Settings{Actions: map[string]limits.Rate{"a:do": {N: 1, Per: time.Hour}}}
	})
	answer := problem.Reason("approval_used")
	k.handle("/pay", k.RP.RequireApproval("a:do", approverFunc(func(r action.Request) (string, error) {
		if err := errors.Join(r.CountPerforming(), r.CountPerforming()); err != nil || answer == "" {
			return "", err
		}
		return "", answer
	})))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for range 3 {
		if got := k.Send(c, "POST", "/pay", "x").StatusCode; got != 409 {
			t.Errorf("refused: %d", got)
		}
	}
	answer = ""
	for _, want := range []int{200, 429} {
		if got := k.Send(c, "POST", "/pay", "x").StatusCode; got != want {
			t.Errorf("performed: %d, want %d", got, want)
		}
	}
	uncounting := k.RP.RequireApproval("a:do", approverFunc(approveAll))
	k.handle("/other", uncounting)
	if got := k.Send(c, "POST", "/other", "x").StatusCode; got != 429 {
		t.Errorf("by an Approver that does not count: %d", got)
	}
}
