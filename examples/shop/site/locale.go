package site

import (
	"context"
	"net/http"
	"time"
	_ "time/tzdata" // for machines that have no time zones

	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/grants"
)

// languages are those that a user can choose, by their tags.
var languages = []struct{ Tag, Name string }{{"", "As in the browser"}, {"en", "English"}, {"de", "Deutsch"}}

// zones are suggested; any of the IANA database will do.
var zones = []string{"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo"}

// locale is how authagent learns in which language and time zone an owner reads.
func (s *Site) locale(ctx context.Context, userID string) (grants.Locale, error) {
	l, err := s.db.Locale(ctx, userID)
	if err != nil {
		return grants.Locale{}, err
	}
	zone, err := time.LoadLocation(l.TimeZone)
	return grants.Locale{Language: l.Language, Zone: zone}, err
}

type localeForm struct {
	form
	database.Locale
	Languages []struct{ Tag, Name string } `json:"-"`
	Zones     []string                     `json:"-"`
}

func (s *Site) showLocale(w http.ResponseWriter, r *http.Request) error {
	u, err := s.me(r)
	if err != nil {
		return err
	}
	l, err := s.db.Locale(r.Context(), u.ID)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "locale", localeForm{form{}, l, languages, zones})
}

func (s *Site) changeLocale(w http.ResponseWriter, r *http.Request) error {
	u, err := s.me(r)
	if err != nil {
		return err
	}
	l := database.Locale{Language: r.PostFormValue("language"), TimeZone: r.PostFormValue("time_zone")}
	f := localeForm{form{}, l, languages, zones}
	switch {
	case !isLanguage(l.Language):
		f.form = wrong("language", "The shop does not know this language.")
	case !isZone(l.TimeZone):
		f.form = wrong("time_zone", "This is not a time zone such as Europe/Berlin.")
	}
	if f.Field != "" {
		return s.show(w, r, http.StatusUnprocessableEntity, "locale", f)
	}
	if err := s.db.SetLocale(r.Context(), u.ID, l); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=locale", http.StatusSeeOther)
	return nil
}

func isLanguage(tag string) bool {
	for _, l := range languages {
		if l.Tag == tag {
			return true
		}
	}
	return false
}

// isZone reports whether a name is one of a time zone. Local would be the server's.
func isZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "Local"
}
