package browsertest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// A look is a window and a preference for colours, and the rules that are checked in it.
// In the dark a page differs by its colours alone, which are the same wide and narrow.
type look struct {
	name   string
	width  int64
	scheme string
	rules  string
}

// A phone shows narrow by tall CSS pixels before anybody scrolls. A page is also laid out
// in reflow, to which a window of wide shrinks at 400 % (WCAG 1.4.10).
const (
	wide, narrow, reflow = 1280, 390, 320
	tall                 = 844
)

var looks = []look{
	{"wide-light", wide, "light", axeRules},
	{"wide-dark", wide, "dark", axeColours},
	{"narrow-light", narrow, "light", axeRules},
	{"narrow-dark", narrow, "dark", ""},
}

// wear makes the tab have this look.
func (b *tab) wear(l look) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(l.width, tall), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
		})
		return err
	}))
}

// stay is a header of the tab's requests. The sites of these tests answer it without
// Refresh, so that a page that goes on by itself can be looked at.
const stay = "X-Browsertest-Stay"

// speak makes the tab ask for this language, and stay where it is.
func (b *tab) speak(language string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(b.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"Accept-Language": language, stay: "1"},
		})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// fits finds what is wider than the window or sticks out of it, text that sticks out of
// its box, what is too small for a finger, and fields without a label.
const fits = `(() => {
	const wrong = [], root = document.scrollingElement, width = root.clientWidth
	const named = e => "<" + e.localName + (e.className ? "." + e.className : "") + "> " + e.textContent.trim().slice(0, 40)
	if (root.scrollWidth > width) wrong.push("the page is " + root.scrollWidth + " wide")
	const cut = e => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || cut(e.parentElement))
	for (const e of document.body.querySelectorAll("*")) {
		const box = e.getBoundingClientRect()
		if (box.width < 2 || box.height < 2 || cut(e)) continue
		if (box.right > width + 1 || box.left < -1) wrong.push("sticks out of the window: " + named(e))
		else if (e.clientWidth && e.scrollWidth > e.clientWidth + 1) wrong.push("its content sticks out: " + named(e))
	}
	for (const e of document.querySelectorAll("button, summary, .button, .auth-agent-button, nav a")) {
		const box = e.getBoundingClientRect()
		if (box.height > 0 && box.height < 43) wrong.push("only " + box.height + " high: " + named(e))
	}
	for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
		if (!e.labels.length) wrong.push("no label: " + e.name)
	}
	if (document.querySelectorAll("h1").length != 1) wrong.push("not one h1")
	return wrong
})()`

// misfits are what fits finds.
func (b *tab) misfits() []string { return found(b, fits) }

// below are the selectors of which something is not within the first so many CSS pixels
// of the page, or is nowhere.
func (b *tab) below(pixels int, selectors ...string) []string {
	b.t.Helper()
	var wrong []string
	for _, selector := range selectors {
		bottom := found(b, `[...document.querySelectorAll(`+strconv.Quote(selector)+`)].map(e => String(Math.ceil(e.getBoundingClientRect().bottom + scrollY)))`)
		if len(bottom) == 0 {
			wrong = append(wrong, selector+" is nowhere")
		}
		for _, y := range bottom {
			if n, err := strconv.Atoi(y); err != nil || n > pixels {
				wrong = append(wrong, selector+" ends at "+y)
			}
		}
	}
	return wrong
}

// weight is how many bytes the page's document has.
func (b *tab) weight() int {
	b.t.Helper()
	return ask[int](b, `performance.getEntriesByType("navigation")[0].decodedBodySize`)
}

// unfold opens what is folded, and returns whether there was something.
func (b *tab) unfold() bool {
	b.t.Helper()
	return len(found(b, `(() => {
	window.unfolded = [...document.querySelectorAll("details:not([open])")]
	return window.unfolded.map(e => { e.open = true; return "" })
})()`)) > 0
}

// fold closes again what unfold has opened.
func (b *tab) fold() {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](`window.unfolded.forEach(e => { e.open = false })`))
}

// found is what a script of the test's finds.
func found(b *tab, script string) []string {
	b.t.Helper()
	return ask[[]string](b, script)
}

// ask is evaluate for a page that does not go away.
func ask[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatalf("%v\nthe browser is at %s", err, b.where())
	}
	return value
}

// axeFile is axe-core, which package-lock.json pins.
const axeFile = "node_modules/axe-core/axe.min.js"

// axeSource returns axe-core, and skips the test where it is not installed.
func axeSource(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(axeFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("axe-core is not installed: run npm ci in internal/browsertest, or .ci/services (%v)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// The rules of WCAG 2.2 AA, and those that axe-core calls best practice. The rule about the
// size of targets is off by default. axeColours are those that depend on colours.
const (
	axeRules   = `runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], rules: {"target-size": {enabled: true}}`
	axeColours = `runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

// axeRun returns what axe-core finds by some rules.
func axeRun(rules string) string {
	return `axe.run(document, {` + rules + `, resultTypes: ["violations"]}).then(all => all.violations.flatMap(v => v.nodes.map(n =>
	v.id + " (" + v.tags.find(t => /^wcag\d{3}|^best/.test(t)) + ") " + n.target.join(" ") + ": " +
	[...n.any, ...n.all, ...n.none].map(c => c.message).join("; ") + ": " + n.html.slice(0, 160))))`
}

// axe returns what axe-core finds on the page. The protocol evaluates the script, so the
// page's policy does not forbid it.
func (b *tab) axe(source, rules string) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*patience)
	defer cancel()
	run := `(async () => { if (!window.axe) { ` + source + ` } return await ` + axeRun(rules) + ` })()`
	wrong, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(fmt.Errorf("axe-core: %w", err))
	}
	return wrong
}
