package grants_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// A byDigest confirms what the proof is the digest of.
type byDigest struct {
	asked []grants.Confirmation // in tests that send one request after another
}

const promptScript = `document.querySelector("form").dataset.ready = "<b>" && 1;`

func (d *byDigest) Prompt(_ *http.Request, c grants.Confirmation) (grants.Prompt, error) {
	d.asked = append(d.asked, c)
	return grants.Prompt{
		HTML: template.HTML(`<input name="` + grants.ProofField + `" data-digest="` + c.Digest + `">`), Script: promptScript,
		JSON: map[string]string{"digest": c.Digest},
	}, nil
}

func (d *byDigest) Verify(r *http.Request, c grants.Confirmation) error {
	switch r.PostForm.Get(grants.ProofField) {
	case "":
		return grants.ErrNoProof
	case c.Digest:
		return nil
	case "broken":
		return errors.New("the database is away")
	case "panic":
		panic("at the disco")
	}
	return fmt.Errorf("%w: another digest", grants.ErrProof)
}

// confirmSite is a site whose owners have to confirm, with what decisions can be about.
func confirmSite(t testing.TB, change ...func(*site, *authagent.Config)) (*site, *byDigest) {
	t.Helper()
	confirm := &byDigest{}
	s := newSite(t, append(change, func(s *site, _ *authagent.Config) {
		s.owners.Confirm = confirm
		s.owners.Actions["orders:delete"] = "Cancel orders"
	})...)
	s.grant(func(g *grants.Grant) { pending(g); g.ID, g.Agent.ID, g.Name = "asks", "agent_asks", "Claude" })
	s.grant(func(g *grants.Grant) {
		g.ID, g.Agent.ID, g.Actions = "reader", "agent_reader", []string{"orders:create"}
	})
	s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.Access = "full", "agent_full", authagent.AccessFull })
	for id, state := range map[string]grants.State{"denied": grants.Denied, "revoked": grants.Revoked, "paused": grants.Suspended} {
		s.grant(func(g *grants.Grant) { g.ID, g.Agent.ID, g.State = id, "agent_"+id, state })
	}
	s.grant(func(g *grants.Grant) {
		g.ID, g.Agent.ID, g.ExpiresAt = "expired", "agent_expired", time.Now().Add(-time.Minute)
	})
	s.store.Touch(t.Context(), grants.Activity{SessionID: "live", GrantID: "reader", UserID: s.alice, ExpiresAt: time.Now().Add(time.Hour)})
	s.store.CreateApproval(t.Context(), grants.Approval{
		ID: "payout", Version: 1, UserID: s.alice, GrantID: "reader", Agent: authagent.Agent{Issuer: s.as.URL, ID: "agent_reader"}, Action: "payouts:create",
		Description: "Pay out 12.50", Digest: "d", State: grants.Pending, ExpiresAt: time.Now().Add(time.Hour),
	})
	return s, confirm
}

// all is everything that a decision could change.
func (s *site) all() string {
	s.t.Helper()
	o, err := s.owners.Overview(s.t.Context(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	text, _ := json.Marshal([]any{o.Grants, o.Approvals, o.Sessions})
	return string(text)
}

type formRow struct {
	name, path string
	form       []string
}

// widening are the forms that give an agent more, without the ID's version, which is 1.
var wideningForms = []formRow{
	{"approve", "approve", []string{"id", "asks"}},
	{"approve with an action", "approve", []string{"id", "asks", "action", "orders:create", "nickname", "Robot", "days", "7"}},
	{"approve after all", "approve", []string{"id", "denied"}},
	{"undo a revoke", "approve", []string{"id", "revoked", "days", "keep"}},
	{"resume", "approve", []string{"id", "paused"}},
	{"resume by change", "change", []string{"id", "paused"}},
	{"renew", "approve", []string{"id", "expired"}},
	{"renew by change", "change", []string{"id", "expired", "action", "orders:create"}},
	{"more access", "change", []string{"id", "reader", "access", "full", "days", "1"}},
	{"more access by approve", "approve", []string{"id", "reader", "access", "full", "days", "keep"}},
	{"another action", "change", []string{"id", "reader", "action", "orders:delete", "days", "1"}},
	{"an action more", "change", []string{"id", "reader", "action", "orders:create", "action", "orders:delete", "days", "keep"}},
	{"a later end", "change", []string{"id", "reader", "days", "90"}},
	{"a later end by default", "change", []string{"id", "reader"}},
	{"full, longer", "change", []string{"id", "full", "access", "full", "days", "90"}},
	{"a single action", "approvals/approve", []string{"id", "payout"}},
}

func (f formRow) fields(more ...string) []string {
	return slices.Concat(f.form, []string{"version", "1"}, more)
}

// TestWideningIsConfirmed_CONF_1 holds each form that gives more to: nothing without the proof,
// nothing with that of another decision, done with its own.
func TestWideningIsConfirmed_CONF_1(t *testing.T) {
	for _, f := range wideningForms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s, confirm := confirmSite(t)
			alice := s.human(s.alice)
			before := s.all()
			want := func(step string, resp *answered, status int, reason problem.Reason) {
				t.Helper()
				if got, _ := resp.reason(); resp.StatusCode != status || got != reason {
					t.Errorf("%s: %d %q, want %d %q: %s", step, resp.StatusCode, got, status, reason, resp.body)
				}
				if diff := cmp.Diff(before, s.all()); diff != "" {
					t.Errorf("%s: it has changed:\n%s", step, diff)
				}
			}
			want("no proof", s.do(alice, "POST", agents+f.path, form(f.fields()...)), 403, "confirmation_needed")
			want("empty proof", s.do(alice, "POST", agents+f.path, form(f.fields("proof", "")...)), 403, "confirmation_needed")
			digest := confirm.asked[0].Digest
			for _, other := range wideningForms {
				if slices.Equal(other.form, f.form) {
					continue
				}
				resp := s.do(s.human(s.alice), "POST", agents+other.path, form(other.fields()...))
				if resp.StatusCode != 403 {
					t.Fatalf("%s: %d", other.name, resp.StatusCode)
				}
				if confirm.asked[len(confirm.asked)-1].Digest == digest {
					t.Errorf("%q and %q have one digest", f.name, other.name)
				}
			}
			want("another decision", s.do(alice, "POST", agents+f.path, form(f.fields("proof", strings.Repeat("0", 64))...)), 403, "confirmation_failed")
			resp := s.do(alice, "POST", agents+f.path, form(f.fields("proof", digest)...))
			if resp.StatusCode != 200 || s.all() == before {
				t.Fatalf("with the proof: %d %s", resp.StatusCode, resp.body)
			}
			before = s.all()
			want("replayed", s.do(alice, "POST", agents+f.path, form(f.fields("proof", digest)...)), 409, problem.Conflict)
		})
	}
}

// TestTampered_CONF_1: a proof is not for the same form with any other field.
func TestTampered_CONF_1(t *testing.T) {
	s, confirm := confirmSite(t)
	alice := s.human(s.alice)
	base := []string{"id", "asks", "version", "1", "access", "read", "action", "orders:create", "days", "7"}
	s.do(alice, "POST", agents+"approve", form(base...))
	digest := confirm.asked[0].Digest
	for name, fields := range map[string][]string{
		"grant":     {"id", "denied", "version", "1", "access", "read", "action", "orders:create", "days", "7"},
		"access":    {"id", "asks", "version", "1", "access", "full", "action", "orders:create", "days", "7"},
		"action":    {"id", "asks", "version", "1", "access", "read", "action", "orders:delete", "days", "7"},
		"no action": {"id", "asks", "version", "1", "access", "read", "days", "7"},
		"days":      {"id", "asks", "version", "1", "access", "read", "action", "orders:create", "days", "30"},
		"nickname":  {"id", "asks", "version", "1", "access", "read", "action", "orders:create", "days", "7", "nickname", "Bank"},
	} {
		before := s.all()
		resp := s.do(alice, "POST", agents+"approve", form(append(fields, "proof", digest)...))
		if got := resp.StatusCode; got != 403 && got != 429 || s.all() != before {
			t.Errorf("%s: %d %s", name, got, resp.body)
		}
	}
	other := s.human(s.bob)
	if resp := s.do(other, "POST", agents+"approve", form(append(base, "proof", digest)...)); resp.StatusCode != 404 {
		t.Errorf("another account: %d", resp.StatusCode)
	}
}

// TestConfirmedVersion_CONF_1: nobody can name the version that a decision will have, and so get it
// in where no proof was asked for.
func TestConfirmedVersion_CONF_1(t *testing.T) {
	s, confirm := confirmSite(t)
	alice := s.human(s.alice)
	for _, path := range []string{"approve", "change", "approvals/approve"} {
		id := map[bool]string{true: "payout", false: "reader"}[strings.HasPrefix(path, "approvals/")]
		for _, version := range []string{"2", "7"} {
			resp := s.do(alice, "POST", agents+path, form("id", id, "version", version))
			if resp.StatusCode != 409 || len(confirm.asked) > 0 {
				t.Errorf("%s, version %s: %d %s", path, version, resp.StatusCode, resp.body)
			}
		}
	}
}

// TestConnectIsConfirmed_CONF_1: an agent that presses "Add an agent" gets no further.
func TestConnectIsConfirmed_CONF_1(t *testing.T) {
	s, confirm := confirmSite(t)
	alice := s.human(s.alice)
	resp := s.do(alice, "POST", agents+"connect", "")
	if got, _ := resp.reason(); resp.StatusCode != 403 || got != "confirmation_needed" || len(resp.Header["Set-Cookie"]) > 0 || resp.Header.Get("Location") != "" {
		t.Errorf("no proof: %d %q %v", resp.StatusCode, got, resp.Header)
	}
	if resp := s.do(alice, "POST", agents+"connect", form("proof", "0")); resp.StatusCode != 403 || len(resp.Header["Set-Cookie"]) > 0 {
		t.Errorf("wrong proof: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := s.do(alice, "GET", agents+"connect", ""); resp.StatusCode != 405 {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	resp = s.do(alice, "POST", agents+"connect", form("proof", confirm.asked[0].Digest))
	if resp.StatusCode != 303 || len(resp.Header["Set-Cookie"]) == 0 || !strings.HasPrefix(resp.Header.Get("Location"), s.as.URL) {
		t.Errorf("with the proof: %d %v", resp.StatusCode, resp.Header)
	}
	s.do(s.human(s.bob), "POST", agents+"connect", "")
	if confirm.asked[len(confirm.asked)-1].Digest == confirm.asked[0].Digest {
		t.Error("two accounts have one digest")
	}
}

// TestLessIsNotConfirmed_CONF_2: whoever stops an agent is asked for nothing.
func TestLessIsNotConfirmed_CONF_2(t *testing.T) {
	for _, f := range []formRow{
		{"deny", "deny", []string{"id", "asks"}},
		{"suspend", "suspend", []string{"id", "reader"}},
		{"revoke", "revoke", []string{"id", "reader"}},
		{"revoke what is paused", "revoke", []string{"id", "paused"}},
		{"deny all", "deny-all", nil},
		{"revoke all", "revoke-all", nil},
		{"rename", "rename", []string{"id", "reader", "nickname", "Robot"}},
		{"forget", "forget", []string{"id", "denied"}},
		{"end a session", "end-session", []string{"session", "live"}},
		{"deny an action", "approvals/deny", []string{"id", "payout"}},
		{"no action more", "change", []string{"id", "reader", "days", "keep"}},
		{"the same", "change", []string{"id", "reader", "action", "orders:create", "days", "keep"}},
		{"an earlier end", "change", []string{"id", "reader", "action", "orders:create", "days", "7"}},
		{"less access", "change", []string{"id", "full", "access", "read", "days", "keep"}},
		{"from all to one action", "change", []string{"id", "full", "access", "read", "action", "orders:delete", "days", "1"}},
		{"less by approve", "approve", []string{"id", "reader", "days", "1"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s, confirm := confirmSite(t)
			before := s.all()
			resp := s.do(s.human(s.alice), "POST", agents+f.path, form(f.fields()...))
			if resp.StatusCode != 200 || s.all() == before || len(confirm.asked) > 0 {
				t.Errorf("%d, asked %d times: %s", resp.StatusCode, len(confirm.asked), resp.body)
			}
		})
	}
}

// TestEachFormIsHeldToIt: a form is in one of the tables above, so that a new one cannot be
// forgotten.
func TestEachFormIsHeldToIt_CONF_1_CONF_2(t *testing.T) {
	want := []string{
		"allow", "approvals/approve", "approvals/deny", "approvals/settle", "approve", "change", "connect", "deny", "deny-all", "end-session", "forget", "rename", "revoke", "revoke-all",
		"settle", "stop-allowance", "suspend",
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(grants.FormPaths()))); diff != "" {
		t.Errorf("a form is new or gone: say in TestWideningIsConfirmed or TestLessIsNotConfirmed whether it gives an agent more (-want +got):\n%s", diff)
	}
}

// TestConfirmPage_CONF_3: what the page says and posts, and which script it may run.
func TestConfirmPage_CONF_3(t *testing.T) {
	s, _ := confirmSite(t, func(_ *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), messages.German()}
	})
	s.grant(func(g *grants.Grant) {
		pending(g)
		g.ID, g.Agent.ID, g.Name = "hostile", "agent_hostile", `"><script>x()</script>`+"\u202e"
	})
	alice := s.human(s.alice)
	browser := []string{"Accept", htmlOnly}
	hash := sha256.Sum256([]byte(promptScript))
	allowed := "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
	until := time.Now().UTC().Add(7 * 24 * time.Hour)
	day := fmt.Sprint(until.Day(), " ", until.Month())
	for _, test := range []struct {
		name, path string
		form       []string
		header     []string
		want       []string
		not        []string
	}{
		{"approve", "approve", []string{"id", "asks", "version", "1", "action", "orders:create", "days", "7", "agent", "asks", "proof", "", "proof.extra", "x"}, nil, []string{
			"“Claude” may then see your account, and place orders, until " + day, `action="` + agents + `approve"`, `<input type="hidden" name="id" value="asks">`,
			`<input type="hidden" name="version" value="1">`, `<input type="hidden" name="action" value="orders:create">`, `<input type="hidden" name="days" value="7">`,
			"agent_asks", `href="` + agents + `agents/asks"`,
		}, []string{`name="proof" value`, "proof.extra", `role="alert"`}},
		{"wrong", "approve", []string{"id", "asks", "version", "1", "proof", "wrong"}, nil, []string{`role="alert"`, "Nothing was done"}, []string{`value="wrong"`}},
		{"action", "approvals/approve", []string{"id", "payout", "version", "1"}, nil, []string{"may do this once: Pay out 12.50", `action="` + agents + `approvals/approve"`}, nil},
		{"connect", "connect", nil, nil, []string{"The agent that signs in next", `action="` + agents + `connect"`}, nil},
		{"German", "approve", []string{"id", "asks", "version", "1"}, []string{"Accept-Language", "de"}, []string{`<html lang="de">`, "„Claude“ darf dann Ihr Konto sehen", "Bestätigen"}, nil},
		{"hostile", "approve", []string{"id", "hostile", "version", "1", "agent", `"><script>y()</script>`, `<script>z()</script>`, "<script>"}, nil, []string{"‹U&#43;202E›"}, []string{"<script>x", "<script>y", "<script>z", "\u202e"}},
	} {
		resp := s.do(alice, "POST", agents+test.path, form(test.form...), append(browser, test.header...)...)
		if resp.StatusCode != 200 || strings.Count(resp.body, "<script") != 1 || !strings.Contains(resp.body, "<script>"+promptScript+"</script>") {
			t.Errorf("%s: %d %s", test.name, resp.StatusCode, resp.body)
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, allowed) || strings.Count(policy, "script") != 1 || !strings.HasPrefix(policy, "default-src 'none'; ") {
			t.Errorf("%s: policy %q", test.name, policy)
		}
		for _, want := range test.want {
			if !strings.Contains(resp.body, want) {
				t.Errorf("%s lacks %s:\n%s", test.name, want, resp.body)
			}
		}
		for _, not := range test.not {
			if strings.Contains(resp.body, not) {
				t.Errorf("%s has %s:\n%s", test.name, not, resp.body)
			}
		}
	}
	for _, page := range []string{"", "agents/reader"} {
		if resp := s.do(alice, "GET", agents+page, "", browser...); strings.Contains(resp.Header.Get("Content-Security-Policy")+resp.body, "script-src") || strings.Contains(resp.body, "<script") {
			t.Errorf("page %q has a script: %v", page, resp.Header)
		}
	}
}

// TestConfirmForm_CONF_3: posted as the page has it, with the proof, the form does it, and the
// browser is back at the agent.
func TestConfirmForm_CONF_3(t *testing.T) {
	s, _ := confirmSite(t)
	alice := s.human(s.alice)
	resp := s.do(alice, "POST", agents+"change", form("id", "reader", "version", "1", "access", "read", "action", "orders:create", "action", "orders:delete", "days", "keep", "agent", "reader"), "Accept", htmlOnly)
	var fields []string
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(resp.body, -1) {
		fields = append(fields, m[1], m[2])
	}
	digest := regexp.MustCompile(`data-digest="([^"]*)"`).FindStringSubmatch(resp.body)[1]
	resp = s.do(alice, "POST", agents+"change", form(append(fields, "proof", digest)...), "Accept", htmlOnly)
	if resp.StatusCode != 303 || resp.Header.Get("Location") != agents+"agents/reader?done=changed" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, resp.body)
	}
	if got := s.now("reader"); !slices.Equal(got.Actions, []string{"orders:create", "orders:delete"}) {
		t.Errorf("actions %v", got.Actions)
	}
}

// TestConfirmProgram_CONF_3 is the answer that a program gets.
func TestConfirmProgram_CONF_3(t *testing.T) {
	s, confirm := confirmSite(t)
	resp := s.do(s.human(s.alice), "POST", agents+"approvals/approve", form("id", "payout", "version", "1"))
	var got map[string]any
	if err := json.Unmarshal([]byte(resp.body), &got); err != nil {
		t.Fatal(err, resp.body)
	}
	want := map[string]any{
		"status": 403.0, "title": "Confirm that it is you", "error": "confirmation_needed", "retry": false,
		"detail":  "The account's owner has to confirm this in person. Nothing was done. Send the same form again with the proof.",
		"text":    confirm.asked[0].Text,
		"confirm": map[string]any{"digest": confirm.asked[0].Digest},
	}
	if diff := cmp.Diff(want, got); diff != "" || resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v (-want +got):\n%s", resp.Header, diff)
	}
}

// TestPromptScript_CONF_3: a script that would be two elements of the page is shown to nobody.
func TestPromptScript_CONF_3(t *testing.T) {
	for _, script := range []string{"a()</script><script>b()", "a()</SCRIPT >", "<!-- a()", "a();\r\nb()"} {
		s, _ := confirmSite(t)
		s.owners.Confirm = &fixedPrompt{prompt: grants.Prompt{Script: script}}
		resp := s.do(s.human(s.alice), "POST", agents+"approve", form("id", "asks", "version", "1"), "Accept", htmlOnly)
		if resp.StatusCode != 500 || strings.Contains(resp.body, "a()") {
			t.Errorf("%q: %d %s", script, resp.StatusCode, resp.body)
		}
	}
	s, _ := confirmSite(t)
	s.owners.Confirm = &fixedPrompt{prompt: grants.Prompt{HTML: "<p>no passkey</p>", Unable: true}}
	resp := s.do(s.human(s.alice), "POST", agents+"approve", form("id", "asks", "version", "1"), "Accept", htmlOnly)
	if resp.StatusCode != 200 || strings.Contains(resp.body, "<button") || strings.Contains(resp.Header.Get("Content-Security-Policy"), "script") || !strings.Contains(resp.body, "<p>no passkey</p>") {
		t.Errorf("unable: %d %v %s", resp.StatusCode, resp.Header, resp.body)
	}
}

// A fixedPrompt accepts nothing.
type fixedPrompt struct {
	prompt grants.Prompt
	err    error
}

func (f *fixedPrompt) Prompt(*http.Request, grants.Confirmation) (grants.Prompt, error) {
	return f.prompt, f.err
}
func (f *fixedPrompt) Verify(*http.Request, grants.Confirmation) error { return grants.ErrNoProof }

// TestGuesses_CONF_4: a short code cannot be found by trying.
func TestGuesses_CONF_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		confirm := &byDigest{}
		s := newShop(t, options{policy: func(p *grants.Policy) { p.Confirm = confirm }})
		s.instances[""].mux.Handle(agents, grants.Handler(s.owners, s.instances[""].rp))
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), http.StatusForbidden, problem.ApprovalNeeded)
		g := s.grants(s.alice)["agent_1"]
		s.events.take()
		alice := s.human(s.alice)
		post := func(proof string) *response {
			return s.do(alice, "POST", agents+"approve", form("id", g.ID, "version", strconv.FormatInt(g.Version, 10), "proof", proof))
		}
		try := func(step, proof string, status int, reason problem.Reason) {
			t.Helper()
			if resp := post(proof); resp.StatusCode != status || resp.reason() != reason {
				t.Errorf("%s: %d %q, want %d %q", step, resp.StatusCode, resp.reason(), status, reason)
			}
		}
		for range 20 { // to be asked is no guess
			try("ask", "", 403, "confirmation_needed")
		}
		digest := confirm.asked[0].Digest
		for range 5 {
			try("guess", "1", 403, "confirmation_failed")
		}
		if got, want := s.happened(), slices.Repeat([]audit.Name{grants.EventNotConfirmed}, 5); !slices.Equal(got, want) {
			t.Errorf("events %v", got)
		}
		try("sixth", "1", 429, problem.Limited)
		try("right, too late", digest, 429, problem.Limited)
		if resp := s.do(alice, "POST", agents+"deny", form("id", g.ID, "version", strconv.FormatInt(g.Version+1, 10))); resp.StatusCode != 409 {
			t.Errorf("deny: %d", resp.StatusCode) // of a version that is not there, so that the grant stays
		}
		time.Sleep(13 * time.Minute)
		try("one more", "1", 403, "confirmation_failed")
		try("and no other", "1", 429, problem.Limited)
		time.Sleep(13 * time.Minute)
		for range 3 {
			try("away", "broken", 500, problem.StoreFailed)
			try("panic", "panic", 500, problem.StoreFailed)
		}
		try("right", digest, 200, "")
	})
}

// TestConfirmEvent_CONF_4: what the event of a proof says that was not accepted.
func TestConfirmEvent_CONF_4(t *testing.T) {
	var events log[audit.Event]
	s, _ := confirmSite(t, func(s *site, _ *authagent.Config) {
		s.owners.Audit = func(_ context.Context, e audit.Event) { events.add(e) }
	})
	alice := s.human(s.alice)
	s.do(alice, "POST", agents+"approve", form("id", "asks", "version", "1", "proof", "wrong"))
	s.do(alice, "POST", agents+"approvals/approve", form("id", "payout", "version", "1", "proof", "wrong"))
	s.do(alice, "POST", agents+"connect", form("proof", "wrong"))
	s.owners.Wait()
	var got []string
	for _, e := range events.take() {
		if e.Name == grants.EventNotConfirmed {
			got = append(got, fmt.Sprintln(e.Outcome, e.Reason == "confirmation_failed", e.UserID == s.alice, e.HumanID == s.alice, e.Agent.ID, e.GrantID, e.Action, e.Detail))
		}
	}
	const detail = "grants: the proof of the person is not accepted: another digest\n"
	want := []string{
		"refused true true true agent_asks asks  " + detail, "refused true true true agent_reader reader payouts:create " + detail, "refused true true true    " + detail,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestWithoutConfirm_CONF_2: a policy without it asks nobody.
func TestWithoutConfirm_CONF_2(t *testing.T) {
	s, _ := confirmSite(t)
	s.owners.Confirm = nil
	if resp := s.do(s.human(s.alice), "POST", agents+"approve", form("id", "asks", "version", "1", "proof", "x")); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
}

// A shifting is a store in which an approval changes right after somebody has looked at it.
type shifting struct {
	grants.Store
	change func()
}

func (s *shifting) Approval(ctx context.Context, id string) (grants.Approval, error) {
	a, err := s.Store.Approval(ctx, id)
	if change := s.change; change != nil {
		s.change = nil
		change()
	}
	return a, err
}

// TestChangedInBetween_CONF_1: an agent asks again between the look that says what has to be
// confirmed and the decision, and the form names the version that comes of it.
func TestChangedInBetween_CONF_1(t *testing.T) {
	store := &shifting{}
	s, confirm := confirmSite(t, func(s *site, c *authagent.Config) {
		store.Store = s.store
		s.owners = grants.OwnerApproval(store)
		s.owners.Actions, s.owners.Logger = map[string]string{"orders:create": "Place orders"}, quiet
		c.Scenario = authagent.FullAccount(s.users, s.owners)
	})
	alice := s.human(s.alice)
	store.change = func() {
		a, err := s.store.Approval(t.Context(), "payout")
		if err == nil {
			a.Description = "Pay out 9999"
			_, err = s.store.UpdateApproval(t.Context(), a)
		}
		if err != nil {
			t.Error(err)
		}
	}
	resp := s.do(alice, "POST", agents+"approvals/approve", form("id", "payout", "version", "2"))
	a, err := s.store.Approval(t.Context(), "payout")
	if resp.StatusCode != 409 || len(confirm.asked) > 0 || err != nil || a.State != grants.Pending || a.Version != 2 {
		t.Errorf("%d, asked %d times, %v %s, version %d: %s", resp.StatusCode, len(confirm.asked), err, a.State, a.Version, resp.body)
	}
}
