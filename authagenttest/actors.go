package authagenttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Where the server says of whom a token is, as Features.ActorIn names them.
const (
	inIDToken       = "id_token"
	inAccessToken   = "access_token"
	inIntrospection = "introspection"
	inUserInfo      = "userinfo"
)

// subject is who a token speaks of in some place: the agent, or the user with the agent as actor.
func (c *call) subject(place string, g grant) (string, *actor) {
	agent := c.db.agent(g.agentID)
	switch {
	case agent != nil && agent.Person:
		return agent.user(), nil
	case agent == nil || agent.Guest || !c.Features.ActorClaim:
		return g.agentID, nil
	case c.Features.ActorIn != nil && !slices.Contains(c.Features.ActorIn, place):
		return agent.user(), nil
	}
	return agent.user(), &actor{Subject: g.agentID}
}

// user is what the server calls the agent's user.
func (a *Agent) user() string {
	if a.UserID != "" {
		return a.UserID
	}
	return a.Email
}

// complete returns claims with what else is said of an agent in a place. Where that is nothing, they
// keep the published order.
func (c *call) complete(place string, g grant, claims any) any {
	agent := c.db.agent(g.agentID)
	if agent == nil || c.Features.Claims == nil && !agent.Person && !agent.Guest {
		return claims
	}
	all := map[string]any{}
	if err := json.Unmarshal(marshal(claims), &all); err != nil {
		panic(err) // it was an object a moment ago
	}
	switch {
	case agent.Person:
		delete(all, "model")
	case agent.Guest && place != inUserInfo:
		all["sub_profile"] = "ai_agent"
	}
	if c.Features.Claims != nil {
		maps.Copy(all, c.Features.Claims(place, agent.Agent))
		maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	}
	return all
}

// granted is what of a scope the agent's registration allows.
func (c *call) granted(g grant) string {
	agent := c.db.agent(g.agentID)
	if agent == nil || agent.Scopes == nil {
		return g.scope
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(g.scope), func(scope string) bool { return !slices.Contains(agent.Scopes, scope) }), " ")
}
