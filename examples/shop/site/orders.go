package site

import (
	"database/sql"
	"errors"
	"net/http"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/problem"
)

type catalogueView struct {
	Products []database.Product `json:"products"`
}

func (s *Site) showCatalogue(w http.ResponseWriter, r *http.Request) error {
	products, err := s.db.Products(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "catalogue", catalogueView{products})
}

type cartView struct {
	Items []database.Item `json:"items"`
	Total int64           `json:"total_cents"`
}

func (s *Site) showCart(w http.ResponseWriter, r *http.Request) error {
	a, err := s.actor(r)
	if err != nil {
		return err
	}
	items, err := s.db.Cart(r.Context(), a.User.ID)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "cart", cartView{items, database.Total(items)})
}

func (s *Site) addToCart(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "/cart", func(a actor) error { return s.db.AddToCart(r.Context(), a.User.ID, r.PostFormValue("product")) })
}

func (s *Site) removeFromCart(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "/cart", func(a actor) error { return s.db.RemoveFromCart(r.Context(), a.User.ID, r.PostFormValue("product")) })
}

// change does something for the actor and leads on to a page that shows it.
func (s *Site) change(w http.ResponseWriter, r *http.Request, next string, do func(actor) error) error {
	a, err := s.actor(r)
	if err == nil {
		err = do(a)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

type ordersView struct {
	Orders []database.Order `json:"orders"`
}

func (s *Site) listOrders(w http.ResponseWriter, r *http.Request) error {
	a, err := s.actor(r)
	if err != nil {
		return err
	}
	orders, err := s.db.Orders(r.Context(), a.User.ID)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "orders", ordersView{orders})
}

func (s *Site) placeOrder(w http.ResponseWriter, r *http.Request) error {
	a, err := s.actor(r)
	if err != nil {
		return err
	}
	id, err := s.db.PlaceOrder(r.Context(), a.User.ID, a.agent())
	switch {
	case errors.Is(err, database.ErrEmptyCart):
		return conflict("place order", err, "/cart")
	case err != nil:
		return err
	}
	http.Redirect(w, r, "/orders/"+id, http.StatusSeeOther)
	return nil
}

type orderView struct {
	database.Order
	Deeds []deedView `json:"deeds"`
}

// A deedView is a deed and who did it: "by agent_alice for Alice".
type deedView struct {
	database.Deed
	By string `json:"by"`
}

// order returns the order that the path names, if it is the actor's.
func (s *Site) order(r *http.Request) (orderView, error) {
	a, err := s.actor(r)
	if err != nil {
		return orderView{}, err
	}
	o, err := s.db.Order(r.Context(), a.User.ID, r.PathValue("id"))
	if err != nil {
		return orderView{}, err
	}
	v := orderView{Order: o}
	for _, d := range o.History {
		by := "by " + a.User.Name
		if d.Agent != (authagent.Agent{}) {
			by = (&authagent.Session{Agent: d.Agent, UserID: a.User.ID}).Byline(a.User.Name)
		}
		v.Deeds = append(v.Deeds, deedView{d, by})
	}
	v.History = nil // it is in Deeds
	return v, nil
}

func (s *Site) showOrder(w http.ResponseWriter, r *http.Request) error {
	v, err := s.order(r)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "order", v)
}

func (s *Site) cancelOrder(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	return s.change(w, r, "/orders/"+id, func(a actor) error {
		return moved(s.db.Cancel(r.Context(), a.User.ID, id, a.agent()), "cancel order", id)
	})
}

type refundForm struct {
	form
	Order       orderView
	BankAccount string
}

func (s *Site) showRefund(w http.ResponseWriter, r *http.Request) error {
	v, err := s.order(r)
	switch {
	case err != nil:
		return err
	case v.State != database.Cancelled:
		return moved(database.ErrState, "refund order", v.ID)
	}
	return s.show(w, r, http.StatusOK, "refund", refundForm{Order: v})
}

// payRefund pays the money of a cancelled order to a bank account. An agent gets here when its
// owner has approved exactly this request, once, or has allowed so much money without a question.
// What was approved or allowed is given back unless the transaction that pays is committed.
func (s *Site) payRefund(w http.ResponseWriter, r *http.Request) error {
	reserved := action.ReservationFrom(r.Context()) // nil for people
	reserved.NothingDone()
	v, account, err := s.refund(r)
	if err != nil {
		return err
	}
	if !isIBAN(account) {
		f := wrong("bank_account", "This is not an account number (IBAN): its check digits do not fit.")
		return s.show(w, r, http.StatusUnprocessableEntity, "refund", refundForm{f, v, r.PostFormValue("bank_account")})
	}
	return s.change(w, r, "/orders/"+v.ID, func(a actor) error {
		use := func(tx *sql.Tx) error { return s.store.Grants().Use(r.Context(), tx, reserved) }
		return moved(s.db.Refund(r.Context(), a.User.ID, v.ID, account, a.agent(), use), "refund order", v.ID)
	})
}

// refund reads what a refund is about: the order, and the bank account as it was typed in
// without spaces.
func (s *Site) refund(r *http.Request) (v orderView, account string, err error) {
	v, err = s.order(r)
	return v, strings.ToUpper(strings.ReplaceAll(r.PostFormValue("bank_account"), " ", "")), err
}

// isIBAN checks form and check digits (ISO 13616, ISO 7064 MOD 97-10).
func isIBAN(account string) bool {
	if len(account) < 15 || len(account) > 34 {
		return false
	}
	rest := 0
	for i := range account {
		switch c := account[(i+4)%len(account)]; {
		case c >= '0' && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}

// moved says of an order that it is not in the state for something.
func moved(err error, step, orderID string) error {
	if errors.Is(err, database.ErrState) {
		return conflict(step, err, "/orders/"+orderID)
	}
	return err
}

func conflict(step string, err error, back string) error {
	return &problem.Error{Reason: problem.Conflict, Step: step, Err: err, Back: back}
}
