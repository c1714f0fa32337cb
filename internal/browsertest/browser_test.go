package browsertest_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// chromium is the browser, nil if there is none here.
var chromium context.Context

func TestMain(m *testing.M) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if file, err := exec.LookPath(name); err == nil {
			os.Exit(withBrowser(m, file))
		}
	}
	os.Exit(m.Run())
}

func withBrowser(m *testing.M, file string) int {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(file),
		chromedp.NoSandbox, // its sandbox does not run as root, and no page of a stranger is opened
		chromedp.Flag("disable-dev-shm-usage", true))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "the browser does not start:", err)
		return 1
	}
	chromium = ctx
	return m.Run()
}

// patience is how long a test waits for what it waits for.
const patience = 30 * time.Second

// A tab is one of a browser, whose cookies it has.
type tab struct {
	t    *testing.T
	ctx  context.Context
	shop string // its URL

	mu       sync.Mutex
	messages []string // errors that the browser has written to the console
}

// newTab opens a browser of its own.
func newTab(t *testing.T, shop string) *tab {
	t.Helper()
	if chromium == nil {
		t.Skip("no Chromium is installed: chromium, chromium-browser, google-chrome and headless-shell are not there")
	}
	return open(t, shop, chromium, chromedp.WithNewBrowserContext())
}

// beside opens another tab of the same browser.
func (b *tab) beside() *tab { return open(b.t, b.shop, b.ctx) }

func open(t *testing.T, shop string, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, shop: shop}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would be the tab's
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.messages = append(b.messages, e.Entry.Text)
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// errors are what the browser complained about: things that a policy forbids,
// broken scripts.
func (b *tab) errors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.messages
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\nthe browser is at %s", err, b.where())
	}
}

// evaluate runs a script of the test's in the page.
func evaluate[T any](b *tab, script string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](script))
}

// open goes to a path of the shop, as by the address bar.
func (b *tab) open(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.shop + path))
}

// fill types into fields, by their IDs.
func (b *tab) fill(fields ...string) {
	b.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		b.run(chromedp.SendKeys(chromedp.CSS("#"+fields[i]), fields[i+1]))
	}
}

// click clicks what the selector finds first, with the mouse.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

// press clicks the button or link that has this text.
func (b *tab) press(text string) {
	b.t.Helper()
	b.run(chromedp.Click(fmt.Sprintf(`//*[(self::button or self::a or self::summary) and normalize-space(.)=%q]`, text)))
}

// pressButton is press for a button where a link has the same text.
func (b *tab) pressButton(text string) {
	b.t.Helper()
	b.run(chromedp.Click(fmt.Sprintf(`//button[normalize-space(.)=%q]`, text)))
}

// back goes back as by the browser's button.
func (b *tab) back() {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](`history.back()`))
}

func (b *tab) reload() {
	b.t.Helper()
	b.run(chromedp.Reload())
}

// state is where the tab is, and what there is to read.
type state struct{ URL, Text, Ready string }

// where returns the state of the tab; empty while it goes from one page to the next.
func (b *tab) where() state {
	s, err := evaluate[state](b, `({URL: location.href, Text: document.body ? document.body.innerText : "", Ready: document.readyState})`)
	if err != nil {
		return state{}
	}
	return s
}

// path is the path at the shop that the tab is at; the whole URL if it is elsewhere.
func (b *tab) path(s state) string {
	path, here := strings.CutPrefix(s.URL, b.shop)
	if u, err := url.Parse(path); here && err == nil {
		return u.Path
	}
	return s.URL
}

// see waits until the tab is at this path of the shop and shows these texts.
func (b *tab) see(path string, texts ...string) state {
	b.t.Helper()
	return b.until(fmt.Sprintf("%s with %q", path, texts), func(s state) bool {
		for _, text := range texts {
			if !strings.Contains(s.Text, text) {
				return false
			}
		}
		return b.path(s) == path
	})
}

func (b *tab) until(what string, ok func(state) bool) (s state) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if s = b.where(); s.Ready == "complete" && ok(s) {
			return s
		}
	}
	b.t.Fatalf("the browser does not show %s; it is at %s and shows:\n%s", what, s.URL, s.Text)
	return s
}

// requestID waits for the waiting page of the authorization server, and reads from
// it what an agent reads.
func (b *tab) requestID() string {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		id, err := evaluate[string](b, `window.authRequest ? window.authRequest.request_id : ""`)
		if err == nil && id != "" {
			return id
		}
	}
	b.t.Fatalf("no waiting page: %+v", b.where())
	return ""
}

// history are the URLs that the back button leads through, and on to.
func (b *tab) history() (urls []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	all, err := chromedp.Run(ctx, chromedp.NavigationEntries())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range all.Entries {
		urls = append(urls, e.URL)
	}
	return urls
}
