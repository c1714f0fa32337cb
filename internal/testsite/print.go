package testsite

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// Printed returns v, in all that something can be printed in, by all verbs and flags.
// Where methods is set, those are left out for which package fmt calls no method.
func Printed[T any](v T, methods bool) map[string]string {
	type exported struct{ V any }
	type unexported struct{ v any }
	type unexportedOwn struct{ v T }
	type embedded struct{ exported }
	within := map[string]any{
		"itself": v, "pointer": &v, "exported field": exported{v}, "pointer to exported field": &exported{v},
		"map": map[string]any{"v": v}, "map of its type": map[string]T{"v": v}, "slice": []any{v}, "slice of its type": []T{v}, "array": [1]T{v},
		"error": fmt.Errorf("wrapped: %w", fmt.Errorf("%+v", v)), "embedded": embedded{exported{v}},
	}
	if !methods {
		within["unexported field"], within["unexported field of its type"] = unexported{v}, unexportedOwn{v}
		within["pointer to unexported field"] = &unexportedOwn{v}
	}
	outputs := make(map[string]string)
	for where, value := range within {
		for verb := 'A'; verb <= 'z'; verb++ {
			if verb > 'Z' && verb < 'a' || methods && (verb == 'p' || verb == 'w') {
				continue
			}
			for _, flags := range []string{"", "+", "#"} {
				format := "%" + flags + string(verb)
				outputs[format+" "+where] = fmt.Sprintf(format, value)
			}
		}
		encoded, err := json.Marshal(value)
		outputs["json "+where] = string(encoded) + fmt.Sprint(err)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		outputs["slog "+where] = log.String()
	}
	return outputs
}

// NoSecrets checks that a text has no secret of c, in no encoding.
func NoSecrets(t testing.TB, what, text string, c *authagent.Config) {
	t.Helper()
	secrets := [][]byte{[]byte(c.ClientSecret), c.Provider.TokenKey}
	for _, key := range append(secrets, c.SessionKeys...) {
		if len(key) < 5 {
			continue
		}
		for _, form := range []string{
			string(key), hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)), base64.StdEncoding.EncodeToString(key),
			strings.Trim(fmt.Sprint(key), "[]"), strings.Trim(fmt.Sprintf("%#v", key), "[]byte{}"),
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s has a secret: %s", what, text)
			}
		}
	}
}
