package authagenttest

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A request is one that the agent sends to the site to sign in.
type request struct {
	method, url string
	from        string // the page that it comes from; empty for none
}

// do sends the request as a browser does: it wants a page, where the button is. A POST
// is that of an empty form, and says where it comes from, for sites that take it from
// their own pages only.
func (q request) do(ctx context.Context, client *http.Client) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html, */*;q=0.8")
	if q.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "null")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if page, err := url.Parse(q.from); err == nil && origin(page) == origin(req.URL) {
			req.Header.Set("Origin", origin(page))
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	return client.Do(req)
}

// maxHops is how many answers of a site may point to the sign-in, one after another:
// a refusal to a page, the page to its button, and a GET to the POST that is taken.
const maxHops = 3

// wayIn returns the request that an answer of the site points to: the same as a POST,
// where GET is not taken; the button in a page, which is a link, or a form where sign-in
// takes POST only; or a link to the sign-in, as refusals have it.
func wayIn(asked request, resp *http.Response) (next request, ok bool) {
	page := resp.Request.URL.String()
	if resp.StatusCode == http.StatusMethodNotAllowed && resp.Request.Method == http.MethodGet &&
		strings.Contains(resp.Header.Get("Allow"), http.MethodPost) {
		return request{http.MethodPost, page, page}, true
	}
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusUnauthorized {
		return request{}, false // refused for good; a link in it is for another time
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what there is of it
	method, target, ok := button(string(body))
	if link := signInLink.FindStringSubmatch(strings.Join(resp.Header["Link"], ", ")); !ok && link != nil {
		method, target, ok = http.MethodGet, link[1], true
	}
	if !ok {
		return request{}, false
	}
	u, err := resp.Request.URL.Parse(target)
	if err != nil {
		return request{}, false
	}
	u.Fragment = ""
	next = request{method, u.String(), page}
	return next, next.method != asked.method || next.url != asked.url && next.url != page
}

// How the button of authagent looks: by the attribute that Auth Agent's own button has too.
var (
	signInLink   = regexp.MustCompile(`<([^>]*)>[^,]*;\s*rel="?[^",]*\bauthenticate\b`)
	signInButton = regexp.MustCompile(`<a\s[^>]*\bdata-auth-agent-button="true"[^>]*>|` +
		`(<form\s[^>]*>)\s*<button\s[^>]*\bdata-auth-agent-button="true"`)
	buttonTarget = regexp.MustCompile(`\s(?:href|action)="([^"]*)"`)
	isPost       = regexp.MustCompile(`(?i)\smethod="post"`)
)

// button returns what the first button in a page does.
func button(page string) (method, target string, ok bool) {
	found := signInButton.FindStringSubmatch(page)
	if found == nil {
		return "", "", false
	}
	method, tag := http.MethodGet, found[0]
	if found[1] != "" {
		tag = found[1]
	}
	if isPost.MatchString(tag) {
		method = http.MethodPost
	}
	if to := buttonTarget.FindStringSubmatch(tag); to != nil {
		target = html.UnescapeString(to[1])
	}
	return method, target, true
}
