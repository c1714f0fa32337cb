package grants_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/grants"
)

const (
	urlencoded  = "application/x-www-form-urlencoded"
	multiparted = "multipart/form-data; boundary=b"
	cannotSend  = "This page cannot send it for you"
)

// parts writes a multipart form: the headers of a part and its value, and so on.
func parts(all ...string) string {
	var body strings.Builder
	for i := 0; i < len(all); i += 2 {
		body.WriteString("--b\r\n" + all[i] + "\r\n\r\n" + all[i+1] + "\r\n")
	}
	return body.String() + "--b--\r\n"
}

func part(name string) string { return `Content-Disposition: form-data; name="` + name + `"` }

// payoutSite is a site at which agent_1, of alice, is signed in, with further routes
// that need approval. What their handler gets is told as text.
func payoutSite(t *testing.T) (s *site, agent *http.Client, told func() []string) {
	t.Helper()
	s = newSite(t)
	s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	s.grant(nil)
	agent = s.signedInAgent("agent_1")
	var ran []string
	tell := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		body, _ := io.ReadAll(r.Body)
		ran = append(ran, fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, media, body))
	})
	mux := s.shared.Mux("")
	mux.Handle("/pay/{what...}", s.rp.RequireApproval("payouts:create", s.owners)(tell))
	mux.Handle("/guarded", s.rp.RequireApproval("payouts:create", s.owners, "csrf")(tell))
	return s, agent, func() []string { defer func() { ran = nil }(); return ran }
}

// standing is the page that shows an agent how its request stands.
func (s *site) standingOf(c *http.Client, address string) *answered {
	s.t.Helper()
	resp := s.do(c, "GET", address, "", "Accept", htmlOnly)
	if resp.StatusCode != 200 {
		s.t.Fatalf("%s: %d %s", address, resp.StatusCode, resp.body)
	}
	checkPage(s.t, address, resp)
	return resp
}

// ask sends a request that waits for alice then, and returns where it stands.
func (s *site) ask(c *http.Client, method, target, body string, header ...string) string {
	s.t.Helper()
	resp := s.do(c, method, target, body, header...)
	if resp.StatusCode != 202 {
		s.t.Fatalf("%s %s: %d %s", method, target, resp.StatusCode, resp.body)
	}
	return resp.Header.Get("Location")
}

// decideAll has alice decide about what waits.
func (s *site) decideAll(approve bool) {
	s.t.Helper()
	all, err := s.store.OwnerApprovals(context.Background(), s.alice)
	for _, a := range all {
		if a.State == grants.Pending && err == nil {
			_, err = s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, approve)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)" enctype="([^"]*)">(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	linkTag  = regexp.MustCompile(`<a href="([^"]*)">Send it now: Pay out money</a>`)
)

// send does what a browser does when the button that names the action is pressed. It reports false where
// there is nothing to press.
func (s *site) send(c *http.Client, page string) (status int, pressed bool) {
	s.t.Helper()
	if m := linkTag.FindStringSubmatch(page); m != nil {
		return s.do(c, "GET", html.UnescapeString(m[1]), "").StatusCode, true
	}
	m := formTag.FindStringSubmatch(page)
	if m == nil {
		return 0, false
	}
	if !strings.Contains(m[3], ">Send it now: Pay out money</button>") {
		s.t.Errorf("no button: %s", m[3])
	}
	inPage := func(text string) string { // lines end in LF in a page, and in CRLF when they are sent
		return strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n").Replace(html.UnescapeString(text))
	}
	var pairs, fields []string
	for _, in := range inputTag.FindAllStringSubmatch(m[3], -1) {
		name, value := inPage(in[1]), inPage(in[2])
		pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(value))
		fields = append(fields, part(name), value)
	}
	body, contentType := strings.Join(pairs, "&"), urlencoded
	if html.UnescapeString(m[2]) != urlencoded {
		body, contentType = strings.ReplaceAll(parts(fields...), "--b", "--another"), "multipart/form-data; boundary=another"
	}
	return s.do(c, "POST", html.UnescapeString(m[1]), body, "Content-Type", contentType, "Sec-Fetch-Site", "same-origin").StatusCode, true
}

// TestSendAgain_APR_14 is APR-14: where a browser can send what was approved, it does so
// at a press of a button, once, and the handler gets it as it was.
func TestSendAgain_APR_14(t *testing.T) {
	hostile := `"><script>alert(1)</script>&amp;'+` + "`\u202e\u0001"
	for name, test := range map[string]struct{ method, target, contentType, body, want string }{
		"urlencoded": {"POST", "/pay/bob?x=1&y[]=2", urlencoded, "to=b+c&amount=1&to=%3Cb%3E&none=",
			"POST /pay/bob?x=1&y[]=2 application/x-www-form-urlencoded to=b+c&amount=1&to=%3Cb%3E&none="},
		"urlencoded, hostile": {"POST", "/pay/x", urlencoded, form("a", hostile, hostile, "b"),
			"POST /pay/x application/x-www-form-urlencoded " + form("a", hostile, hostile, "b")},
		"urlencoded, of several lines": {"POST", "/pay/x", urlencoded, "a=1%0D%0A2%0D%0A", "POST /pay/x application/x-www-form-urlencoded a=1%0D%0A2%0D%0A"},
		"urlencoded, without fields":   {"POST", "/pay/x", urlencoded, "", "POST /pay/x application/x-www-form-urlencoded "},
		"multipart": {"POST", "/pay/x", multiparted, parts(part("to"), "b&c", part("amount"), "1", part("to"), hostile, part("a%22[]"), "x\r\n"),
			"POST /pay/x multipart/form-data " + parts(part("to"), "b&c", part("amount"), "1", part("to"), hostile, part("a%22[]"), "x\r\n")},
		"GET":                         {"GET", "/pay/bob?amount=1&to=b+%3Cc%3E", "", "", "GET /pay/bob?amount=1&to=b+%3Cc%3E  "},
		"GET, though the route has a": {"GET", "/guarded?amount=1", "", "", "GET /guarded?amount=1  "},
	} {
		t.Run(name, func(t *testing.T) {
			s, agent, told := payoutSite(t)
			address := s.ask(agent, test.method, test.target, test.body, "Content-Type", test.contentType)
			if page := s.standingOf(agent, address).body; strings.Contains(page, "Send it now") || strings.Contains(page, "<form") {
				t.Errorf("before it is approved: %s", page)
			}
			s.decideAll(true)
			resp := s.standingOf(agent, address)
			if h := resp.Header; h.Get("Refresh") != "" || h.Get("Referrer-Policy") != "same-origin" {
				t.Errorf("headers %v", h)
			}
			if status, pressed := s.send(agent, resp.body); status != 200 || !pressed {
				t.Errorf("sent: %d, %v; the page is %s", status, pressed, resp.body)
			}
			if diff := cmp.Diff([]string{test.want}, told()); diff != "" {
				t.Errorf("the handler got (-want +got):\n%s", diff)
			}
			if status, _ := s.send(agent, resp.body); status != 409 || len(told()) != 0 {
				t.Errorf("pressed again: %d", status)
			}
			if page := s.standingOf(agent, address).body; strings.Contains(page, "Send it now") || strings.Contains(page, "<form") || !strings.Contains(page, "passed on to the site once") {
				t.Errorf("once it is used: %s", page)
			}
		})
	}
}

// TestCannotSendAgain_APR_14 is APR-14: where a browser would send something else, or not all of it,
// the page has words, and the agent sends the request by itself.
func TestCannotSendAgain_APR_14(t *testing.T) {
	otherHost := func(a *grants.Approval) { a.Host = "other.example" }
	for name, test := range map[string]struct {
		method, target, contentType, body string
		header                            []string
		change                            func(*grants.Approval)
	}{
		"JSON":                                    {method: "POST", target: "/pay/x", contentType: "application/json", body: `{"amount":1}`},
		"a text":                                  {method: "POST", target: "/pay/x", contentType: "text/plain", body: "amount=1"},
		"another method":                          {method: "PUT", target: "/pay/x", contentType: urlencoded, body: "amount=1"},
		"HEAD":                                    {method: "HEAD", target: "/pay/x"},
		"POST of nothing":                         {method: "POST", target: "/pay/x"},
		"GET of something":                        {method: "GET", target: "/pay/x", contentType: urlencoded, body: "amount=1"},
		"a file":                                  {method: "POST", target: "/pay/x", contentType: multiparted, body: parts(part("a"), "1", part("f")+`; filename="x.txt"`, "text")},
		"a file that is empty":                    {method: "POST", target: "/pay/x", contentType: multiparted, body: parts(part("f")+`; filename=""`, "")},
		"a part with a type":                      {method: "POST", target: "/pay/x", contentType: multiparted, body: parts(part("a")+"\r\nContent-Type: text/plain", "1")},
		"a part that is written otherwise":        {method: "POST", target: "/pay/x", contentType: multiparted, body: parts("Content-Disposition: form-data; name=a", "1")},
		"a part that is no text":                  {method: "POST", target: "/pay/x", contentType: multiparted, body: parts(part("a"), "\xff")},
		"lines of another system":                 {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1%0A2"},
		"lines of another system, in a part":      {method: "POST", target: "/pay/x", contentType: multiparted, body: parts(part("a"), "1\r2")},
		"a zero byte":                             {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1%002"},
		"a field without a name":                  {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1&=2"},
		"a field that browsers fill in":           {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1&_Charset_=x"},
		"a type with a charset":                   {method: "POST", target: "/pay/x", contentType: urlencoded + "; charset=UTF-8", body: "a=1"},
		"larger, as a browser escapes it":         {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=" + strings.Repeat("/", 15<<10)},
		"a quote in the address":                  {method: "POST", target: "/pay/x'", contentType: urlencoded, body: "a=1"},
		"a quote in the query":                    {method: "GET", target: "/pay/x?a='1'"},
		"an Idempotency-Key":                      {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1", header: []string{"Idempotency-Key", "1"}},
		"GET with an Idempotency-Key":             {method: "GET", target: "/pay/x?a=1", header: []string{"Idempotency-Key", "1"}},
		"a CSRF token":                            {method: "POST", target: "/guarded", contentType: urlencoded, body: "a=1&csrf=x"},
		"a CSRF token alone":                      {method: "POST", target: "/guarded", contentType: urlencoded, body: "csrf=x"},
		"a CSRF token, of which nothing is there": {method: "POST", target: "/guarded", contentType: urlencoded},
		"a CSRF token, which is not there":        {method: "POST", target: "/guarded", contentType: urlencoded, body: "a=1"},
		"another host":                            {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1", change: otherHost},
		"another site": {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1",
			change: func(a *grants.Approval) { a.Target = "//evil.example/pay" }},
		"a request that says nothing of keys": {method: "POST", target: "/pay/x", contentType: urlencoded, body: "a=1",
			change: func(a *grants.Approval) { a.ID = strings.TrimSuffix(a.ID, "-c"); a.Digest += "x" }},
	} {
		t.Run(name, func(t *testing.T) {
			s, agent, told := payoutSite(t)
			header := append([]string{"Content-Type", test.contentType}, test.header...)
			address := s.ask(agent, test.method, test.target, test.body, header...)
			if test.change != nil {
				address = s.alter(address, test.change)
			}
			s.decideAll(true)
			resp := s.standingOf(agent, address)
			if status, pressed := s.send(agent, resp.body); pressed || !strings.Contains(resp.body, cannotSend) || strings.Contains(resp.body, "<form") {
				t.Errorf("the page sends it (%d): %s", status, resp.body)
			}
			if resp.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", resp.Header)
			}
			if test.change != nil {
				return
			}
			if got := s.do(agent, test.method, test.target, test.body, header...).StatusCode; got != 200 || len(told()) != 1 {
				t.Errorf("the agent sends it: %d", got)
			}
		})
	}
}

// alter changes an approval, as a store could have it, and returns where it stands.
func (s *site) alter(address string, change func(*grants.Approval)) string {
	s.t.Helper()
	below := agents + "approvals/"
	a, err := s.store.Approval(context.Background(), strings.TrimPrefix(address, below))
	if err != nil {
		s.t.Fatal(err)
	}
	id := a.ID
	change(&a)
	if a.ID != id {
		_, _, err = s.store.CreateApproval(context.Background(), a)
	} else {
		_, err = s.store.UpdateApproval(context.Background(), a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return below + a.ID
}

// TestStandingPage_APR_13 is APR-13: the page looks by itself while there is something to
// wait for, says in words what has become of the request, and leads back.
func TestStandingPage_APR_13(t *testing.T) {
	for name, test := range map[string]struct {
		become func(*testing.T, *site, *http.Client, string) string
		want   string
	}{
		"pending": {func(_ *testing.T, _ *site, _ *http.Client, at string) string { return at }, "looks again by itself every 10 seconds"},
		"denied":  {func(_ *testing.T, s *site, _ *http.Client, at string) string { s.decideAll(false); return at }, "has refused this request. Nothing was done"},
		"used": {func(t *testing.T, s *site, c *http.Client, at string) string {
			s.decideAll(true)
			if got := s.do(c, "POST", "/pay/bob", "amount=1").StatusCode; got != 200 {
				t.Fatal(got)
			}
			return at
		}, "it has been passed on to the site once"},
		"expired": {func(_ *testing.T, s *site, _ *http.Client, at string) string {
			return s.alter(at, func(a *grants.Approval) { a.ExpiresAt = a.RequestedAt })
		}, "The time for this request is over"},
	} {
		t.Run(name, func(t *testing.T) {
			s, agent, _ := payoutSite(t)
			address := test.become(t, s, agent, s.ask(agent, "POST", "/pay/bob", "amount=1"))
			resp := s.standingOf(agent, address)
			refresh := map[bool]string{true: "10"}[name == "pending"]
			if !strings.Contains(resp.body, test.want) || resp.Header.Get("Refresh") != refresh || strings.Contains(resp.body, "<form") || strings.Contains(resp.body, "Send it") {
				t.Errorf("Refresh %q: %s", resp.Header.Get("Refresh"), resp.body)
			}
			if resp.Header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(resp.body, "Back to") {
				t.Errorf("headers %v, %s", resp.Header, resp.body)
			}
			for from, want := range map[string]string{"/pay?x=1": "/pay?x=1", "//evil.example": "", "https://evil.example/": "", "javascript:alert(1)": ""} {
				page := s.standingOf(agent, address+"?from="+url.QueryEscape(from)).body
				back := regexp.MustCompile(`<a href="([^"]*)">Back to where you came from</a>`).FindStringSubmatch(page)
				if len(back) > 1 != (want != "") || want != "" && back[1] != want {
					t.Errorf("from %s: %s", from, page)
				}
			}
			if resp := s.do(agent, "GET", address, ""); resp.Header.Get("Refresh") != "" || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("a program gets %v", resp.Header)
			}
		})
	}
}

// TestStandingIsPrivate_APR_15 is APR-15: who has not asked sees nothing of the page, and
// nothing is decided by it.
func TestStandingIsPrivate_APR_15(t *testing.T) {
	s, agent, told := payoutSite(t)
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g2", "agent_2" })
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID = "g3", "agent_3" })
	other := s.signedInAgent("agent_2")
	address := s.ask(agent, "POST", "/pay/secret", "amount=1")
	for _, decided := range []bool{false, true} {
		if decided {
			s.decideAll(true)
		}
		for name, test := range map[string]struct {
			client *http.Client
			method string
			want   int
		}{
			"another agent of the owner": {other, "GET", 404},
			"nobody":                     {s.human(""), "GET", 303},
			"the owner":                  {s.human(s.alice), "GET", 303},
			"a post":                     {agent, "POST", 403},
		} {
			resp := s.do(test.client, test.method, address, form("approve", "1"), "Accept", htmlOnly, "Sec-Fetch-Site", "same-origin")
			if resp.StatusCode != test.want || strings.Contains(resp.body, "secret") || resp.Header.Get("Refresh") != "" {
				t.Errorf("%s: %d %s", name, resp.StatusCode, resp.body)
			}
		}
		for name, change := range map[string]func(*grants.Approval){
			"another account": func(a *grants.Approval) { a.UserID = s.bob },
			"another issuer":  func(a *grants.Approval) { a.Agent.Issuer = "https://other.example" },
			"another grant":   func(a *grants.Approval) { a.GrantID = "g3" },
		} {
			own := address
			at := s.alter(own, func(a *grants.Approval) {
				a.ID, a.Digest = fmt.Sprint(name, decided, a.ID), fmt.Sprint(name, decided)
				change(a)
			})
			if resp := s.do(agent, "GET", strings.ReplaceAll(at, " ", "%20"), "", "Accept", htmlOnly); resp.StatusCode != 404 {
				t.Errorf("%s: %d", name, resp.StatusCode)
			}
		}
	}
	if ran := told(); len(ran) != 0 {
		t.Errorf("ran: %q", ran)
	}
	a, err := s.store.Approval(context.Background(), strings.TrimPrefix(address, agents+"approvals/"))
	if err != nil || a.State != grants.Approved {
		t.Errorf("%s, %v", a.State, err)
	}
}
