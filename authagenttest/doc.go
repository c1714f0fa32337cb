// Package authagenttest is an Auth Agent authorization server for tests and
// development, and an agent that signs in to a site with it. It is to a site that
// offers "Sign in with Auth Agent" what [net/http/httptest] is to an HTTP client.
//
//	as := authagenttest.NewServer()
//	defer as.Close()
//	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/callback"}})
//	agent := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"})
//
//	// The site is configured with as.URL, client.ID and client.Secret.
//	resp, err := agent.SignIn(ctx, as.NewBrowser(), site.URL+"/login")
//
// # The protocol
//
// The server speaks the protocol of the published Auth Agent server: OAuth 2.1's code
// flow with PKCE, with a waiting page in place of the consent page. The agent reads the
// request's ID from that page and proves itself with a POST of its own; the page polls
// until that is done and then sends the browser back to the site with a code.
//
// The answers are those of the published server, down to the order of the members. The
// server also departs from the standards as the published one does, because a site that
// works with that one has to survive it. [Quirks] lists these departures, and switches
// each off. [Features] has what other servers do instead, and [Outage] has the
// failures. [Server.Wrap] replaces, delays or cuts any answer; [RedirectTo], [Hang],
// [GzipBomb] and others are ready-made for it. [Server.Requests] tells what a site
// asked.
//
// With Features.ActorClaim, it is a server whose tokens name the user and, in act, the agent
// (RFC 8693). People and guests sign in at the same one: see [Agent].
//
// # An API
//
// [Server.AccessToken] gives an agent an access token for a site's API, and [Bearer] calls the API with
// it. [Server.ForgedToken] makes those that an API has to refuse. [Agent.SignInToAPI] is an agent that
// knows nothing but the API's address.
//
// # Time
//
// The server asks [time.Now] for the time, so inside a bubble of testing/synctest
// its tokens expire at no cost. There, use the server without its socket: see [Hosts].
//
// # What it is not
//
// The server keeps everything in memory, lets anyone use its admin endpoints, as the
// published one does, and has never been hardened. It belongs on a loopback interface.
package authagenttest
