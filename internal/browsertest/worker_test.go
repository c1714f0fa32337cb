package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"
)

// Service workers that sites have.
const (
	passing = `self.addEventListener("fetch", event => event.respondWith(fetch(event.request)))`

	preloading = `self.addEventListener("activate", event => event.waitUntil(self.registration.navigationPreload.enable()))
self.addEventListener("fetch", event => event.respondWith(
	(async () => await event.preloadResponse || fetch(event.request))()))`

	leavingAlone = `addEventListener("fetch", event => {
	const path = new URL(event.request.url).pathname
	if (event.request.method !== "GET" || path.startsWith("/auth/agent/")) return
	event.respondWith(fetch(event.request))
})`
)

// withWorker returns the files of a shop with a service worker. A page that loads
// /worker, or has it in a frame, shows "ready" when the worker is in charge of it.
func withWorker(script string) map[string]file {
	return map[string]file{
		"/worker.js": {"text/javascript", `self.addEventListener("install", () => self.skipWaiting())
self.addEventListener("activate", event => event.waitUntil(clients.claim()))
` + script},
		"/worker": {"text/html", `<!doctype html><title>Worker</title><body><script>
(async () => {
	await navigator.serviceWorker.register("/worker.js")
	if (!navigator.serviceWorker.controller)
		await new Promise(claimed => navigator.serviceWorker.addEventListener("controllerchange", claimed))
	await navigator.serviceWorker.ready
	document.body.append("ready")
	parent.postMessage("ready", "*")
})()
</script>`},
	}
}

// elsewhere returns the URL of another site with this page.
func elsewhere(t *testing.T, page string) string {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Another site</title>"+page)
	}))
	t.Cleanup(other.Close)
	return other.URL
}

// TestServiceWorker_WEB_13: an agent signs in where the site's service worker has
// every request of the browser, from the site's own page and by another site's link.
func TestServiceWorker_WEB_13(t *testing.T) {
	for _, test := range []struct {
		name, script  string
		dest, preload string // what the worker makes of Sec-Fetch-Dest and of the header for preloads
	}{
		{"passed on", passing, "empty", ""},
		{"preloaded", preloading, "document", "true"},
		{"left to the browser", leavingAlone, "document", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShopAt(t, "localhost", withWorker(test.script))
			other := elsewhere(t, `<a href="`+s.url+`/auth/agent/login">Sign in at the shop</a>`)
			alice, agent := s.signIn(), newTab(t, s.url)
			agent.open("/worker")
			agent.see("/worker", "ready")

			s.enter(agent, "/orders")
			agent.see("/auth/agent/callback", "approval_needed")
			s.approve(alice)
			agent.run(chromedp.Navigate(other))
			agent.press("Sign in at the shop")
			s.authenticate(agent, s.agent)
			agent.see("/", "agent_alice acts here for Alice")
			agent.press("Sign the agent out")
			agent.see("/", "Sign in")
			s.enter(agent, "/orders")
			agent.see("/orders", "agent_alice acts here for Alice")

			for path, n := range map[string]int{"/auth/agent/login": 3, "/auth/agent/callback": 3} {
				visits := s.visited(path)
				if len(visits) != n {
					t.Errorf("%d requests to %s, want %d", len(visits), path, n)
				}
				for _, v := range visits {
					if dest, preload := v.header.Get("Sec-Fetch-Dest"), v.header.Get("Service-Worker-Navigation-Preload"); dest != test.dest || preload != test.preload {
						t.Errorf("%s did not come as it does from this worker: Sec-Fetch-Dest %q, Service-Worker-Navigation-Preload %q", path, dest, preload)
					}
				}
			}
		})
	}
}

// TestFrameWithWorker_WEB_14: a page of another site has the login and the callback
// in a frame. The shop's worker is in charge of the frame, and passes them on.
func TestFrameWithWorker_WEB_14(t *testing.T) {
	s := newShopAt(t, "localhost", withWorker(passing))
	b := newTab(t, s.url)
	b.run(chromedp.Navigate(elsewhere(t, `<iframe></iframe><script>
const frame = document.querySelector("iframe"), rest = ["/auth/agent/login", "/auth/agent/callback?code=a&state=b", "/worker"]
let at = 0
const next = () => { if (at < rest.length) frame.src = "`+s.url+`" + rest[at++]; else document.body.append("done") }
addEventListener("message", () => { frame.onload = next; next() }, {once: true})
frame.src = "`+s.url+`/worker"
</script>`)))
	b.until("the end", func(now state) bool { return now.Text == "done" })
	for _, path := range []string{"/auth/agent/login", "/auth/agent/callback"} {
		visits := s.visited(path)
		if len(visits) != 1 {
			t.Fatalf("%d requests to %s", len(visits), path)
		}
		if h := visits[0].header; h.Get("Sec-Fetch-Dest") != "empty" || h.Get("Sec-Fetch-Mode") != "navigate" {
			t.Errorf("%s did not come from the worker: %v", path, h)
		}
		if visits[0].status != http.StatusForbidden {
			t.Errorf("%s: status %d", path, visits[0].status)
		}
	}
}
