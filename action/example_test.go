package action_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/authagent-go/authagent/action"
)

// A handler that finds that there is nothing to be paid gives back what its agent's owner has
// approved. For people there is no reservation, and the same calls do nothing.
func ExampleReservation_NothingDone() {
	balance := 10
	payout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reserved := action.ReservationFrom(r.Context())
		if balance == 0 {
			reserved.NothingDone()
			http.Error(w, "there is no money", http.StatusConflict)
			return
		}
		balance = 0
		fmt.Fprint(w, "paid")
	})
	for range 2 {
		reserved := &action.Reservation{Record: func(_ context.Context, outcome action.Outcome) (action.Outcome, error) {
			fmt.Println(outcome)
			return outcome, nil
		}}
		r := httptest.NewRequest("POST", "/payouts", nil)
		payout.ServeHTTP(httptest.NewRecorder(), r.WithContext(reserved.With(r.Context()))) // as RequireApproval does
		reserved.End(context.Background())
	}
	// Output:
	// performed
	// nothing_done
}
