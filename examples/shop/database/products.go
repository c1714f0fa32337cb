package database

import "context"

// A Product is something to buy.
type Product struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	About string `json:"about"`
	Price int64  `json:"price_cents"`
}

// Products returns the catalogue.
func (db *DB) Products(ctx context.Context) ([]Product, error) {
	return all(ctx, db, `SELECT id, name, about, price FROM shop_products ORDER BY position`, nil, func(p *Product) []any {
		return []any{&p.ID, &p.Name, &p.About, &p.Price}
	})
}

// An Item is a product in a cart or an order.
type Item struct {
	ProductID string `json:"product_id,omitempty"` // in a cart
	Name      string `json:"name"`
	Price     int64  `json:"price_cents"`
	Quantity  int64  `json:"quantity"`
}

// Total is the price of all.
func (i Item) Total() int64 { return i.Price * i.Quantity }

// Total is the price of all items.
func Total(items []Item) (total int64) {
	for _, i := range items {
		total += i.Total()
	}
	return total
}

// MaxQuantity is how many of one product can be in a cart.
const MaxQuantity = 20

// Cart returns what is in a user's cart.
func (db *DB) Cart(ctx context.Context, userID string) ([]Item, error) {
	return all(ctx, db, db.sql(`SELECT c.product_id, p.name, p.price, c.quantity FROM shop_cart c JOIN shop_products p ON p.id = c.product_id
		WHERE c.user_id = ? ORDER BY p.position`), []any{userID}, itemDest)
}

func itemDest(i *Item) []any { return []any{&i.ProductID, &i.Name, &i.Price, &i.Quantity} }

// AddToCart puts one more of a product into a user's cart, or returns ErrNotFound.
func (db *DB) AddToCart(ctx context.Context, userID, productID string) error {
	added, err := db.exec(ctx, `INSERT INTO shop_cart (user_id, product_id, quantity) SELECT CAST(? AS TEXT), id, 1 FROM shop_products WHERE id = ?
		ON CONFLICT (user_id, product_id) DO UPDATE SET quantity =
			CASE WHEN shop_cart.quantity < ? THEN shop_cart.quantity + 1 ELSE shop_cart.quantity END`, userID, productID, MaxQuantity)
	if err == nil && added == 0 {
		err = ErrNotFound
	}
	return err
}

// RemoveFromCart takes all of a product out of a user's cart.
func (db *DB) RemoveFromCart(ctx context.Context, userID, productID string) error {
	_, err := db.exec(ctx, `DELETE FROM shop_cart WHERE user_id = ? AND product_id = ?`, userID, productID)
	return err
}
