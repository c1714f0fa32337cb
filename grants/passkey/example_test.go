package passkey_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/memstore"
)

// Owners confirm with passkeys what gives an agent more.
func Example() {
	var (
		rp     *authagent.RelyingParty // your relying party
		mux    = http.NewServeMux()
		owners = grants.OwnerApproval(&memstore.Grants{})
		store  = &passkey.Memory{} // your database
		states = &memstore.States{}
		keys   = [][]byte{[]byte(rand.Text() + rand.Text())}
	)
	passwordJustEntered := func(r *http.Request) error { return errors.New("it was not") }

	passkeys, err := passkey.New(passkey.Config{
		RPID:      "shop.example",
		Name:      "Shop",
		Origins:   []string{"https://shop.example"},
		Store:     store,  // your table of passkeys: four methods
		Keys:      keys,   // 32 random bytes or more, kept with your other secrets
		Used:      states, // shared by all instances; sqlstore has one
		Fresh:     passwordJustEntered,
		FreshPath: "/account/password-again",
	})
	if err != nil {
		log.Fatal(err)
	}
	owners.Confirm = passkeys

	owners.Amount = func(ctx context.Context, request action.Request) (grants.Amount, error) {
		return grants.Amount{}, nil // what the request costs, see grants.Policy
	}
	owners.ConfirmAbove = map[string]int64{"USD": 2000} // above $20.00, and whatever has no amount in dollars

	if rp != nil { // as it is at your site
		mux.Handle("/account/passkeys/", passkeys.Handler(rp))
	}
	fmt.Println(owners.Check())
	// Output: <nil>
}
