// Package client is a site as a client of its authorization server: how it proves itself there, and
// how the two speak, all by the settings.
package client

import (
	"cmp"
	"context"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/provider"
)

// A Client is known to a server by its ID and secret, or by its keys.
type Client struct {
	provider.Settings
	Issuer, ID, Secret, RedirectURL string
	Dev                             bool // plain http on a loopback host is acceptable

	Panics failure.Panics // of the site's code
	Meter  *meter.Meter   // nil for none
}

// Server returns the authorization server as the client speaks to it.
func (c Client) Server() *wire.Server {
	encoding, _ := settings.Encoding(c.TokenEncoding)
	panicked := func(value any, stack []byte) { c.Panics.Log("send request to server", value, stack) }
	sender := wire.NewClient(c.HTTPClient, panicked)
	sender.Meter = c.Meter
	source := wire.NewSource(sender, wire.Settings{
		Issuer: c.Issuer, Origins: c.EndpointOrigins, Dev: c.Dev, Pins: wire.Endpoints(c.Endpoints), Pushes: c.PushRequests,
	})
	return wire.NewServer(sender, source, wire.Registration{
		ID: c.ID, Secret: c.secret(), RedirectURL: c.RedirectURL, Encoding: encoding, Auth: settings.Auth(c.Settings),
		Assertion: c.assertion(), Resources: c.AuthorizationParams["resource"],
	})
}

func (c Client) secret() wire.Secret {
	if c.ClientSecretFunc == nil {
		return func(context.Context) (string, error) { return c.Secret, nil }
	}
	return func(ctx context.Context) (string, error) {
		return failure.Ask(c.Panics, "client secret", func() (string, error) { return c.ClientSecretFunc(ctx) })
	}
}

func (c Client) assertion() wire.Assertion {
	keys := settings.Keys(c.Settings)
	return func(algorithms []string) (string, error) {
		return failure.Ask(c.Panics, "client key", func() (string, error) {
			return keys.Assertion(c.ID, cmp.Or(c.AssertionAudience, c.Issuer), algorithms)
		})
	}
}
