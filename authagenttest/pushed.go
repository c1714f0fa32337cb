package authagenttest

import (
	"net/http"
	"time"
)

const (
	requestURIPrefix = "urn:ietf:params:oauth:request_uri:"
	pushedLifetime   = 90 * time.Second
)

func (c *call) pushedOnly() bool { return c.Features.PushedRequests == "required" }

// push keeps an authorization request of a client that has proved itself, and answers with what
// stands for it (RFC 9126 section 2).
func (c *call) push() answer {
	if c.Features.PushedRequests == "" {
		return c.notFound()
	}
	p, err := c.bodyParams()
	if err != nil {
		return c.notUnderstood()
	}
	client, refusal := c.mustAuthenticate(p)
	if refusal != nil {
		return *refusal
	}
	if p["request_uri"] != "" || p["client_id"] != client.ID {
		return errorAnswer(400, "invalid_request", "There is a request_uri, or no client_id of the client that asks")
	}
	for _, ch := range authorizeChecks() {
		if !ch.ok(c, p) {
			return errorAnswer(400, ch.code, ch.text)
		}
	}
	uri := requestURIPrefix + randomHex(32)
	c.db.pushed[uri] = &pushedRow{params: p, expires: c.now.Add(pushedLifetime)}
	return jsonAnswer(http.StatusCreated, struct {
		RequestURI string `json:"request_uri"`
		ExpiresIn  int    `json:"expires_in"`
	}{uri, int(pushedLifetime.Seconds())})
}

// pulled returns the parameters of an authorization request: those that were pushed, if it has a
// request_uri, and nothing of the query. A request_uri is good once, for its own client.
func (c *call) pulled(query params) (params, *answer) {
	uri := query["request_uri"]
	if c.Features.PushedRequests == "" || uri == "" && !c.pushedOnly() {
		return query, nil
	}
	row := c.db.pushed[uri]
	delete(c.db.pushed, uri)
	var refusal answer
	switch {
	case uri == "":
		refusal = htmlAnswer(http.StatusBadRequest, errorPage("invalid_request", "Pushed authorization request is required"))
	case row == nil || c.now.After(row.expires):
		refusal = htmlAnswer(http.StatusBadRequest, errorPage("invalid_request_uri", "The request_uri is not known, was used, or has expired"))
	case row.params["client_id"] != query["client_id"]:
		refusal = htmlAnswer(http.StatusBadRequest, errorPage("invalid_request", "The request was pushed by another client"))
	default:
		return row.params, nil
	}
	return nil, &refusal
}
