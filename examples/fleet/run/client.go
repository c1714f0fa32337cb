//go:build unix

package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An answer is what a client got.
type answer struct {
	err     error // there was none
	status  int
	header  http.Header
	problem struct {
		Error  string `json:"error"`
		Retry  bool   `json:"retry"`
		SignIn string `json:"sign_in"`
	}
	body []byte
	took time.Duration
}

// again reports whether the client was told to try again.
func (a *answer) again() bool {
	return a.header.Get("Retry-After") != "" || a.problem.Retry || a.problem.SignIn != ""
}

// wait is how long it was told to wait, which this run does not do for longer
// than most.
func (a *answer) wait(most time.Duration) time.Duration {
	seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
	return min(most, max(100*time.Millisecond, time.Duration(seconds)*time.Second))
}

func (a *answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return strconv.Itoa(a.status) + " " + a.problem.Error
}

// A request is one of an agent or of an owner.
type request struct {
	method, url, cookie string
	key                 string     // Idempotency-Key
	form                url.Values // of a POST
}

// send sends a request from an address and follows nothing.
func send(ctx context.Context, client *http.Client, from string, r request) *answer {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.form.Encode()))
	if err != nil {
		return &answer{err: err}
	}
	for name, value := range map[string]string{"Cookie": r.cookie, "Idempotency-Key": r.key, clientHeader: from} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return &answer{err: err}
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.took = time.Since(start)
	_ = json.Unmarshal(a.body, &a.problem) // which not every answer is
	return a
}

func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 200, IdleConnTimeout: 30 * time.Second},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A browser keeps cookies by name.
type browser map[string]string

func (b browser) take(a *answer) {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b, c.Name)
		} else {
			b[c.Name] = c.Value
		}
	}
}

func (b browser) cookie() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		all = append(all, name+"="+b[name])
	}
	return strings.Join(all, "; ")
}
