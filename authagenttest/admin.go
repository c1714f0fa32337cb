package authagenttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// The admin endpoints ask for no authentication, as published. AddClient and
// AddAgent are the easier way in a test.

type clientAnswer struct {
	ID           string   `json:"client_id"`
	Secret       string   `json:"client_secret,omitempty"`
	Name         string   `json:"client_name"`
	RedirectURIs []string `json:"allowed_redirect_uris"`
	GrantTypes   []string `json:"allowed_grant_types,omitempty"`
	Created      string   `json:"created_at"`
	Warning      string   `json:"warning,omitempty"`
}

type clientRequest struct {
	ID           string   `json:"client_id"`
	Name         string   `json:"client_name"`
	RedirectURIs []string `json:"redirect_uris"`
}

func duplicate(kind string) answer {
	return errorAnswer(500, "server_error", fmt.Sprintf(
		`Failed to create %[1]s: duplicate key value violates unique constraint "%[1]ss_%[1]s_id_key"`, kind))
}

// createClient does not look at the redirect URIs or the form of the ID: only
// /authorize does.
func (c *call) createClient() answer {
	var in clientRequest
	if err := json.Unmarshal(c.body, &in); err != nil || !c.canInsert() {
		return serverError()
	}
	if in.ID == "" || in.Name == "" || in.RedirectURIs == nil {
		return errorAnswer(400, "invalid_request", "Missing required fields")
	}
	if c.db.client(in.ID) != nil {
		return duplicate("client")
	}
	row := &clientRow{
		Client:  Client{ID: in.ID, Secret: "cs_" + randomHex(32), Name: in.Name, RedirectURIs: in.RedirectURIs},
		created: c.now,
	}
	c.db.clients = append(c.db.clients, row)
	return jsonAnswer(http.StatusCreated, clientAnswer{
		ID:           row.ID,
		Secret:       row.Secret,
		Name:         row.Name,
		RedirectURIs: row.RedirectURIs,
		GrantTypes:   []string{"authorization_code", "refresh_token"},
		Created:      timestamp(row.created),
		Warning:      "Save the client_secret securely. It will not be shown again.",
	})
}

// updateClient replaces a client's name, redirect URIs or both.
func (c *call) updateClient() answer {
	var in clientRequest
	if err := json.Unmarshal(c.body, &in); err != nil {
		return serverError()
	}
	if in.ID == "" {
		return errorAnswer(400, "invalid_request", "Missing client_id parameter")
	}
	row := c.findClient(in.ID)
	if row == nil || !c.canUpdate() {
		return serverError()
	}
	if in.Name != "" {
		row.Name = in.Name
	}
	if in.RedirectURIs != nil {
		row.RedirectURIs = in.RedirectURIs
	}
	return jsonAnswer(http.StatusOK, approval{Success: true, Message: "Client updated successfully"})
}

// listClients shows the newest first, without secrets.
func (c *call) listClients() answer {
	list := []clientAnswer{}
	for _, row := range slices.Backward(c.db.clients) {
		list = append(list, clientAnswer{
			ID:           row.ID,
			Name:         row.Name,
			RedirectURIs: row.RedirectURIs,
			Created:      timestamp(row.created),
		})
	}
	return jsonAnswer(http.StatusOK, list)
}

type agentAnswer struct {
	ID          string `json:"agent_id"`
	Secret      string `json:"agent_secret"`
	Email       string `json:"user_email"`
	Name        string `json:"user_name,omitempty"`
	Created     string `json:"created_at"`
	Warning     string `json:"warning"`
	Deprecation string `json:"deprecation_notice"`
}

// createAgent takes any e-mail address, of anyone, unverified: so does the
// published server, which is why an address proves nothing.
func (c *call) createAgent() answer {
	p, err := jsonParams(c.body)
	if err != nil || !c.canInsert() {
		return serverError()
	}
	if p["user_email"] == "" || p["agent_id"] == "" {
		return errorAnswer(400, "invalid_request", "Missing required fields: user_email and agent_id")
	}
	if c.db.agent(p["agent_id"]) != nil {
		return duplicate("agent")
	}
	row := &agentRow{
		Agent: Agent{
			ID:     p["agent_id"],
			Secret: "ags_" + randomHex(32),
			Email:  p["user_email"],
			Name:   p["user_name"],
			Model:  defaultModel,
			server: c.Server,
		},
		created: c.now,
	}
	c.db.agents = append(c.db.agents, row)
	return jsonAnswer(http.StatusCreated, agentAnswer{
		ID:          row.ID,
		Secret:      row.Secret,
		Email:       row.Email,
		Name:        row.Name,
		Created:     timestamp(row.created),
		Warning:     "Save the agent_secret securely. It will not be shown again.",
		Deprecation: "This endpoint is deprecated. Please use the authenticated console at https://auth-agent.com/console/agent to create agents.",
	})
}

// listAgents shows the newest first, with their e-mail addresses.
func (c *call) listAgents() answer {
	type entry struct {
		ID      string  `json:"agent_id"`
		Email   string  `json:"user_email"`
		Name    *string `json:"user_name"`
		Created string  `json:"created_at"`
	}
	list := []entry{}
	for _, row := range slices.Backward(c.db.agents) {
		e := entry{ID: row.ID, Email: row.Email, Created: timestamp(row.created)}
		if row.Name != "" {
			name := row.Name // a copy: the answer outlives the lock
			e.Name = &name
		}
		list = append(list, e)
	}
	return jsonAnswer(http.StatusOK, list)
}
