package grants

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/panics"
)

// maxDescription is how many characters a description may have. A longer one is refused and
// not cut: an owner never decides on a text whose end they do not see.
const maxDescription = 200

// describe returns what the site says that a request would do; "" if it says nothing.
func (p *Policy) describe(ctx context.Context, r action.Request) (text string, err error) {
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

// amountOf returns what the site says that a request costs; the zero value if it does not say so
// in a positive number of a currency.
func (p *Policy) amountOf(ctx context.Context, r action.Request) (amount Amount, err error) {
	if p.Amount == nil {
		return Amount{}, nil
	}
	if err = panics.Catch(func() (err error) { amount, err = p.Amount(ctx, r); return err }); err != nil {
		return Amount{}, fmt.Errorf("grants: read amount of action: %w", err)
	}
	if amount.Value <= 0 || amount.Value > maxLimit || !isCurrency(amount.Currency) {
		return Amount{}, nil
	}
	return amount, nil
}
