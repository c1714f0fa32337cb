package grants

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/panics"
)

// maxDescription is how many characters a description may have. A longer one is refused and
// not cut: an owner never decides on a text whose end they do not see.
const maxDescription = 200

// describe returns what the site says that a request would do; "" if it says nothing.
func (p *Policy) describe(ctx context.Context, r authagent.ActionRequest) (text string, err error) {
	if p.Describe == nil {
		return "", nil
	}
	if err = panics.Catch(func() (err error) { text, err = p.Describe(ctx, r); return err }); err != nil {
		return "", fmt.Errorf("grants: describe action: %w", err)
	}
	text = claims.Text(text)
	if n := utf8.RuneCountInString(text); n > maxDescription {
		return "", fmt.Errorf("grants: describe action %s: the text of Policy.Describe has more than %d characters, which an owner would not be shown whole: "+
			"shorten what the agent wrote, visibly", r.Action, maxDescription)
	}
	return text, nil
}
