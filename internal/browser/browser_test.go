package browser_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/browser"
)

// A purpose is why a request was sent.
type purpose string

const (
	opened     purpose = "opened by somebody, or sent by a program"
	self       purpose = "fetched by the site's own code"
	embedded   purpose = "embedded in a page, or fetched by a script of another site"
	prefetched purpose = "loaded in case somebody opens it"
)

func purposeOf(r *http.Request) purpose {
	switch {
	case browser.Prefetched(r):
		return prefetched
	case !browser.Embedded(r):
		return opened
	case browser.FetchedBySelf(r):
		return self
	}
	return embedded
}

// request returns a request with the Fetch Metadata headers that are written in
// short: "dest=image site=same-origin".
func request(short string) *http.Request {
	r := &http.Request{Method: http.MethodGet, Header: make(http.Header)}
	for field := range strings.FieldsSeq(short) {
		name, value, _ := strings.Cut(field, "=")
		r.Header.Add("Sec-Fetch-"+name, value)
	}
	return r
}

// TestPurpose: each combination of Fetch Metadata that browsers and programs send,
// and where it comes from. Those of Chromium 156, Firefox 153 and Node 20 were read
// from what they sent to a server; the others are as their specifications have them.
func TestPurpose(t *testing.T) {
	for _, test := range []struct {
		name, headers string
		want          purpose
	}{
		{"REQ-7 program without Fetch Metadata", "", opened},
		{"REQ-7 fetch of Node", "mode=cors", opened},
		{"REQ-7 fetch of Node with mode no-cors", "mode=no-cors", opened},
		{"REQ-7 Chromium 76 to 79, link", "mode=navigate site=cross-site user=?1", opened},

		{"REQ-7 typed address, bookmark", "dest=document mode=navigate site=none user=?1", opened},
		{"REQ-7 link on a page of the site", "dest=document mode=navigate site=same-origin user=?1", opened},
		{"REQ-7 link on a page of a neighbour", "dest=document mode=navigate site=same-site user=?1", opened},
		{"REQ-7 link on a page of another site", "dest=document mode=navigate site=cross-site user=?1", opened},
		{"REQ-7 script that leads a page on, redirect by the site", "dest=document mode=navigate site=same-origin", opened},
		{"REQ-7 redirect by a neighbour", "dest=document mode=navigate site=same-site", opened},
		{"REQ-7 redirect by the authorization server", "dest=document mode=navigate site=cross-site", opened},

		{"WEB-13 Chromium, worker passes on a typed address or a link of the site", "dest=empty mode=navigate site=same-origin", opened},
		{"WEB-13 Chromium, worker passes on a neighbour's link or redirect", "dest=empty mode=navigate site=same-site", opened},
		{"WEB-13 Chromium, worker passes on another site's link or redirect", "dest=empty mode=navigate site=cross-site", opened},
		{"WEB-13 specification, worker passes on a typed address", "dest=empty mode=navigate site=none", opened},
		{"WEB-13 specification, worker passes on what a click opens", "dest=empty mode=navigate site=cross-site user=?1", opened},
		{"WEB-13 older Safari, worker passes on without Sec-Fetch-Site", "dest=empty mode=navigate", opened},
		{"WEB-13 worker passes on a frame of the site or a neighbour", "dest=empty mode=navigate site=same-site", opened},
		{"WEB-13 every browser, worker changes what it passes on", "dest=empty mode=same-origin site=same-origin", opened},
		{"WEB-13 Firefox, worker passes on whatever is opened", "dest=empty mode=same-origin site=same-origin", opened},

		{"WEB-14 frame in a page of the site", "dest=iframe mode=navigate site=same-origin", embedded},
		{"WEB-14 frame in a page of a neighbour", "dest=iframe mode=navigate site=same-site", embedded},
		{"WEB-14 frame in a page of another site", "dest=iframe mode=navigate site=cross-site Storage-Access=none", embedded},
		{"WEB-14 frame that a click leads on", "dest=iframe mode=navigate site=cross-site user=?1", embedded},
		{"WEB-14 frame of a frameset", "dest=frame mode=navigate site=same-origin", embedded},
		{"WEB-14 fenced frame", "dest=fencedframe mode=navigate site=cross-site", embedded},
		{"WEB-14 object", "dest=object mode=navigate site=same-origin", embedded},
		{"WEB-14 embed", "dest=embed mode=navigate site=cross-site Storage-Access=none", embedded},
		{"WEB-14 Chromium, worker of a frame in a page of another site", "dest=empty mode=navigate site=cross-site Storage-Access=none", embedded},
		{"WEB-14 the same with access to its storage", "dest=empty mode=navigate site=cross-site Storage-Access=active", embedded},

		{"WEB-14 image", "dest=image mode=no-cors site=cross-site Storage-Access=none", embedded},
		{"WEB-14 image of the site", "dest=image mode=no-cors site=same-origin", embedded},
		{"WEB-14 image with crossorigin", "dest=image mode=cors site=cross-site", embedded},
		{"WEB-14 script", "dest=script mode=no-cors site=same-site", embedded},
		{"WEB-14 style", "dest=style mode=no-cors site=same-origin", embedded},
		{"WEB-14 font", "dest=font mode=cors site=cross-site", embedded},
		{"WEB-14 video", "dest=video mode=no-cors site=cross-site", embedded},
		{"WEB-14 track", "dest=track mode=same-origin site=same-origin", embedded},
		{"WEB-14 manifest", "dest=manifest mode=cors site=same-origin", embedded},
		{"WEB-14 worker", "dest=worker mode=same-origin site=same-origin", embedded},
		{"WEB-14 service worker's script", "dest=serviceworker mode=same-origin site=same-origin", embedded},
		{"WEB-14 report", "dest=report mode=no-cors site=same-origin", embedded},
		{"WEB-14 destination that is not known yet", "dest=hologram mode=navigate site=same-origin", embedded},

		{"WEB-14 fetch by a script of another site", "dest=empty mode=cors site=cross-site", embedded},
		{"WEB-14 fetch by a script of a neighbour", "dest=empty mode=cors site=same-site", embedded},
		{"WEB-14 fetch with mode no-cors by another site", "dest=empty mode=no-cors site=cross-site Storage-Access=none", embedded},
		{"WEB-14 fetch with mode no-cors by a neighbour", "dest=empty mode=no-cors site=same-site", embedded},
		{"WEB-14 never sent, mode same-origin from another site", "dest=empty mode=same-origin site=cross-site", embedded},
		{"WEB-14 never sent, mode same-origin from a neighbour", "dest=empty mode=same-origin site=same-site", embedded},
		{"WEB-14 WebSocket", "dest=websocket mode=websocket site=cross-site", embedded},
		{"WEB-14 WebSocket without a destination", "dest=empty mode=websocket site=cross-site", embedded},

		{"REQ-7 fetch by a page of the site, worker that fetches event.request.url", "dest=empty mode=cors site=same-origin", self},
		{"REQ-7 fetch with mode no-cors by a page of the site", "dest=empty mode=no-cors site=same-origin", self},
		{"REQ-7 worker passes on an image of the site, and in Firefox a prefetch", "dest=empty mode=no-cors site=same-origin", self},
		{"REQ-7 older Safari, fetch without Sec-Fetch-Site", "dest=empty mode=cors", self},
		{"REQ-7 older Safari, mode same-origin", "dest=empty mode=same-origin", self},
		{"REQ-7 destination alone", "dest=empty", self},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := purposeOf(request(test.headers)); got != test.want {
				t.Errorf("%s: %s; want: %s", test.headers, got, test.want)
			}
		})
	}
}

// TestPrefetched: what says that nobody has opened the page yet, beside Fetch
// Metadata that would say that somebody has.
func TestPrefetched(t *testing.T) {
	const (
		page   = "dest=document mode=navigate site=none"
		worker = "dest=empty mode=navigate site=same-origin"
	)
	for _, test := range []struct {
		name, fetch string
		headers     []string
		want        bool
	}{
		{"WEB-15 Chromium, link", "dest=empty mode=no-cors site=same-origin", []string{"Sec-Purpose", "prefetch"}, true},
		{"WEB-15 Chromium, prefetch by rule", page, []string{"Sec-Purpose", "prefetch"}, true},
		{"WEB-15 Chromium, prerender by rule", page, []string{"Sec-Purpose", "prefetch;prerender"}, true},
		{"WEB-15 Chromium, prefetch by way of a proxy", page, []string{"Sec-Purpose", "prefetch;anonymous-client-ip"}, true},
		{"WEB-15 Chromium, worker passes on a prefetch", worker, []string{"Sec-Purpose", "prefetch"}, true},
		{"WEB-15 Chromium, worker passes on a prerender", worker, []string{"Sec-Purpose", "prefetch;prerender"}, true},
		{"WEB-15 prerender with a space", page, []string{"Sec-Purpose", "prefetch; prerender"}, true},
		{"WEB-15 prerender alone", page, []string{"Sec-Purpose", "prerender"}, true},
		{"WEB-15 older Chromium", page, []string{"Purpose", "prefetch"}, true},
		{"WEB-15 older Safari", "", []string{"Purpose", "preview"}, true},
		{"WEB-15 older Safari, X-Purpose", "", []string{"X-Purpose", "preview"}, true},
		{"WEB-15 X-Purpose prefetch", "", []string{"X-Purpose", "prefetch"}, true},
		{"WEB-15 older Firefox", page, []string{"X-Moz", "prefetch"}, true},
		{"WEB-15 capitals", page, []string{"Purpose", "Prefetch"}, true},
		{"WEB-15 capitals, X-Purpose", page, []string{"X-Purpose", "PREVIEW"}, true},
		{"WEB-15 second line", page, []string{"Sec-Purpose", "other", "Sec-Purpose", "prefetch"}, true},
		{"WEB-15 second line, X-Moz", page, []string{"X-Moz", "", "X-Moz", "prefetch"}, true},
		{"WEB-15 list", page, []string{"Purpose", "other, prefetch"}, true},
		{"WEB-15 list with parameters", page, []string{"Sec-Purpose", `other;a="b", prefetch;prerender;x=1`}, true},

		{"WEB-13 no purpose", page, nil, false},
		{"WEB-13 empty purpose", page, []string{"Purpose", "", "X-Moz", ""}, false},
		{"WEB-13 another purpose", page, []string{"Sec-Purpose", "other"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(test.fetch)
			for i := 0; i < len(test.headers); i += 2 {
				r.Header.Add(test.headers[i], test.headers[i+1])
			}
			if got := browser.Prefetched(r); got != test.want {
				t.Errorf("%v: %t", r.Header, got)
			}
		})
	}
}

// TestOddOrigin: an Origin that is no URL is another origin's.
func TestOddOrigin(t *testing.T) {
	for origin, want := range map[string]bool{"https://shop.example": false, "https://shop.example:443": false, "http://%zz": true, "null": true, "": true} {
		r := &http.Request{Method: http.MethodPost, Header: http.Header{"Origin": {origin}}}
		if got := browser.CrossOrigin(r, "https://shop.example"); got != want {
			t.Errorf("Origin %q: %v, want %v", origin, got, want)
		}
	}
}
