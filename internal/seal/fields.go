package seal

import (
	"strings"
	"time"
)

// Fields writes values one after the other, or reads them into their places. So a record
// lists its fields once, for both ways.
type Fields struct {
	written []byte
	reader  Reader
	reads   bool
}

// WriteTo returns Fields that append to dst.
func WriteTo(dst []byte) *Fields { return &Fields{written: dst} }

// ReadFrom returns Fields that read what WriteTo has written, without what was in dst.
func ReadFrom(value string) *Fields { return &Fields{reader: Reader{value: value}, reads: true} }

// Written returns dst and what was appended to it.
func (f *Fields) Written() []byte { return f.written }

// Err returns an error when something did not fit, as that of a Reader.
func (f *Fields) Err() error { return f.reader.Err() }

// Times are kept to the nanosecond.
func (f *Fields) Times(all ...*time.Time) {
	for _, t := range all {
		if f.reads {
			*t = time.Unix(0, f.reader.Int())
		} else {
			f.written = AppendInt(f.written, t.UnixNano())
		}
	}
}

// Seconds is a time that is kept to the second.
func (f *Fields) Seconds(t *time.Time) {
	if f.reads {
		*t = time.Unix(f.reader.Int(), 0)
	} else {
		f.written = AppendInt(f.written, t.Unix())
	}
}

// Texts are kept as they are.
func (f *Fields) Texts(all ...*string) {
	if !f.reads {
		for _, text := range all {
			f.written = AppendString(f.written, *text)
		}
		return
	}
	f.reader.strings(all)
}

// Later are texts that earlier versions do not have. Where they end, the others stay as they are.
func (f *Fields) Later(all ...*string) {
	for i := range all {
		if f.More() {
			f.Texts(all[i])
		}
	}
}

// Words are kept as one text, so none has a space in it.
func (f *Fields) Words(words *[]string) {
	if !f.reads {
		f.written = AppendString(f.written, strings.Join(*words, " "))
	} else if text := f.reader.String(); text != "" {
		*words = strings.Split(text, " ")
	}
}

// Int is one number.
func Int[N ~int8 | ~int64](f *Fields, n *N) {
	if f.reads {
		*n = N(f.reader.Int())
	} else {
		f.written = AppendInt(f.written, int64(*n))
	}
}

// More reports whether a field that was added later is there: a value that an older version
// has written ends before it.
func (f *Fields) More() bool { return !f.reads || f.reader.Rest() != "" }

// Rest is whatever a later version has added.
func (f *Fields) Rest(rest *string) {
	if f.reads {
		*rest = f.reader.Rest()
	} else {
		f.written = append(f.written, *rest...)
	}
}
