package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"github.com/authagent-go/authagent"
)

// A State is how an order stands.
type State string

// The states of an order.
const (
	Placed    State = "placed"
	Cancelled State = "cancelled" // before it was sent; the money is still here
	Refunded  State = "refunded"  // the money has been paid to a bank account
)

// An Order is what a user has ordered.
type Order struct {
	ID       string    `json:"id"`
	State    State     `json:"state"`
	Total    int64     `json:"total_cents"`
	PlacedAt time.Time `json:"placed_at"`
	Items    []Item    `json:"items,omitempty"`   // of a single order
	History  []Deed    `json:"history,omitempty"` // of a single order, the oldest first
}

// A Deed is what somebody did to an order.
type Deed struct {
	State       State           `json:"state"` // that it brought about
	At          time.Time       `json:"at"`
	Agent       authagent.Agent `json:"agent,omitzero"` // who did it for the user; zero if it was the user
	BankAccount string          `json:"bank_account,omitempty"`
}

// ErrEmptyCart says that there is nothing to order. ErrState says that an order is
// not in the state in which that can be done.
var (
	ErrEmptyCart = errors.New("database: the cart is empty")
	ErrState     = errors.New("database: the order is in another state")
)

// PlaceOrder makes an order of what is in a user's cart, and empties it. Of
// several at once, one gets the cart.
func (db *DB) PlaceOrder(ctx context.Context, userID string, by authagent.Agent) (id string, err error) {
	id = rand.Text()[:10]
	err = db.atomically(ctx, func(tx *sql.Tx) error {
		items, err := all(ctx, tx, db.sql(`DELETE FROM shop_cart WHERE user_id = ? RETURNING product_id,
			(SELECT name FROM shop_products p WHERE p.id = product_id), (SELECT price FROM shop_products p WHERE p.id = product_id), quantity`),
			[]any{userID}, itemDest)
		switch {
		case err != nil:
			return err
		case len(items) == 0:
			return ErrEmptyCart
		}
		_, err = tx.ExecContext(ctx, db.sql(`INSERT INTO shop_orders (id, user_id, state, total, placed_at) VALUES (?, ?, ?, ?, ?)`),
			id, userID, Placed, Total(items), time.Now().UnixMicro())
		if err != nil {
			return err
		}
		for n, i := range items {
			_, err := tx.ExecContext(ctx, db.sql(`INSERT INTO shop_order_items (order_id, position, name, price, quantity) VALUES (?, ?, ?, ?, ?)`),
				id, n, i.Name, i.Price, i.Quantity)
			if err != nil {
				return err
			}
		}
		return db.addDeed(ctx, tx, id, Deed{State: Placed, Agent: by})
	})
	return id, err
}

// Cancel cancels an order of a user that was placed. It returns ErrState for one
// in another state, and ErrNotFound.
func (db *DB) Cancel(ctx context.Context, userID, orderID string, by authagent.Agent) error {
	return db.move(ctx, userID, orderID, Placed, Deed{State: Cancelled, Agent: by}, nothing)
}

// Refund records that the money of a cancelled order has been paid to a bank
// account: once, however often it is called. first is done in the same transaction: if it
// fails, no money is paid.
func (db *DB) Refund(ctx context.Context, userID, orderID, bankAccount string, by authagent.Agent, first func(*sql.Tx) error) error {
	return db.move(ctx, userID, orderID, Cancelled, Deed{State: Refunded, Agent: by, BankAccount: bankAccount}, first)
}

func nothing(*sql.Tx) error { return nil }

func (db *DB) move(ctx context.Context, userID, orderID string, from State, d Deed, first func(*sql.Tx) error) error {
	if _, err := db.Order(ctx, userID, orderID); err != nil {
		return err
	}
	return db.atomically(ctx, func(tx *sql.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, db.sql(`UPDATE shop_orders SET state = ? WHERE id = ? AND user_id = ? AND state = ?`),
			d.State, orderID, userID, from)
		if err != nil {
			return err
		}
		switch changed, err := result.RowsAffected(); {
		case err != nil:
			return err
		case changed == 0:
			return ErrState
		}
		return db.addDeed(ctx, tx, orderID, d)
	})
}

func (db *DB) addDeed(ctx context.Context, tx *sql.Tx, orderID string, d Deed) error {
	_, err := tx.ExecContext(ctx, db.sql(`INSERT INTO shop_order_history (order_id, position, state, happened_at, agent_issuer, agent_id, bank_account)
		VALUES (?, (SELECT COUNT(*) FROM shop_order_history WHERE order_id = ?), ?, ?, ?, ?, ?)`),
		orderID, orderID, d.State, time.Now().UnixMicro(), d.Agent.Issuer, d.Agent.ID, d.BankAccount)
	return err
}

const selectOrder = `SELECT id, state, total, placed_at FROM shop_orders WHERE user_id = ?`

func orderDest(o *Order) []any { return []any{&o.ID, &o.State, &o.Total, moment{&o.PlacedAt}} }

// Orders returns a user's orders, the latest first.
func (db *DB) Orders(ctx context.Context, userID string) ([]Order, error) {
	return all(ctx, db, db.sql(selectOrder+` ORDER BY placed_at DESC LIMIT 200`), []any{userID}, orderDest)
}

// Order returns an order of a user, or ErrNotFound.
func (db *DB) Order(ctx context.Context, userID, id string) (o Order, err error) {
	if err := db.one(ctx, selectOrder+` AND id = ?`, []any{userID, id}, orderDest(&o)...); err != nil {
		return Order{}, err
	}
	o.Items, err = all(ctx, db, db.sql(`SELECT '', name, price, quantity FROM shop_order_items WHERE order_id = ? ORDER BY position`),
		[]any{id}, itemDest)
	if err != nil {
		return Order{}, err
	}
	o.History, err = all(ctx, db, db.sql(`SELECT state, happened_at, agent_issuer, agent_id, bank_account FROM shop_order_history
		WHERE order_id = ? ORDER BY position`), []any{id}, func(d *Deed) []any {
		return []any{&d.State, moment{&d.At}, &d.Agent.Issuer, &d.Agent.ID, &d.BankAccount}
	})
	return o, err
}

// moment reads a time that was written as microseconds.
type moment struct{ *time.Time }

// Scan implements [sql.Scanner].
func (m moment) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*m.Time = time.UnixMicro(n.Int64).UTC()
	return nil
}
