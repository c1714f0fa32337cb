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

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

var shots = flag.String("shots", "", "leave a picture of each page in this `directory`")

// A screen is a page in one state, and how to get there. One more page is one more row.
type screen struct {
	name      string
	languages []string   // that the page has
	in        *tab       // the browser that sees it
	path      string     // where it is
	do        func(*tab) // what leads there from path, if it is not there

	// Selectors of what a phone has to show before anybody scrolls, and how many bytes the
	// page may have. Zero values are not checked.
	first []string
	bytes int
}

// The languages of pages.
var (
	english = []string{"en"}
)

// TestPages looks at every page that the package shows to a person, in each of its languages, wide
// and narrow, light and dark. It checks the layout, the rules of WCAG 2.2 AA (axe-core)
// and the accessibility tree, which -update writes anew. With -shots DIR it leaves pictures.
func TestPages(t *testing.T) {
	source := axeSource(t)
	all := &named{files: make(map[string]bool)}
	groups := map[string]func(*testing.T) []screen{"package": packagePages}
	t.Cleanup(func() { all.check(t, len(groups)) })
	for name, pages := range groups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := pages(t)
			all.add(rows)
			for _, p := range rows {
				for _, language := range p.languages {
					t.Run(p.name+"/"+language, func(t *testing.T) {
						t.Parallel()
						p.look(t, language, source)
					})
				}
			}
		})
	}
}

// packagePages are the pages of this package, as they are without a template.
func packagePages(t *testing.T) []screen {
	h := newHouse(t)
	stranger, empty := newTab(t, h.url), h.owner(h.person("empty"))

	request := h.person("request")
	h.grant(request, "agent_7f3a9c52e1", grants.Pending)

	action := h.person("action")
	g := h.grant(action, "agent_b81d20c4aa", grants.Approved)
	h.asked(g, "action-form", grants.Pending, "/payouts", formType, "amount=120.00&currency=EUR&to=DE02120300000000202051&note=Invoice+2025%2F117")

	agent := h.person("agent")
	h.lives(h.grant(agent, "agent_0123456789abcdef0123456789abcdef0123456789abcdef", grants.Approved, "orders:create"))

	past := h.person("past")
	g = h.grant(past, "agent_past", grants.Approved, "orders:create", "orders:cancel")
	h.asked(g, "action-used", grants.Used, "/payouts", formType, "amount=1")
	h.asked(g, "action-denied", grants.Denied, "/payouts?order=4711", "application/json", `{"amount":2}`)
	for _, state := range []grants.State{grants.Denied, grants.Revoked, grants.Suspended} {
		h.grant(past, "agent_"+string(state), state)
	}

	all := h.person("all")
	h.grant(all, "agent_asks", grants.Pending)
	g = h.grant(all, "agent_acts", grants.Approved)
	h.lives(g)
	h.asked(g, "action-json", grants.Pending, "/orders/4711/cancel?refund=credit", "application/json", `{"reason":"wrong size","lines":[{"sku":"TEA-1","quantity":2}]}`)
	h.grant(all, "agent_was", grants.Revoked)

	acting := h.signedIn(h.grant(h.person("standing"), "agent_standing", grants.Approved, "orders:export"))
	h.site.Get(acting.client, "/export") // what is over the limit next time
	unknown := h.as.AddAgent(authagenttest.Agent{ID: "agent_unknown", Email: "nobody@example.com", Name: "Unknown"})

	const at = "/account/agents/"
	rows := []screen{
		{name: "owner-empty", in: empty, path: at},
		{name: "owner-request", in: h.owner(request), path: at},
		{name: "owner-action", in: h.owner(action), path: at},
		{name: "owner-agent", in: h.owner(agent), path: at + "?done=approved"},
		{name: "owner-past", in: h.owner(past), path: at},
		{name: "owner-all", in: h.owner(all), path: at},
		{name: "leave", in: empty, path: at, do: func(b *tab) {
			b.click(`form[action$="connect"] button`)
			b.see(at + "connect")
		}},

		{name: "standing-pending", in: acting.in, path: acting.standing(grants.Pending) + "?from=%2Fforms"},
		{name: "standing-approved", in: acting.in, path: acting.standing(grants.Approved) + "?from=%2Fforms"},
		{name: "standing-by-program", in: acting.in, path: acting.approved("application/json", `{"to":"DE02"}`)},
		{name: "standing-denied", in: acting.in, path: acting.standing(grants.Denied)},
		{name: "standing-used", in: acting.in, path: acting.standing(grants.Used)},

		{name: "refused-approval-needed", in: stranger, path: "/auth/agent/login", do: func(b *tab) {
			h.authenticate(b, unknown)
			b.see("/auth/agent/callback")
		}},
		{name: "refused-sign-in-required", in: stranger, path: "/forms", do: func(b *tab) {
			b.click(`form[action="/data"] button`)
			b.see("/data")
		}},
		{name: "refused-not-for-agents", in: acting.in, path: "/humans"},
		{name: "refused-approval-pending", in: acting.in, path: "/forms", do: func(b *tab) {
			b.click(`form[action^="/pay"] button`)
			b.see("/pay")
		}},
		{name: "refused-too-many", in: acting.in, path: "/export"},
		{name: "refused-no-such-sign-in", in: stranger, path: "/auth/agent/callback?code=a&state=b"},

		{name: "signed-out", in: stranger, path: "/signed-out"},
		{name: "signed-in", in: acting.in, path: "/signed-out"},
	}
	for i := range rows {
		rows[i].languages = english
	}
	return rows
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
	for _, l := range looks {
		b.wear(l)
		b.report(l.name, b.misfits())
		if l.width == narrow {
			b.report(l.name+", what has to be on the first screen", b.below(tall, p.first...))
		}
		b.keep(name + "-" + l.name)
		folded := b.unfold()
		if folded {
			b.report(l.name+", unfolded", b.misfits())
			b.keep(name + "-" + l.name + "-unfolded")
		}
		b.report(l.name+", axe-core", b.axe(axe))
		if folded {
			b.fold()
		}
	}
	b.wear(look{"reflow", reflow, "light"})
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
		for _, language := range p.languages {
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
