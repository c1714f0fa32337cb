package limit

import (
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/authagent-go/authagent/limits"
)

// AddressKeys returns the keys of a client address: its Network, and the wider one, see
// Networks. Both are "" for what is no address, and for an address that is not public:
// there, a proxy or a developer is speaking for everybody, and one budget for all
// would let one client shut the others out.
func AddressKeys(address string) (near, wide string) {
	ip, ok := parse(address)
	if !ok || !ip.IsGlobalUnicast() || ip.IsPrivate() || isExample(ip) {
		return "", ""
	}
	return network(ip), wider(ip)
}

// Networks returns the Network of a client address, and the /48 network of an IPv6
// address: what one customer is given often, with 65536 networks to choose from. wide is ""
// for an IPv4 address.
func Networks(address string) (near, wide string) {
	ip, ok := parse(address)
	if !ok {
		return "", ""
	}
	return network(ip), wider(ip)
}

// Wider is how many times as much all networks of a wider one may do together as each.
const Wider = 16

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
	if host, _, _ := strings.Cut(address, ":"); strings.Contains(host, ".") {
		return host // an IPv4 address, of which netip takes one form only
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

func wider(ip netip.Addr) string {
	if ip.Is4() {
		return ""
	}
	prefix, _ := ip.Prefix(48)
	return prefix.String()
}

// Addresses bound how often something happens for the network of a client address, and
// Wider times as often for the wider one.
type Addresses struct{ near, wide *budget }

// NewAddresses returns Addresses for n times in a period, as this process counts.
func NewAddresses(n int, period time.Duration) *Addresses {
	a := newAddresses("", limits.Rate{N: n, Per: period})
	return &a
}

func newAddresses(prefix string, r limits.Rate) Addresses {
	wide := r
	wide.N = widened(r.N)
	return Addresses{newBudget(prefix, r), newBudget(prefix, wide)}
}

// Allow counts an address, if there may be another. What is no address counts as one.
func (a *Addresses) Allow(address string) bool {
	near, wide := Networks(address)
	events, n := a.events(near, wide)
	return allow(time.Now(), true, events[:n]) == 0
}

// events returns what is counted for the keys of an address, and how many that are.
func (a *Addresses) events(near, wide string) (events [2]event, n int) {
	n = add(&events, n, a.near, near)
	if wide != "" {
		n = add(&events, n, a.wide, wide)
	}
	return events, n
}

// widened is how often something may happen in all networks of a wider one.
func widened(n int) int {
	if n > math.MaxInt/Wider {
		return math.MaxInt
	}
	return n * Wider
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
