// Package strictjson reads the JSON objects that an authorization server
// replies with, in one way only.
//
// encoding/json is generous: it matches member names without regard to case,
// lets the last of several members of one name win, and replaces invalid UTF-8.
// So {"sub":"attacker","Sub":"victim"} decodes to the victim, while a proxy or a
// log on the way has seen the attacker. RFC 8259 leaves all of that open; I-JSON
// (RFC 7493 section 2), which this package holds replies to, does not.
package strictjson

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxSeconds is the longest time that Seconds returns: ten years of 366 days.
const maxSeconds = 10 * 366 * 24 * 60 * 60

// maxTime is the last second of the year 9999, where RFC 3339 and many a
// database end.
const maxTime = 253402300799

// Object is the members of one JSON object. The zero Object has none.
//
// The methods that return a value look a member up by its exact name. They
// return ok false if it is absent or null, and an error, which names the member
// and never its value, if it is of another type.
type Object struct {
	members []member
}

// member is one member of an object: its name, and the text of its value.
type member struct {
	name, text string
}

// Parse reads data as one JSON object with nothing but white space around it.
//
// Beyond the grammar of RFC 8259 it demands valid UTF-8, no unpaired surrogate
// among the escapes, at most 32 objects and arrays inside each other, and in no
// object, however deep, two members of one name, where names are compared after
// their escapes are resolved. The error never contains any of data, as that may
// be a token. The caller bounds the length of data.
func Parse(data []byte) (Object, error) {
	// One copy makes all values substrings that nobody can change later.
	s := scanner{text: string(data)}
	members, err := s.document()
	return Object{members}, err
}

// Has reports whether the object has a member of this name, be it null.
func (o Object) Has(name string) bool {
	_, ok := o.find(name)
	return ok
}

// Names returns the names of the members, in their order.
func (o Object) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range o.members {
			if !yield(m.name) {
				return
			}
		}
	}
}

// Raw returns the JSON text of a member, null included.
func (o Object) Raw(name string) (json.RawMessage, bool) {
	text, ok := o.find(name)
	return json.RawMessage(text), ok
}

// String returns a member that is a string.
func (o Object) String(name string) (value string, ok bool, err error) {
	text, ok := o.find(name)
	if !ok || text == "null" {
		return "", false, nil
	}
	if text[0] == '"' && strings.IndexByte(text, '\\') < 0 { // most are what they stand for
		return text[1 : len(text)-1], true, nil
	}
	s := scanner{text: text} // as get does, which cannot keep it off the heap
	if value, err = s.string(); err != nil {
		return "", false, typeError(name, "a string")
	}
	return value, true, nil
}

// Strings returns a member that is an array of strings. An empty array is ok.
func (o Object) Strings(name string) (values []string, ok bool, err error) {
	return get(o, name, "an array of strings", (*scanner).strings)
}

// Bool returns a member that is true or false; "true" is a string, and an error.
func (o Object) Bool(name string) (value, ok bool, err error) {
	return get(o, name, "true or false", (*scanner).bool)
}

// Object returns a member that is an object.
func (o Object) Object(name string) (value Object, ok bool, err error) {
	members, ok, err := get(o, name, "an object", (*scanner).document)
	return Object{members}, ok, err
}

// Number returns a member that is a number, or a string that contains nothing
// but a JSON number, as some servers send expires_in. One that is too large for
// a float64 is an error, so the value is always finite.
func (o Object) Number(name string) (value float64, ok bool, err error) {
	value, ok, err = o.number(name)
	if math.IsInf(value, 0) {
		return 0, false, fmt.Errorf("strictjson: member %q is out of range", name)
	}
	return value, ok, err
}

// Seconds returns a member that is a lifetime in seconds, such as expires_in,
// read as Number does and brought into bounds instead of refused: fractions are
// cut off, what is negative becomes zero, and what is beyond ten years, 1e30 and
// 1e999 too, becomes ten years. So adding it to a time cannot overflow, but the
// caller still has to apply a limit of its own.
func (o Object) Seconds(name string) (value time.Duration, ok bool, err error) {
	n, ok, err := o.number(name)
	return time.Duration(min(max(n, 0), maxSeconds)) * time.Second, ok, err
}

// Time returns a member that is a NumericDate (RFC 7519 section 2), such as exp,
// cut to whole seconds. One that is before 1970 or after the year 9999 is an
// error: a point in time that makes no sense is not taken for one far ahead.
func (o Object) Time(name string) (value time.Time, ok bool, err error) {
	n, ok, err := o.number(name)
	if !ok { // there is none, or something else
		return time.Time{}, false, err
	}
	if n < 0 || n > maxTime {
		return time.Time{}, false, fmt.Errorf("strictjson: member %q is out of range", name)
	}
	return time.Unix(int64(n), 0), true, nil
}

// number is Number, with an infinity for what is too large.
func (o Object) number(name string) (value float64, ok bool, err error) {
	text, ok := o.find(name)
	if !ok || text == "null" {
		return 0, false, nil
	}
	if text[0] == '"' {
		text, _, _ = o.String(name)
	}
	s := scanner{text: text}
	if err := s.number(); err != nil || s.pos != len(text) {
		return 0, false, typeError(name, "a number")
	}
	value, _ = strconv.ParseFloat(text, 64) // the grammar was checked, so the only error is one of range
	return value, true, nil
}

func (o Object) find(name string) (text string, ok bool) {
	for _, m := range o.members {
		if m.name == name {
			return m.text, true
		}
	}
	return "", false
}

// get reads the member called name. Its text has been through Parse, so all that
// read can find wrong with it is the type.
func get[T any](o Object, name, kind string, read func(*scanner) (T, error)) (value T, ok bool, err error) {
	var zero T
	text, ok := o.find(name)
	if !ok || text == "null" {
		return zero, false, nil
	}
	if value, err = read(&scanner{text: text}); err != nil {
		return zero, false, typeError(name, kind)
	}
	return value, true, nil
}

func typeError(name, kind string) error {
	return fmt.Errorf("strictjson: member %q is not %s", name, kind)
}
