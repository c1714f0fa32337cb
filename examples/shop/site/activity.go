package site

import (
	"cmp"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
)

func inWords(action string) string {
	return cmp.Or(offered[action], approvedEach[action], action)
}

// told says in words what an event of the audit trail is.
func told(e audit.Event) string {
	switch e.Name {
	case audit.LoginSucceeded:
		return "signed in"
	case audit.SessionEnded:
		return "left: its session has ended"
	case audit.ActionPerformed:
		return "did this: " + inWords(e.Action)
	case audit.ActionPending:
		return "asks to do this: " + inWords(e.Action)
	case audit.PermissionDenied:
		if e.Action != "" {
			return "was refused this: " + inWords(e.Action)
		}
		return "was refused"
	case grants.EventPending:
		return "asks to enter your account"
	case grants.EventApproved:
		return "was let in"
	case grants.EventChanged:
		return "may do something else now"
	case grants.EventDenied:
		return "was not let in"
	case grants.EventSuspended:
		return "was stopped"
	case grants.EventRevoked:
		return "was put out"
	case grants.EventActionApproved:
		return "may do this once: " + inWords(e.Action)
	case grants.EventActionDenied:
		return "may not do this: " + inWords(e.Action)
	case grants.EventFirstUse:
		return "acts for the first time"
	case grants.EventNewNetwork:
		return "acts from a network that it did not act from before"
	}
	return string(e.Name)
}
