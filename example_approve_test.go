package authagent_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A tool that an agent calls asks the owner about each call, and performs it once.
func ExampleRelyingParty_Approve() {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	owners.Approvals = map[string]string{"files:delete": "Delete a file"}
	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	send, end := withAgent(authagent.FullAccount(users, mayOrder{}), func(rp *authagent.RelyingParty) http.Handler {
		deleteFile := func(ctx context.Context, s *authagent.Session, name string) error {
			reserved, _, err := rp.Approve(ctx, s, "files:delete", []byte(name), owners)
			if err != nil {
				return err // with problem.ApprovalPending: call the tool again, later
			}
			fmt.Println("deleting", name)
			return reserved.End(ctx)
		}
		return rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // your server of tools
			s, _ := authagent.FromContext(r.Context())
			err := deleteFile(r.Context(), s, "notes.txt")
			var refused *problem.Error
			switch {
			case errors.As(err, &refused):
				fmt.Fprint(w, string(refused.Reason))
			case err == nil:
				fmt.Fprint(w, "done")
			}
		}))
	})
	defer end()
	fmt.Println(send("GET", "/tool"))

	overview, err := owners.Overview(context.Background(), alice)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range overview.Approvals { // on the page of agents
		if _, err := owners.DecideAction(context.Background(), alice, a.ID, a.Version, true); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(send("GET", "/tool"))
	fmt.Println(send("GET", "/tool"))
	// Output:
	// 200 approval_pending
	// deleting notes.txt
	// 200 done
	// 200 approval_used
}
