package grants_test

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// A secondFactor is the site's own: a code of six digits that it sends to the person's phone.
type secondFactor struct {
	send func(userID, text string) (code string)

	mu   sync.Mutex
	sent map[string]string // the code by account and decision
}

func (f *secondFactor) Prompt(_ *http.Request, c grants.Confirmation) (grants.Prompt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent == nil {
		f.sent = make(map[string]string)
	}
	f.sent[c.UserID+c.Digest] = f.send(c.UserID, c.Text) // the phone shows what is decided as well
	return grants.Prompt{
		HTML: template.HTML(`<p><label>The code on your phone <input name="` + grants.ProofField + `" inputmode="numeric" autocomplete="one-time-code"></label></p>`),
	}, nil
}

func (f *secondFactor) Verify(r *http.Request, c grants.Confirmation) error {
	code := r.PostForm.Get(grants.ProofField)
	if code == "" {
		return grants.ErrNoProof
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := f.sent[c.UserID+c.Digest]
	delete(f.sent, c.UserID+c.Digest) // one time, right or wrong
	if sent == "" || subtle.ConstantTimeCompare([]byte(code), []byte(sent)) != 1 {
		return grants.ErrProof
	}
	return nil
}

// A site that has a second factor of its own asks for it before an agent is given more.
func ExampleConfirmer() {
	factor := &secondFactor{send: func(userID, text string) string {
		fmt.Printf("to the phone of %s: %s? 314159\n", userID, text)
		return "314159"
	}}
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Confirm = factor // and grants.Handler does the rest, as below

	decision := grants.Confirmation{UserID: "alice", Digest: "of the decision", Text: "“Claude” may then see your account"}
	post := func(code string) error {
		r := httptest.NewRequest("POST", "/account/agents/approve", strings.NewReader(url.Values{grants.ProofField: {code}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := r.ParseForm(); err != nil {
			return err
		}
		err := owners.Confirm.Verify(r, decision)
		if errors.Is(err, grants.ErrNoProof) {
			_, err = owners.Confirm.Prompt(r, decision)
		}
		return err
	}
	fmt.Println("asked:", post(""))
	fmt.Println("confirmed:", post("314159"))
	fmt.Println("again:", errors.Is(post("314159"), grants.ErrProof))
	// Output:
	// to the phone of alice: “Claude” may then see your account? 314159
	// asked: <nil>
	// confirmed: <nil>
	// again: true
}
