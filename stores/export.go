package stores

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// An Exporter is a store, or something with stores, that can write all that it has of an account.
// RelyingParty.ExportUser of package authagent calls it on all that may be an [Eraser].
type Exporter interface {
	// ExportUser adds each record that there is of x.UserID to x, but no secret. It refuses an empty
	// UserID, which stands for no account.
	ExportUser(ctx context.Context, x *Export) error
}

// An Export writes what is kept of an account as one JSON document, record by record. Make it with
// [NewExport]. It is not safe for concurrent use.
//
//	{
//	  "format": 1,
//	  "user_id": "user_1",
//	  "exported_at": "2026-01-02T15:04:05Z",
//	  "data": [{"store": "LinkPolicy", "kind": "grants", "records": [{...}, ...]}, ...],
//	  "stores": [{"store": "LinkPolicy", "exported": true}, {"store": ..., "exported": false, "why": ...}, ...]
//	}
type Export struct {
	UserID string

	w     io.Writer
	err   error // the first; nothing is written after it
	store string
	asked []exported

	kinds   []string // of the sections so far
	section section  // that is being written
	written int      // records in it
}

// A section has records of one kind, of one store.
type section struct{ store, kind string }

// exported is what the document says of a store.
type exported struct {
	Store    string `json:"store"`
	Exported bool   `json:"exported"`
	Why      string `json:"why,omitempty"`
}

// exportFormat is the version of the document. It changes if a program that reads it would have to.
const exportFormat = 1

// NewExport begins a document of an account. It refuses an empty userID.
func NewExport(w io.Writer, userID string) (*Export, error) {
	if userID == "" {
		return nil, errNoUser
	}
	x := &Export{UserID: userID, w: w, asked: []exported{}}
	x.write("{\"format\":%d,\"user_id\":%s,\"exported_at\":%s,\"data\":[", exportFormat, quoted(userID), quoted(time.Now().UTC().Format(time.RFC3339)))
	return x, x.err
}

// In calls export, whose records are of the store with this name, and returns its error. The document says
// that the store was asked.
func (x *Export) In(store string, export func() error) error {
	before := x.store
	defer func() { x.store = before }()
	x.store = store
	asked := len(x.asked)
	err := export()
	if asked == len(x.asked) { // or those within have said it
		x.asked = append(x.asked, exported{Store: store, Exported: true})
	}
	if err == nil {
		err = x.err
	}
	return err
}

// Missing says that the store of In cannot export what it has, and why.
func (x *Export) Missing(why string) {
	x.asked = append(x.asked, exported{Store: x.store, Why: why})
}

// Begin begins the records of a kind, such as "grants", so that the document says that there are none if
// none follow.
func (x *Export) Begin(kind string) error {
	next := section{x.store, kind}
	if next == x.section {
		return x.err
	}
	x.end()
	if len(x.kinds) > 0 {
		x.write(",")
	}
	x.kinds = append(x.kinds, kind)
	x.write("\n{\"store\":%s,\"kind\":%s,\"records\":[", quoted(next.store), quoted(next.kind))
	x.section, x.written = next, 0
	return x.err
}

// Has reports whether records of a kind were begun.
func (x *Export) Has(kind string) bool { return slices.Contains(x.kinds, kind) }

// Add adds a record of a kind. record is marshaled as JSON.
func (x *Export) Add(kind string, record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("export a record of %s: %w", kind, err)
	}
	if err := x.Begin(kind); err != nil {
		return err
	}
	if x.written > 0 {
		x.write(",")
	}
	x.written++
	x.write("\n%s", text)
	return x.err
}

// end ends the section that is being written, if any.
func (x *Export) end() {
	if x.section == (section{}) {
		return
	}
	x.write("]}")
	x.section = section{}
}

// Close ends the document. It does not close the writer.
func (x *Export) Close() error {
	x.end()
	asked, err := json.Marshal(x.asked)
	if err != nil {
		return err
	}
	x.write("],\n\"stores\":%s}\n", asked)
	return x.err
}

// quoted returns s as JSON.
func quoted(s string) []byte {
	text, _ := json.Marshal(s) // no string is refused
	return text
}

func (x *Export) write(format string, args ...any) {
	if x.err != nil {
		return
	}
	if _, err := fmt.Fprintf(x.w, format, args...); err != nil {
		x.err = fmt.Errorf("write the document: %w", err)
	}
}
