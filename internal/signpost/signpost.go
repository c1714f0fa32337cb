// Package signpost tells an agent that comes to a site where it can sign in: by
// a button in a page, by header fields, and by a document. All of them are made
// from the relying party's settings, so that they say the same, and of constant
// texts: an agent takes what it reads for an instruction.
package signpost

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/wiring"
)

// DefaultLabel is what agents are told to look for.
const DefaultLabel = "Sign in with Auth Agent"

// A Site is what there is to say.
type Site struct {
	Origin     string // "https://shop.example"
	LoginPath  string
	LogoutPath string
	LinkPath   string // where the API's agents get an address for a browser
	Discovery  string // the path of the document; empty for none
	POST       bool   // sign-in takes POST only
	Issuer     string
	Scenario   string // its name
	Access     string // "none", "read" or "full"; empty where it is not known
	Owner      bool   // the agent acts for somebody who has an account
	ByUser     bool   // the server's tokens name the user for whom the agent acts
	People     bool   // people sign in by the same client
	Label      string // what the button says; empty for DefaultLabel
	Resource   Resource
	Problems   []Problem

	// Scopes says what each scope of the server allows. Nil means that scopes limit nothing.
	Scopes map[string]Scope

	// Actions returns the names of the actions whose routes a kind of guard guards,
	// one of package wiring. Routes are mounted after the site is there, and so it is
	// called for each document. Nil means that there are none.
	Actions func(guard string) []string
}

// actions returns what there is to say of actions: nothing to agents that have no owner
// who could allow or approve one, and nothing of an action that no scope allows.
func (s *Site) actions(guard string) []string {
	if s.Actions == nil || s.Access == "none" {
		return nil
	}
	actions := s.Actions(guard)
	if !s.scopesAllowAll() {
		actions = slices.DeleteFunc(slices.Clone(actions), func(name string) bool { return !s.scopesAllow(name) })
	}
	return actions
}

// A Problem is a refusal that an agent may meet.
type Problem struct {
	Code, Title, Detail string
	Status              int
}

// Says is what the button says.
func (s *Site) Says() string { return cmp.Or(s.Label, DefaultLabel) }

// Host is the site's, by which it is named.
func (s *Site) Host() string { return s.Origin[strings.Index(s.Origin, "://")+3:] }

// LoginURL is where to sign in.
func (s *Site) LoginURL() string { return s.Origin + s.LoginPath }

// escapeHeader leaves nothing in a path that would end a quoted string or a link.
var escapeHeader = strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E")

// Challenges are the values of WWW-Authenticate, which RFC 9110 section 15.5.2
// demands with every 401. The scheme AuthAgent is this package's own; clients skip schemes
// that they do not know (section 11.6.1). Some look only at the first.
func (s *Site) Challenges() []string {
	if s.Resource.ID != "" {
		return []string{s.Resource.Challenge("", nil), s.signIn()}
	}
	return []string{s.signIn()}
}

func (s *Site) signIn() string {
	return `AuthAgent sign_in="` + escapeHeader.Replace(s.LoginURL()) + `", issuer="` + escapeHeader.Replace(s.Issuer) + `"`
}

// Links are the values of Link (RFC 8288) that lead to the sign-in and to what is
// said of it. The relation authenticate is of draft-ietf-httpapi-authentication-link,
// which has expired; service-doc is of RFC 8631.
func (s *Site) Links() []string {
	links := []string{"<" + escapeHeader.Replace(s.LoginPath) + `>; rel="authenticate"; ` + title(s.Says())}
	if s.Discovery != "" {
		media, _, _ := strings.Cut(mediaType(s.Discovery), ";")
		links = append(links, "<"+escapeHeader.Replace(s.Discovery)+`>; rel="service-doc"; type="`+media+`"`)
	}
	return links
}

// title is the parameter of a link that has its label. RFC 8288 section 3.4.1: text that is
// not ASCII is encoded as RFC 8187 says.
func title(label string) string {
	if strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "title*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(label), "+", "%20")
	}
	return `title="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(label) + `"`
}

// ProblemType is the type of a problem (RFC 9457 section 3.1.1): where the
// document explains it. It is empty where there is no document.
func (s *Site) ProblemType(code string) string {
	if s.Discovery == "" {
		return ""
	}
	return s.Origin + s.Discovery + "#" + url.PathEscape(code)
}

// Style is the style sheet of the button. Its colours are its own, so that it
// looks the same on light and on dark pages; dark on the brand's orange can be
// read, white on it cannot.
const Style = `.auth-agent-button{box-sizing:border-box;display:inline-flex;align-items:center;gap:.625rem;min-height:2.75rem;padding:.5rem 1.125rem;border:1px solid #b3410f;border-radius:.5rem;background:#ff6b35;color:#1f1209;font:600 1rem/1.25 system-ui,sans-serif;text-decoration:none;cursor:pointer}.auth-agent-button:hover{background:#ff8355}.auth-agent-button:focus-visible{outline:3px solid #b3410f;outline-offset:2px}.auth-agent-mark{flex:none;width:1.5rem;height:1.5rem}.auth-agent-form{display:inline;margin:0}@media (prefers-color-scheme:dark){.auth-agent-button:focus-visible{outline-color:#ffb497}}@media (forced-colors:active){.auth-agent-button{border-color:currentColor}}`

// StyleHash names Style in a Content-Security-Policy.
const StyleHash = "sha256-HZ5uJ/FFtlLLHfGlknG/HxFy0te1gMVzHmzEzXeWYlo="

// mark is a face with antenna, framed by the brackets of a link.
const mark = `<svg class="auth-agent-mark" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` +
	`<path d="M12 2.5v3.5"/><rect x="5" y="6" width="14" height="12" rx="4"/><path d="M9.5 11v2M14.5 11v2M9 21.5h6M2 10v4M22 10v4"/></svg>`

// The attributes that begin with data-auth-agent-button are the ones by which
// Auth Agent's own button is known. rel=nofollow is for crawlers.
var button = template.Must(template.New("button").Parse(
	`{{define "data"}}data-auth-agent-button="true" data-agent-signin="oauth2-code"{{with .Issuer}} data-agent-issuer="{{.}}"{{end}}{{with .Access}} data-agent-access="{{.}}"{{end}}{{end}}` +
		`{{if .POST}}<form class="auth-agent-form" method="post" action="{{.Target}}"><button class="auth-agent-button" type="submit" {{template "data" .}}>` + mark + `{{.Says}}</button></form>` +
		`{{else}}<a class="auth-agent-button" href="{{.Target}}" rel="nofollow authenticate" {{template "data" .}}>` + mark + `{{.Says}}</a>{{end}}`))

// Button returns the button for a page: a link, or a form where sign-in takes
// POST only. It needs no script. returnTo is the path to land on, empty for the
// default.
func (s *Site) Button(returnTo string) template.HTML {
	target := s.LoginPath
	if returnTo != "" {
		target += "?return_to=" + url.QueryEscape(returnTo)
	}
	var b strings.Builder
	err := button.Execute(&b, struct {
		*Site
		Target string
	}{s, target})
	if err != nil {
		panic(err) // a mistake in the template
	}
	return template.HTML(b.String())
}

// OwnButton is Button for the package's own pages, in which no address of
// another host stands.
func (s *Site) OwnButton(returnTo string) template.HTML {
	own := *s
	own.Issuer = ""
	return own.Button(returnTo)
}

// document is the machine's form of what there is to say.
type document struct {
	SignIn   step     `json:"sign_in"`
	SignOut  step     `json:"sign_out"`
	Issuer   string   `json:"issuer"`
	Scenario string   `json:"scenario"`
	Access   string   `json:"access,omitempty"`
	Allowed  []string `json:"allowed,omitempty"`    // methods
	Actions  []string `json:"actions,omitempty"`    // that an owner can allow by name
	Approved []string `json:"approvals,omitempty"`  // that an owner approves one by one
	Within   []string `json:"allowances,omitempty"` // those of Approved that an owner can allow up to an amount
	Doc      string   `json:"documentation,omitempty"`

	Scopes map[string]Scope `json:"scopes,omitempty"` // at most, whatever else an agent may do
	API    *entrance        `json:"api,omitempty"`
}

type step struct {
	Kind     string `json:"kind,omitempty"`
	Method   string `json:"method"`
	URL      string `json:"url"`
	Label    string `json:"label,omitempty"`
	ReturnTo string `json:"return_to_parameter,omitempty"`

	Fields []string `json:"fields,omitempty"` // of the body
}

func (s *Site) method() string {
	if s.POST {
		return http.MethodPost
	}
	return http.MethodGet
}

// JSON is the document for a program.
func (s *Site) JSON() []byte {
	d := document{
		SignIn:  step{Kind: "oauth2-code", Method: s.method(), URL: s.LoginURL(), Label: s.Says(), ReturnTo: "return_to"},
		SignOut: step{Method: http.MethodPost, URL: s.Origin + s.LogoutPath},
		Issuer:  s.Issuer, Scenario: s.Scenario, Access: s.Access, Scopes: s.Scopes, API: s.resource(),
		Actions: s.actions(wiring.ByName), Approved: s.actions(wiring.Each), Within: s.actions(wiring.Within),
	}
	if s.Access == "read" {
		d.Allowed = ReadMethods()
	}
	if s.Discovery != "" {
		d.Doc = s.Origin + s.Discovery
	}
	body, _ := json.MarshalIndent(d, "", "  ") // strings cannot fail
	return append(body, '\n')
}

// ReadMethods are what a session that may only read may do.
func ReadMethods() []string { return []string{http.MethodGet, http.MethodHead} }

// Text is the document for a reader, as Markdown.
func (s *Site) Text() []byte {
	var b strings.Builder
	write := func(lines ...string) {
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	write("# Signing in as an agent", "", s.welcome(), "", "## Sign in", "",
		"- Sign-in: "+s.method()+" "+s.LoginURL(),
		"- On a page of this site, look for the button \""+s.Says()+"\".",
		"- To land on a page of this site, add ?return_to= and its path.",
		"- Authorization server: "+s.Issuer+" (you need to be registered there)",
		"- Use a browser, or a client that follows redirects and keeps cookies. The cookie that you come back with is your session: send it with each request.",
		"- Prove yourself to the authorization server only. This site never asks for your agent secret.",
		"- Sign-out: POST "+s.Origin+s.LogoutPath)
	if s.People {
		write("- People use the same sign-in: what names you as an agent is your token.")
	}
	write("")
	write(s.api()...)
	write("## What you may do", "", s.permission(), "")
	write(s.scopes()...)
	write(s.named(s.actions(wiring.ByName))...)
	write(approved(s.actions(wiring.Each), s.actions(wiring.Within))...)
	if s.Owner {
		write("## Your owner", "",
			s.owner()+" Where this site asks them first, a sign-in is refused"+
				" until they have let you in, on this site, with an account of their own. Tell them, and sign in again afterwards."+
				" The refusal has the error approval_needed or link_suspended. Its owner_page is the address where they decide, and compare is a short code:"+
				" tell them to open that page and to allow the agent that shows this code. Trying again before that changes nothing."+
				" Finish only sign-ins that you or your owner have begun: one that somebody else began may put you into their account."+
				" They can limit what you may do, and end it at any time; then a request is answered as if you had not signed in.", "")
	}
	write("## When you are refused", "",
		"Ask for application/json and you get application/problem+json (RFC 9457): error names the reason, retry says whether the same may succeed later"+
			" (wait as long as Retry-After says), sign_in is there when signing in is what to do next. Give the request_id to the site when you report a fault.", "",
		"| error | status | meaning |", "|---|---|---|")
	for _, p := range s.Problems {
		write(`| <a id="` + p.Code + `"></a>` + p.Code + " | " + strconv.Itoa(p.Status) + " | " + p.Title + ". " + p.Detail + " |")
	}
	return []byte(b.String())
}

// welcome names nobody where the site has another provider than Auth Agent.
func (s *Site) welcome() string {
	if s.Says() == DefaultLabel {
		return "AI agents can sign in to this site with Auth Agent."
	}
	return "AI agents can sign in to this site."
}

func (s *Site) owner() string {
	if s.ByUser {
		return "You act for the user who let you act at the authorization server."
	}
	return "You act for the human whose e-mail address you are registered with."
}

func (s *Site) permission() string {
	switch s.Access {
	case "full":
		return "You act as your owner, and may do what they may, except what this site keeps for them in person." +
			" Your owner may have limited you to less, such as reading with GET and HEAD."
	case "read":
		if len(s.actions(wiring.ByName))+len(s.actions(wiring.Each)) > 0 {
			return "You may read what is your owner's, with GET and HEAD. Every other method is refused, but for the actions below."
		}
		return "You may read what is your owner's, with GET and HEAD. Every other method is refused."
	case "none":
		if s.Owner {
			return "Nothing: no scope allows anything at this site."
		}
		return "You have a profile of your own, and see nobody's data."
	}
	return "That depends on how this site lets you in. What you may not do is refused."
}

// named says of actions what agents need for them.
func (s *Site) named(actions []string) []string {
	if len(actions) == 0 {
		return nil
	}
	needed := "You need your owner's permission by name for each of these actions:"
	if s.Access != "read" {
		needed = "If your owner has not given you full access, you need their permission by name for each of these actions:"
	}
	return slices.Concat([]string{"## Actions", "", needed, ""}, list(actions), []string{"",
		"Without it you get 403 with the error action_not_granted. Ask your owner to allow the action on their page of connected agents," +
			" and send the request again afterwards.", ""})
}

// approved says of actions how agents ask for each of them. Those in within an owner can allow up
// to an amount.
func approved(actions, within []string) []string {
	if len(actions) == 0 {
		return nil
	}
	items := list(actions)
	for i, name := range actions {
		if slices.Contains(within, name) {
			items[i] += ": asked each time, or within an amount that your owner allows. Within it, the request is done at once."
		}
	}
	return slices.Concat([]string{"## Approvals", "",
		"Your owner approves each single request for these actions, whatever else you may do:", ""}, items, []string{"",
		"How that goes:", "",
		"- The answer to such a request is 202 with the error approval_pending. Nothing was done yet: your owner has been asked about exactly this request.",
		"- If there is a Location, GET it to see whether your owner has decided. Wait as long as Retry-After says before you ask.",
		"- Once your owner has approved it, send the same request again: the same method, address, content type and body, and the same Idempotency-Key if you sent one. It is then done, once.",
		"- If your owner has refused it, you get 403 with the error action_denied.",
		"- To do the same thing a second time, send the request with another Idempotency-Key. Your owner is asked again.", ""})
}

func list(names []string) []string {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = "- `" + name + "`"
	}
	return items
}

// ServeHTTP answers with the form that the path asks for by its ending: .md and
// .txt are the text, .css is the style sheet, anything else is JSON.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if !answer.Allow(w, r, http.MethodGet, http.MethodHead) {
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var body []byte
	switch path.Ext(r.URL.Path) {
	case ".md", ".txt":
		body = s.Text()
	case ".css":
		body = []byte(Style)
	default:
		body = s.JSON()
	}
	for _, link := range s.Links() {
		h.Add("Link", link)
	}
	publish(w, mediaType(r.URL.Path), body)
}

// publish answers with a document that anybody may see and keep for a while.
func publish(w http.ResponseWriter, media string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // an error means that the client has gone
}

func mediaType(p string) string {
	switch path.Ext(p) {
	case ".md":
		return "text/markdown; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	}
	return "application/json"
}
