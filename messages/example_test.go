package messages_test

import (
	"fmt"
	"log"

	"github.com/authagent-go/authagent/messages"
)

// A site with a page in French, and its own word for one text.
func ExampleParse() {
	french, err := messages.Parse("fr", `
ago.yesterday = hier
action.orders:create = Passer des commandes
`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(french.Text("ago.yesterday"))
	// Output: hier
}

// The browser of an Austrian gets German.
func ExampleChoose() {
	all := []*messages.Language{messages.English(), messages.German()}

	fmt.Println(messages.Choose([]string{"de-AT, en;q=0.5"}, all).Tag())
	// Output: de
}
