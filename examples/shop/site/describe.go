package site

import (
	"context"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// describe says what a request of an agent would do, in the language of the account. Its
// owner decides on that.
func (s *Site) describe(ctx context.Context, request action.Request) (string, error) {
	switch request.Action {
	case payRefunds:
		return s.describeRefund(ctx, request)
	}
	return "", nil
}

// describeRefund refuses what payRefund would refuse, before the owner is asked about it. It says
// the same of an order that is refunded already, so that an agent that asks again is told
// that its approval was used.
func (s *Site) describeRefund(ctx context.Context, request action.Request) (string, error) {
	v, account, err := s.refund(request.HTTP(ctx))
	switch {
	case errors.Is(err, database.ErrNotFound):
		return "", problem.NotFound
	case err != nil:
		return "", err
	case v.State == database.Placed:
		return "", moved(database.ErrState, "describe refund", v.ID)
	case !isIBAN(account):
		return "", &problem.Error{Reason: problem.InvalidRequest, Step: "describe refund", Field: "bank_account", Err: errors.New("it is no IBAN")}
	}
	l, err := s.db.Locale(ctx, request.UserID)
	if err != nil {
		return "", err
	}
	what := v.Items[0].Name
	if l.Language == "de" {
		if len(v.Items) > 1 {
			what += " u. a."
		}
		return fmt.Sprintf("Für die Bestellung %s (%s) %s € auf das Konto %s zurückzahlen", v.ID, what, amount(v.Total, ","), account), nil
	}
	if len(v.Items) > 1 {
		what += " and more"
	}
	return fmt.Sprintf("Pay €%s for order %s (%s) back to the account %s", amount(v.Total, "."), v.ID, what, account), nil
}

// amountOf is how much money a request of an agent takes out of the shop. describe comes first, and
// so refuses what makes no sense.
func (s *Site) amountOf(ctx context.Context, request action.Request) (grants.Amount, error) {
	if request.Action != payRefunds {
		return grants.Amount{}, nil
	}
	v, _, err := s.refund(request.HTTP(ctx))
	if err != nil {
		return grants.Amount{}, err
	}
	return grants.Amount{Value: v.Total, Currency: euro.Code}, nil
}

func amount(cents int64, point string) string {
	return fmt.Sprintf("%d%s%02d", cents/100, point, cents%100)
}
