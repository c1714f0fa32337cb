package browsertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/grants/passkey"
	"github.com/authagent-go/authagent/internal/testsite"
)

const passkeysPage = "/account/passkeys/"

// confirming has the owners of a house confirm with passkeys. It returns what they are kept in, and
// whether the password was entered a short time ago.
func (h *house) confirming(c *authagent.Config) (*passkey.Memory, *atomic.Bool) {
	h.t.Helper()
	fresh, store := &atomic.Bool{}, &passkey.Memory{}
	p, err := passkey.New(passkey.Config{
		RPID: "localhost", Name: "Pine & Co.", Origins: []string{strings.TrimSuffix(c.RedirectURL, "/auth/agent/callback")},
		Store: store, Keys: [][]byte{testsite.NewKey()}, FreshPath: "/password-again",
		Fresh: func(*http.Request) error {
			if fresh.Load() {
				return nil
			}
			return errors.New("the password was not entered a short time ago")
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.owners.Confirm, h.passkeys = p, p
	return store, fresh
}

// servePasskeys mounts the page of passkeys, and the one on which a person enters their password
// again.
func (h *house) servePasskeys(fresh *atomic.Bool) {
	mux := http.NewServeMux()
	mux.Handle("/", h.site.Mux(""))
	mux.Handle(passkeysPage, h.passkeys.Handler(h.site.RP))
	mux.HandleFunc("/password-again", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.FormValue("password") == password {
			fresh.Store(true)
			http.Redirect(w, r, h.site.RP.ReturnTo(r), http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, `<!doctype html><title>Password</title><form method="post"><input id="password" type="password" name="password"><button>Continue</button></form>`)
	})
	h.site.SetMux("", mux)
}

// newConfirmingHouse returns a house at localhost, since no passkey is for an IP address.
func newConfirmingHouse(t *testing.T, frame *template.Template, change ...func(*house)) (h *house, store *passkey.Memory, fresh *atomic.Bool) {
	t.Helper()
	h = newHouseWith(t, frame, func(h *house, s *testsite.Site, c *authagent.Config) {
		s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
		c.RedirectURL = s.URL + "/auth/agent/callback"
		client := s.AS.AddClient(authagenttest.Client{RedirectURIs: []string{c.RedirectURL}})
		c.ClientID, c.ClientSecret = client.ID, client.Secret
		store, fresh = h.confirming(c)
		for _, f := range change {
			f(h)
		}
	})
	h.servePasskeys(fresh)
	return h, store, fresh
}

// A finger is a device with passkeys in a tab. Its person verifies themselves as long as verifies
// says so.
type finger struct {
	b  *tab
	id webauthn.AuthenticatorID
}

// device plugs a device in.
func (b *tab) device() *finger {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		b.t.Fatal(err)
	}
	added, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return &finger{b, added.AuthenticatorID}
}

func (f *finger) verifies(does bool) {
	f.b.t.Helper()
	if _, err := chromedp.Call(f.b.ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: f.id, IsUserVerified: does}); err != nil {
		f.b.t.Fatal(err)
	}
}

// unplug takes the device away.
func (f *finger) unplug() {
	f.b.t.Helper()
	if _, err := chromedp.Call(f.b.ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: f.id}); err != nil {
		f.b.t.Fatal(err)
	}
}

// enrol adds a passkey as an owner does, who is asked for the password first.
func (h *house) enrol(alice *tab) *finger {
	h.t.Helper()
	device := alice.device()
	alice.open(passkeysPage)
	alice.see(passkeysPage, "You have no passkey yet", "first prove once more that it is you")
	alice.press("Prove that it is you")
	alice.see("/password-again")
	alice.fill("password", password)
	alice.press("Continue")
	alice.see(passkeysPage)
	alice.press("Add a passkey")
	alice.see(passkeysPage, "The passkey is added.", "Never used.")
	return device
}

// hasPasskey keeps a passkey for an account that nobody has.
func (h *house) hasPasskey(store *passkey.Memory, user string) {
	h.t.Helper()
	p := passkey.Passkey{UserID: user, AddedAt: h.now.Add(-3 * 24 * time.Hour), UsedAt: h.now.Add(-2 * time.Hour)}
	p.Credential.ID = []byte("passkey of " + user)
	if err := store.AddPasskey(h.t.Context(), p); err != nil {
		h.t.Fatal(err)
	}
}

// TestConfirm_CONF_7: an owner adds a passkey, and lets an agent in by it.
func TestConfirm_CONF_7(t *testing.T) {
	h, store, fresh := newConfirmingHouse(t, nil)
	user := h.person("alice")
	alice := h.owner(user)
	h.enrol(alice)
	fresh.Store(false) // a few minutes later
	g := h.grant(user, "agent_asks", grants.Pending)

	alice.open(list)
	alice.see(list, "An agent wants to use your account")
	alice.pressButton("Allow")
	alice.see(list+"approve", "Confirm that it is you", "“Order watcher” may then see your orders, addresses and invoices")
	alice.pressButton("Confirm")
	alice.see(list, "Allowed. The agent may act")
	agent := h.as.AddAgent(authagenttest.Agent{ID: g.Agent.ID, Email: g.Email})
	h.site.MustSignIn(h.site.Browser(), agent)

	all, err := store.Passkeys(t.Context(), user)
	if err != nil || len(all) != 1 || all[0].UsedAt.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	alice.open(list)
	alice.click(".rows a")
	alice.pressButton("Stop this agent") // nobody is asked for anything
	alice.until("that the agent is stopped", func(s state) bool { return strings.Contains(s.Text, "Stopped.") })
	if errs := alice.errors(); len(errs) > 0 {
		t.Errorf("the browser complains: %q", errs)
	}
}

// attack is what an agent's script does in a page of the owner's: it posts every form that gives
// more, without a proof and with what it can make of one, and tries to add a passkey of its own. It
// returns the statuses and the errors of WebAuthn, by what was tried.
const attack = `(async (forms) => {
	const answers = {};
	const decode = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
	const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
	const post = (path, fields) => fetch(path, { method: "POST", body: new URLSearchParams(fields), headers: { Accept: "application/json" }, redirect: "manual" });
	const assert = async (options, verification) => {
		const c = await navigator.credentials.get({ publicKey: { ...options, challenge: decode(options.challenge), userVerification: verification,
			allowCredentials: options.allowCredentials.map((a) => ({ ...a, id: decode(a.id) })) } });
		return JSON.stringify({ id: c.id, rawId: encode(c.rawId), type: c.type, response: { clientDataJSON: encode(c.response.clientDataJSON),
			authenticatorData: encode(c.response.authenticatorData), signature: encode(c.response.signature) } });
	};
	const tried = async (name, f) => {
		try { answers[name] = String(await f()); } catch (e) { answers[name] = e.name; }
	};
	for (const [path, fields] of forms) {
		let options;
		await tried(path + " bare", async () => {
			const resp = await post(path, fields);
			options = (await resp.json()).confirm.publicKey;
			return resp.status;
		});
		await tried(path + " not verified", async () => (await post(path, [...fields, ["proof", await assert(options, "discouraged")]])).status);
		if (path !== forms[0][0]) continue; // five proofs that are not accepted are all there are
		await tried(path + " made up", async () => (await post(path, [...fields, ["proof", "{}"]])).status);
		await tried(path + " verified", async () => (await post(path, [...fields, ["proof", await assert(options, "required")]])).status);
	}
	await tried("a sixth proof", async () => (await post(forms[0][0], [...forms[0][1], ["proof", "{}"]])).status);
	const passkeys = await (await fetch("/account/passkeys/", { headers: { Accept: "application/json" } })).json();
	answers["options to add"] = String(passkeys.publicKey);
	await tried("add", async () => (await post("/account/passkeys/add", [["proof", "{}"]])).status);
	await tried("remove", async () => (await post("/account/passkeys/remove", [["id", passkeys.passkeys[0].id]])).status);
	return answers;
})`

// TestAgentInOwnersBrowser_CONF_7: an agent drives the browser in which its owner is signed in and
// has a passkey. It may press and send what it likes.
func TestAgentInOwnersBrowser_CONF_7(t *testing.T) {
	h, store, fresh := newConfirmingHouse(t, nil)
	user := h.person("alice")
	alice := h.owner(user)
	device := h.enrol(alice)
	fresh.Store(false)
	device.verifies(false) // the person is not there
	asks := h.grant(user, "agent_asks", grants.Pending)
	reads := h.grant(user, "agent_reads", grants.Approved)
	h.asked(reads, "payout", grants.Pending, "Pay out 12.50", "/payouts", formType, payout)
	before := h.standing(user)

	alice.open(list)
	alice.pressButton("Allow")
	alice.see(list+"approve", "Confirm that it is you")
	alice.pressButton("Confirm")
	alice.see(list+"approve", "Your passkey has not confirmed it")
	h.unchanged(user, before, "the buttons")

	version := []string{"version", "1"}
	forms := [][]any{
		{list + "approve", [][]string{{"id", asks.ID}, version}},
		{list + "change", [][]string{{"id", reads.ID}, version, {"access", "full"}}},
		{list + "approvals/approve", [][]string{{"id", "payout"}, version}},
		{list + "connect", [][]string{}},
	}
	text, _ := json.Marshal(forms)
	want := map[string]string{
		"options to add": "undefined", "add": "403", "remove": "403",
		list + "approve made up": "403", list + "approve verified": "NotAllowedError", "a sixth proof": "429",
	}
	for _, f := range forms {
		want[f[0].(string)+" bare"], want[f[0].(string)+" not verified"] = "403", "403"
	}
	alice.open("/forms") // a page of the site's own, whose policy lets scripts send what they like
	ctx, cancel := context.WithTimeout(alice.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]string](attack+"("+string(text)+")", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" { // where a proof was made, it was refused with a status
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.unchanged(user, before, "the forms")

	device.unplug() // and the agent plugs in one of its own, whose finger it is
	alice.device()
	alice.open(passkeysPage)
	alice.see(passkeysPage, "first prove once more that it is you")
	if n := len(found(alice, `[...document.querySelectorAll("button")].map(b => b.innerText)`)); n > 0 {
		t.Errorf("the page of passkeys has %d buttons", n)
	}
	if all, err := store.Passkeys(t.Context(), user); err != nil || len(all) != 1 {
		t.Errorf("%d passkeys %v", len(all), err)
	}
	alice.open(list)
	alice.pressButton("Do not allow")
	alice.see(list, "Not allowed. Nothing was done.")
}

// standing is what an agent would gain by.
func (h *house) standing(user string) string {
	h.t.Helper()
	o, err := h.owners.Overview(h.t.Context(), user)
	if err != nil {
		h.t.Fatal(err)
	}
	text, _ := json.Marshal([]any{o.Grants, o.Approvals, o.Allowances})
	return string(text)
}

func (h *house) unchanged(user, before, what string) {
	h.t.Helper()
	if after := h.standing(user); after != before {
		h.t.Errorf("%s have changed something:\n%s\n%s", what, before, after)
	}
}
