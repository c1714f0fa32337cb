package authagenttest

import (
	"bytes"
	"embed"
	"html"
	"html/template"
	"net/http"
	"regexp"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are parsed once; executing them changes nothing.
var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

func render(name string, data any) []byte {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		panic(err) // a mistake in a template
	}
	return b.Bytes()
}

// waitingPage is what an agent reads its request's ID from.
func (c *call) waitingPage(row *requestRow) []byte {
	data := struct {
		RequestID string
		Timestamp int64
		Issuer    string
		Client    string
		Attended  bool
		Agents    []string
		AnswerURL string
	}{
		RequestID: row.id,
		Timestamp: c.now.UnixMilli(),
		Issuer:    c.issuer,
		Client:    c.db.client(row.clientID).Name,
		Attended:  c.Attended,
		AnswerURL: PathDevAnswer,
	}
	if c.Attended {
		for _, agent := range c.db.agents {
			data.Agents = append(data.Agents, agent.ID)
		}
	}
	return render("waiting.html", data)
}

func errorPage(code, message string) []byte {
	return render("error.html", struct{ Code, Message string }{code, message})
}

// errorPage is where the waiting page goes when its request has failed.
func (c *call) errorPage() answer {
	message := queryParams(c.r.URL.RawQuery)["message"]
	if message == "" {
		message = "An error occurred"
	}
	return htmlAnswer(http.StatusBadRequest, errorPage("error", message))
}

var (
	pageErrorCode = regexp.MustCompile(`class="error-code">Error: ([^<]*)<`)
	pageErrorText = regexp.MustCompile(`class="message">([^<]*)<`)
)

// pageError is what an error page says, for an agent's own error.
func pageError(page []byte) string {
	code, text := pageErrorCode.FindSubmatch(page), pageErrorText.FindSubmatch(page)
	if code == nil || text == nil {
		return "without a waiting page"
	}
	return html.UnescapeString(string(code[1]) + ": " + string(text[1]))
}

// devAnswer lets a person play an agent, by a button of the waiting page. The
// page needs no secret, so another site must not be able to press it: the
// browser says where a request comes from.
func (c *call) devAnswer() answer {
	if !c.Attended {
		return c.notFound()
	}
	if err := http.NewCrossOriginProtection().Check(c.r); err != nil {
		return approvalError(http.StatusForbidden, "access_denied", "Only the waiting page can answer")
	}
	p, err := formParams(c.r.Header.Get("Content-Type"), c.body)
	if err != nil {
		return approvalError(http.StatusBadRequest, "invalid_request", "The body must be a form")
	}
	agent := c.findAgent(p["agent_id"])
	if agent == nil {
		return approvalError(http.StatusNotFound, "invalid_agent", "Agent not found")
	}
	return c.approve(p["request_id"], agent.ID, agent.Model)
}
