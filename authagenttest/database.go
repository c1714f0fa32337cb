package authagenttest

import (
	"crypto"
	"slices"
	"time"
)

// Lifetimes of what the server hands out.
const (
	requestLifetime = 120 * time.Second
	codeLifetime    = 600 * time.Second
	accessLifetime  = 3600 * time.Second
	refreshLifetime = 30 * 24 * time.Hour
)

// A Client is a site registered at the server.
type Client struct {
	ID           string // letters, digits, "_" and "-", at least 3; generated if empty
	Secret       string // generated if empty: "cs_" and 64 hex digits; none with keys
	Name         string // shown on the waiting page; the ID if empty
	RedirectURIs []string
	LogoutURL    string // where [Server.Logout] sends logout tokens (backchannel_logout_uri); optional

	// Keys and JWKSURL are for private_key_jwt (RFC 7523), which Features.AuthMethods has to
	// list. A client with either has no secret. Keys are public keys: *rsa.PublicKey,
	// *ecdsa.PublicKey or ed25519.PublicKey. JWKSURL is where the client publishes a JWK Set. It
	// is fetched when an assertion names a key that is not known, and the set replaces the one
	// that was fetched before, as at most providers: a key that was withdrawn is good until then.
	Keys    []crypto.PublicKey
	JWKSURL string
}

type clientRow struct {
	Client
	created time.Time
	fetched map[string]crypto.PublicKey // from JWKSURL, by their kid
}

type agentRow struct {
	Agent
	created time.Time
}

// A requestRow is what /authorize stores: the waiting page's request.
type requestRow struct {
	id          string
	clientID    string
	redirectURI string
	state       string
	challenge   string
	scope       string
	resources   []string // with Features.Resources
	nonce       string
	code        string // of the latest approval; empty while waiting
	expires     time.Time
}

// A pushedRow is a request that was pushed (RFC 9126) and not used yet.
type pushedRow struct {
	params  params
	expires time.Time
}

// A grant is what an approval entitles to, carried from code to token to token.
type grant struct {
	clientID  string
	agentID   string
	model     string
	scope     string
	resources []string // that the tokens are for; nil is the client itself
	sid       string   // the session at the server
	family    string   // the code all of it descends from
}

type codeRow struct {
	grant
	code        string
	redirectURI string
	challenge   string
	nonce       string
	used        time.Time // zero while not used
	expires     time.Time
}

type tokenRow struct {
	grant
	api            *apiRow // nil unless the token is for an API
	access         string
	refresh        string // empty for a token without a sign-in
	revoked        bool
	rotated        time.Time // zero unless a refresh replaced it
	accessExpires  time.Time
	refreshExpires time.Time
}

// database holds the server's tables. Tokens are found by either of their two
// values; several rows may carry the same one, for the published schema has no
// unique constraint.
type database struct {
	clients   []*clientRow
	agents    []*agentRow
	requests  map[string]*requestRow
	pushed    map[string]*pushedRow // by the request_uri
	proofs    map[string]time.Time  // jti of assertions that were used, and until when they would be good
	codes     map[string]*codeRow
	byAccess  map[string][]*tokenRow
	byRefresh map[string][]*tokenRow
	byFamily  map[string][]*tokenRow
}

func newDatabase() database {
	return database{
		requests:  make(map[string]*requestRow),
		pushed:    make(map[string]*pushedRow),
		proofs:    make(map[string]time.Time),
		codes:     make(map[string]*codeRow),
		byAccess:  make(map[string][]*tokenRow),
		byRefresh: make(map[string][]*tokenRow),
		byFamily:  make(map[string][]*tokenRow),
	}
}

func (db *database) client(id string) *clientRow {
	for _, row := range db.clients {
		if row.ID == id {
			return row
		}
	}
	return nil
}

func (db *database) agent(id string) *agentRow {
	for _, row := range db.agents {
		if row.ID == id {
			return row
		}
	}
	return nil
}

func (db *database) insertToken(row *tokenRow) {
	db.byAccess[row.access] = append(db.byAccess[row.access], row)
	if row.refresh == "" {
		return
	}
	db.byRefresh[row.refresh] = append(db.byRefresh[row.refresh], row)
	db.byFamily[row.family] = append(db.byFamily[row.family], row)
}

// exactlyOne is the published server's look-up: it asks the database for a
// single row, and two live ones are an error, which it takes for none.
func exactlyOne(rows []*tokenRow, live func(*tokenRow) bool) *tokenRow {
	var found *tokenRow
	for _, row := range rows {
		if !live(row) {
			continue
		}
		if found != nil {
			return nil
		}
		found = row
	}
	return found
}

// findClient, and the other find methods below, find nothing during an outage:
// the published server cannot tell an error of its database from an empty result.
func (c *call) findClient(id string) *clientRow {
	if c.outage == OutageAll {
		return nil
	}
	return c.db.client(id)
}

func (c *call) findAgent(id string) *agentRow {
	if c.outage == OutageAll {
		return nil
	}
	return c.db.agent(id)
}

func (c *call) findRequest(id string) *requestRow {
	row := c.db.requests[id]
	if c.outage == OutageAll || row == nil || !row.expires.After(c.now) {
		return nil
	}
	return row
}

// findCode returns a live code that was not used, or not used for longer than
// Features.Overlap.
func (c *call) findCode(code string) *codeRow {
	row := c.db.codes[code]
	if c.outage == OutageAll || row == nil || !row.expires.After(c.now) {
		return nil
	}
	if !row.used.IsZero() && !c.overlaps(row.used) {
		return nil
	}
	return row
}

func (c *call) findAccess(token string) *tokenRow {
	if c.outage == OutageAll {
		return nil
	}
	return exactlyOne(c.db.byAccess[token], func(row *tokenRow) bool {
		return !row.revoked && row.accessExpires.After(c.now)
	})
}

func (c *call) findRefresh(token string) *tokenRow {
	if c.outage == OutageAll {
		return nil
	}
	return exactlyOne(c.db.byRefresh[token], func(row *tokenRow) bool {
		live := !row.revoked || !row.rotated.IsZero() && c.overlaps(row.rotated)
		return live && row.refreshExpires.After(c.now)
	})
}

// overlaps reports whether a use at that time was so recent that one database
// read would not have seen it yet.
func (c *call) overlaps(used time.Time) bool {
	return c.now.Sub(used) < c.Features.Overlap
}

// canInsert and canUpdate report whether the database takes new rows and changes.
func (c *call) canInsert() bool { return c.outage != OutageAll && c.outage != OutageInserts }
func (c *call) canUpdate() bool { return c.outage != OutageAll && c.outage != OutageUpdates }

// revokeToken revokes every row that has the token, as access or refresh token.
func (c *call) revokeToken(token string) {
	if !c.canUpdate() {
		return
	}
	for _, rows := range [][]*tokenRow{c.db.byAccess[token], c.db.byRefresh[token]} {
		for _, row := range rows {
			row.revoked = true
			row.rotated = time.Time{} // revoked for good, whatever the overlap
		}
	}
}

// revokeFamily revokes whatever descends from a code.
func (c *call) revokeFamily(code string) {
	for _, row := range c.db.byFamily[code] {
		row.revoked = true
		row.rotated = time.Time{}
	}
}

// AddClient registers a site, in place of an earlier one of that ID, and
// returns it with what was generated filled in.
func (s *Server) AddClient(client Client) Client {
	if client.ID == "" {
		client.ID = "client_" + randomHex(8)
	}
	if client.Secret == "" && !client.hasKeys() {
		client.Secret = "cs_" + randomHex(32)
	}
	if client.Name == "" {
		client.Name = client.ID
	}
	client.RedirectURIs, client.Keys = slices.Clone(client.RedirectURIs), slices.Clone(client.Keys)
	s.mu.Lock()
	defer s.mu.Unlock()
	if row := s.db.client(client.ID); row != nil {
		row.Client, row.fetched = client, nil
	} else {
		s.db.clients = append(s.db.clients, &clientRow{Client: client, created: time.Now()})
	}
	client.RedirectURIs, client.Keys = slices.Clone(client.RedirectURIs), slices.Clone(client.Keys) // the caller's own
	return client
}

// AddAgent registers an agent, in place of an earlier one of that ID, and
// returns it with what was generated filled in, ready to sign in.
//
// The server keeps a copy. So a change to the Secret or the Model of the returned agent
// changes what that agent says, and nothing at the server. To change the Email or Name
// as the owner does at the console, call AddAgent again.
func (s *Server) AddAgent(agent Agent) *Agent {
	if agent.ID == "" {
		agent.ID = "agent_" + randomHex(8)
	}
	if agent.Secret == "" {
		agent.Secret = "ags_" + randomHex(32)
	}
	if agent.Email == "" {
		agent.Email = agent.ID + "@example.com"
	}
	if agent.Model == "" {
		agent.Model = defaultModel
	}
	agent.server = s
	s.mu.Lock()
	defer s.mu.Unlock()
	if row := s.db.agent(agent.ID); row != nil {
		row.Agent = agent
	} else {
		s.db.agents = append(s.db.agents, &agentRow{Agent: agent, created: time.Now()})
	}
	return &agent
}

// RemoveAgent deletes an agent's registration. Its tokens stay alive, and
// /userinfo answers 500 for them.
func (s *Server) RemoveAgent(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.db.agents[:0]
	for _, row := range s.db.agents {
		if row.ID != id {
			kept = append(kept, row)
		}
	}
	s.db.agents = kept
}
