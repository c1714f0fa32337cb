package grants

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/returnpath"
)

// A PageStanding is what the page "standing.html" of Policy.Template is executed with:
// how a single action stands, for the agent that has asked for it. It has what the owner
// sees of the request, in PageApproval, but for the Description: in it the site may say more
// of the account than the agent may see.
type PageStanding struct {
	PageApproval
	Refresh int         // after so many seconds the page looks again by itself; 0 where there is nothing to wait for
	Resend  *PageResend // sends the request; nil where the page cannot, or the request would not pass
	Back    string      // the path of the page that the agent came from; empty if it is not known
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
	page := PageStanding{PageApproval: h.policy.newPageApproval(a), Back: back(r)}
	page.Description = ""
	switch page.State {
	case Pending:
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
