//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// An owner is the account's, in front of the page of connected agents. Their browser
// asks for name and password where the site wants them (Basic), or keeps a cookie.
type owner struct {
	page           string
	name, password string
	client         http.Client
}

// open opens the page as a browser does that has not been there, and comes back to it
// by the site's sign-in page.
func (o *owner) open(ctx context.Context) error {
	var asked bool
	page := o.page
	for range 5 {
		resp, err := o.send(ctx, http.MethodGet, page, "text/html", nil, asked)
		if err != nil {
			return err
		}
		switch to, err := resp.Location(); {
		case err == nil:
			page = to.String()
		case resp.StatusCode == http.StatusUnauthorized && !asked && strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic"):
			asked = true
		case resp.StatusCode == http.StatusOK && asked && page == o.page:
			return nil
		default:
			return fmt.Errorf("the owner opens %s: %s at %s", o.page, resp.Status, page)
		}
	}
	return fmt.Errorf("the owner opens %s and is sent from page to page", o.page)
}

// compare looks on the page for the code that the agent was shown.
func (o *owner) compare(ctx context.Context, code string) error {
	if _, err := o.agent(ctx); err != nil {
		return fmt.Errorf("the owner looks for the code %s: %w", code, err)
	}
	resp, err := o.send(ctx, http.MethodGet, o.page, "text/html", nil, true)
	if err != nil {
		return err
	}
	page, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(page), code) {
		return fmt.Errorf("the owner's page does not have the code %s that the agent was shown: %v", code, err)
	}
	return nil
}

// decide posts a form of the page about the one agent that is there: "approve", "change"
// or "revoke".
func (o *owner) decide(ctx context.Context, what string, choice url.Values) error {
	g, err := o.agent(ctx)
	if err != nil {
		return fmt.Errorf("the owner wants to %s an agent: %w", what, err)
	}
	form := url.Values{"id": {g.ID}, "version": {strconv.FormatInt(g.Version, 10)}}
	maps.Copy(form, choice)
	return o.post(ctx, what, form)
}

// post posts a form of the page.
func (o *owner) post(ctx context.Context, what string, form url.Values) error {
	resp, err := o.send(ctx, http.MethodPost, o.page+what, "text/html", form, true)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("%s: %s", what, resp.Status)
	}
	return nil
}

// agent waits for the request, which is filed a moment after the agent was answered.
func (o *owner) agent(ctx context.Context) (grants.Grant, error) {
	for range 100 {
		overview, err := o.overview(ctx)
		if err != nil || len(overview.Grants) == 1 {
			return append(overview.Grants, grants.Grant{})[0], err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return grants.Grant{}, errors.New("the page has no agent")
}

func (o *owner) overview(ctx context.Context) (overview grants.Overview, err error) {
	resp, err := o.send(ctx, http.MethodGet, o.page, "application/json", nil, true)
	if err != nil {
		return overview, err
	}
	if resp.StatusCode != http.StatusOK {
		return overview, fmt.Errorf("the page as JSON: %s", resp.Status)
	}
	return overview, json.NewDecoder(resp.Body).Decode(&overview)
}

// send sends a request, signed in or not, follows no redirect, and reads the answer.
func (o *owner) send(ctx context.Context, method, to, accept string, form url.Values, signedIn bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if signedIn {
		req.SetBasicAuth(o.name, o.password)
	}
	o.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := o.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp, err
}
