package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/alexedwards/argon2id"

	"github.com/authagent-go/authagent/examples/shop/database"
)

const (
	aliceEmail    = "alice@example.com"
	alicePassword = "second-flush-assam"
)

// seed gives the shop something to sell, and Alice, who has ordered some of it.
func seed(ctx context.Context, db *database.DB, out io.Writer) error {
	hash, err := argon2id.CreateHash(alicePassword, argon2id.DefaultParams)
	if err != nil {
		return err
	}
	if err := db.Seed(ctx, database.User{Email: aliceEmail, Name: "Alice", PasswordHash: hash}); err != nil {
		return err
	}
	fmt.Fprintf(out, "Alice signs in as %s with the password %s.\n", aliceEmail, alicePassword)
	return nil
}

// readKey reads the key that encrypts cookies and tokens, which has to outlive
// the program as they do, and makes one at first. A deployment has it among its
// secrets.
func readKey(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, 32)
		rand.Read(key)
		return key, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600)
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}
