package grants

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/panics"
	"github.com/authagent-go/authagent/internal/reasons"
)

// A PageConfirm is what the page "confirm.html" of Policy.Template is executed with: a human is
// asked for a proof that they are there in person, see [Policy.Confirm]. It has to have a form that
// is posted to Action with Fields as hidden inputs, with Prompt and a button in it, and Script
// after it.
type PageConfirm struct {
	PageFrame
	Texts
	Path string // of the list
	Site string // the site's host
	Back string // the path that leads back, where nothing has changed

	Text   string        // what is decided, in a sentence
	Failed bool          // a proof was not accepted
	Action string        // the path that the form is posted to
	Fields []PageField   // of the decision. Use them in attributes only
	Prompt template.HTML // what the human is asked with
	Unable bool          // the human cannot give a proof now: the form is to have no button
	Script template.HTML // the script, with its tags; empty if there is none

	Grant    *PageGrant    // what is decided about; nil if it is something else
	Approval *PageApproval // likewise

	script string // without its tags
}

// askForProof asks the human for the proof, if that is what err says is missing. It reports
// whether it has answered.
func (h *pageHandler) askForProof(w http.ResponseWriter, r *http.Request, err error) bool {
	var u *unproven
	if !errors.As(err, &u) {
		return false
	}
	var prompt Prompt
	err = panics.Catch(func() (err error) { prompt, err = h.policy.Confirm.Prompt(r, u.Confirmation); return err })
	if err == nil {
		err = checkScript(prompt.Script)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("grants: ask for a proof of the person: %w", err)
	case answer.WantsHTML(r.Header["Accept"]):
		err = h.showConfirm(w, r, u, prompt)
	default:
		err = writeConfirm(w, u, prompt)
	}
	if err != nil {
		h.refuse(w, r, err)
	}
	return true
}

// checkScript refuses a script that would not be one element of the page, whose hash would be
// another one.
func checkScript(script string) error {
	if lower := strings.ToLower(script); strings.Contains(lower, "</script") || strings.Contains(lower, "<!--") || strings.Contains(script, "\r") {
		return errors.New(`Prompt.Script: it has "</script", "<!--" or a carriage return in it`)
	}
	return nil
}

func (h *pageHandler) showConfirm(w http.ResponseWriter, r *http.Request, u *unproven, prompt Prompt) error {
	to := u.to
	page := PageConfirm{
		PageFrame: h.frame(w, to), Texts: Texts{to}, Path: h.policy.path(), Site: h.rp.Host(), Back: h.policy.path(),
		Text: u.Text, Failed: string(u.reason) == reasons.ConfirmationFailed, Action: browser.Path(r), Fields: carried(r),
		Prompt: prompt.HTML, Unable: prompt.Unable, script: prompt.Script,
	}
	if id, err := field(r, "agent"); err == nil {
		page.Back = h.policy.agentPath(id)
	}
	if prompt.Script != "" {
		page.Script = template.HTML("<script>" + prompt.Script + "</script>")
	}
	overview, err := h.policy.Overview(r.Context(), u.UserID)
	if err != nil {
		return err
	}
	switch {
	case u.grant != nil:
		shown := h.policy.newPageGrant(to, *u.grant, overview)
		page.Grant = &shown
	case u.action != nil:
		shown := h.policy.newPageApproval(to, *u.action, overview)
		page.Approval = &shown
	}
	return h.show(w, h.lookup("confirm.html"), page)
}

// allowScript adds to the Content-Security-Policy of a page the script that it has.
func allowScript(policy string, page any) string {
	if confirm, ok := page.(PageConfirm); ok && confirm.script != "" {
		return policy + "; script-src " + answer.Hash(confirm.script)
	}
	return policy
}

// writeConfirm tells a program what it needs to give the proof.
func writeConfirm(w http.ResponseWriter, u *unproven, prompt Prompt) error {
	row := reasons.Of(string(u.reason))
	body, err := json.Marshal(struct {
		Status  int    `json:"status"`
		Title   string `json:"title"`
		Detail  string `json:"detail"`
		Code    string `json:"error"`
		Retry   bool   `json:"retry"`
		Text    string `json:"text"`
		Confirm any    `json:"confirm,omitempty"`
	}{row.Status, row.Title, row.Detail, row.Code, false, u.Text, prompt.JSON})
	if err != nil {
		return fmt.Errorf("grants: write Prompt.JSON: %w", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(row.Status)
	_, _ = w.Write(append(body, '\n')) // an error means that the client has gone
	return nil
}
