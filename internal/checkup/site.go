package checkup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/wire"
)

// A Site is what is asked of a site. Each request is one that the handler refuses
// before it does anything, in words that nobody else uses.
type Site struct {
	Address     string // scheme and host, and port if there is one
	RedirectURL string // has the host as browsers know it
	Issuer      string
	Resource    string // empty if no API is open

	Login, Callback, Logout string   // paths
	Discovery, Link         string   // paths; empty for none
	Owners                  []string // the paths of owners' pages

	// The codes of refusals.
	NotNavigation, Method, CrossOrigin string

	OwnAnswers bool // the site answers refused requests itself
}

// A mount is a path and what is expected there.
type mount struct {
	setting, handler, path string
	asks                   []ask
}

// An ask is one request. Of several, one that is answered will do: a site may mount
// one method, or have something in front of another.
type ask struct {
	method string
	header http.Header
	codes  []string // of the refusals that the handler gives; nil for the document
}

// mounts returns what is asked for. An image in another site's page starts and
// finishes no login. A form of an origin with another scheme is refused here, and not by
// [http.CrossOriginProtection] in front, which compares hosts.
func (s *Site) mounts(u *url.URL) []mount {
	scheme := "http"
	if u.Scheme == "http" {
		scheme = "https"
	}
	image := ask{http.MethodGet, http.Header{
		"Accept": {"application/json"}, "Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Site": {"cross-site"},
	}, []string{s.NotNavigation}}
	form := ask{http.MethodPost, http.Header{
		"Accept": {"application/json"}, "Origin": {scheme + "://" + u.Host},
	}, []string{s.CrossOrigin}}
	noForm := form
	noForm.codes = []string{s.Method}
	page := ask{http.MethodGet, http.Header{"Accept": {"*/*"}}, nil}
	all := []mount{
		{"Paths.Login", "LoginHandler", s.Login, []ask{form, image}},
		{"RedirectURL", "CallbackHandler", s.Callback, []ask{noForm, image}},
		{"Paths.Logout", "LogoutHandler", s.Logout, []ask{form}},
	}
	if s.Link != "" {
		all = append(all, mount{"Paths.Link", "LinkHandler", s.Link, []ask{form}})
	}
	if s.Discovery != "" {
		all = append(all, mount{"Paths.Discovery", "DiscoveryHandler", s.Discovery, []ask{page}})
	}
	for _, path := range s.Owners {
		all = append(all, mount{"Policy.Path", "grants.Handler", path, []ask{form}})
	}
	return all
}

// RunSite returns what is not mounted where it belongs. server sends the requests.
func RunSite(ctx context.Context, server *wire.Server, site Site) []Finding {
	const setting = "site"
	u, err := url.Parse(site.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return []Finding{faultAt(setting, "The address of the site is not that of a site.", `Give one like "https://shop.example".`)}
	}
	origin := u.Scheme + "://" + u.Host
	visits := []func() (*Finding, error){}
	for _, m := range site.mounts(u) {
		visits = append(visits, func() (*Finding, error) { return site.visit(ctx, server, origin, m) })
	}
	if site.Resource != "" {
		visits = append(visits, func() (*Finding, error) { return site.visitResource(ctx, server, origin) })
	}
	var findings []Finding
	for _, visit := range visits {
		f, err := visit()
		if err != nil {
			return append(findings, faultAt(setting, "The site cannot be reached: "+err.Error()+".", "See whether it runs, and whether the address is right."))
		}
		if f != nil {
			findings = append(findings, *f)
		}
	}
	return findings
}

// visit returns nil where the handler is there.
func (s *Site) visit(ctx context.Context, server *wire.Server, origin string, m mount) (*Finding, error) {
	var there *wire.Page // what says most
	for _, ask := range m.asks {
		p, err := server.Visit(ctx, "request to the site", ask.method, origin+m.path, ask.header.Clone())
		if err != nil {
			return nil, err
		}
		if s.answers(p, ask) {
			return nil, nil
		}
		if code, ok := problem(p); ok {
			f := faultAt(m.setting, fmt.Sprintf("Something of this package answers at %s, and not as %s does: %q.", m.path, m.handler, code),
				m.remedy()+" Put no guard in front of it. The site's log says more.")
			return &f, nil
		}
		if there == nil || !unclearStatus(there.Status) {
			there = p
		}
	}
	return missing(m, there.Status), nil
}

// missing is about a handler that is not where it belongs.
func missing(m mount, status int) *Finding {
	f := faultAt(m.setting, fmt.Sprintf("%s is not mounted at %s: the site answers with status %d.", m.handler, m.path, status), m.remedy())
	if unclearStatus(status) {
		f.Severity, f.Problem = slog.LevelWarn, fmt.Sprintf("Whether %s is mounted at %s cannot be told: the site answers with status %d.", m.handler, m.path, status)
		f.Remedy = "See what stands in front of it. " + f.Remedy
	}
	return &f
}

func (m mount) remedy() string {
	if m.setting == resourceSetting { // its path is not the site's to choose
		return fmt.Sprintf("Mount %s at %s, on the resource's host, or set %s to the API that is there.", m.handler, m.path, m.setting)
	}
	return fmt.Sprintf("Mount %s at %s, for the methods that its documentation says, or set %s to the path where it is.", m.handler, m.path, m.setting)
}

// unclearStatus reports whether a status is one of what stands in front of a handler.
func unclearStatus(status int) bool {
	return status >= 400 && status != http.StatusNotFound && status != http.StatusMethodNotAllowed
}

// answers reports whether a page is what the handler answers.
func (s *Site) answers(p *wire.Page, a ask) bool {
	if a.codes == nil {
		return p.Status == http.StatusOK && strings.Contains(strings.Join(p.Header["Link"], ","), `rel="authenticate"`)
	}
	if code, ok := problem(p); ok {
		return slices.Contains(a.codes, code)
	}
	return s.OwnAnswers && p.Status >= 400 && p.Status != http.StatusNotFound &&
		p.Header.Get("Cache-Control") == "no-store" && p.Header.Get("Referrer-Policy") == "no-referrer"
}

// codeForm is what the codes of this package look like.
var codeForm = regexp.MustCompile(`^[a-z_]{1,40}$`)

// problem returns the code of a refusal of this package.
func problem(p *wire.Page) (code string, ok bool) {
	media, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	var said struct {
		Code      string `json:"error"`
		RequestID string `json:"request_id"`
	}
	if media != "application/problem+json" || json.NewDecoder(bytes.NewReader(p.Body)).Decode(&said) != nil {
		return "", false
	}
	return said.Code, codeForm.MatchString(said.Code) && said.RequestID != ""
}
