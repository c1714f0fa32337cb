package grants

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/claims"
)

// A PageApproval is a single action with all that would be done.
type PageApproval struct {
	Approval
	Texts
	Path      string
	Site      string      // the site's host
	By        PageName    // the agent that asks
	Text      string      // what the site says that its action is
	PlainPath string      // the path of Target without its escapes; empty if it has none
	Query     []PageField // of Target
	Fields    []PageField // the body of a form, in its order; or else
	Body      string      // the body as it is: JSON is indented and without its escapes, and what is no text is dumped in hexadecimal
	Binary    bool        // it is no text
	Cost      string      // Amount as in "12.50 USD"; empty if it is not known
	Why       string      // why it waits although the owner has allowed the action up to an amount; empty if there is nothing to say
}

// A PageField is a field of a form or query.
type PageField struct{ Name, Value string }

func (p *Policy) newPageApproval(to reader, a Approval, o Overview) PageApproval {
	by := Grant{ID: a.GrantID, Agent: a.Agent, UserID: a.UserID}
	if i := slices.IndexFunc(o.Grants, func(g Grant) bool { return g.ID == a.GrantID }); i >= 0 {
		by = o.Grants[i]
	}
	view := PageApproval{
		Approval: a, Texts: Texts{to}, Path: p.path(), Site: p.host(), By: newPageName(to, nicknameOf(o.Grants, by), by), Text: p.actionIn(to, a.Action),
	}
	view.Description, view.Cost = claims.Show(a.Description), p.costIn(to, a.Action, a.Amount)
	if a.Now() == Pending {
		view.Why = p.waits(to, a, o)
	}
	view.State, view.Agent = a.Now(), showAgent(a.Agent)
	view.Target, view.ContentType, view.Method, view.Host = claims.Show(a.Target), claims.Show(a.ContentType), claims.Show(a.Method), claims.Show(a.Host)
	path, query, _ := strings.Cut(a.Target, "?")
	if plain, err := url.PathUnescape(path); err == nil && plain != path {
		view.PlainPath = claims.Show(plain)
	}
	all, _ := approval.Query(query)
	view.Query = showFields(all)
	view.showBody(a)
	return view
}

// showBody shows all of a body, in the form that a human can judge best, and as it
// is wherever it is not exactly what it says it is.
func (v *PageApproval) showBody(a Approval) {
	var indented bytes.Buffer
	decoded, isJSON := approval.JSON(a.Body)
	parsed, isForm := approval.Fields(a.ContentType, a.Body)
	hasMore := slices.ContainsFunc(parsed, func(f approval.Field) bool { return f.HasMore })
	switch {
	case !utf8.Valid(a.Body):
		v.Body, v.Binary = hex.Dump(a.Body), true
	case isForm && !hasMore:
		v.Fields = showFields(parsed)
	case !isJSON:
		v.Body = claims.Show(string(a.Body))
	case indents(decoded) && json.Indent(&indented, decoded, "", "  ") == nil:
		v.Body = claims.Show(indented.String())
	default:
		v.Body = claims.Show(string(decoded))
	}
}

// maxIndented bounds what is added to a body to indent it.
const maxIndented = 64 << 10

// indents reports whether a body stays small when it is indented: one that is
// nested deeply, "[[[[", would grow by the square of its length.
func indents(body []byte) bool {
	added, depth := 0, 0
	for _, c := range body {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
		default:
			continue
		}
		if added += 1 + 2*max(depth, 0); added > maxIndented { // in a string it adds nothing, and errs on the safe side
			return false
		}
	}
	return true
}

func showFields(fields []approval.Field) []PageField {
	all := make([]PageField, len(fields))
	for i, f := range fields {
		all[i] = PageField{claims.Show(f.Name), claims.Show(f.Value)}
	}
	return all
}
