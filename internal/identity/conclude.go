package identity

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/authagent-go/authagent/audit"
)

// evidence is what id_token, access token and server say. Each is nil if it says nothing.
type evidence struct{ id, access, asked *statement }

// all returns what says something, what counts most first.
func (e evidence) all() iter.Seq[*statement] {
	return func(yield func(*statement) bool) {
		for _, s := range [...]*statement{e.id, e.access, e.asked} {
			if s != nil && !yield(s) {
				return
			}
		}
	}
}

// conclude says who is who. All that say something have to agree, also those that cannot be
// believed. Nothing is guessed: who is neither an agent nor a person as the settings have them is
// refused.
func (v *Verifier) conclude(e evidence) (*Identity, error) {
	id := &Identity{}
	named := false // an agent is
	for s := range e.all() {
		if err := v.agrees(s, e); err != nil {
			return nil, err
		}
		if !s.proven {
			continue
		}
		id.Subject, id.Model, id.SID = cmp.Or(id.Subject, s.subject), cmp.Or(id.Model, s.model), cmp.Or(id.SID, s.sid)
		if s.scopes != nil {
			id.Scopes = both(id.Scopes, s.scopes)
		}
		named = named || s.names()
	}
	if id.Subject == "" {
		return nil, mismatch("nothing says whom the token is for")
	}
	var err error
	switch {
	case !v.SubjectIsUser:
		id.Agent = id.Subject
	case named:
		err = v.agent(id, e)
	default:
		err = v.person(id, e)
	}
	if err != nil {
		return nil, err
	}
	return id, nil
}

// History says which agents acted before the one that acts, for the audit trail.
func History(prior []audit.Agent) string {
	if len(prior) == 0 {
		return ""
	}
	names := make([]string, len(prior))
	for i, a := range prior {
		names[i] = strings.TrimSpace(strconv.Quote(a.ID) + " " + a.Issuer)
	}
	return "passed on by " + strings.Join(names, ", ")
}

// both returns the scopes that are in a and b; those of b if a says none.
func both(a, b []string) []string {
	if a == nil {
		return b
	}
	return slices.DeleteFunc(slices.Clone(a), func(scope string) bool { return !slices.Contains(b, scope) })
}

// agrees reports what is contradictory in a statement, or between it and others.
func (v *Verifier) agrees(s *statement, e evidence) error {
	if len(s.actors) > 0 {
		if by := s.actors[0]; by.Issuer != "" && by.Issuer != v.Issuer {
			return mismatch("%s: act is of another issuer", s.source)
		}
	}
	if !v.SubjectIsUser {
		return v.agentAlone(s, e)
	}
	for other := range e.all() {
		switch {
		case s.subject != "" && other.subject != "" && s.subject != other.subject:
			return mismatch("%s speaks of another subject than %s", s.source, other.source)
		case len(s.actors) > 0 && len(other.actors) > 0 && s.actors[0].ID != other.actors[0].ID:
			return mismatch("%s names another agent than %s (act)", s.source, other.source)
		}
	}
	return nil
}

// agentAlone refuses what does not fit a server at which sub is the agent.
func (v *Verifier) agentAlone(s *statement, e evidence) error {
	switch {
	case len(s.actors) > 0:
		return mismatch("%s names agent and user in another way than the settings say (act)", s.source)
	case slices.Contains(s.subjectKinds, human):
		return mismatch("%s says that sub is a person, and the settings say that it is the agent (sub_profile)", s.source)
	}
	for other := range e.all() {
		if s.proven && other.proven && s.subject != other.subject {
			return mismatch("%s speaks of another subject than %s", s.source, other.source)
		}
	}
	return nil
}

// agent completes the identity of an agent that acts for a user, or for nobody: a guest, whose sub
// is the agent itself.
func (v *Verifier) agent(id *Identity, e evidence) error {
	var actors []audit.Agent
	guest, other := false, false // it is proven that sub is an agent; it is said that sub is something else
	notUser, unproven := "", ""  // what says that sub is no person; what names an agent and cannot be verified
	for s := range e.all() {
		guest = guest || s.proven && slices.Contains(s.subjectKinds, aiAgent)
		other = other || s.otherThanAgent()
		if len(s.subjectKinds) > 0 && !slices.Contains(s.subjectKinds, human) {
			notUser = s.source
		}
		if len(s.actors) == 0 {
			continue
		}
		if !s.proven {
			unproven = s.source
		}
		if slices.Contains(s.actorKinds, human) {
			return mismatch("%s says that a person acts for the user, and no agent (act.sub_profile)", s.source)
		}
		if s.proven && len(s.actors) > len(actors) {
			actors = s.actors
		}
	}
	switch {
	case len(actors) == 0 && unproven != "":
		return mismatch("%s names an agent, and cannot be verified", unproven)
	case len(actors) > 0 && actors[0].ID != id.Subject && notUser != "":
		return mismatch("%s says that the user is no person (sub_profile)", notUser)
	case len(actors) > 0 && actors[0].ID != id.Subject:
		id.Agent, id.User = actors[0].ID, id.Subject
	case !guest:
		return mismatch("act and sub are the same")
	case other:
		return mismatch("sub is said to be an agent, and to be something else (sub_profile)")
	default:
		id.Agent = id.Subject
	}
	for _, prior := range actors[min(1, len(actors)):] {
		if prior.ID != "" {
			id.Prior = append(id.Prior, prior)
		}
	}
	return nil
}

// person completes the identity of a human. An agent that passes for one is the worst that can
// happen: all there is has to have been verified, and nothing of it may speak of an agent.
func (v *Verifier) person(id *Identity, e evidence) error {
	switch {
	case !v.People:
		return mismatch("the token names agent and user in another way than the settings say (act)")
	case !e.id.believed():
		return mismatch("no agent is named, and without an id_token nobody is a person")
	case !e.access.believed() && (e.asked == nil || e.asked.subject == ""): // a server may say no more than active
		return mismatch("no agent is named, and nothing says whose the access token is: nobody is a person then")
	}
	for s := range e.all() {
		switch {
		case len(s.actors) > 0:
			return mismatch("%s names an agent, and cannot be verified", s.source)
		case s.odd != "":
			return mismatch("%s may be an agent's (%s)", s.source, s.odd)
		case len(s.subjectKinds) > 0 && !slices.Contains(s.subjectKinds, human):
			return mismatch("%s says that sub is no person (sub_profile)", s.source)
		case slices.ContainsFunc(s.clientKinds, func(kind string) bool { return strings.Contains(kind, "agent") }):
			return mismatch("%s says that an agent is the client (client_profile)", s.source)
		}
	}
	id.Kind, id.User, id.Claims = Person, id.Subject, e.id.payload
	return nil
}
