// Package grants gives the owner of an account control over the agents that act
// in it: which may enter, with what access, until when, and which single actions
// they may perform.
//
// A grant lets one agent, known by issuer and ID, act for one account. It begins
// as a request that the agent makes by signing in, or with the owner, who connects
// an agent in person. Nothing opens until the owner has said yes, and an e-mail
// address decides nothing but whom to ask.
//
//	store := &memstore.Grants{} // or a shared one
//	owners := grants.OwnerApproval(store)
//	owners.Actions = map[string]string{"orders:create": "Place orders"}
//	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
//	owners.Notify = sendMail
//
//	rp, err := authagent.New(authagent.Config{
//		// ...
//		Scenario: authagent.FullAccount(users, owners),
//		Human:    signedInUser,
//	})
//	mux.Handle("/account/agents/", grants.Handler(owners, rp))
//	mux.Handle("POST /orders", rp.RequireAction("orders:create")(orders))
//	mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", owners)(payouts))
//
// The relying party obeys the rules of the store ([Policy.SetRules]), and gives the
// Policy the events that its page shows. One whose scenario has no LinkPolicy is given
// the rules as its Config.Rules.
//
// [Handler] is the page on which owners see and decide all of it. [Policy] has the
// same as methods, for a site that draws its own.
//
// Every decision counts on the agent's next request, at every instance that
// shares the [Store]. No agent can take one: the page lets nobody through but a
// human who is signed in where no agent is.
package grants
