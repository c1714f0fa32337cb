// Package seal keeps small values secret and unaltered while a client holds
// them, as cookies do.
//
// A [Box] is AES-256-GCM under keys derived with HKDF (RFC 5869) for one
// purpose, so that a value sealed for one purpose never opens for another even
// though a site configures one list of keys for all of them.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrOpen says that a value was not sealed by this box, or not under this
// name, or has been altered. It says no more on purpose.
var ErrOpen = errors.New("seal: value does not open")

// encoding is strict: with spare bits ignored, several texts would open as the
// same value.
var encoding = base64.RawURLEncoding.Strict()

// A Box seals and opens values for one purpose. It is safe for concurrent use.
type Box struct {
	aeads []cipher.AEAD // the first one seals, all of them open

	// buffers are where values are opened, of type *buffer, so that each is allocated once, as a string of its own length.
	buffers sync.Pool
}

// A buffer is long enough for most cookies. Others get a longer one, which is not kept.
type buffer = [1024]byte

// NewBox returns a Box for the purpose that the given words name together. The
// first key seals; every key opens, so that keys can be rotated.
func NewBox(keys [][]byte, purpose ...string) (*Box, error) {
	b := &Box{buffers: sync.Pool{New: func() any { return new(buffer) }}}
	for _, key := range keys {
		derived, err := hkdf.Key(sha256.New, key, nil, join(purpose), 32)
		if err != nil {
			return nil, fmt.Errorf("seal: derive key: %w", err)
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		b.aeads = append(b.aeads, aead)
	}
	if len(b.aeads) == 0 {
		return nil, errors.New("seal: no key")
	}
	return b, nil
}

// join makes one text of words, another one for each list: ("a","bc") is not ("ab","c").
func join(words []string) string {
	var joined strings.Builder
	for _, word := range words {
		joined.WriteString(strconv.Itoa(len(word)) + ":" + word)
	}
	return joined.String()
}

// Overhead is how much longer than a value it is sealed, before it is text.
const Overhead = 12 + 16 // nonce and tag

// stackText is enough for the text of most values, and little enough to be on the stack.
const stackText = 1024

// Seal returns value encrypted and bound to name, as text that is safe in a
// cookie.
func (b *Box) Seal(value []byte, name string) string {
	bound := append(make([]byte, 0, len(name)+len(value)+Overhead), name...)
	sealed := b.aeads[0].Seal(bound[len(bound):], nil, value, bound)
	return string(encoding.AppendEncode(make([]byte, 0, stackText), sealed))
}

// SealCookie returns the line that sets the cookie of this name to what Seal
// returns. It seals value in its own place, which so is written over, as is the room
// behind its end: Overhead and the name, or another buffer is made.
func (b *Box) SealCookie(value []byte, name, attributes string) string {
	value = slices.Grow(value, Overhead+len(name))
	end := len(value) + Overhead
	sealed := b.aeads[0].Seal(value[:0], nil, value, append(value[end:end], name...))
	line := append(append(make([]byte, 0, stackText), name...), '=')
	return string(append(encoding.AppendEncode(line, sealed), attributes...))
}

// Open returns the value that was sealed under name, or ErrOpen.
func (b *Box) Open(sealed, name string) (string, error) {
	if strings.IndexByte(sealed, '\r') >= 0 || strings.IndexByte(sealed, '\n') >= 0 { // encoding/base64 skips line breaks
		return "", ErrOpen
	}
	// One buffer holds the name and what is sealed, one after the other.
	place := b.buffers.Get().(*buffer)
	defer b.buffers.Put(place)
	bound := append(place[:0], name...)
	both, err := encoding.AppendDecode(bound, []byte(sealed))
	if err != nil {
		return "", ErrOpen
	}
	raw := both[len(name):]
	for i, aead := range b.aeads {
		into := raw[len(raw):]
		if i == len(b.aeads)-1 {
			into = raw[:0] // in its own place, as no other key will need it
		}
		if value, err := aead.Open(into, nil, raw, bound); err == nil {
			return string(value), nil
		}
	}
	return "", ErrOpen
}

// AppendString appends s with its length before it.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendInt appends n as a varint.
func AppendInt(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

// A Reader takes back what AppendString and AppendInt wrote, in the same order.
// The first thing that does not fit makes Err return an error and everything
// after it zero.
type Reader struct {
	value string
	at    int // where the next one begins
	bad   bool
}

// NewReader returns a Reader of value.
func NewReader(value string) *Reader { return &Reader{value: value} }

// String returns the next string. It shares memory with the whole value.
func (r *Reader) String() string {
	n := r.uvarint()
	at := r.at
	if n > uint64(len(r.value)-at) {
		r.fail()
		return ""
	}
	r.at = at + int(n)
	return r.value[at:r.at]
}

// strings sets all to what String would return, one after the other, in one go: a session has two dozen. What is empty is not written.
func (r *Reader) strings(all []*string) {
	value, at := r.value, r.at
	for i, s := range all {
		if at >= len(value) || value[at] >= 0x80 { // most lengths have one byte
			r.at = at
			for _, s := range all[i:] {
				*s = r.String()
			}
			return
		}
		begin := at + 1
		at = begin + int(value[at])
		switch {
		case at > len(value):
			r.fail()
			return
		case at > begin:
			*s = value[begin:at]
		}
	}
	r.at = at
}

// Int returns the next integer.
func (r *Reader) Int() int64 {
	u := r.uvarint()
	n := int64(u >> 1) // zig-zag, as binary.Varint has it
	if u&1 != 0 {
		n = ^n
	}
	return n
}

// Rest returns what has not been read: the fields that a later version has added
// at the end. Whoever writes the value again writes them too.
func (r *Reader) Rest() string { return r.value[r.at:] }

// Err returns an error when something did not fit. Something may be left over.
func (r *Reader) Err() error {
	if r.bad {
		return errors.New("seal: fields do not fit")
	}
	return nil
}

// fail leaves nothing that could still be read.
func (r *Reader) fail() { r.at, r.bad = len(r.value), true }

// uvarint is binary.Uvarint of what comes next, and 0 if that does not fit.
func (r *Reader) uvarint() uint64 {
	n, rest := uint64(0), r.value[r.at:min(len(r.value), r.at+binary.MaxVarintLen64)]
	for i := range len(rest) {
		c := rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 && (i < binary.MaxVarintLen64-1 || c <= 1) {
			r.at += i + 1
			return n
		}
	}
	r.fail()
	return 0
}
