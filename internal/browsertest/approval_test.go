package browsertest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
)

// payForms are forms with what browsers treat in ways of their own: the order of fields,
// names that repeat, line ends, quotes, and characters beyond ASCII.
const payForms = `<!doctype html><html lang="en"><title>Pay</title><h1>Pay</h1>
<form method="post" action="/pay/urlencoded?x=1&amp;y[]=2">` + payFields + `<button>Send urlencoded</button></form>
<form method="post" action="/pay/multipart" enctype="multipart/form-data">` + payFields + `<button>Send multipart</button></form>
<form method="post" action="/pay/empty"><button>Send nothing</button></form>
<form method="post" action="/pay/file" enctype="multipart/form-data">` + payFields + `<input type="file" name="f"><button>Send a file</button></form>
<form method="post" action="/pay/denied"><button>Send what is denied</button></form>
<form method="get" action="/pay/get">` + payFields + `<button>Send by GET</button></form>`

const payFields = `<input name="to" value="b&amp;c"><input name="amount" value="1 + 1"><input name="to" value="&quot;&gt;&lt;b&gt;Zoë &#x202e; &#1;">
<textarea name="a&quot;[]">one
two

</textarea><input name="none" value="">`

// A paySite is a site whose every payment needs approval.
type paySite struct {
	*shop
	owners *grants.Policy
	alice  string

	mu  sync.Mutex
	got []string // what came to the handler
	by  []string // and from where, as the browser says
}

func newPaySite(t *testing.T) *paySite {
	t.Helper()
	as := authagenttest.NewServer()
	t.Cleanup(as.Close)
	p := &paySite{owners: grants.OwnerApproval(&memstore.Grants{})}
	p.owners.Logger = slog.New(slog.DiscardHandler)
	p.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	p.owners.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{as.URL}, Domains: []string{"example.com"}}
	site := testsite.NewPlain(t, as, func(s *testsite.Site, c *authagent.Config) {
		p.alice = s.AliceID
		c.Scenario, c.Human = authagent.FullAccount(s.Users, p.owners), testsite.Human
	})
	p.shop = &shop{t: t, url: site.URL, as: as, agent: site.Agent}
	mux := site.Mux("")
	mux.Handle("/account/agents/", grants.Handler(p.owners, site.RP))
	mux.Handle("/pay/", site.RP.RequireApproval("payouts:create", p.owners)(http.HandlerFunc(p.pay)))
	text := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, text)
		}
	}
	mux.Handle("/forms", text(payForms))
	mux.Handle("/done", text("<!doctype html><title>Done</title>Money was paid"))
	return p
}

func (p *paySite) pay(w http.ResponseWriter, r *http.Request) {
	fields, err := fieldsOf(r)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	p.got = append(p.got, r.Method+" "+r.RequestURI+" "+fields)
	p.by = append(p.by, r.Header.Get("Origin")+" "+r.Header.Get("Sec-Fetch-Site"))
	p.mu.Unlock()
	http.Redirect(w, r, "/done", http.StatusSeeOther)
}

// fieldsOf is what a body says, in its order.
func fieldsOf(r *http.Request) (string, error) {
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "multipart/form-data" {
		body, err := io.ReadAll(r.Body)
		return media + " " + string(body), err
	}
	var all []string
	for reader := multipart.NewReader(r.Body, params["boundary"]); ; {
		part, err := reader.NextPart()
		if err == io.EOF {
			return media + " " + strings.Join(all, "&"), nil
		}
		if err != nil {
			return "", err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return "", err
		}
		all = append(all, url.QueryEscape(part.FormName())+"="+url.QueryEscape(string(value)))
	}
}

// decide has alice decide about what waits, and returns what she is asked about.
func (p *paySite) decide(approve bool) grants.Approval {
	p.t.Helper()
	all, err := p.owners.Overview(context.Background(), p.alice)
	if err != nil || len(all.Approvals) != 1 {
		p.t.Fatalf("%d wait; %v", len(all.Approvals), err)
	}
	a := all.Approvals[0]
	if _, err := p.owners.DecideAction(context.Background(), p.alice, a.ID, a.Version, approve); err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *paySite) paid() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got...)
}

// submit signs the agent in, has it send a form, and returns its tab.
func (p *paySite) submit(button string) *tab {
	p.t.Helper()
	agent := newTab(p.t, p.url)
	agent.open("/auth/agent/login")
	p.authenticate(agent, p.agent)
	agent.see("/")
	agent.open("/forms")
	agent.press(button)
	agent.until("the page that leads on", func(s state) bool { return strings.Contains(s.Text, "After 10 seconds this page goes on by itself") })
	return agent
}

// toFront makes the tab the one that is seen: in others, Chromium draws nothing.
func (b *tab) toFront() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, page.BringToFront, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
}

// looksWell checks a page in all looks, and keeps a picture of each.
func (b *tab) looksWell(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.wear(l)
		if wrong, err := evaluate[[]string](b, fits); err != nil || len(wrong) > 0 {
			b.t.Errorf("%s, %s: %q %v", name, l.name, wrong, err)
		}
		b.keep("approval-" + name + "-" + l.name)
	}
	b.wear(looks[0])
}

// waits returns where the agent's request stands, and its page, which looks by itself.
func (p *paySite) waits(agent *tab, byItself bool) (path string) {
	p.t.Helper()
	if !byItself {
		agent.press("See the state of the request")
	}
	found := agent.until("how the request stands", func(s state) bool { return strings.Contains(s.Text, "looks again by itself every 10 seconds") })
	return agent.path(found)
}

// TestPendingForm_APR_13_APR_14: without script, a browser whose form needs approval finds
// out by itself that it was approved, and sends what was, which is done once.
func TestPendingForm_APR_13_APR_14(t *testing.T) {
	for kind, test := range map[string]struct {
		button   string
		byItself bool // nobody presses the link of the first page
		want     string
	}{
		"urlencoded": {"Send urlencoded", true, "POST /pay/urlencoded?x=1&y[]=2 application/x-www-form-urlencoded "},
		"multipart":  {"Send multipart", false, "POST /pay/multipart multipart/form-data "},
		"nothing":    {"Send nothing", false, "POST /pay/empty application/x-www-form-urlencoded "},
		"get":        {"Send by GET", false, "GET /pay/get"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newPaySite(t)
			agent := p.submit(test.button)
			if test.byItself {
				agent.looksWell("asked")
			}
			at := p.waits(agent, test.byItself)
			if test.byItself {
				agent.looksWell("pending")
			}
			asked := p.decide(true)
			agent.see(at, "Approved, not done yet", "Send it now") // nobody has pressed anything
			agent.looksWell("approved-" + kind)
			other := agent.beside()
			other.open(at)
			other.see(at, "Send it now")

			agent.toFront()
			agent.press("Send it now: Pay out money")
			agent.see("/done", "Money was paid")
			fields, _ := fieldsOf(&http.Request{Header: http.Header{"Content-Type": {asked.ContentType}}, Body: io.NopCloser(strings.NewReader(string(asked.Body)))})
			want := asked.Method + " " + asked.Target + " " + fields
			if got := p.paid(); len(got) != 1 || got[0] != want || !strings.HasPrefix(want, test.want) {
				t.Errorf("paid:\n%q, want\n%q", got, want)
			}
			if by := p.by[0]; by != map[bool]string{true: " same-origin", false: p.url + " same-origin"}[kind == "get"] {
				t.Errorf("the handler is told that it comes from %q", by)
			}

			other.toFront()
			other.press("Send it now: Pay out money")
			other.until("the refusal", func(s state) bool { return strings.Contains(s.Text, "approval_used") })
			agent.toFront()
			agent.back()
			now := agent.until("where back leads", func(s state) bool { return agent.path(s) == at })
			if strings.Contains(now.Text, "Send it now") { // the browser has kept the page, whose nodes press does not find
				agent.run(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("main a, button")].find(e => e.textContent.startsWith("Send it now")).click()`))
				agent.until("the refusal", func(s state) bool { return strings.Contains(s.Text, "approval_used") })
			}
			agent.open(at)
			agent.see(at, "Approved and passed on")
			if kind == "urlencoded" {
				agent.looksWell("used")
			}
			if got := p.paid(); len(got) != 1 {
				t.Errorf("paid: %q", got)
			}
			for _, b := range []*tab{agent, other} {
				if errs := b.errors(); len(errs) > 0 {
					t.Errorf("the browser complains: %q", errs)
				}
			}
		})
	}
}

// TestPendingWords_APR_13: what the page cannot send, and what was denied, it says, and the way
// back leads to the form.
func TestPendingWords_APR_13(t *testing.T) {
	for button, test := range map[string]struct {
		approve bool
		want    string
	}{
		"Send a file":         {true, "This page cannot send it for you"},
		"Send what is denied": {false, "The account's owner has refused this request"},
	} {
		t.Run(button, func(t *testing.T) {
			t.Parallel()
			p := newPaySite(t)
			agent := p.submit(button)
			at := p.waits(agent, false)
			p.decide(test.approve)
			agent.see(at, test.want)
			agent.looksWell(map[bool]string{true: "by-yourself", false: "denied"}[test.approve])
			buttons, err := evaluate[int](agent, `document.querySelectorAll("form, button").length`)
			if err != nil || buttons != 0 {
				t.Errorf("%d buttons, %v", buttons, err)
			}
			agent.press("Back to where you came from")
			agent.see("/forms", "Pay")
			if got := fmt.Sprint(p.paid()); got != "[]" {
				t.Errorf("paid: %s", got)
			}
		})
	}
}
