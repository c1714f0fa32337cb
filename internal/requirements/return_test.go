package requirements_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// badTargets are not on this site, or would not be after one more decoding,
// joining, trimming or cleaning, or lead back into the login.
var badTargets = []string{
	"https://evil.example/", "//evil.example", `/\evil.example`, `\/evil.example`, "/\t/evil.example", " //evil.example",
	"\x00//evil.example", `https:/\evil.example`, "http:evil.example", "https://rp.example@evil.example/",
	"https://rp.example.evil.example/", "//evil。example", "https://rp.example:8443/", "javascript:alert(1)", "a:b",
	"/%5cevil.example", "/%2fevil.example", "/%0d%0aSet-Cookie:%20a=b", "/foo/..//evil.example", "https:evil.example",
	"／／evil.example", "\u200b//evil.example", "/ok\r\nSet-Cookie: a=b", "ok", "", "/auth/agent/login",
	"/auth/agent/callback", "/auth/agent/logout", "/auth/agent/login/", "/AUTH/agent/login", "/auth/agent/%6cogin", "/auth/./agent/login",
	"///evil.example", "/./evil", "/../evil", "/%2e%2e/evil", "/%252f/evil.example", "/%255cevil", "%2f%2fevil.example", "/\\/evil.example",
	"//evil.example/%2f..", "/\n/evil.example", "/\r/evil.example", "/\x0b/evil.example", "/ /evil.example", "/%20/evil.example",
	"data:text/html,x", "vbscript:x", "?x=1", "#x", "http://[::1]/", "//[::1]/", "//0/", "/%00", "/\u00e9", "/\u2028/evil.example",
	"https://app.example/x", "http://app.example",
}

// TestReturnTo_RET_2_RET_3_RET_5_RET_6: RET-1, RET-2, RET-3, RET-5, RET-6, by login and by logout. Absolute
// targets are not offered, not even of the site itself (RET-5).
func TestReturnTo_RET_2_RET_3_RET_5_RET_6(t *testing.T) {
	b := newBench(t)
	n := 0
	check := func(kind, target, want string) {
		t.Helper()
		query := "?return_to=" + url.QueryEscape(target)
		resp := b.Do(b.Browser(), http.MethodPost, "/auth/agent/logout"+query)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: logout with %q: status %d, Location %q, want %q", kind, target, resp.StatusCode, got, want)
		}
		c := b.Browser()
		n++
		b.Agent.Model = fmt.Sprint("model ", n) // another model, another token: no collision to wait for
		resp = b.Get(c, b.Authorize(b.Agent, b.Begin(c, query)))
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: login with %q: status %d, Location %q, want %q", kind, target, resp.StatusCode, got, want)
		}
	}
	for _, target := range append(badTargets, b.URL+"/x", b.URL+"//evil.example", strings.Replace(b.URL, "https", "http", 1)+"/") {
		check("RET-1", target, "/")
	}
	for _, target := range []string{"/", "/dashboard", "/a/b?tab=1&x=%20y", "/ok?next=//evil.example", "/m%C3%BCnchen", "/a:b", "/a;b=c"} {
		check("RET-2", target, target)
	}
	for _, target := range []string{"%", "https://[::1", strings.Repeat("/a", 50<<10), "\xff\xfe", "/%zz", "/\xff"} {
		check("RET-3", target, "/")
	}
	c := b.Browser()
	if resp := b.Get(c, b.Authorize(b.Agent, b.Begin(c, "?return_to=/a&return_to=/b"))); resp.Header.Get("Location") != "/" {
		t.Errorf("RET-3: repeated return_to: Location %q", resp.Header.Get("Location"))
	}
}

// TestReturnDefault_RET_6: RET-6 for the default itself, which New checks.
func TestReturnDefault_RET_6(t *testing.T) {
	b := newBench(t)
	for _, target := range []string{"//evil.example", "https://evil.example", "/auth/agent/login", "/auth/agent/callback", "/auth/agent/logout", "x"} {
		config := b.Config
		config.ReturnTo = target
		if _, err := authagent.New(config); err == nil || !strings.Contains(err.Error(), "ReturnTo") {
			t.Errorf("ReturnTo %q: error %v", target, err)
		}
	}
}

// TestMiddlewareTarget_RET_4: RET-4. What a request line says is no way off the site.
func TestMiddlewareTarget_RET_4(t *testing.T) {
	b := newBench(t)
	guarded := b.RP.RequireAgent(http.NotFoundHandler())
	b.HTTP.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // no mux, which would clean the path
		if strings.HasPrefix(r.URL.Path, "/auth/agent/login") {
			b.RP.LoginHandler().ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
	for _, test := range []struct{ method, target, want string }{
		{"GET", "/orders?x=1", "/auth/agent/login?return_to=%2Forders%3Fx%3D1"},
		{"GET", "//evil.example/%2e%2e", "/auth/agent/login"},
		{"GET", `/\evil.example`, "/auth/agent/login"},
		{"GET", "http://evil.example/", "/auth/agent/login"},
		{"GET", "http://evil.example//evil.example", "/auth/agent/login"},
		{"GET", "/%2fevil.example", "/auth/agent/login"},
		{"POST", "/orders", ""},
		{"PUT", "//evil.example", ""},
	} {
		conn, err := tls.Dial("tcp", b.HTTP.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", test.method, test.target)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Location"); got != test.want {
			t.Errorf("%s %s: status %d, Location %q, want %q", test.method, test.target, resp.StatusCode, got, test.want)
		}
	}
}
