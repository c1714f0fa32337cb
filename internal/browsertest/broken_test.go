package browsertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// soundPage has nothing wrong; brokenPage has one fault for each check.
const (
	soundPage = `<!doctype html><html lang="en"><title>Sound</title><meta name="viewport" content="width=device-width"><main><h1>Sound</h1>
<p>Said in %s.</p><details><summary style="padding:1rem">More</summary><p>Folded</p></details><p><button style="height:44px">Go</button></p></main>`

	brokenPage = `<!doctype html><html lang="en"><title>Broken</title><meta name="viewport" content="width=device-width"><main><h1>Broken</h1>
<p>Said in %s.</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" width="40" height="40">
<p class="pale" style="color:#999;background:#fff">Pale</p>
<div style="width:1500px">Wide</div>
<details><summary style="padding:1rem">More</summary><p class="folded" style="color:#999;background:#fff">Folded and pale</p></details>
<p><button style="width:18px;height:18px;padding:0;border:0;font-size:8px">a</button><button style="width:18px;height:18px;padding:0;border:0;font-size:8px">b</button></p>
<p id="deep" style="margin-top:900px">Deep</p></main>`
)

// TestChecksFind: each check of TestPages finds what is wrong, and finds nothing on a page
// on which nothing is. The page's policy allows no script, and is no hindrance.
func TestChecksFind(t *testing.T) {
	source := axeSource(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'")
		page := soundPage
		if r.URL.Path == "/broken" {
			page = brokenPage
		}
		fmt.Fprintf(w, page, r.Header.Get("Accept-Language"))
	}))
	t.Cleanup(site.Close)
	b := newTab(t, site.URL)
	b.speak("de")

	b.open("/sound")
	b.wear(looks[2])
	sound := b.describe()
	b.unfold()
	if wrong := slices.Concat(b.misfits(), b.axe(source, axeRules), b.below(tall, "h1", "button"), b.errors()); len(wrong) > 0 {
		t.Errorf("on a sound page: %q", wrong)
	}
	if n := b.weight(); n != len(soundPage)-len("%s")+len("de") {
		t.Errorf("a page of %d bytes has %d", len(soundPage), n)
	}
	const want = `page "Sound"
  main
    heading "Sound" [level=1]
    paragraph: "Said in de."
    group
      summary "More" [collapsed]
      paragraph: "Folded"
    paragraph
      button "Go"
`
	if sound != want {
		t.Errorf("the tree is\n%s", sound)
	}

	b.open("/broken")
	if tree := b.describe(); !strings.Contains(tree, "    image\n") {
		t.Errorf("the tree has no image without a name:\n%s", tree)
	}
	b.unfold()
	all := strings.Join(slices.Concat(b.misfits(), b.axe(source, axeRules), b.below(tall, "h1", "#deep", "#nowhere")), "\n")
	for _, want := range []string{
		"the page is 1", "sticks out of the window: <div>", "only 18 high: <button> a", // fits
		"image-alt (wcag111) img", "color-contrast (wcag143) .pale", "color-contrast (wcag143) .folded", "target-size (wcag258) button", // axe
		"#deep ends at ", "#nowhere is nowhere",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing finds %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "h1 ends at") {
		t.Errorf("the heading is not on the first screen:\n%s", all)
	}
}

// TestStay: a page that goes on by itself does not where somebody wants to look at it.
func TestStay(t *testing.T) {
	h := stayWhere(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Refresh", "0;url=/elsewhere")
		io.WriteString(w, "here")
	}))
	for header, want := range map[string]string{"": "0;url=/elsewhere", stay: ""} {
		r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		if header != "" {
			r.Header.Set(header, "1")
		}
		h.ServeHTTP(w, r)
		if got := w.Result().Header.Get("Refresh"); got != want {
			t.Errorf("with %q: Refresh %q, want %q", header, got, want)
		}
	}
}
