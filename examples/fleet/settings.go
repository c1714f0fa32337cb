package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
)

// settings are what differs between places where the site runs; all instances of
// one place have the same.
type settings struct {
	agents       authagent.Config // from AUTH_AGENT_*
	database     string
	addr         string         // for the proxy
	internalAddr string         // for whoever runs the site
	proxies      []netip.Prefix // whose X-Forwarded-For is believed
	drain        time.Duration  // between not being ready and not listening
	confirmEvery time.Duration  // see authagent.Config.Tokens.ConfirmEvery
}

// settingsFromEnv names all that is missing or wrong at once.
func settingsFromEnv() (settings, error) {
	var errs [5]error
	s := settings{
		database:     os.Getenv("DATABASE_URL"),
		addr:         cmp.Or(os.Getenv("FLEET_ADDR"), "127.0.0.1:8080"),
		internalAddr: cmp.Or(os.Getenv("FLEET_INTERNAL_ADDR"), "127.0.0.1:8081"),
	}
	if s.database == "" {
		errs[0] = errors.New("DATABASE_URL is not set")
	}
	s.agents, errs[1] = authagent.ConfigFromEnv()
	s.proxies, errs[2] = prefixes("FLEET_PROXIES")
	s.drain, errs[3] = duration("FLEET_DRAIN", 5*time.Second)
	s.confirmEvery, errs[4] = duration("FLEET_CONFIRM_EVERY", 15*time.Minute)
	return s, errors.Join(errs[:]...)
}

func duration(variable string, otherwise time.Duration) (time.Duration, error) {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", variable, err)
	}
	return d, nil
}

func prefixes(variable string) (all []netip.Prefix, err error) {
	for text := range strings.FieldsFuncSeq(os.Getenv(variable), func(r rune) bool { return r == ',' || r == ' ' }) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// clientAddr returns the address of the client that a request comes from, for
// authagent.Config.ClientAddr. Each proxy appends the address that it was called
// from to X-Forwarded-For, so the list is read from its end: what a trusted proxy
// has written is believed, and the first address that is no trusted proxy's is the
// client. What stands before it the client may have made up.
func clientAddr(trusted []netip.Prefix) func(*http.Request) string {
	isProxy := func(ip netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return func(r *http.Request) string {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		client := peer.Addr().Unmap()
		if err != nil || !isProxy(client) {
			return r.RemoteAddr // a header from there is worth nothing
		}
		forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, text := range slices.Backward(forwarded) {
			ip, err := netip.ParseAddr(strings.TrimSpace(text))
			if err != nil {
				break
			}
			if client = ip.Unmap(); !isProxy(client) {
				break
			}
		}
		return client.String()
	}
}
