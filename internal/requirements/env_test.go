package requirements_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

var envNames = []string{
	"AUTH_AGENT_ISSUER", "AUTH_AGENT_CLIENT_ID", "AUTH_AGENT_CLIENT_SECRET", "AUTH_AGENT_CLIENT_KEYS", "AUTH_AGENT_REDIRECT_URL",
	"AUTH_AGENT_SESSION_KEYS",
}

// setEnv sets these variables, and no other of the package's.
func setEnv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range envNames {
		t.Setenv(name, env[name])
		t.Setenv(name+"_FILE", env[name+"_FILE"])
	}
}

func goodEnv(key []byte) map[string]string {
	return map[string]string{
		"AUTH_AGENT_ISSUER": "https://as.example", "AUTH_AGENT_CLIENT_ID": "site", "AUTH_AGENT_CLIENT_SECRET": "client-secret",
		"AUTH_AGENT_REDIRECT_URL": "https://rp.example/auth/agent/callback",
		"AUTH_AGENT_SESSION_KEYS": base64.StdEncoding.EncodeToString(key),
	}
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestConfigFromEnv: what is there is read, and what is wrong is named.
func TestConfigFromEnv(t *testing.T) {
	one, two := testsite.NewKey(), testsite.NewKey()
	set := func(pairs ...string) func(*testing.T, map[string]string) {
		return func(_ *testing.T, env map[string]string) {
			for i := 0; i < len(pairs); i += 2 {
				env[pairs[i]] = pairs[i+1]
			}
		}
	}
	inFile := func(name, content string) func(*testing.T, map[string]string) {
		return func(t *testing.T, env map[string]string) {
			env[name+"_FILE"], env[name] = writeFile(t, "mounted", content), ""
		}
	}
	const keys = "AUTH_AGENT_SESSION_KEYS"
	for _, test := range []struct {
		name   string
		change func(*testing.T, map[string]string)
		keys   [][]byte
		errs   []string // what the error says; nil for none
	}{
		{"all", set(), [][]byte{one}, nil},
		{"hex", set(keys, hex.EncodeToString(one)), [][]byte{one}, nil},
		{"upper-case hex", set(keys, strings.ToUpper(hex.EncodeToString(one))), [][]byte{one}, nil},
		{"base64 for URLs", set(keys, base64.RawURLEncoding.EncodeToString(one)), [][]byte{one}, nil},
		{"two keys", set(keys, base64.StdEncoding.EncodeToString(one)+", "+hex.EncodeToString(two)), [][]byte{one, two}, nil},
		{"keys in a file, one a line", inFile(keys, hex.EncodeToString(one)+"\n"+base64.StdEncoding.EncodeToString(two)+"\n"), [][]byte{one, two}, nil},
		{"issuer in a file", inFile("AUTH_AGENT_ISSUER", "https://as.example\r\n"), [][]byte{one}, nil},

		{"none", func(_ *testing.T, env map[string]string) { clear(env) }, nil, []string{
			"AUTH_AGENT_ISSUER: ", "AUTH_AGENT_CLIENT_ID: ", "AUTH_AGENT_CLIENT_SECRET, AUTH_AGENT_CLIENT_KEYS: neither is set",
			"AUTH_AGENT_REDIRECT_URL: ", "AUTH_AGENT_SESSION_KEYS: ",
		}},
		{"no issuer", set("AUTH_AGENT_ISSUER", ""), nil, []string{"authagent: AUTH_AGENT_ISSUER: is not set or empty, and neither is AUTH_AGENT_ISSUER_FILE set"}},
		{"both", set("AUTH_AGENT_CLIENT_SECRET_FILE", "/no/such/file"), nil, []string{"authagent: AUTH_AGENT_CLIENT_SECRET: is set, and AUTH_AGENT_CLIENT_SECRET_FILE too"}},
		{"no such file", set("AUTH_AGENT_CLIENT_SECRET", "", "AUTH_AGENT_CLIENT_SECRET_FILE", "/no/such/file"), nil,
			[]string{"authagent: AUTH_AGENT_CLIENT_SECRET_FILE: open /no/such/file"}},
		{"empty file", inFile("AUTH_AGENT_CLIENT_SECRET", "\n"), nil, []string{"authagent: AUTH_AGENT_CLIENT_SECRET_FILE: "}},
		{"blank at the end", set("AUTH_AGENT_CLIENT_SECRET", "client-secret "), nil, []string{"authagent: AUTH_AGENT_CLIENT_SECRET: begins or ends with"}},
		{"line break at the end", set("AUTH_AGENT_ISSUER", "https://as.example\n"), nil, []string{"authagent: AUTH_AGENT_ISSUER: begins or ends with"}},
		{"commas alone", set(keys, ", ,"), nil, []string{"authagent: " + keys + ": has no key in it"}},
		{"a short key", set(keys, hex.EncodeToString(one)+","+hex.EncodeToString(two[:16])), nil, []string{"authagent: " + keys + ": key 1 has 16 bytes, at least 32 are needed"}},
		{"a key that is a sentence", set(keys, hex.EncodeToString(one)+",correct-horse.battery!"), nil, []string{"authagent: " + keys + ": key 1 is neither base64 nor hex"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := goodEnv(one)
			test.change(t, env)
			setEnv(t, env)
			c, err := authagent.ConfigFromEnv()
			if (err != nil) != (test.errs != nil) {
				t.Fatalf("error %v, want %q", err, test.errs)
			}
			if err != nil {
				if n := strings.Count(err.Error(), "\n") + 1; n != len(test.errs) {
					t.Errorf("%d errors, want %d: %v", n, len(test.errs), err)
				}
				for _, want := range test.errs {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q, want %q in it", err, want)
					}
				}
				for _, secret := range []string{"client-secret", "correct-horse", hex.EncodeToString(one)} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("CFG-8 the error repeats a secret: %v", err)
					}
				}
				return
			}
			if diff := cmp.Diff(test.keys, c.SessionKeys); diff != "" {
				t.Error(diff)
			}
			c.Scenario = authagent.FreshProfile(&memstore.Profiles{})
			if _, err := authagent.New(c); err != nil || c.Issuer != "https://as.example" || c.ClientID != "site" {
				t.Errorf("New(%v): %v", c, err)
			}
		})
	}
}

// inPEM is a block of PEM with a key in it, as Go and others write it.
func inPEM(t *testing.T, kind string, key any) string {
	t.Helper()
	var der []byte
	var err error
	switch kind {
	case "EC PRIVATE KEY":
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	case "RSA PRIVATE KEY":
		der = x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
	case "PUBLIC KEY":
		der, err = x509.MarshalPKIXPublicKey(key)
	default:
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestClientKeysFromEnv_CFG_13: the keys are read in their order, and nothing that is beside them is
// passed over. An error names the variable and the block, and has nothing of it.
func TestClientKeysFromEnv_CFG_13(t *testing.T) {
	ecKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, err2 := rsa.GenerateKey(rand.Reader, 2048)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	agreement, err4 := ecdh.X25519().GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	ec, sec1 := inPEM(t, "PRIVATE KEY", ecKey), inPEM(t, "EC PRIVATE KEY", ecKey)
	pkcs1, ed := inPEM(t, "RSA PRIVATE KEY", rsaKey), inPEM(t, "PRIVATE KEY", edKey)
	public := inPEM(t, "PUBLIC KEY", ecKey.Public())
	retitled := func(text, from, to string) string { return strings.ReplaceAll(text, from, to) }
	legacy := retitled(pkcs1, "-----BEGIN RSA PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n")
	const name, either = "authagent: AUTH_AGENT_CLIENT_KEYS: ", "authagent: AUTH_AGENT_CLIENT_SECRET, AUTH_AGENT_CLIENT_KEYS: "
	for _, test := range []struct {
		name, text string
		want       []crypto.Signer
		errs       []string
	}{
		{"PKCS #8", ec, []crypto.Signer{ecKey}, nil},
		{"PKCS #8, RSA", inPEM(t, "PRIVATE KEY", rsaKey), []crypto.Signer{rsaKey}, nil},
		{"SEC 1", sec1, []crypto.Signer{ecKey}, nil},
		{"PKCS #1", pkcs1, []crypto.Signer{rsaKey}, nil},
		{"several, in their order", ed + pkcs1 + sec1, []crypto.Signer{edKey, rsaKey, ecKey}, nil},
		{"with empty lines", "\n\n" + ec + "\n \n" + ed + "\n", []crypto.Signer{ecKey, edKey}, nil},
		{"lines of Windows", retitled(ec+ed, "\n", "\r\n"), []crypto.Signer{ecKey, edKey}, nil},

		{"a file's name", "client.key", nil, []string{name + "has no PEM block in it, as \"authagent key -client\" prints one; a file is named by AUTH_AGENT_CLIENT_KEYS_FILE"}},
		{"blanks", " \n", nil, []string{name + "has no PEM block"}},
		{"a public key", ec + public, nil, []string{name + "block 1 is a public key: the private one is needed"}},
		{"a certificate", retitled(public, "PUBLIC KEY", "CERTIFICATE") + ec, nil, []string{name + "block 0 is a certificate: the private key alone is needed"}},
		{"encrypted", retitled(ec, "PRIVATE", "ENCRYPTED PRIVATE"), nil, []string{name + "block 0 is encrypted"}},
		{"encrypted as of old", ec + legacy, nil, []string{name + "block 1 is encrypted"}},
		{"parameters of a curve", retitled(ec, "PRIVATE KEY", "EC PARAMETERS") + sec1, nil, []string{name + "block 0 is no private key of PKCS #8"}},
		{"a name that is not known", retitled(ec, "PRIVATE KEY", "CORRECT HORSE"), nil, []string{name + "block 0 is no private key of PKCS #8"}},
		{"a key that agrees, and does not sign", inPEM(t, "PRIVATE KEY", agreement), nil, []string{name + "block 0 cannot be read, or is a key of a kind"}},
		{"the name of another format", retitled(sec1, "EC PRIVATE", "PRIVATE"), nil, []string{name + "block 0 cannot be read"}},
		{"no key in it", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + ec, nil, []string{name + "block 0 cannot be read"}},
		{"cut off, another after it", ec[:100] + "\n" + ed, nil, []string{name + "block 0 is no whole block of PEM"}},
		{"cut off, the last", ed + ec[:100], nil, []string{name + "block 1 is no whole block of PEM"}},
		{"in one line", retitled(ec, "\n", "\\n"), nil, []string{name + "block 0 is no whole block of PEM"}},
		{"a text in front", "correct-horse\n" + ec, nil, []string{name + "has something in front of block 0"}},
		{"a text between", ec + "correct-horse\n" + ed, nil, []string{name + "block 0 is followed by something that is no PEM"}},
		{"a text behind", ec + ed + "correct-horse", nil, []string{name + "block 1 is followed by something that is no PEM"}},
		{"two mistakes", public + ec[:100] + "\n" + ed, nil, []string{name + "block 0 is a public key", name + "block 1 is no whole block"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, inFile := range []bool{false, true} {
				env := goodEnv(testsite.NewKey())
				env["AUTH_AGENT_CLIENT_SECRET"], env["AUTH_AGENT_CLIENT_KEYS"] = "", test.text
				if inFile {
					env["AUTH_AGENT_CLIENT_KEYS"], env["AUTH_AGENT_CLIENT_KEYS_FILE"] = "", writeFile(t, "keys.pem", test.text)
				}
				setEnv(t, env)
				c, err := authagent.ConfigFromEnv()
				clientKeysAre(t, c, err, test.want, test.errs)
			}
		})
	}
	for _, test := range []struct {
		name   string
		change map[string]string
		want   string
	}{
		{"with a secret", map[string]string{"AUTH_AGENT_CLIENT_KEYS": ec}, either + "both are set"},
		{"a file with a secret", map[string]string{"AUTH_AGENT_CLIENT_KEYS_FILE": "/no/such/file"}, either + "both are set"},
		{"with a secret's file", map[string]string{"AUTH_AGENT_CLIENT_KEYS": ec, "AUTH_AGENT_CLIENT_SECRET": "", "AUTH_AGENT_CLIENT_SECRET_FILE": "/no/such/file"}, either + "both are set"},
		{"neither", map[string]string{"AUTH_AGENT_CLIENT_SECRET": ""}, either + "neither is set"},
		{"twice", map[string]string{"AUTH_AGENT_CLIENT_SECRET": "", "AUTH_AGENT_CLIENT_KEYS": ec, "AUTH_AGENT_CLIENT_KEYS_FILE": "/no/such/file"},
			name + "is set, and AUTH_AGENT_CLIENT_KEYS_FILE too"},
		{"no such file", map[string]string{"AUTH_AGENT_CLIENT_SECRET": "", "AUTH_AGENT_CLIENT_KEYS_FILE": "/no/such/file"}, "authagent: AUTH_AGENT_CLIENT_KEYS_FILE: open /no/such/file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := goodEnv(testsite.NewKey())
			maps.Copy(env, test.change)
			setEnv(t, env)
			c, err := authagent.ConfigFromEnv()
			clientKeysAre(t, c, err, nil, []string{test.want})
		})
	}
}

// clientKeysAre compares what was read with the keys that are wanted, or with the beginnings of the
// errors.
func clientKeysAre(t *testing.T, c authagent.Config, err error, want []crypto.Signer, errs []string) {
	t.Helper()
	if err != nil {
		lines := strings.Split(err.Error(), "\n")
		if !slices.EqualFunc(lines, errs, strings.HasPrefix) {
			t.Errorf("errors %q, want %q", lines, errs)
		}
		for _, secret := range []string{"client-secret", "correct-horse", "CORRECT", "MIG", "MHc", "MII", "MC4"} { // how such keys begin in base64
			if strings.Contains(err.Error(), secret) {
				t.Errorf("CFG-13 the error repeats %s: %v", secret, err)
			}
		}
		return
	}
	if len(errs) > 0 || !reflect.DeepEqual(c.Provider.ClientKeys, want) || c.ClientSecret != "" || c.Provider.ClientSecretFunc != nil {
		t.Errorf("%d keys, want %d, and the errors %q", len(c.Provider.ClientKeys), len(want), errs)
	}
	c.Scenario = authagent.FreshProfile(&memstore.Profiles{})
	if _, err := authagent.New(c); err != nil {
		t.Errorf("New: %v", err)
	}
}

// TestSecretInFile: the file is read again, so a secret can be replaced.
func TestSecretInFile(t *testing.T) {
	env := goodEnv(testsite.NewKey())
	file := writeFile(t, "secret", "first\n")
	env["AUTH_AGENT_CLIENT_SECRET"], env["AUTH_AGENT_CLIENT_SECRET_FILE"] = "", file
	setEnv(t, env)
	c, err := authagent.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if c.ClientSecret != "" {
		t.Error("the secret in a file is kept as well")
	}
	for _, want := range []string{"first", "second"} {
		os.WriteFile(file, []byte(want+"\n"), 0o600)
		if got, err := c.Provider.ClientSecretFunc(t.Context()); got != want || err != nil {
			t.Errorf("secret %q, %v, want %q", got, err, want)
		}
	}
}

// rotating is a client secret that changes.
type rotating struct{ atomic.Value }

func (r *rotating) get(context.Context) (string, error) {
	switch v := r.Load().(type) {
	case string:
		return v, nil
	case error:
		return "", v
	}
	panic("the secret's function has a bug")
}

// TestSecretRotates: a secret that is replaced in the middle of a sign-in is
// the one that the code is redeemed with, however the client authenticates.
func TestSecretRotates(t *testing.T) {
	for _, test := range []struct {
		name   string
		change checkChange
	}{
		{"in a JSON body", func(*bench, *authagent.Config) {}},
		{"by Basic", func(b *bench, c *authagent.Config) {
			quirksOff(b, c)
			feature(func(f *authagenttest.Features) { f.AuthMethods = []string{"client_secret_basic"} })(b, c)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var secret rotating
			b := newBench(t, test.change, func(_ *bench, c *authagent.Config) {
				secret.Store(c.ClientSecret)
				c.ClientSecret, c.Provider.ClientSecretFunc = "", secret.get
			})
			rotate := func(to string) {
				b.AS.AddClient(authagenttest.Client{ID: b.Config.ClientID, Secret: to, RedirectURIs: []string{b.Config.RedirectURL}})
				secret.Store(to)
			}
			b.MustSignIn(b.Browser(), b.Agent)
			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, ""))
			rotate("cs_the-second")
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("rotated while the agent was away: %d %s", resp.StatusCode, resp.Text)
			}
			rotate("cs_the-third")
			b.MustSignIn(b.Browser(), b.Agent)
			if findings := b.RP.Check(t.Context()); len(findings) > 0 {
				t.Errorf("Check: %v", findings)
			}
			if log := b.Log.String(); strings.Contains(log, "cs_the") {
				t.Errorf("LOG-1 the log has a secret: %s", log)
			}
		})
	}
}

// TestSecretMissing: while the secret cannot be had, nothing is sent and nothing
// is used up, and it is said to be the site's fault.
func TestSecretMissing(t *testing.T) {
	for name, broken := range map[string]any{"error": errors.New("vault is sealed"), "empty": "", "panic": 7} {
		t.Run(name, func(t *testing.T) {
			var secret rotating
			good := "cs_good"
			b := newBench(t, func(b *bench, c *authagent.Config) {
				b.AS.AddClient(authagenttest.Client{ID: c.ClientID, Secret: good, RedirectURIs: []string{c.RedirectURL}})
				c.ClientSecret, c.Provider.ClientSecretFunc = "", func(ctx context.Context) (string, error) {
					return secret.Load().(func(context.Context) (string, error))(ctx)
				}
			})
			set := func(v any) {
				var r rotating
				r.Store(v)
				secret.Store(r.get)
			}
			set(broken)
			c := b.Browser()
			callback := b.Authorize(b.Agent, b.Begin(c, ""))
			before := b.BackChannel()
			resp := b.Get(c, callback)
			if reason := b.Refused(resp, before); reason != problem.StoreFailed || resp.StatusCode != 500 {
				t.Errorf("reason %s, status %d", reason, resp.StatusCode)
			}
			findings := b.RP.Check(t.Context())
			if len(findings) != 1 || findings[0].Setting != "Provider.ClientSecretFunc" {
				t.Errorf("Check: %v", findings)
			}
			set(good)
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("the same callback, once the secret is there: %d %s", resp.StatusCode, resp.Text)
			}
		})
	}
}

// TestSecretGivenOnce: CFG, one of the two settings.
func TestSecretGivenOnce(t *testing.T) {
	c := validConfig()
	c.Provider.ClientSecretFunc = func(context.Context) (string, error) { return "x", nil }
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "authagent: ClientSecret, Provider.ClientSecretFunc: ") {
		t.Errorf("both: %v", err)
	}
	c.ClientSecret = ""
	if _, err := authagent.New(c); err != nil {
		t.Errorf("the function alone: %v", err)
	}
}

// TestParseSessionKeys: it takes what "authagent key" prints, and says what is wrong with
// which key without a word of it.
func TestParseSessionKeys(t *testing.T) {
	one, two := testsite.NewKey(), testsite.NewKey()
	oneText, twoText := base64.RawURLEncoding.EncodeToString(one), hex.EncodeToString(two)
	for _, test := range []struct {
		name, text string
		want       [][]byte
		errs       string
	}{
		{"one", oneText, [][]byte{one}, ""},
		{"with its line break", oneText + "\n", [][]byte{one}, ""},
		{"two, in their order", twoText + ", " + oneText, [][]byte{two, one}, ""},
		{"none", "", nil, "authagent: SessionKeys: has no key in it"},
		{"blanks", " \n", nil, "authagent: SessionKeys: has no key in it"},
		{"neither", oneText + ",correct-horse.battery!", nil, `authagent: SessionKeys: key 1 is neither base64 nor hex, as "authagent key" prints them`},
		{"cut off", oneText[:40], nil, "authagent: SessionKeys: key 0 has 30 bytes, at least 32 are needed"},
		{"short hex", hex.EncodeToString(two[:8]), nil, "authagent: SessionKeys: key 0 has 8 bytes, at least 32 are needed"},
		{"base64 of hexadecimal digits alone", strings.Repeat("ab", 22), [][]byte{mustBase64(t, strings.Repeat("ab", 22))}, ""},
		{"two mistakes", "!," + oneText + "," + oneText[:4], nil, `authagent: SessionKeys: key 0 is neither base64 nor hex, as "authagent key" prints them` + "\n" +
			"authagent: SessionKeys: key 2 has 3 bytes, at least 32 are needed"},
	} {
		t.Run("CFG-8 "+test.name, func(t *testing.T) {
			got, err := authagent.ParseSessionKeys(test.text)
			if text := fmt.Sprint(err); text != test.errs && (test.errs != "" || err != nil) {
				t.Errorf("error %q, want %q", text, test.errs)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func mustBase64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOnlyConfigFromEnvReadsIt_REL_7 is REL-7: no other file of the package or beneath
// it asks for a variable.
func TestOnlyConfigFromEnvReadsIt_REL_7(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(repository, "*.go"))
	internal, _ := filepath.Glob(filepath.Join(repository, "internal/*/*.go"))
	reads := regexp.MustCompile(`\b(os|syscall)\.(Getenv|LookupEnv|Environ|ExpandEnv)\b`)
	var found []string
	for _, file := range append(files, internal...) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(line, "//") && reads.MatchString(line) {
				found = append(found, file)
				break
			}
		}
	}
	if diff := cmp.Diff([]string{filepath.Join(repository, "internal/environ/environ.go")}, found); diff != "" {
		t.Errorf("REL-7: who reads the environment:\n%s", diff)
	}
}
