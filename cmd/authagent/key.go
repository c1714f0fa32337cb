package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
)

const keyHelp = `Usage: authagent key

Prints a new session key: 32 random bytes as base64, for Config.SessionKeys.

Put the key into the variable AUTH_AGENT_SESSION_KEYS, or into the file that
AUTH_AGENT_SESSION_KEYS_FILE names. authagent.ConfigFromEnv reads both. To read keys
from elsewhere, use authagent.ParseSessionKeys. Several keys have commas between them,
and the first encrypts.

Keep the key, so that sessions outlive a restart of your site:

	(umask 077; authagent key >session.key)
	export AUTH_AGENT_SESSION_KEYS_FILE=session.key
`

// key makes a session key.
func key(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	if err := parse(flags, args, keyHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	fmt.Fprintln(out, base64.RawURLEncoding.EncodeToString(random[:]))
	return nil
}
