package returnpath_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/returnpath"
)

var own = []string{"/auth/agent/login", "/auth/agent/callback", "/auth/agent/logout", ""}

// bad are targets that leave the origin, loop, or break a header, as they stand
// or after one more decode, join, trim or clean.
var bad = []string{
	// What is not a path at all.
	"", "ok", "?a=b", "#a", ".", "..", "./ok", "../ok",
	"https://evil.example/", "http:evil.example", "https:evil.example", "https:/evil.example",
	`https:/\evil.example`, `https:\\evil.example`, "HTTPS://EVIL.EXAMPLE", "https:///evil.example",
	"https://rp.example@evil.example/", "https://rp.example.evil.example/", "https://rp.example:8443/",
	"https://rp.example/ok", "https://[::1", "a:b", "javascript:alert(1)", "JavaScript:alert(1)",
	"java\tscript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "mailto:a@evil.example",
	"evil.example", "@evil.example", ".evil.example", ":80", ";//evil.example", "%", "%2f%2fevil.example", "%68ttps:evil.example",

	// A second slash, and what browsers read as one.
	"//evil.example", "///evil.example", "////evil.example", "//", "//evil.example/%2e%2e", "//user:pass@evil.example",
	`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `//\evil.example`, `/ok\..\x`, `/ok?a=\`,
	"//evil\u3002example", "\uff0f\uff0fevil.example", "/\uff0fevil.example", "/\u2215evil.example",
	"/ok//evil.example", "/ok//", "/foo/..//evil.example", "/.//evil.example", "/..//evil.example", "/a/./b", "/a/..", "/.", "/..", "/../ok",

	// White space and control characters, raw.
	"/\t/evil.example", "/\n/evil.example", "/\r\n/evil.example", "\t//evil.example", " //evil.example", " /ok", "/ok ", "/o k",
	"/ok\r\nSet-Cookie: a=b", "/ok?a=\r\nSet-Cookie: a=b", "/ok\x00", "\x00//evil.example", "/\x0b/evil.example", "/\x7f/evil.example",
	"\u200b//evil.example", "/\u200b/evil.example", "/\u00a0/evil.example", "\ufeff/ok", "/\u2028/evil.example", "/m\u00fcnchen", "/\xff", "/\xc0\xaf",

	// The same, encoded.
	"/%2fevil.example", "/%2Fevil.example", "/%5cevil.example", "/%5Cevil.example", "/%2f%2fevil.example", "/ok%2fx", "/ok/%5c",
	"/%0d%0aSet-Cookie:%20a=b", "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example", "/%00/evil.example", "/%7f", "/ok%1b",
	"/%C2%85/evil.example", "/%20/evil.example", "/%C2%A0/evil.example", "/%E3%80%80/evil.example", "/%E2%80%8B/evil.example", "/ok/%20",
	"/%2e%2e//evil.example", "/%2e/", "/%2E%2E", "/.%2e/ok", "/%2e./ok", "/ok/%2e%2e/x", "/%2e%2e%2fevil.example", "/%20../x",
	"/%ef%bc%8fevil.example", "/%e2%81%84evil.example", "/%e2%88%95evil.example", "/%ef%bc%bcevil.example", "/%ef%b9%a8evil.example",
	"/%ef%bc%8e%ef%bc%8e/x", "/%e2%80%a5/x", "/%e2%80%a4/x", "/%ef%bc%852fevil.example", "/%c0%afevil.example", "/%ff", "/%c0%ae%c0%ae/x",

	// The same, encoded more than once, or so that a strict decoder gives up.
	"/%252fevil.example", "/%252Fevil.example", "/%255cevil.example", "/%25252fevil.example", "/%25%32%66evil.example", "/%2%66evil.example",
	"/%252e%252e//evil.example", "/%252e%252e/x", "/%250d%250aSet-Cookie:a=b", "/%2509/evil.example", "/%2500", "/%25%252fevil.example",
	"/%252525252561", "/ok%2", "/ok%zz", "/%", "/ok%u002f", "/ok#%zz",

	// Path parameters, and a scheme behind the slash.
	"/;/evil.example", "/;a=b/evil.example", "/..;/evil.example", "/.;x/evil.example", "/%3b/evil.example", "/%2e%2e%3b/x", "/..%3fx", "/..%23x",
	"/https://evil.example", "/https:/evil.example", "/https:evil.example", "/HTTP:evil.example", "/javascript:alert(1)", "/%6aavascript:alert(1)", "/data:text/html,x",

	// What http.Redirect would rewrite.
	"/ok#a//evil.example", "/ok#/../..", "/#/.", "/ok#//evil.example?x",

	// The library's own paths.
	"/auth/agent/login", "/auth/agent/login/", "/auth/agent/login?return_to=/ok", "/auth/agent/login#x", "/auth/agent/callback?code=a&state=b",
	"/auth/agent/logout", "/AUTH/Agent/Logout", "/auth/agent/%6cogin", "/auth/agent/%256cogin", "/auth/agent/login;x=1", "/auth/agent/login%3fx",
	"/auth/agent/login%20", "/auth%ef%bc%8fagent/logout",
}

var good = []string{
	"/", "/dashboard", "/a/b?tab=1&x=%20y", "/ok?next=//evil.example", "/m%C3%BCnchen", "/a:b", "/a;b=c",
	"/a/", "/a/b/", "/...", "/.well-known/x", "/a..b", "/..a", "/a.", "/a%20b", "/100%25", "/a%2520b", "/%250G", "/%25g1", "/%25.1", "/%251.", "/%250g", "/%250:", "/%250@", "/%250`", "/%E6%9D%B1%E4%BA%AC", "/%D9%85%DB%8C%E2%80%8C%D8%AE",
	"/A%EF%BC%8FB", "/wiki/%3Fwhat", "/a%23b", "/@alice", "/~alice", "/a,b", "/a|b", `/"a"<b>`, "/search?q=%zz", "/search?q=%", "/search?q=a%0Ab",
	"/?", "/?a", "/??", "/?a=/../..", "/?//x", "/ok#frag", "/app#/inbox", "/app?x=1#/a//b", "/#", "/https", "/http-api/x", "/database", "/evil.example",
	"/auth/agent", "/auth/agent/", "/auth/agent/login2", "/auth/agent/login/help", "/x?to=/auth/agent/login",
}

func TestCheckRefuses_RET1_RET6(t *testing.T) {
	for _, target := range bad {
		err := returnpath.Check(target, own...)
		if err == nil {
			t.Errorf("RET-1: Check(%q) = nil, want an error", target)
			continue
		}
		if len(target) > 4 && strings.Contains(err.Error(), target) {
			t.Errorf("RET-1: Check(%q): the error echoes the target: %v", target, err)
		}
	}
}

func TestCheckAccepts_RET2(t *testing.T) {
	for _, target := range good {
		if err := returnpath.Check(target, own...); err != nil {
			t.Errorf("RET-2: Check(%q) = %v, want nil", target, err)
			continue
		}
		checkStays(t, target)
	}
}

// Every prefix that a bad target is built from must fail with other ends too.
func TestCheckRefusesWithAnyEnd_RET1(t *testing.T) {
	for _, start := range []string{"//", "///", `/\`, `\/`, "/\t/", "/%09/", "/%2f", "/%5C", "/.//", "/..//", "/a//", "/;/", "/%252f", "/%20/", "https:", " /", "/%00"} {
		for _, end := range []string{"", "evil.example", "evil.example/", "evil.example:80/x?a=b", "@evil.example", "[::1]/", "?a", "#a"} {
			if returnpath.Check(start+end, own...) == nil {
				t.Errorf("RET-1: Check(%q) = nil, want an error", start+end)
			}
		}
	}
}

func TestCheckHostile_RET3(t *testing.T) {
	rows := map[string]string{
		"100 KB":           "/" + strings.Repeat("a", 100<<10),
		"2049 bytes":       "/" + strings.Repeat("a", 2048),
		"invalid UTF-8":    "/\xff\xfe",
		"open bracket":     "https://[::1",
		"lone percent":     "/%",
		"deep encoding":    "/%" + strings.Repeat("25", 1000) + "2f",
		"many lone signs":  "/" + strings.Repeat("%", 2000),
		"many slashes":     strings.Repeat("/", 2000),
		"many dots":        strings.Repeat("/..", 600),
		"deep, not closed": "/" + strings.Repeat("%25", 600) + "%2",
	}
	for name, target := range rows {
		start := time.Now()
		if returnpath.Check(target, own...) == nil {
			t.Errorf("RET-3: %s: Check = nil, want an error", name)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("RET-3: %s: took %v", name, d)
		}
	}
	if err := returnpath.Check("/" + strings.Repeat("a", 2047)); err != nil {
		t.Errorf("RET-3: 2048 bytes: %v, want nil", err)
	}
}

func TestCheckOwn_RET6(t *testing.T) {
	rows := []struct {
		target, own string
		ok          bool
	}{
		{"/login", "/login", false},
		{"/login", "/login/", false},
		{"/login/", "/login", false},
		{"/", "/", false},
		{"/", "", true},
		{"/login", "", true},
		{"/anmeldung/m%C3%BCnchen", "/anmeldung/münchen", false},
		{"/loginx", "/login", true},
		{"/x/login", "/login", true},
	}
	for _, r := range rows {
		if err := returnpath.Check(r.target, r.own); (err == nil) != r.ok {
			t.Errorf("RET-6: Check(%q, %q) = %v, want ok %v", r.target, r.own, err, r.ok)
		}
	}
	if err := returnpath.Check("/login"); err != nil {
		t.Errorf("RET-6: without own: %v, want nil", err)
	}
}

func TestCheckAllocates_RET3(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		if err := returnpath.Check("/a/b?tab=1", own...); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 { // the *url.URL
		t.Errorf("Check of a plain path allocates %v times, want at most 1", n)
	}
}

// checkStays is what an accepted target promises, judged by other means than
// Check's own: net/url's resolver and the steps of the WHATWG URL parser.
func checkStays(t *testing.T, target string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "https://rp.example/auth/agent/callback", nil)
	http.Redirect(w, r, target, http.StatusFound)
	if got := w.Header().Get("Location"); got != target {
		t.Errorf("Location of %q = %q", target, got)
	}
	variants := []string{target, path.Clean(target), strings.TrimSpace(target)}
	for _, unescape := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
		if once, err := unescape(target); err == nil {
			variants = append(variants, once, path.Clean(once), strings.TrimSpace(once), path.Join("/", once))
			if twice, err := unescape(once); err == nil {
				variants = append(variants, twice, path.Clean(twice), strings.TrimSpace(twice))
			}
		}
	}
	base, err := url.Parse("https://rp.example/auth/agent/callback")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		if leaves(v) {
			t.Errorf("%q leaves the site as %q", target, v)
		}
		// What net/url refuses was judged by leaves.
		if u, err := base.Parse(v); err == nil && (u.Host != "rp.example" || u.Scheme != "https" || u.User != nil) {
			t.Errorf("%q resolves to %q as %q", target, u, v)
		}
	}
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// leaves reports whether a browser that stands on an https page reads s as a
// URL with a host or a scheme: https://url.spec.whatwg.org/#url-parsing.
func leaves(s string) bool {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(s)
	return strings.HasPrefix(s, "//") || scheme.MatchString(s)
}

func FuzzCheck(f *testing.F) {
	for _, s := range bad {
		f.Add(s)
	}
	for _, s := range good {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if returnpath.Check(target, own...) != nil {
			return
		}
		checkStays(t, target)
		u, err := url.Parse(target)
		if err != nil {
			t.Fatalf("accepted %q: %v", target, err)
		}
		for _, o := range own {
			if o != "" && strings.EqualFold(strings.TrimRight(u.Path, "/"), o) {
				t.Errorf("accepted own path %q", target)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for name, target := range map[string]string{"plain": "/reports/2026?tab=1", "encoded": "/m%C3%BCnchen/a%20b?tab=1"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := returnpath.Check(target, own...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
