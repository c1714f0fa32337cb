// Package authagenttest is an Auth Agent authorization server for tests and
// development, and an agent that signs in to a site by it. It is to a site that
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
// The server speaks the protocol of the published Auth Agent server: OAuth 2.1's
// code flow with PKCE, of which the middle part is not a consent page but a
// waiting page. The agent reads the request's ID from it and proves itself with
// a POST of its own; the page polls until that is done and then sends the
// browser back to the site with a code.
//
// The answers are those of the published server, down to the order of the
// members, and so are its departures from the standards, because a site that is
// to work with it has to survive them: [Quirks] lists them, and switches each
// off. What other servers do in its place is in [Features]; its failures are in
// [Outage]. [Server.Wrap] replaces, delays or cuts any answer, for which there
// is ready-made misbehaviour such as [RedirectTo], [Hang] and [GzipBomb], and
// [Server.Requests] tells what a site asked.
//
// # Time
//
// The server asks [time.Now] for the time, so inside a bubble of testing/synctest
// its tokens expire at no cost. There, use the server without its socket: see [Hosts].
//
// # What it is not
//
// The server keeps everything in memory, gives its admin endpoints to anyone as
// the published one does, and has never been hardened. It belongs on a loopback
// interface.
package authagenttest
