package link

import (
	"time"

	"github.com/authagent-go/authagent/messages"
)

// A page is what the page of an address is executed with. Code and RequestID are for the frame that it shares with
// refusals.
type page struct {
	Title, Detail, Warning string
	Lang                   *messages.Language
	Agent                  string
	Account                string // what the site calls it; empty for none
	Path                   string
	Description            string // the agent's words
	Until                  string
	Home, Action, Ticket   string
	Code, RequestID        string
}

func newPage(lang *messages.Language, f Facts, t *ticket) page {
	p := page{
		Title: lang.Text("continue.title"), Detail: lang.Text("continue.detail"), Warning: lang.Text("continue.warning"), Lang: lang,
		Agent: f.Agent.ID, Path: t.path, Description: t.description, Until: lang.Moment(f.Until.In(time.UTC)),
	}
	if f.UserID == "" {
		p.Warning = lang.Text("continue.warning_alone")
	}
	return p
}
