//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBalancer: an instance that is not ready gets nothing, unless none is; and one that cannot
// be reached is passed over.
func TestBalancer(t *testing.T) {
	proxy, b := newProxy()
	defer proxy.Close()
	for _, name := range []string{"a", "b", "gone"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Name", name) }))
		defer server.Close()
		if name == "gone" {
			server.Close()
		}
		b.behind = append(b.behind, &backend{host: strings.TrimPrefix(server.URL, "http://")})
	}
	for _, test := range []struct {
		ready []int
		want  []string
	}{
		{[]int{0, 1}, []string{"a", "b"}},
		{[]int{1}, []string{"b"}},
		{[]int{0, 2}, []string{"a"}},
		{nil, []string{"a", "b"}},
	} {
		for i, one := range b.behind {
			one.up.Store(slices.Contains(test.ready, i))
		}
		var got []string
		for range 6 {
			answer := send(t.Context(), http.DefaultClient, "", request{method: http.MethodGet, url: proxy.URL})
			if name := answer.header.Get("Name"); !slices.Contains(got, name) {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("ready: %v: requests go to %q, want %q", test.ready, got, test.want)
		}
	}
}

// TestTimes: what overlaps with an outage says nothing about a deployment.
func TestTimes(t *testing.T) {
	var all times
	calm := all.get()
	endRoll := all.begin(true)
	rolling := all.get()
	if !all.onlyRolled(calm) || !all.onlyRolled(rolling) {
		t.Error("a roll is not seen while it goes on")
	}
	endRoll()
	after := all.get()
	if !all.onlyRolled(calm) || !all.onlyRolled(rolling) || all.onlyRolled(after) {
		t.Error("a roll is seen too little or too long")
	}
	endOutage := all.begin(false)
	outage := all.get()
	if all.onlyRolled(rolling) {
		t.Error("what an outage has met counts as a deployment's")
	}
	endOutage()
	defer all.begin(true)()
	if all.onlyRolled(outage) || all.onlyRolled(calm) {
		t.Error("what began in an outage counts as a deployment's")
	}
	if now := time.Now(); !all.inOutage(now) || all.inOutage(now.Add(time.Minute)) {
		t.Error("the time of an outage is not known")
	}
}
