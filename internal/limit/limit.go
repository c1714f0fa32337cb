// Package limit bounds how often something may happen, for each of many keys,
// in the memory of one process.
package limit

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// maxKeys bounds the memory of a Limiter, at about 100 bytes a key.
const maxKeys = 1 << 17

// A Limiter lets n events happen in each period, for each key, and as many at
// once. It is safe for concurrent use; nil limits nothing.
//
// It is the generic cell rate algorithm, which needs one time for each key: the
// one at which the budget is whole again. A key whose budget is whole is
// forgotten, so that what is kept is bounded by what happens and not by who comes.
type Limiter struct {
	every  time.Duration // between events at the steady rate
	period time.Duration

	mu    sync.Mutex
	whole map[string]time.Time
	sweep time.Time // when to look for whole budgets again
}

// New returns a Limiter, or nil where n or period is not positive.
func New(n int, period time.Duration) *Limiter {
	if n <= 0 || period <= 0 {
		return nil
	}
	return &Limiter{every: period / time.Duration(n), period: period, whole: make(map[string]time.Time)}
}

// Allow takes one event of key's budget. It returns 0, or, taking nothing, how
// long to wait for the next. While more keys than the limiter can hold have
// spent something, it refuses further ones: to forget a key would give it its
// budget back.
func (l *Limiter) Allow(key string) (wait time.Duration) {
	if l == nil {
		return 0
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	whole, spent := l.whole[key]
	if !spent && !l.room(now) {
		return l.every
	}
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(l.every)
	if wait := whole.Sub(now) - l.period; wait > 0 {
		return wait
	}
	if !spent {
		key = strings.Clone(key) // lest it holds on to all of what it is a part of
	}
	l.whole[key] = whole
	return 0
}

// Return gives back one event of key's budget that Allow has taken and that did not
// happen.
func (l *Limiter) Return(key string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if whole, spent := l.whole[key]; spent {
		l.whole[key] = whole.Add(-l.every)
	}
}

// room reports whether a further key can be kept, and forgets now and then those
// whose budget is whole.
func (l *Limiter) room(now time.Time) bool {
	if len(l.whole) < maxKeys && now.Before(l.sweep) {
		return true
	}
	if len(l.whole) >= maxKeys && now.Before(l.sweep.Add(time.Second-l.period)) {
		return false // looked a moment ago: a flood of keys must not make each request look again
	}
	for key, whole := range l.whole {
		if whole.Before(now) {
			delete(l.whole, key)
		}
	}
	l.sweep = now.Add(l.period)
	return len(l.whole) < maxKeys
}

// AddressKey returns the key of a client address, which is its Network. It
// returns "" for what is no address, and for an address that is not public:
// there, a proxy or a developer is speaking for everybody, and one budget for all
// would let one client shut the others out.
func AddressKey(address string) string {
	ip, ok := parse(address)
	if !ok || !ip.IsGlobalUnicast() || ip.IsPrivate() || isExample(ip) {
		return ""
	}
	return network(ip)
}

// Network returns where a client address, "host" or "host:port", is: the IPv4
// address itself, and the /64 network of an IPv6 address, of which one client has
// a whole network to choose from. It returns "" for what is no address.
func Network(address string) string {
	ip, ok := parse(address)
	if !ok {
		return ""
	}
	return network(ip)
}

// Address returns a client address alone, as netip writes it: without port, brackets
// and zone, and an IPv4 address in IPv6 as what it is. It returns "" for what is no
// address: the other end of a Unix socket, and whatever else a header may have.
func Address(address string) string {
	address = strings.TrimSpace(address)
	ip, ok := parse(address)
	if !ok {
		return ""
	}
	var room [64]byte
	text := ip.AppendTo(room[:0])
	if at := strings.Index(address, string(text)); at >= 0 {
		return address[at : at+len(text)] // most are written so already, and then nothing is allocated
	}
	return string(text)
}

func parse(address string) (ip netip.Addr, ok bool) {
	var err error
	switch { // by what it looks like: to try the one and then the other would make an error each time
	case strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]"):
		ip, err = netip.ParseAddr(address[1 : len(address)-1])
		ok = ip.Is6()
	case hasPort(address):
		var full netip.AddrPort
		full, err = netip.ParseAddrPort(address)
		ip, ok = full.Addr(), true
	default:
		ip, err = netip.ParseAddr(address)
		ok = true
	}
	if err != nil || !ok {
		return netip.Addr{}, false
	}
	return ip.Unmap().WithZone(""), true
}

// hasPort tells "1.2.3.4:5" and "[1:2::3]:4" from addresses alone.
func hasPort(address string) bool {
	colon := strings.IndexByte(address, ':')
	return colon >= 0 && (address[0] == '[' || colon == strings.LastIndexByte(address, ':'))
}

func network(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(64) // 64 is in range
	return prefix.String()
}

// isExample reports whether ip is in the network that RFC 5737 keeps for
// documentation, from which net/http/httptest takes the address of its requests.
func isExample(ip netip.Addr) bool {
	four := ip.As16()
	return ip.Is4() && four[12] == 192 && four[13] == 0 && four[14] == 2
}

// Client returns a function that returns the IP address of a request's client, or "" if it
// has none. addr says which, the other end of the connection if it is nil.
func Client(addr func(*http.Request) string) func(*http.Request) string {
	if addr == nil {
		addr = func(r *http.Request) string { return r.RemoteAddr }
	}
	return func(r *http.Request) string { return Address(addr(r)) }
}
