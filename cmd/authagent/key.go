package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
)

const keyHelp = `Usage: authagent key [-client]

Prints a new session key: 32 random bytes as base64, for Config.SessionKeys.

Put the key into the variable AUTH_AGENT_SESSION_KEYS, or into the file that
AUTH_AGENT_SESSION_KEYS_FILE names. authagent.ConfigFromEnv reads both. To read keys
from elsewhere, use authagent.ParseSessionKeys. Several keys have commas between them,
and the first encrypts.

Keep the key, so that sessions outlive a restart of your site:

	(umask 077; authagent key >session.key)
	export AUTH_AGENT_SESSION_KEYS_FILE=session.key

With -client, it prints a new client key instead: a private ECDSA key on P-256, as
PKCS #8 in PEM, for Config.Provider.ClientKeys. By it your site proves itself to the
server, instead of by a secret (private_key_jwt):

	(umask 077; authagent key -client >client.key)
	export AUTH_AGENT_CLIENT_KEYS_FILE=client.key
	unset AUTH_AGENT_CLIENT_SECRET AUTH_AGENT_CLIENT_SECRET_FILE

Mount ClientKeysHandler, which serves the public key, and register its address at the
server as the client's jwks_uri. The file may have several keys, one after the other,
and the first signs.
`

// key makes a session key, or a client key.
func key(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	client := flags.Bool("client", false, "print a private key by which the site proves itself to the server")
	if err := parse(flags, args, keyHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if *client {
		return clientKey(out)
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	fmt.Fprintln(out, base64.RawURLEncoding.EncodeToString(random[:]))
	return nil
}

// clientKey makes a key of the kind that most servers take assertions by, beside RSA (ES256).
func clientKey(out io.Writer) error {
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return failed("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return failed("make key: %w", err)
	}
	return pem.Encode(out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
