package limit_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/limit"
)

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(10, time.Minute)
		for i := range 10 {
			if wait := l.Allow("a"); wait != 0 {
				t.Fatalf("event %d: wait %v", i, wait)
			}
		}
		wait := l.Allow("a")
		if wait <= 0 || wait > 6*time.Second {
			t.Fatalf("event 11: wait %v, want up to 6s", wait)
		}
		if got := l.Allow("b"); got != 0 {
			t.Errorf("another key: wait %v", got)
		}
		time.Sleep(wait - time.Millisecond)
		if l.Allow("a") == 0 {
			t.Error("allowed before the time it named")
		}
		time.Sleep(time.Millisecond)
		if got := l.Allow("a"); got != 0 {
			t.Errorf("wait %v at the time it named", got)
		}
		if l.Allow("a") == 0 {
			t.Error("two events at once after waiting for one")
		}
		time.Sleep(time.Hour)
		for i := range 10 {
			if got := l.Allow("a"); got != 0 {
				t.Fatalf("event %d after an hour: wait %v", i, got)
			}
		}
		if l.Allow("a") == 0 {
			t.Error("an hour saved up more than one budget")
		}
	})
}

func TestNothingIsLimited(t *testing.T) {
	for name, l := range map[string]*limit.Limiter{
		"nil": nil, "zero": limit.New(0, time.Minute), "negative": limit.New(-1, time.Minute), "no period": limit.New(1, 0),
	} {
		for range 1000 {
			if l.Allow("a") != 0 {
				t.Fatal(name)
			}
		}
	}
}

// TestManyKeys: keys are bounded, one that has spent its budget is not given it
// back by a flood of others, and room comes back by itself.
func TestManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, time.Minute)
		l.Allow("first")
		refused := 0
		for i := range 1 << 18 {
			if l.Allow(fmt.Sprint(i)) != 0 {
				refused++
			}
		}
		if refused < 1<<17 {
			t.Errorf("%d keys refused, want at least %d", refused, 1<<17)
		}
		if l.Allow("first") == 0 {
			t.Error("a flood of keys gave one its budget back")
		}
		time.Sleep(2 * time.Minute)
		if wait := l.Allow("new"); wait != 0 {
			t.Errorf("wait %v after all budgets are whole", wait)
		}
	})
}

// TestFlood: one that is known already keeps the budget that it has while there is
// no room for others.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(2, time.Minute)
		l.Allow("first")
		for i := range 1 << 17 {
			l.Allow(fmt.Sprint(i))
		}
		if l.Allow("another") == 0 {
			t.Fatal("there is room")
		}
		if wait := l.Allow("first"); wait != 0 {
			t.Errorf("wait %v with half of the budget left", wait)
		}
	})
}

func TestAddressKeys(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.7:4711":           "203.0.113.7",
		"203.0.113.7":                "203.0.113.7",
		"[2001:db8:1:2:3::4]:1":      "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":        "2001:db8:1:2::/64",
		"[::ffff:203.0.113.7]:1":     "203.0.113.7",
		"127.0.0.1:1":                "",
		"[::1]:1":                    "",
		"10.1.2.3:1":                 "",
		"192.168.0.1":                "",
		"[fd00::1]:1":                "",
		"[fe80::1%eth0]:1":           "",
		"@":                          "",
		"":                           "",
		"203.0.113.7, 203.0.113.8":   "",
		"[::ffff:127.0.0.1]:80":      "",
		"proxy.example:80":           "",
		"192.0.2.1:1234":             "",
		"192.0.3.1:1234":             "192.0.3.1",
		"192.1.2.1:1234":             "192.1.2.1",
		"193.0.2.1:1234":             "193.0.2.1",
		"2001:db8::c000:201":         "2001:db8::/64", // the bytes of 192.0.2.1
		"[2001:db8:1:2:3::4%eth0]:1": "2001:db8:1:2::/64",
	} {
		got, wide := limit.AddressKeys(address)
		if got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
		if wantWide := map[bool]string{true: "2001:db8:1::/48"}[strings.HasPrefix(want, "2001:db8:1:2:")]; wide != wantWide && want != "2001:db8::/64" {
			t.Errorf("LIM-7 %q: %q, want %q", address, wide, wantWide)
		}
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.7:4711": "203.0.113.7", "127.0.0.1:1": "127.0.0.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "nobody": "", "": "",
	} {
		if got := limit.Network(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	l := limit.New(1<<30, time.Hour)
	for b.Loop() {
		l.Allow("agent")
	}
}

// TestAddress is WEB-9: an address is an address, and nothing else is one.
func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:55240": "127.0.0.1", "203.0.113.7": "203.0.113.7", " 203.0.113.7 ": "203.0.113.7",
		"[2001:db8::1]:443": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "2001:DB8:0::1": "2001:db8::1",
		"fe80::1%eth0": "fe80::1", "[fe80::1%eth0]:80": "fe80::1", "[fe80::1%<script>]:80": "fe80::1",
		"::ffff:203.0.113.7": "203.0.113.7", "[::ffff:203.0.113.7]:80": "203.0.113.7",
		"": "", "@": "", "/run/site.sock": "", "unknown": "", "_hidden": "", "[203.0.113.7]": "", "203.0.113.7:": "", "203.0.113.7:http": "",
		"203.0.113.7, 198.51.100.1": "", "203.0.113.7\n203.0.113.8": "", "203.0.113.07": "", "203.0.113.7/24": "", "[": "", "[]": "", ":": "",
		"localhost:80": "", "<script>": "", "2001:db8::1:443:": "", "for=203.0.113.7": "",
	} {
		if got := limit.Address(in); got != want {
			t.Errorf("WEB-9 Address(%q) is %q, want %q", in, got, want)
		}
		if want != "" && limit.Network(in) != limit.Network(want) && in[0] != ' ' {
			t.Errorf("WEB-9 Network(%q) is %q, and of the address alone %q", in, limit.Network(in), limit.Network(want))
		}
	}
}
