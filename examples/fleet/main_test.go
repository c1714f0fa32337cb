package main

import (
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestClientAddr: a header is believed as far as trusted proxies wrote it.
func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.7:4711", nil, "203.0.113.7:4711"},
		{"a client that pretends", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7:4711"},
		{"a proxy", "10.0.0.1:80", []string{"203.0.113.7"}, "203.0.113.7"},
		{"a proxy, IPv6", "[2001:db8:1::1]:80", []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		{"a proxy, mapped", "[::ffff:10.0.0.1]:80", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a client that pretends to a proxy", "10.0.0.1:80", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{"that it is one", "10.0.0.1:80", []string{"198.51.100.1, 10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
		{"in lines of its own", "10.0.0.1:80", []string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7"},
		{"two proxies", "10.0.0.1:80", []string{"198.51.100.1, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"only proxies", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy that says nothing", "10.0.0.1:80", nil, "10.0.0.1"},
		{"what is no address", "10.0.0.1:80", []string{"203.0.113.7, unknown"}, "10.0.0.1"},
		{"what is no address, further on", "10.0.0.1:80", []string{"x, 203.0.113.7"}, "203.0.113.7"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		r.Header["X-Forwarded-For"] = test.forwarded
		if got := clientAddr(trusted)(r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestSettings: all that is missing or wrong is said at once.
func TestSettings(t *testing.T) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "AUTH_AGENT_") || strings.HasPrefix(name, "FLEET_") || name == "DATABASE_URL" {
			t.Setenv(name, "")
		}
	}
	t.Setenv("FLEET_PROXIES", "10.0.0.1")
	t.Setenv("FLEET_DRAIN", "5")
	_, err := settingsFromEnv()
	for _, want := range []string{"DATABASE_URL", "AUTH_AGENT_ISSUER", "AUTH_AGENT_SESSION_KEYS", "FLEET_PROXIES", "FLEET_DRAIN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
