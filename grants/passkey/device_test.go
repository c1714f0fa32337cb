package passkey_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The flags of authenticator data (Web Authentication, section 6.1).
const (
	present  = 0x01
	verified = 0x04
	attested = 0x40
)

// A device is an authenticator in software, with one passkey.
type device struct {
	t        testing.TB
	key      *ecdsa.PrivateKey
	id       []byte
	handle   []byte
	origin   string
	rpID     string
	flags    byte
	counter  uint32
	ceremony string // in place of the right type
	frame    bool   // it is used in a frame of another site
}

func newDevice(t testing.TB) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &device{t: t, key: key, id: id, origin: "https://shop.example", rpID: "shop.example", flags: present | verified}
}

// options are what a browser is given, as far as a device needs it.
type options struct {
	Challenge        string
	UserVerification string
	AllowCredentials []struct{ ID string }
	User             struct{ ID string }
	Selection        struct{ UserVerification string } `json:"authenticatorSelection"`
	Exclude          []struct{ ID string }             `json:"excludeCredentials"`
}

func (d *device) clientData(ceremony, challenge string) []byte {
	if d.ceremony != "" {
		ceremony = d.ceremony
	}
	data, _ := json.Marshal(map[string]any{"type": ceremony, "challenge": challenge, "origin": d.origin, "crossOrigin": d.frame})
	return data
}

func (d *device) data(more byte, rest []byte) []byte {
	hash := sha256.Sum256([]byte(d.rpID))
	data := append(hash[:], d.flags|more)
	return append(binary.BigEndian.AppendUint32(data, d.counter), rest...)
}

// create makes the passkey, and returns what the browser posts.
func (d *device) create(o options) string {
	d.t.Helper()
	d.handle = decode(d.t, o.User.ID)
	public, err := d.key.PublicKey.Bytes()
	if err != nil {
		d.t.Fatal(err)
	}
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: public[1:33], -3: public[33:]})
	if err != nil {
		d.t.Fatal(err)
	}
	credential := binary.BigEndian.AppendUint16(make([]byte, 16), uint16(len(d.id)))
	credential = append(append(credential, d.id...), cose...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": d.data(attested, credential)})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.answer(map[string]string{
		"clientDataJSON": encode(d.clientData("webauthn.create", o.Challenge)), "attestationObject": encode(object),
	})
}

// get signs a challenge, and returns what the browser posts.
func (d *device) get(o options) string {
	d.t.Helper()
	client, data := d.clientData("webauthn.get", o.Challenge), d.data(0, nil)
	hash := sha256.Sum256(client)
	signed := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, signed[:])
	if err != nil {
		d.t.Fatal(err)
	}
	return d.answer(map[string]string{
		"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(d.handle),
	})
}

func (d *device) answer(response map[string]string) string {
	text, _ := json.Marshal(map[string]any{"id": encode(d.id), "rawId": encode(d.id), "type": "public-key", "response": response})
	return string(text)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
