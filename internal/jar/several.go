package jar

import (
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/seal"
)

// Several keeps several sealed values for each browser, each in a cookie of its own. The
// oldest make room for new ones. Its fields are set before its first use.
type Several struct {
	Prefix     string // of the cookies' names
	Box        *seal.Box
	Attributes string // of a cookie that is kept
	Deleted    string // of a cookie that is deleted

	// Most and MostBytes bound what one browser has, so that it never fills the header that
	// a server accepts.
	Most, MostBytes int

	// Since says how old a value is; zero for one that goes first.
	Since func(opened string) time.Time
}

// maxSeen is how many of these cookies are looked at. Browsers keep fewer for one site: a
// header with more comes from somebody who wants to keep us busy.
const maxSeen = 200

// Add sets the cookie of this name, and drops the oldest ones if there are too many. It
// writes over value, like [seal.Box.SealCookie].
func (j *Several) Add(w http.ResponseWriter, r *http.Request, name string, value []byte) {
	line := j.Box.SealCookie(value, name, j.Attributes)
	browser.AddCookie(w, line)
	j.makeRoom(w, r, len(line)-len(j.Attributes))
}

// makeRoom deletes the cookies of the oldest values until there is room for size more bytes.
func (j *Several) makeRoom(w http.ResponseWriter, r *http.Request, size int) {
	type kept struct {
		name, sealed string
		size         int
		since        time.Time // zero for what does not open: it goes first
	}
	var all []kept
	total := size
	browser.EachCookie(r, func(name, value string) {
		if strings.HasPrefix(name, j.Prefix) && len(all) < maxSeen {
			all = append(all, kept{name: name, sealed: value, size: len(name) + len(value)})
			total += len(name) + len(value)
		}
	})
	if len(all) < j.Most && total <= j.MostBytes {
		return
	}
	for i := range all {
		if opened, err := j.Box.Open(all[i].sealed, all[i].name); err == nil {
			all[i].since = j.Since(opened)
		}
	}
	sort.SliceStable(all, func(i, k int) bool { return all[i].since.Before(all[k].since) })
	for i := 0; i < len(all) && (len(all)-i >= j.Most || total > j.MostBytes); i++ {
		j.Remove(w, all[i].name)
		total -= all[i].size
	}
}

// Get returns the value in the one cookie of this name, ErrNone or ErrUnreadable. A
// neighbouring host can make a browser send a second one (RFC 6265 section 8.6), so two
// count as none.
func (j *Several) Get(r *http.Request, name string) (string, error) {
	sealed, n := browser.Cookie(r, name)
	if n != 1 {
		return "", ErrNone
	}
	opened, err := j.Box.Open(sealed, name)
	if err != nil {
		return "", ErrUnreadable
	}
	return opened, nil
}

// Remove deletes the cookie of this name.
func (j *Several) Remove(w http.ResponseWriter, name string) {
	browser.AddCookie(w, name+"="+j.Deleted)
}
