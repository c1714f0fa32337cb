package browsertest_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "leave a picture of each page in this `directory`")

// A screen is a page in one state, and how to get there. One more page is one more row.
type screen struct {
	name string
	in   *tab       // the browser that sees it
	path string     // where it is
	do   func(*tab) // what leads there from path, if it is not there

	// Selectors of what a phone has to show before anybody scrolls, and how many bytes the
	// page may have. Zero values are not checked.
	first []string
	bytes int
}

// languages are those of every page.
var languages = []string{"en", "de"}

// TestPages looks at every page that the package shows to a person, in each language, wide
// and narrow, light and dark. It checks the layout, the rules of WCAG 2.2 AA (axe-core)
// and the accessibility tree, which -update writes anew. With -shots DIR it leaves pictures.
func TestPages(t *testing.T) {
	source := axeSource(t)
	all := &named{files: make(map[string]bool)}
	groups := map[string]func(*testing.T) []screen{"owner": ownerPages, "list": listPages, "agent": agentPages, "framed": framedPages, "confirm": confirmPages, "allow": allowPages}
	t.Cleanup(func() { all.check(t, len(groups)) })
	for name, pages := range groups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := pages(t)
			all.add(rows)
			for _, p := range rows {
				for _, language := range languages {
					t.Run(p.name+"/"+language, func(t *testing.T) {
						t.Parallel()
						p.look(t, language, source)
					})
				}
			}
		})
	}
}

// look checks the page in one language.
func (p screen) look(t *testing.T, language, axe string) {
	b := open(t, p.in.shop, p.in.ctx)
	b.speak(language)
	b.open(p.path)
	if p.do != nil {
		p.do(b)
	}
	if got := found(b, `[document.documentElement.lang]`)[0]; got != language {
		t.Errorf("the page says that it is in %q", got)
	}
	if n := b.weight(); p.bytes > 0 && n > p.bytes {
		t.Errorf("the page has %d bytes, more than %d", n, p.bytes)
	}
	b.wear(looks[0])
	name := p.name + "." + language
	b.golden(name, b.describe())
	if *update && *shots == "" { // the checks are for the next run
		return
	}
	for _, l := range looks {
		b.wear(l)
		b.keep(name + "-" + l.name)
		b.report(l.name, b.misfits())
		if l.width == narrow {
			b.report(l.name+", what has to be on the first screen", b.below(tall, p.first...))
		}
		folded := b.unfold()
		if folded {
			b.report(l.name+", unfolded", b.misfits())
			b.keep(name + "-" + l.name + "-unfolded")
		}
		if rules := l.rules; rules != "" {
			b.report(l.name+", axe-core", b.axe(axe, rules))
		}
		if folded {
			b.fold()
		}
	}
	b.wear(look{"reflow", reflow, "light", ""})
	b.unfold()
	b.report("reflow", b.misfits())
	b.report("the browser complains", b.errors())
}

// report reports what is wrong, if something is.
func (b *tab) report(what string, wrong []string) {
	b.t.Helper()
	if len(wrong) > 0 {
		b.t.Errorf("%s:\n\t%s", what, strings.Join(wrong, "\n\t"))
	}
}

// keep leaves a picture of the page, if somebody wants to look at it.
func (b *tab) keep(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// named are the files that the pages have.
type named struct {
	mu     sync.Mutex
	groups int
	files  map[string]bool
}

func (n *named) add(rows []screen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups++
	for _, p := range rows {
		for _, language := range languages {
			n.files[p.name+"."+language+".txt"] = true
		}
	}
}

// check finds files of pages that are no more, unless some groups were left out.
func (n *named) check(t *testing.T, groups int) {
	files, err := os.ReadDir(trees)
	if err != nil || n.groups < groups {
		return
	}
	for _, f := range slices.DeleteFunc(files, func(f os.DirEntry) bool { return n.files[f.Name()] }) {
		if path := filepath.Join(trees, f.Name()); *update {
			os.Remove(path)
		} else {
			t.Errorf("%s is of no page (-update removes it)", path)
		}
	}
}
