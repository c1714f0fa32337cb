package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// A UserTable is a site's UserStore, to which [Users] can add accounts.
type UserTable interface {
	authagent.UserStore

	// AddAccount adds an account as the site would have it in its table, with email as
	// it is, and returns its ID. Of u, only EmailVerified and Disabled count. It
	// returns errors.ErrUnsupported if the site has no such accounts. Any other error
	// says that the table does not accept the account, for example because of a unique
	// index on the address.
	AddAccount(ctx context.Context, email string, u authagent.User) (id string, err error)
}

// Users checks the UserStore of a site: that an address finds the account that has it,
// and no account whose address the database merely takes to be equal. Run it on the
// database that the site runs on, with the same collation: that is where the faults
// are.
//
// If the store is an [authagent.UserFinder], [authagent.SubjectFinder] or
// [authagent.UserCreator], that is checked too.
func Users(t *testing.T, open func() UserTable) {
	t.Run("LNK-35 found", func(t *testing.T) { (&users{t, open()}).found() })
	t.Run("LNK-35 not found", func(t *testing.T) { (&users{t, open()}).notFound() })
	for _, l := range lookalikes {
		t.Run("LNK-35 not another's: "+l.what, func(t *testing.T) { (&users{t, open()}).alike(l.stored, l.asked) })
	}
	t.Run("LNK-35 LNK-8 several", func(t *testing.T) { (&users{t, open()}).several() })
	t.Run("LNK-9 disabled", func(t *testing.T) { (&users{t, open()}).disabled() })
	t.Run("LNK-7 unverified", func(t *testing.T) { (&users{t, open()}).unverified() })
	t.Run("LNK-35 a failure is not an answer", func(t *testing.T) { (&users{t, open()}).failure() })
	t.Run("found by ID", func(t *testing.T) { (&users{t, open()}).byID() })
	t.Run("LNK-10 created", func(t *testing.T) { (&users{t, open()}).created() })
	t.Run("SUB-1 by subject", func(t *testing.T) { (&users{t, open()}).subjects() })
}

// users is one subtest.
type users struct {
	*testing.T
	UserTable
}

// lookalikes are stored addresses that are none, or another's, and what some
// database, collation or lower() takes them for. %s is a random part.
var lookalikes = []struct{ what, stored, asked string }{
	{"Kelvin sign", "%s.\u212A@example.com", "%s.k@example.com"},
	{"Kelvin sign in the domain", "%s@\u212Aelvin.example", "%s@kelvin.example"},
	{"long s", "%s.\u017F@example.com", "%s.s@example.com"},
	{"dotted I", "%s.\u0130@example.com", "%s.i@example.com"},
	{"dotless i", "%s.\u0131@example.com", "%s.i@example.com"},
	{"accent", "%s.\u00e9@example.com", "%s.e@example.com"},
	{"combining accent", "%s.e\u0301@example.com", "%s.e@example.com"},
	{"sharp s", "%s.\u00df@example.com", "%s.ss@example.com"},
	{"sharp s as s", "%s.\u00df@example.com", "%s.s@example.com"},
	{"ligature", "%s.\ufb01@example.com", "%s.fi@example.com"},
	{"ae", "%s.\u00e6@example.com", "%s.ae@example.com"},
	{"full width", "%s.\uff41@example.com", "%s.a@example.com"},
	{"ordinal", "%s.\u00aa@example.com", "%s.a@example.com"},
	{"superscript", "%s.\u00b2@example.com", "%s.2@example.com"},
	{"zero width", "%s.\u200ba@example.com", "%s.a@example.com"},
	{"soft hyphen", "%s.\u00ada@example.com", "%s.a@example.com"},
	{"emoji", "%s.\U0001F916@example.com", "%s.?@example.com"},
	{"trailing space", "%s@example.com ", "%s@example.com"},
	{"trailing spaces", "%s@example.com   ", "%s@example.com"},
	{"leading space", " %s@example.com", "%s@example.com"},
	{"trailing tab", "%s@example.com\t", "%s@example.com"},
	{"trailing newline", "%s@example.com\n", "%s@example.com"},
	{"wildcard for one", "%s.axb@example.com", "%s.a_b@example.com"},
	{"wildcard for many", "%s.axyzb@example.com", "%s.a%%b@example.com"},
	{"number", "%s.1@example.com", "%s.01@example.com"},
	{"plus", "%s+x@example.com", "%s@example.com"},
	{"dot", "%s.a.b@example.com", "%s.ab@example.com"},
	{"longer", "%s@example.com.evil.example", "%s@example.com"},
	{"shorter", "%s@example.co", "%s@example.com"},
}

// address returns an address that nobody has yet, in lower case.
func (u *users) address(format string) string {
	return fmt.Sprintf(format, strings.ToLower(rand.Text()))
}

// add adds an account, and reports whether the table took it.
func (u *users) add(email string, account authagent.User) (id string, ok bool) {
	u.Helper()
	id, err := u.AddAccount(u.Context(), email, account)
	if err == nil && id == "" {
		u.Errorf("AddAccount(%q) returned no ID", email)
	}
	return id, err == nil
}

// must adds an account of a plain, verified address.
func (u *users) must(email string) (id string) {
	u.Helper()
	id, err := u.AddAccount(u.Context(), email, verified)
	if err != nil || id == "" {
		u.Fatalf("AddAccount(%q): %q, %v", email, id, err)
	}
	return id
}

var verified = authagent.User{EmailVerified: true}

// want looks an address up, which is to find the account with this ID, or none.
func (u *users) want(email, id string, wanted error) authagent.User {
	u.Helper()
	got, err := u.UserByEmail(u.Context(), email)
	switch {
	case wanted != nil && !errors.Is(err, wanted):
		u.Errorf("UserByEmail(%q) = %+v, %v; want error %q", email, got, err, wanted)
	case wanted == nil && (err != nil || got.ID != id):
		u.Errorf("UserByEmail(%q) = %+v, %v; want the account %q", email, got, err, id)
	}
	return got
}

func (u *users) found() {
	for _, format := range []string{"%s@example.com", "o'%s@example.com", "%s+tag@sub.example.com", "{%s}|~`$&*/=^!#@example.com"} {
		lower := u.address(format)
		id := u.must(lower)
		if got := u.want(lower, id, nil); !got.EmailVerified || got.Disabled {
			u.Errorf("UserByEmail(%q) = %+v, want it verified and not disabled", lower, got)
		}
	}
	for _, stored := range []func(string) string{strings.ToUpper, func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }} {
		lower := u.address("k.is-%s@kelvin.example")
		if id, ok := u.add(stored(lower), verified); ok { // a site may lower addresses, or refuse others
			u.want(lower, id, nil)
		}
	}
}

func (u *users) notFound() {
	u.must(u.address("%s@example.com"))
	for _, format := range []string{"%s@example.com", "' or '1'='1%s@example.com", "%%@example.com", "%s@nowhere.example"} {
		email := format
		if strings.Contains(format, "%s") {
			email = u.address(format)
		}
		u.want(email, "", authagent.ErrNotFound)
	}
}

// alike: an account of a stored address is not found by another one, alone or
// beside the account that has it.
func (u *users) alike(stored, asked string) {
	random := strings.ToLower(rand.Text())
	stored, asked = fmt.Sprintf(stored, random), fmt.Sprintf(asked, random)
	if _, ok := u.add(stored, verified); ok { // or the site takes no such address
		u.want(asked, "", authagent.ErrNotFound)
	}
	if id, ok := u.add(asked, verified); ok { // or a unique index takes the two for one
		u.want(asked, id, nil)
	}
	if _, ok := u.add(stored, verified); ok {
		if got, err := u.UserByEmail(u.Context(), asked); errors.Is(err, authagent.ErrAmbiguous) {
			u.Errorf("UserByEmail(%q) = %+v, %v, though only one account has it", asked, got, err)
		}
	}
}

func (u *users) several() {
	lower := u.address("twin.%s@example.com")
	id := u.must(lower)
	for _, stored := range []string{strings.ToUpper(lower), strings.ToUpper(lower[:1]) + lower[1:], lower} {
		if _, ok := u.add(stored, verified); ok {
			u.want(lower, "", authagent.ErrAmbiguous)
			return
		}
	}
	u.want(lower, id, nil) // the table keeps addresses unique
}

func (u *users) disabled() {
	email := u.address("%s@example.com")
	id, err := u.AddAccount(u.Context(), email, authagent.User{EmailVerified: true, Disabled: true})
	switch got, found := u.UserByEmail(u.Context(), email); {
	case errors.Is(err, errors.ErrUnsupported):
		u.Log("the site has no such accounts, so there is nothing to check")
	case err != nil:
		u.Errorf("AddAccount: %v", err)
	case found == nil && (got.ID != id || !got.Disabled), found != nil && !errors.Is(found, authagent.ErrNotFound):
		u.Errorf("UserByEmail = %+v, %v; want Disabled, or ErrNotFound", got, found)
	}
}

func (u *users) unverified() {
	email := u.address("%s@example.com")
	id, err := u.AddAccount(u.Context(), email, authagent.User{})
	switch got, found := u.UserByEmail(u.Context(), email); {
	case errors.Is(err, errors.ErrUnsupported):
		u.Log("the site has no such accounts, so there is nothing to check")
	case err != nil:
		u.Errorf("AddAccount: %v", err)
	case found == nil && (got.ID != id || got.EmailVerified), found != nil && !errors.Is(found, authagent.ErrNotFound):
		u.Errorf("UserByEmail = %+v, %v; want it unverified, or ErrNotFound", got, found)
	}
}

// failure: with a context that has ended, a store may answer all the same, but must
// not say that there is no account, or two.
func (u *users) failure() {
	email := u.address("%s@example.com")
	id := u.must(email)
	ctx, cancel := context.WithCancel(u.Context())
	cancel()
	switch got, err := u.UserByEmail(ctx, email); {
	case err == nil && got.ID != id, errors.Is(err, authagent.ErrNotFound), errors.Is(err, authagent.ErrAmbiguous):
		u.Errorf("UserByEmail without time = %+v, %v; want the account or another error", got, err)
	}
	finder, ok := u.UserTable.(authagent.UserFinder)
	if !ok {
		return
	}
	switch got, err := finder.UserByID(ctx, id); {
	case err == nil && got.ID != id, errors.Is(err, authagent.ErrNotFound):
		u.Errorf("UserByID without time = %+v, %v; want the account or another error", got, err)
	}
}

func (u *users) byID() {
	finder, ok := u.UserTable.(authagent.UserFinder)
	if !ok {
		u.Log("the store is no UserFinder, so there is nothing to check")
		return
	}
	id := u.must(u.address("%s@example.com"))
	if got, err := finder.UserByID(u.Context(), id); err != nil || got.ID != id || !got.EmailVerified || got.Disabled {
		u.Errorf("UserByID(%q) = %+v, %v", id, got, err)
	}
	for _, other := range []string{
		"", strings.ToUpper(id), strings.ToLower(id), id + " ", " " + id, id + "x", id + "\u00e9", "0" + id, id + ".0", id + "e0", "%", id + "' or '1'='1",
	} {
		if got, err := finder.UserByID(u.Context(), other); err == nil && other != id {
			u.Errorf("UserByID(%q) = %+v, the account of %q", other, got, id)
		}
	}
	id, err := u.AddAccount(u.Context(), u.address("%s@example.com"), authagent.User{EmailVerified: true, Disabled: true})
	if got, found := finder.UserByID(u.Context(), id); err == nil && found == nil && !got.Disabled {
		u.Errorf("UserByID(%q) = %+v, which is disabled", id, got)
	}
}

func (u *users) created() {
	creator, ok := u.UserTable.(authagent.UserCreator)
	if !ok {
		u.Log("the store is no UserCreator, so there is nothing to check")
		return
	}
	wanted := authagent.NewUser{Email: u.address("%s@example.com"), Name: "Alice", CreatedBy: newAgent()}
	made, err := creator.CreateUser(u.Context(), wanted)
	if err != nil || made.ID == "" || made.EmailVerified || made.CreatedBy != wanted.CreatedBy {
		u.Errorf("CreateUser(%+v) = %+v, %v", wanted, made, err)
	}
	if got := u.want(wanted.Email, made.ID, nil); got.EmailVerified || got.CreatedBy != wanted.CreatedBy {
		u.Errorf("UserByEmail(%q) = %+v, want it unverified and by %+v", wanted.Email, got, wanted.CreatedBy)
	}
	taken := u.address("%s@example.com")
	u.add(strings.ToUpper(taken[:1])+taken[1:], verified)
	for _, email := range []string{wanted.Email, taken} {
		if got, err := creator.CreateUser(u.Context(), authagent.NewUser{Email: email, CreatedBy: newAgent()}); !errors.Is(err, authagent.ErrExists) {
			u.Errorf("CreateUser of a taken address = %+v, %v; want ErrExists", got, err)
		}
	}
}

// subjects: an account that is created for a user of a server is found by issuer and subject, both as
// they are, and by no address.
func (u *users) subjects() {
	finder, finds := u.UserTable.(authagent.SubjectFinder)
	creator, creates := u.UserTable.(authagent.UserCreator)
	if !finds || !creates {
		u.Log("the store is no SubjectFinder that is a UserCreator too, so there is nothing to check")
		return
	}
	agent, subject := newAgent(), "user-"+rand.Text()
	wanted := authagent.NewUser{Subject: subject, Name: "Alice", CreatedBy: agent}
	made, err := creator.CreateUser(u.Context(), wanted)
	if err != nil || made.ID == "" {
		u.Fatalf("CreateUser(%+v) = %+v, %v", wanted, made, err)
	}
	if got, err := finder.UserBySubject(u.Context(), agent.Issuer, subject); err != nil || got.ID != made.ID {
		u.Errorf("UserBySubject = %+v, %v; want %q", got, err, made.ID)
	}
	for _, other := range [][2]string{
		{agent.Issuer, strings.ToLower(subject)}, {agent.Issuer, subject + " "}, {agent.Issuer, subject[:len(subject)-1]},
		{agent.Issuer + "/", subject}, {strings.ToUpper(agent.Issuer), subject}, {"", subject}, {agent.Issuer, ""},
	} {
		if got, err := finder.UserBySubject(u.Context(), other[0], other[1]); !errors.Is(err, authagent.ErrNotFound) {
			u.Errorf("UserBySubject(%q, %q) = %+v, %v; want ErrNotFound", other[0], other[1], got, err)
		}
	}
	if got, err := creator.CreateUser(u.Context(), wanted); !errors.Is(err, authagent.ErrExists) {
		u.Errorf("CreateUser for a user who has an account = %+v, %v; want ErrExists", got, err)
	}
	if got, err := u.UserByEmail(u.Context(), ""); err == nil {
		u.Errorf("UserByEmail(\"\") = %+v; an account without an address has none", got)
	}
	second, err := creator.CreateUser(u.Context(), authagent.NewUser{Subject: "other-" + rand.Text(), CreatedBy: agent})
	if err != nil || second.ID == made.ID {
		u.Errorf("CreateUser for another user of the same agent = %+v, %v", second, err)
	}
}
