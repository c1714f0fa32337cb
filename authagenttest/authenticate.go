package authagenttest

import "net/http"

// An approval is the answer to an agent that signs in. The code is not in it:
// it goes by way of check-status to the waiting page.
type approval struct {
	Success     bool   `json:"success"`
	Message     string `json:"message,omitempty"`
	Error       string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`
}

func approvalError(status int, code, description string) answer {
	return jsonAnswer(status, approval{Error: code, Description: description})
}

// authenticate lets an agent approve a request by showing its secret. The
// model is whatever the agent says.
func (c *call) authenticate() answer {
	p, err := jsonParams(c.body)
	if err != nil {
		return approvalError(500, "server_error", "Internal server error")
	}
	if p["request_id"] == "" || p["agent_id"] == "" || p["agent_secret"] == "" || p["model"] == "" {
		return approvalError(400, "invalid_request", "Missing required fields: request_id, agent_id, agent_secret, model")
	}
	agent := c.findAgent(p["agent_id"])
	if agent == nil {
		return approvalError(401, "invalid_agent", "Agent not found")
	}
	if !sameSecret(p["agent_secret"], agent.Secret) {
		return approvalError(401, "invalid_credentials", "Invalid agent credentials")
	}
	return c.approve(p["request_id"], agent.ID, p["model"])
}

// approve gives a request a code. Nothing stops a second approval, by the same
// or another agent, in the published server: both codes can then be redeemed.
func (c *call) approve(requestID, agentID, model string) answer {
	row := c.findRequest(requestID)
	if row == nil {
		return approvalError(404, "invalid_request", "Authorization request not found or expired")
	}
	if row.code != "" && !c.Quirks.MultipleApprovals {
		return approvalError(409, "invalid_request", "Authorization request was approved already")
	}
	if !c.canInsert() || !c.canUpdate() {
		return approvalError(500, "server_error", "Internal server error")
	}
	code := "ac_" + randomHex(32)
	c.db.codes[code] = &codeRow{
		grant: grant{
			clientID:  row.clientID,
			agentID:   agentID,
			model:     model,
			scope:     row.scope,
			resources: row.resources,
			sid:       randomHex(16),
			family:    code,
		},
		code:        code,
		redirectURI: row.redirectURI,
		challenge:   row.challenge,
		nonce:       row.nonce,
		expires:     c.now.Add(codeLifetime),
	}
	row.code = code
	return jsonAnswer(http.StatusOK, approval{Success: true, Message: "Agent authenticated successfully"})
}
