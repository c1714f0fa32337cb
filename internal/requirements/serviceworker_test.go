package requirements_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// TestServiceWorker: what browsers send when a service worker of the site passes on
// the login and the callback, and what must not be taken for it.
func TestServiceWorker(t *testing.T) {
	const dest, mode, site = "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site"
	for _, test := range []struct {
		name             string
		header           []string
		starts, finishes bool
	}{
		{"WEB-13 Chromium, own page", []string{dest, "empty", mode, "navigate", site, "same-origin"}, true, true},
		{"WEB-13 Chromium, neighbour", []string{dest, "empty", mode, "navigate", site, "same-site"}, true, true},
		{"WEB-13 Chromium, another site", []string{dest, "empty", mode, "navigate", site, "cross-site"}, true, true},
		{"WEB-13 Chromium, preloaded", []string{dest, "document", mode, "navigate", site, "cross-site", "Service-Worker-Navigation-Preload", "true"}, true, true},
		{"WEB-13 Firefox", []string{dest, "empty", mode, "same-origin", site, "same-origin"}, true, true},
		{"WEB-14 fetch by own script", []string{dest, "empty", mode, "cors", site, "same-origin"}, true, false},
		{"WEB-14 fetch by a neighbour", []string{dest, "empty", mode, "cors", site, "same-site"}, false, false},
		{"WEB-14 fetch by another site", []string{dest, "empty", mode, "no-cors", site, "cross-site"}, false, false},
		{"WEB-14 mode same-origin, another site", []string{dest, "empty", mode, "same-origin", site, "cross-site"}, false, false},
		{"WEB-14 frame", []string{dest, "iframe", mode, "navigate", site, "same-origin"}, false, false},
		{"WEB-14 frame elsewhere with a worker", []string{dest, "empty", mode, "navigate", site, "cross-site", "Sec-Fetch-Storage-Access", "none"}, false, false},
		{"WEB-15 prefetch that a worker passes on", []string{dest, "empty", mode, "navigate", site, "same-origin", "Sec-Purpose", "prefetch"}, false, false},
		{"WEB-15 prerender that a worker passes on", []string{dest, "empty", mode, "navigate", site, "same-origin", "Sec-Purpose", "prefetch;prerender"}, false, false},
		{"WEB-15 X-Moz", []string{"X-Moz", "prefetch"}, false, false},
		{"WEB-15 X-Purpose", []string{"X-Purpose", "preview"}, false, false},
		{"WEB-15 Purpose preview", []string{"Purpose", "preview"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			login := b.Get(b.Browser(), "/auth/agent/login", test.header...)
			if test.starts != (login.StatusCode == http.StatusSeeOther) {
				t.Errorf("login: status %d %s", login.StatusCode, login.Text)
			}
			if started := len(b.Events.Named(audit.LoginStarted)) > 0; started != test.starts {
				t.Errorf("started: %t", started)
			}

			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, ""))
			if !test.finishes {
				b.MustRefuse(c, callback, problem.Reason("not_a_navigation"), test.header...)
				test.header = nil // nothing is used up
			}
			if resp := b.Get(c, callback, test.header...); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("callback: status %d %s", resp.StatusCode, resp.Text)
			}
		})
	}
}
