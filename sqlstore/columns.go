package sqlstore

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// newID makes an opaque ID of 130 random bits.
func newID() string { return rand.Text() }

// key returns the SHA-256 of parts, for columns that are too long for an index. The
// length of each part goes before it, so that no two lists of parts have the same key.
func key(parts ...string) []byte {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// The lengths of columns, in bytes.
const (
	maxID          = 255 // also OpenID Connect Core section 2: sub has at most 255
	maxDescription = 1024
	maxIssuer      = 2048
	maxText        = 4096
	maxBlob        = 1 << 20
)

// A field is a value that goes into a column.
type field struct {
	name, value string
	most        int
}

// checkFields refuses values that some engine would cut or alter. A name that is stored
// as another name could be somebody else's.
func checkFields(step string, fields ...field) error {
	for _, f := range fields {
		switch {
		case len(f.value) > f.most:
			return fmt.Errorf("sqlstore: %s: %s has %d bytes, at most %d can be stored", step, f.name, len(f.value), f.most)
		case !utf8.ValidString(f.value) || strings.Contains(f.value, "\x00"):
			return fmt.Errorf("sqlstore: %s: %s %q is not text", step, f.name, f.value)
		}
	}
	return nil
}

func agentFields(a authagent.Agent) []field {
	return []field{{"issuer", a.Issuer, maxIssuer}, {"agent ID", a.ID, maxID}}
}

// clean returns s as valid text of at most so many bytes. It is for text that people
// read, which is better altered than lost.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// nanos returns t as it is stored. A time that does not fit becomes the nearest that does.
func nanos(t time.Time) int64 {
	switch {
	case t.Unix() <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// instant reads a time that nanos has written, or null, which an earlier version has left.
type instant struct{ *time.Time }

// Scan implements [sql.Scanner].
func (i instant) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	if !n.Valid || n.Int64 == math.MinInt64 { // the zero time, which is long before what can be stored
		*i.Time = time.Time{}
		return nil
	}
	*i.Time = time.Unix(0, n.Int64).UTC()
	return nil
}

// instants reads times that instantsText has written, or null, which an earlier version has left.
type instants struct{ to *[]time.Time }

// Scan implements [sql.Scanner].
func (i instants) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil {
		return err
	}
	*i.to = nil
	for word := range strings.FieldsSeq(text.String) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return fmt.Errorf("a time is not a number: %w", err)
		}
		*i.to = append(*i.to, time.Unix(0, n).UTC())
	}
	return nil
}

// instantsText returns times as they are stored, separated by spaces.
func instantsText(times []time.Time) string {
	var b strings.Builder
	for i, t := range times {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatInt(nanos(t), 10))
	}
	return b.String()
}

// era reads the Era of a grant. Older programs keep a time in the column, whose least
// number means never.
type era struct{ *int64 }

// Scan implements [sql.Scanner].
func (e era) Scan(src any) error {
	var n sql.NullInt64
	err := n.Scan(src)
	if *e.int64 = n.Int64; n.Int64 == math.MinInt64 {
		*e.int64 = 0
	}
	return err
}

// storedEra returns the number that era reads.
func storedEra(era int64) int64 {
	if era == 0 {
		return math.MinInt64
	}
	return era
}

// causeEra reads the Era of a grant's Cause, after both. An older program that lets the agent in again
// leaves the cause in its column, and the grant gets another era: then the cause is that of an
// earlier suspension.
type causeEra struct{ *grants.Grant }

// Scan implements [sql.Scanner].
func (c causeEra) Scan(src any) error {
	var n sql.NullInt64
	err := n.Scan(src)
	if n.Int64 != c.Era {
		c.Cause = ""
	}
	return err
}

// access reads an Access by its name. A name that is not known is an error, so that it
// lets nobody in.
type access struct{ *authagent.Access }

// Scan implements [sql.Scanner].
func (a access) Scan(src any) error {
	var name sql.NullString
	if err := name.Scan(src); err != nil {
		return err
	}
	return a.UnmarshalText([]byte(name.String))
}

// document reads JSON. A field that is not known is an error: it may have been
// written by a newer version of this package, and forbid something.
type document[T any] struct{ to *T }

// Scan implements [sql.Scanner].
func (d document[T]) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil {
		return err
	}
	var v T // a row that is read again must not be added to what was read before
	decoder := json.NewDecoder(strings.NewReader(text.String))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		return err
	}
	*d.to = v
	return nil
}

// bytesOf is s for a column that is not null: an empty slice that is nil is null
// to a driver.
func bytesOf(s string) []byte { return append([]byte{}, s...) }
