package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

const (
	defaultAddr     = "127.0.0.1:9000"
	defaultRedirect = "http://127.0.0.1:8080/auth/agent/callback"
	defaultAgent    = "agent_alice"
)

// A directory is whom the server knows.
type directory struct {
	Clients []clientEntry `json:"clients"`
	Agents  []agentEntry  `json:"agents"`
}

type clientEntry struct {
	ID           string   `json:"id"`
	Secret       string   `json:"secret"`
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
}

type agentEntry struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Email  string `json:"email"`
	Name   string `json:"name"`
	Model  string `json:"model"`
}

func (d *directory) addClient(value string) error {
	id, redirectURI, ok := strings.Cut(value, "=")
	if !ok || id == "" || redirectURI == "" {
		return errors.New("is not an ID, = and a redirect URI")
	}
	d.Clients = append(d.Clients, clientEntry{ID: id, RedirectURIs: []string{redirectURI}})
	return usable(id, redirectURI)
}

// usable says what authagent.New says of a site with this ID and redirect URI, which
// would be the first to say it otherwise.
func usable(id, redirectURI string) error {
	if err := refusal("https://agents.example", id, redirectURI); err != nil {
		return err
	}
	if err := refusal("http://"+defaultAddr, id, redirectURI); err != nil {
		return fmt.Errorf("its site could not use this server: %w", err)
	}
	return nil
}

// refusal is what authagent.New says of a site at an issuer, on one line.
func refusal(issuer, id, redirectURI string) error {
	key := make([]byte, 32)
	rand.Read(key)
	_, err := authagent.New(authagent.Config{
		Issuer: issuer, ClientID: id, ClientSecret: secretFor("cs_", id), RedirectURL: redirectURI,
		SessionKeys: [][]byte{key}, Scenario: authagent.FreshProfile(&memstore.Profiles{}), Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "authagent: "), "\nauthagent: ", "; "))
}

func (d *directory) addAgent(value string) error {
	id, email, ok := strings.Cut(value, "=")
	if !ok || id == "" || email == "" {
		return errors.New("is not an ID, = and an e-mail address")
	}
	d.Agents = append(d.Agents, agentEntry{ID: id, Email: email})
	return nil
}

// read adds what is in a file.
func (d *directory) read(file string) error {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var more directory
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&more); err != nil {
		return err
	}
	for i, c := range more.Clients {
		if c.ID == "" || len(c.RedirectURIs) == 0 {
			return fmt.Errorf("client %d needs id and redirect_uris", i)
		}
		for _, uri := range c.RedirectURIs {
			if err := usable(c.ID, uri); err != nil {
				return fmt.Errorf("client %d, %q: %w", i, uri, err)
			}
		}
	}
	for i, a := range more.Agents {
		if a.ID == "" || a.Email == "" {
			return fmt.Errorf("agent %d needs id and email", i)
		}
	}
	d.Clients, d.Agents = append(d.Clients, more.Clients...), append(d.Agents, more.Agents...)
	return nil
}

// complete fills in what was not given.
func (d *directory) complete() {
	if len(d.Clients) == 0 {
		d.Clients = []clientEntry{{ID: "site", RedirectURIs: []string{defaultRedirect}}}
	}
	if len(d.Agents) == 0 {
		d.Agents = []agentEntry{{ID: defaultAgent, Email: "alice@example.com", Name: "Alice"}}
	}
	for i, c := range d.Clients {
		if c.Secret == "" {
			d.Clients[i].Secret = secretFor("cs_", c.ID)
		}
	}
	for i, a := range d.Agents {
		if a.Secret == "" {
			d.Agents[i].Secret = secretFor("ags_", a.ID)
		}
	}
}

// secretFor makes a secret that is the same each time, so that a site's settings
// outlive a restart. It is no secret: the server is for development.
func secretFor(prefix, id string) string {
	sum := sha256.Sum256([]byte("authagent dev " + prefix + id))
	return prefix + hex.EncodeToString(sum[:])
}

// Environment is the settings of a site, ready for a shell.
func (c clientEntry) Environment(issuer string) []string {
	return []string{
		"AUTH_AGENT_ISSUER=" + issuer, "AUTH_AGENT_CLIENT_ID=" + quoted(c.ID), "AUTH_AGENT_CLIENT_SECRET=" + quoted(c.Secret),
		"AUTH_AGENT_REDIRECT_URL=" + quoted(c.RedirectURIs[0]), `AUTH_AGENT_SESSION_KEYS="$(` + invocation() + ` key)"`,
	}
}

// Token is how to get an access token for the API of a site, whose resource only the site knows: a
// command for a shell.
func (d *directory) Token(issuer string) string {
	command := invocation() + " dev token"
	if issuer != "http://"+defaultAddr {
		command += " -issuer " + issuer
	}
	return command + " -resource URL"
}

// SignIn is how to sign an agent in to the client's site: a command for a shell.
func (c clientEntry) SignIn(a agentEntry, issuer string) string {
	command := invocation() + " dev sign-in"
	if issuer != "http://"+defaultAddr {
		command += " -issuer " + issuer
	}
	if a.ID != defaultAgent {
		command += " -agent " + quoted(a.ID)
	}
	if a.Secret != secretFor("ags_", a.ID) {
		command = "AUTH_AGENT_AGENT_SECRET=" + quoted(a.Secret) + " " + command
	}
	callback, _ := url.Parse(c.RedirectURIs[0]) // usable has parsed it
	return command + " " + quoted(callback.ResolveReference(&url.URL{Path: "login"}).String())
}

// quoted is a word for a shell.
func quoted(word string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:@%+,=", c)
	}
	if word != "" && strings.TrimLeftFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
