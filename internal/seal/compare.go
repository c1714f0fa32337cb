package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Codes makes short codes that people compare by eye. It is safe for concurrent use.
type Codes struct{ keys [][]byte }

// NewCodes returns the Codes for the purpose that the given words name together.
func NewCodes(keys [][]byte, purpose ...string) (*Codes, error) {
	c := &Codes{}
	for _, key := range keys {
		derived, err := hkdf.Key(sha256.New, key, nil, join(purpose), 32)
		if err != nil {
			return nil, fmt.Errorf("seal: derive key: %w", err)
		}
		c.keys = append(c.keys, derived)
	}
	return c, nil
}

// codeLetters are digits and letters that are not taken for one another, and no vowels,
// so that no code is a word.
const codeLetters = "23456789BCDFGHJKMNPQRSTVWXZ"

// Of returns the codes of what the words name together, such as "K74-2QX": that of the
// first key, which counts, and those of the others. There are 387 million codes. Nobody
// can tell a code beforehand without the key.
func (c *Codes) Of(words ...string) []string {
	codes := make([]string, len(c.keys))
	for i, key := range c.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(join(words)))
		n := binary.BigEndian.Uint64(mac.Sum(nil))
		code := []byte("xxx-xxx")
		for j := range code {
			if code[j] != '-' {
				code[j] = codeLetters[n%uint64(len(codeLetters))]
				n /= uint64(len(codeLetters))
			}
		}
		codes[i] = string(code)
	}
	return codes
}
