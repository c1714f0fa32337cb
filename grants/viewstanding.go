package grants

import (
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/returnpath"
)

// A PageStanding is what the page "standing.html" of Policy.Template is executed with:
// how a single action stands, for the agent that has asked for it. It has what the owner
// sees of the request, in PageApproval, but for the Description: in it the site may say more
// of the account than the agent may see.
type PageStanding struct {
	PageFrame
	PageApproval
	Refresh int         // after so many seconds the page looks again by itself; 0 where there is nothing to wait for
	Resend  *PageResend // sends the request; nil where the page cannot, or the request would not pass
	Back    string      // the path of the page that the agent came from; empty if it is not known
}

func (p PageStanding) part(name string) template.HTML {
	return orSite(p.PageFrame.part(name), name, p.Site)
}

// Says returns a text about how the request stands: its "title" or its "lead".
func (p PageStanding) Says(what string) string {
	return p.T("standing."+string(p.State)+"."+what, "time", p.reader.Moment(p.ExpiresAt.In(p.reader.zone)))
}

// A PageLeave is what the page "leave.html" of Policy.Template is executed with: a human
// goes on from it to the server where agents sign in. In a template it can be used as
// that server's address.
type PageLeave struct {
	PageFrame
	Texts
	Target string // the server's address, where the human signs the agent in
	Server string // the host of that address
	Site   string // the site's host
	Path   string // of the list of agents, to go back to
}

func (p PageLeave) part(name string) template.HTML {
	return orSite(p.PageFrame.part(name), name, p.Site)
}

// String returns the address.
func (p PageLeave) String() string { return p.Target }

// A PageFrame is what the pages of this package have around them: the site's frame, see
// [authagent.Config.Pages].
type PageFrame struct{ authagent.Frame }

// Style is the style sheet of the pages that are not the owner's.
func (PageFrame) Style() template.CSS { return template.CSS(answer.Style()) }

func (f PageFrame) part(name string) template.HTML {
	switch name {
	case "header":
		return f.Header
	case "footer":
		return f.Footer
	}
	return f.Frame.Back
}

// orSite returns a part of the site's frame. Without a header of the site's own, it is the site's host.
func orSite(part template.HTML, name, host string) template.HTML {
	if part == "" && name == "header" {
		return template.HTML(template.HTMLEscapeString(host))
	}
	return part
}

func (f PageFrame) isEmpty() bool { return f.Header+f.Footer+f.Frame.Back == "" }

// framePart returns a part of the site's frame around a page, for templates. It is
// empty where the page has none.
func framePart(name string, page any) template.HTML {
	if framed, ok := page.(interface {
		part(name string) template.HTML
	}); ok {
		return framed.part(name)
	}
	return ""
}

// A PageResend sends a request again as it was approved. It is a link, or the fields of
// a form as hidden inputs in their order, by POST. Its texts are exactly as the agent
// has sent them, with no invisible character written out. Use them in attributes only.
type PageResend struct {
	Target  string // the path and query
	Enctype string // of the form; empty for a link
	Fields  []PageField
}

// lookAgain is how often a browser looks at how a request stands.
const lookAgain = 10 * time.Second

func (h *pageHandler) showStanding(w http.ResponseWriter, r *http.Request, a Approval) error {
	to := h.visitor(r)
	page := PageStanding{PageFrame: h.frame(w, to), PageApproval: h.policy.newPageApproval(to, a, Overview{}), Back: back(r)}
	page.Description = ""
	switch page.State {
	case Pending, Reserved:
		page.Refresh = int(lookAgain / time.Second)
		w.Header().Set("Refresh", strconv.Itoa(page.Refresh))
	case Approved:
		if page.Resend = newResend(r, a); page.Resend != nil {
			// With no-referrer, the form would say "Origin: null", which CSRF checks refuse.
			w.Header().Set("Referrer-Policy", "same-origin")
		}
	}
	return h.show(w, h.lookup("standing.html"), page)
}

func (h *pageHandler) frame(w http.ResponseWriter, to reader) PageFrame {
	return PageFrame{h.rp.Frame(w, to.Language)}
}

// visitor is how somebody reads of whom nothing is known but their browser.
func (h *pageHandler) visitor(r *http.Request) reader {
	return reader{h.rp.Language(r), time.UTC, time.Now()}
}

// securityOf returns the Content-Security-Policy of a page.
func (h *pageHandler) securityOf(page any) string {
	if framed, ok := page.(interface{ isEmpty() bool }); ok && !framed.isEmpty() {
		return h.framedSecurity
	}
	return h.security
}

// newResend returns what sends a request from a page at r's address, nil where only the
// agent can: what the browser sends then has to be the same request to RequireApproval.
func newResend(r *http.Request, a Approval) *PageResend {
	sender, ok := approval.SenderOf(a.Method, a.Target, a.ContentType, a.Body)
	if !ok || a.Host != r.Host || !strings.HasSuffix(a.ID, completeMark) {
		return nil
	}
	resend := &PageResend{Target: a.Target, Enctype: sender.Enctype}
	for _, f := range sender.Fields {
		resend.Fields = append(resend.Fields, PageField{f.Name, f.Value})
	}
	return resend
}

// back returns the path that the query names as where the agent came from. Whoever
// writes a link can name another, so it has to be of this site.
func back(r *http.Request) string {
	from := r.URL.Query().Get("from")
	if returnpath.Check(from) != nil {
		return ""
	}
	return from
}
