package benchmarks

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
)

// A checker is one way to know who is signed in: a guarded handler, and how to
// start a session for it.
type checker struct {
	name   string
	orders http.Handler
	signIn func() []string // returns cookies
}

// checkers returns the ways that are compared.
func checkers() []*checker {
	authagent, owners, pkgz := authagentSite(), ownersSite(), pkgzSite(newProvider(), 15*time.Minute)
	return []*checker{
		{"authagent", authagent.orders, authagent.signIn}, {"authagent-owners", owners.orders, owners.signIn}, floorChecker(false), gorillaChecker("gorilla", gorillaStore(), false),
		gorillaChecker("gorilla-own-codec", ownCodecStore(), false), scsChecker(false), {"pkgz", pkgz.orders, pkgz.signIn},
	}
}

// aged is how old a session gets before renewers' authagent renews it: a tenth
// of the idle limit.
const aged = renewalIdle / 10

const renewalIdle = 20 * time.Second

// renewers are the same, but give every client a renewed session with each
// check. Sessions are to be older than aged, and younger than ten times that.
func renewers() []*checker {
	authagent, pkgz := authagentSite(func(c *authagent.Config) { c.Session.Idle = renewalIdle }), pkgzSite(newProvider(), -time.Minute)
	return []*checker{
		{"authagent", authagent.orders, authagent.signIn}, floorChecker(true), gorillaChecker("gorilla", gorillaStore(), true),
		gorillaChecker("gorilla-own-codec", ownCodecStore(), true), scsChecker(true), {"pkgz", pkgz.orders, pkgz.signIn},
	}
}

func floorChecker(renew bool) *checker {
	f := newFloor(newProvider())
	return &checker{
		name: "floor", orders: f.guard(http.HandlerFunc(floorOrders), renew),
		signIn: func() []string {
			w := newDiscard()
			f.start(w, agentID)
			return pairs(w.header)
		},
	}
}

func gorillaChecker(name string, store sessions.Store, renew bool) *checker {
	return &checker{
		name: name, orders: gorillaGuard(store, http.HandlerFunc(gorillaOrders), renew),
		signIn: func() []string {
			r, w := get(origin+ordersPath), newDiscard()
			s, _ := store.New(r, byHandSession)
			fill(s, newSession(agentID))
			if err := s.Save(r, w); err != nil {
				panic(err)
			}
			return pairs(w.header)
		},
	}
}

// ownCodecStore is gorilla's CookieStore with the floor's sealed cookie in the
// place of gob, which is most of what the store costs as it comes.
func ownCodecStore() *sessions.CookieStore {
	store := gorillaStore()
	store.Codecs = nil
	store.Codecs = append(store.Codecs, sealedFields{newFloor(newProvider())})
	return store
}

type sealedFields struct{ *floor }

func (c sealedFields) Encode(name string, value any) (string, error) {
	v, _ := value.(map[any]any)
	text := func(key string) string { s, _ := v[key].(string); return s }
	number := func(key string) int64 { n, _ := v[key].(int64); return n }
	s := session{
		ID: text("id"), Issuer: text("issuer"), Agent: text("agent"), Model: text("model"), Scenario: text("scenario"), User: text("user"),
		Profile: text("profile"), Started: number("started"), Expires: number("expires"), Seen: number("seen"),
	}
	return encode(c.aead.Seal(nil, nil, s.append(nil), []byte(name))), nil
}

func (c sealedFields) Decode(name, sealed string, dst any) error {
	value, ok := c.open(sealed, []byte(name))
	var s session
	if !ok || !s.parse(value) {
		return errors.New("benchmarks: no session")
	}
	*dst.(*map[any]any) = s.fields()
	return nil
}

// scsChecker is alexedwards/scs with its store in memory.
func scsChecker(renew bool) *checker {
	m := scs.New()
	m.Store = memstore.NewWithCleanupInterval(0)
	m.Lifetime = 12 * time.Hour
	m.Cookie.Secure = true
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.GetString(r.Context(), "user") != "user_1" {
			signInFirst(w)
			return
		}
		if renew {
			m.Put(r.Context(), "seen", time.Now().Unix())
		}
		w.WriteHeader(http.StatusOK)
	})
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := newSession(agentID)
		for name, value := range s.fields() {
			m.Put(r.Context(), name.(string), value)
		}
		w.WriteHeader(http.StatusOK)
	})
	return &checker{
		name: "scs", orders: m.LoadAndSave(orders),
		signIn: func() []string {
			w := newDiscard()
			m.LoadAndSave(start).ServeHTTP(w, get(origin+ordersPath).WithContext(context.Background()))
			return pairs(w.header)
		},
	}
}
