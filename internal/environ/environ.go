// Package environ reads settings from environment variables, or from the files
// that they name. No error contains a value.
package environ

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/authagent-go/authagent/internal/settings"
)

// The variables. Each can be given as a file too, by its name with _FILE appended.
const (
	Issuer       = "AUTH_AGENT_ISSUER"
	ClientID     = "AUTH_AGENT_CLIENT_ID"
	ClientSecret = "AUTH_AGENT_CLIENT_SECRET"
	ClientKeys   = "AUTH_AGENT_CLIENT_KEYS"
	RedirectURL  = "AUTH_AGENT_REDIRECT_URL"
	SessionKeys  = "AUTH_AGENT_SESSION_KEYS"

	fileSuffix = "_FILE"
)

// Settings are what was read.
type Settings struct {
	Issuer, ClientID, RedirectURL string
	ClientSecret                  string                                // empty if it is in a file
	SecretFile                    func(context.Context) (string, error) // reads it anew; nil if it is not in a file
	ClientKeys                    []crypto.Signer                       // in place of the secret
	SessionKeys                   [][]byte
}

// Read reads all variables, and joins what is wrong into one error.
func Read() (Settings, error) {
	r := reader{}
	s := Settings{Issuer: r.value(Issuer), ClientID: r.value(ClientID)}
	r.proof(&s)
	s.RedirectURL, s.SessionKeys = r.value(RedirectURL), r.keys(r.value(SessionKeys))
	return s, r.Err()
}

// proof reads what the site proves itself by: a secret or keys. With both, the one that whoever runs
// the site believes in might not be the one that is used.
func (r *reader) proof(s *Settings) {
	const either = ClientSecret + ", " + ClientKeys
	switch secret, keys := isSet(ClientSecret), isSet(ClientKeys); {
	case secret && keys:
		r.Add(either, "both are set, or named as files by %s: only one of them can be", fileSuffix)
	case keys:
		if text := r.text(ClientKeys); text != "" {
			s.ClientKeys = r.clientKeys(text)
		}
	case secret:
		s.ClientSecret = r.value(ClientSecret)
		if file := os.Getenv(ClientSecret + fileSuffix); file != "" {
			s.ClientSecret, s.SecretFile = "", secretIn(file)
		}
	default:
		r.Add(either, "neither is set, nor with %s appended: one of them is needed", fileSuffix)
	}
}

// isSet reports whether a variable is set, or names a file.
func isSet(name string) bool { return os.Getenv(name) != "" || os.Getenv(name+fileSuffix) != "" }

// secretIn returns a function that reads the secret from a file each time, so
// that it can be replaced while the site runs.
func secretIn(file string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return readFile(file) }
}

type reader struct{ settings.Problems }

// value returns the text of a variable that is one word.
func (r *reader) value(name string) string {
	value := r.text(name)
	if strings.TrimSpace(value) != value {
		r.Add(name, "begins or ends with a blank or a line break")
		return ""
	}
	return value
}

// text returns the value of a variable or of the file that it names. An empty
// variable is one that is not set, as in a shell.
func (r *reader) text(name string) string {
	value, file := os.Getenv(name), os.Getenv(name+fileSuffix)
	switch {
	case value != "" && file != "":
		r.Add(name, "is set, and %s too: only one of them can be", name+fileSuffix)
		return ""
	case value == "" && file == "":
		r.Add(name, "is not set or empty, and neither is %s set", name+fileSuffix)
		return ""
	case file != "":
		var err error
		if value, err = readFile(file); err != nil {
			r.Add(name+fileSuffix, "%w", err)
			return ""
		}
	}
	return value
}

// readFile returns what is in a file, without the line break at its end.
func readFile(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return "", fmt.Errorf("%s is empty", file)
	}
	return string(data), nil
}

// keys reads a list of keys. An empty one is what value has reported.
func (r *reader) keys(list string) [][]byte {
	if list == "" {
		return nil
	}
	return r.keysIn(SessionKeys, list)
}

// Keys parses session keys with commas or white space between them. setting is what
// errors call the list; they number the keys from 0, as those of authagent.New do.
func Keys(setting, list string) ([][]byte, error) {
	var r reader
	keys := r.keysIn(setting, list)
	if err := r.Err(); err != nil {
		return nil, err
	}
	return keys, nil
}

func (r *reader) keysIn(setting, list string) (keys [][]byte) {
	for i, text := range strings.FieldsFunc(list, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		key, ok := decode(text)
		switch {
		case !ok:
			r.Add(setting, "key %d is neither base64 nor hex, as \"authagent key\" prints them", i)
		case len(key) < settings.MinKey:
			r.Add(setting, "key %d has %d bytes, at least %d are needed", i, len(key), settings.MinKey)
		}
		keys = append(keys, key)
	}
	if keys == nil {
		r.Add(setting, "has no key in it")
	}
	return keys
}

// decode reads a key as hex, if it consists of at least 64 such digits, and as
// base64 with either alphabet, padded or not, if it does not. What is too short both
// ways is hex if it can be, so that its bytes are counted as whoever made it does.
func decode(text string) ([]byte, bool) {
	fromHex, notHex := hex.DecodeString(text)
	if notHex == nil && len(fromHex) >= settings.MinKey {
		return fromHex, true
	}
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawURLEncoding.DecodeString(text)
	if notHex == nil && len(key) < settings.MinKey {
		return fromHex, true
	}
	return key, err == nil
}
