package database

import (
	"context"
	"errors"

	"github.com/authagent-go/authagent"
)

// catalogue is what the shop sells.
var catalogue = []Product{
	{"teapot", "Teapot", "Cast iron, holds a litre, keeps it hot for an hour.", 4900},
	{"kettle", "Kettle", "Stainless steel, for every hob.", 3850},
	{"assam", "Assam, 250 g", "Strong and malty. Takes milk.", 1290},
	{"sencha", "Sencha, 100 g", "Green tea from Uji, first harvest.", 1650},
	{"cups", "Four cups", "Stoneware, glazed by hand, no two alike.", 3200},
	{"strainer", "Strainer", "Fine mesh, fits every cup.", 690},
}

// Seed fills an empty database with a catalogue, and with a user who has placed an
// order. What is there already stays.
func (db *DB) Seed(ctx context.Context, u User) error {
	for n, p := range catalogue {
		_, err := db.exec(ctx, `INSERT INTO shop_products (id, name, about, price, position) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			p.ID, p.Name, p.About, p.Price, n)
		if err != nil {
			return err
		}
	}
	id, err := db.AddUser(ctx, u)
	if errors.Is(err, authagent.ErrExists) {
		return nil
	}
	for _, product := range []string{"teapot", "assam", "assam"} {
		if err == nil {
			err = db.AddToCart(ctx, id, product)
		}
	}
	if err == nil {
		_, err = db.PlaceOrder(ctx, id, authagent.Agent{})
	}
	return err
}
