package passkey_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/memstore"
)

// Owners confirm with passkeys what gives an agent more.
func Example() {
	passkeys, err := passkey.New(passkey.Config{
		RPID:    "shop.example",
		Name:    "Shop",
		Origins: []string{"https://shop.example"},
		Store:   &passkey.Memory{},                           // your database
		Keys:    [][]byte{[]byte(rand.Text() + rand.Text())}, // kept with your other secrets
		Used:    &memstore.States{},                          // shared by all instances
		Fresh: func(r *http.Request) error {
			return errors.New("the password was not entered a few minutes ago")
		},
		FreshPath: "/account/password-again",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Confirm = passkeys
	// mux.Handle("/account/passkeys/", passkeys.Handler(rp))
	fmt.Println(owners.Check())
	// Output: <nil>
}
