// Package grants gives the owner of an account control over the agents that act
// in it: which may enter, with what access, until when, and which single actions
// they may perform.
//
// A grant lets one agent, known by issuer and ID, act for one account. It begins when
// the agent asks for it by signing in, or when the owner connects the agent in person.
// Nothing is open to the agent until the owner has said yes. An e-mail address only
// decides whom to ask.
//
//	store := &memstore.Grants{} // or a shared one
//	owners := grants.OwnerApproval(store)
//	owners.Actions = map[string]string{"orders:create": "Place orders"}
//	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
//	owners.Reading = "orders and invoices"
//	owners.Notify = func(ctx context.Context, n grants.Notice) {
//		mailer.Send(ctx, addressOf(n.UserID), n.Subject, n.Text, n.HTML)
//	}
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
// Policy the events that its page shows. If its scenario has no LinkPolicy, set its
// Config.Rules to the Policy.
//
// [Handler] is the page on which owners see and decide all of it, in the language of each.
// A request to enter shows the comparison code that its agent was shown, so that owners
// know their own agent. [Policy.Describe] says in words what a single action would do. Policy has the same
// as methods, for a site that draws its own page.
//
// Every decision counts on the agent's next request, at every instance that shares the
// [Store]. No agent can decide: the page lets through only a human, in a browser where
// no agent is signed in.
package grants
