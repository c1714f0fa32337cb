package requirements_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// reply has an endpoint of the server answer this, in place of its own.
func (b *bench) reply(path string, status int, contentType, body string) {
	b.AS.Wrap(path, authagenttest.Reply(status, contentType, body))
}

// TestHostileTextInLog is LOG-2: one bounded record per event, whatever is in it.
func TestHostileTextInLog(t *testing.T) {
	hostile := map[string]string{
		"line break": "x\r\nlevel=ERROR msg=forged", "escape": "x\x1b[2J\x1b[1;1Hforged", "long": strings.Repeat("forged ", 1<<17),
		"separator": "x\u2028forged\u0085forged", "quote": `x" msg="forged`, "bidi": "x\u202eforged",
	}
	for name, text := range hostile {
		t.Run("LOG-2 "+name, func(t *testing.T) {
			k := newCluster(t, func(b *bench, c *authagent.Config) {
				c.Logger = slog.New(slog.NewJSONHandler(b.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			short := text[:min(len(text), 4000)]
			c := k.Browser()
			k.Get(c, "/auth/agent/callback?state=a&error=b&error_description="+url.QueryEscape(short), "User-Agent", "forged")
			k.Get(c, "/auth/agent/callback?state="+url.QueryEscape(short)+"&code="+url.QueryEscape(short))
			k.Get(c, "/me?"+url.QueryEscape(short))
			body, _ := json.Marshal(map[string]string{"error": text, "error_description": text, "error_uri": text})
			k.Begin(c, "") // learns the encoding
			k.MustSignIn(k.Browser(), k.Agent)
			for _, status := range []int{200, 400, 401, 500, 503} {
				k.reply(authagenttest.PathToken, status, "application/json", string(body))
				k.SignIn(k.Browser(), k.Agent)
				k.reply(authagenttest.PathToken, status, text[:1]+"/html", text)
				k.SignIn(k.Browser(), k.Agent)
			}
			k.AS.Wrap(authagenttest.PathToken, nil)
			for line := range strings.Lines(k.Log.String()) {
				var record map[string]any
				if err := json.Unmarshal([]byte(line), &record); err != nil || len(line) > 2000 {
					t.Errorf("record of %d bytes, %v: %.200s", len(line), err, line)
				}
				if strings.Contains(line, "forged") {
					t.Errorf("words of a stranger: %.300s", line)
				}
			}
		})
	}
}

// TestHostileNamesInLog is LOG-2 for names that are logged because they are
// needed: escaped, in one record.
func TestHostileNamesInLog(t *testing.T) {
	k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) })
	agent := k.AS.AddAgent(authagenttest.Agent{ID: "agent\"\nlevel=ERROR msg=forged \x1b[2J", Email: "x@example.com", Name: "n\r\nforged", Model: "m\r\nforged"})
	k.SignIn(k.Browser(), agent)
	for line := range strings.Lines(k.Log.String()) {
		if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\r\x1b") {
			t.Errorf("LOG-2: %q", line)
		}
	}
}

// TestHiddenInLog is LOG-6: whatever the slog handler, a hidden character of an
// agent's ID is written out in the log; the ID itself stays what it is.
func TestHiddenInLog(t *testing.T) {
	const id = "agent\u202e\u2800\U000e0041"
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	} {
		t.Run("LOG-6 "+name, func(t *testing.T) {
			k := newCluster(t, func(b *bench, c *authagent.Config) {
				c.Scenario, c.Logger = authagent.FreshProfile(b.Profiles), slog.New(handler(b.Log))
			})
			agent := k.AS.AddAgent(authagenttest.Agent{ID: id, Email: "x@example.com"})
			s := k.MustSignIn(k.Browser(), agent)
			k.Config.Logger.Info("the site's own line", "who", s, "event", k.Events.All()[0])
			if log := k.Log.String(); strings.ContainsAny(log, "\u202e\u2800\U000e0041") || strings.Count(log, `agent\\u202e\\u2800\\U000e0041`)+strings.Count(log, `agent\u202e\u2800\U000e0041`) < 2 {
				t.Errorf("LOG-6: %+q", log)
			}
			if event := k.Events.Named(audit.LoginSucceeded)[0]; s.Agent.ID != id || event.Agent.ID != id {
				t.Errorf("LOG-6: the ID becomes %+q, %+q", s.Agent.ID, event.Agent.ID)
			}
		})
	}
}

// TestEvents is LOG-3: exactly these events, with these fields.
func TestEvents(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(k *bench, c *http.Client)
		want string // names and reasons
	}{
		{"LOG-3 login started", func(k *bench, c *http.Client) { k.Begin(c, "") }, "login_started"},
		{"LOG-3 signed in", func(k *bench, c *http.Client) { k.SignIn(c, k.Agent) }, "login_started login_succeeded"},
		{"LOG-3 state", func(k *bench, c *http.Client) { k.Get(c, "/auth/agent/callback?code=a&state=b") }, "login_failed:state_mismatch"},
		{"LOG-3 request", func(k *bench, c *http.Client) { k.Get(c, "/auth/agent/callback") }, "login_failed:invalid_request"},
		{"LOG-3 account", func(k *bench, c *http.Client) {
			k.SignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: "a2", Email: "nobody@example.com"}))
		}, "login_started login_failed:no_account"},
		{"LOG-3 logout", func(k *bench, c *http.Client) {
			k.SignIn(c, k.Agent)
			k.Do(c, "POST", "/auth/agent/logout")
		}, "login_started login_succeeded session_ended"},
		{"LOG-3 forbidden", func(k *bench, c *http.Client) {
			k.SignIn(c, k.Agent)
			k.Get(c, "/humans")
		}, "login_started login_succeeded permission_denied:agent_forbidden"},
		{"LOG-3 nobody", func(k *bench, c *http.Client) { k.Get(c, "/me") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newCluster(t)
			test.do(k, k.Browser())
			var got []string
			for _, e := range k.Events.All() {
				name := string(e.Name)
				if e.Reason != "" {
					name += ":" + string(e.Reason)
				}
				got = append(got, name)
				if e.Time.Location() != time.UTC || e.Issuer != k.AS.URL || e.RemoteAddr == "" || e.Method == "" {
					t.Errorf("event %+v", e)
				}
				if (e.Reason != "") != (e.RequestID != "") || (e.Reason != "") != (e.Detail != "") {
					t.Errorf("event %+v", e)
				}
				if e.Name == audit.LoginSucceeded && (e.UserID != k.AliceID || e.Agent.ID != "agent_alice" ||
					e.Scenario != "FullAccount" || e.SessionID == "" || e.Access != "full") {
					t.Errorf("event %+v", e)
				}
			}
			if have := strings.Join(got, " "); have != test.want {
				t.Errorf("events %q, want %q", have, test.want)
			}
		})
	}
}

// TestSlowAudit is LOG-3: a sink that blocks, panics or is slow holds nobody up.
func TestSlowAudit(t *testing.T) {
	for name, sink := range map[string]func(block chan struct{}){
		"LOG-3 blocks": func(block chan struct{}) { <-block },
		"LOG-3 panics": func(chan struct{}) { panic("audit") },
		"LOG-3 slow":   func(chan struct{}) { time.Sleep(200 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block := make(chan struct{})
				k := newCluster(t, func(_ *bench, c *authagent.Config) {
					c.Audit = func(context.Context, audit.Event) { sink(block) }
				})
				for range 3 {
					start := time.Now()
					k.MustSignIn(k.Browser(), k.Agent)
					if took := time.Since(start); took > time.Second {
						t.Errorf("a sign-in takes %v", took)
					}
					time.Sleep(2 * time.Second)
				}
				close(block)
			})
		})
	}
}

// TestAddresses is WEB-9: events, sessions, sign-ins and the policy get the client's
// address alone, whatever ClientAddr returns, and none where it is no address.
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.7:55240": "203.0.113.7", "[2001:db8::1]:55240": "2001:db8::1", "::ffff:203.0.113.7": "203.0.113.7",
		"@": "", "<b>203.0.113.7</b>": "", "203.0.113.7\u202e": "",
	} {
		t.Run("WEB-9 "+strings.ReplaceAll(address, "/", " "), func(t *testing.T) {
			var linked []string
			k := newCluster(t, func(b *bench, c *authagent.Config) {
				c.ClientAddr = func(*http.Request) string { return address }
				c.Scenario = authagent.FullAccount(b.Users, addressPolicy{&linked})
			})
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			k.Do(c, http.MethodPost, "/auth/agent/logout", "Origin", "null")
			k.RP.Attach(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if s, _ := authagent.FromContext(r.Context()); s.RemoteAddr != want {
					t.Errorf("WEB-9 session: %q, want %q", s.RemoteAddr, want)
				}
			})).ServeHTTP(httptest.NewRecorder(), k.request(c))
			for _, e := range k.Events.All() {
				if e.RemoteAddr != want {
					t.Errorf("WEB-9 %s: %q, want %q", e.Name, e.RemoteAddr, want)
				}
			}
			if len(k.Events.All()) < 3 || len(linked) == 0 || linked[0] != want {
				t.Errorf("WEB-9: %d events, linked from %q", len(k.Events.All()), linked)
			}
		})
	}
}

// request is one of a browser, to be given to a handler.
func (k *bench) request(c *http.Client) *http.Request {
	r := httptest.NewRequest(http.MethodGet, k.URL+"/me", nil)
	r.Header.Set("Cookie", k.Cookies(c))
	return r
}

type addressPolicy struct{ seen *[]string }

func (p addressPolicy) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	*p.seen = append(*p.seen, r.RemoteAddr)
	return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessFull}, nil
}

// TestAnswer_LOG_4 is LOG-4: the same request ID in the answer and in the log, and
// nothing of what the server said.
func TestAnswer_LOG_4(t *testing.T) {
	k := newCluster(t)
	k.MustSignIn(k.Browser(), k.Agent)
	k.reply(authagenttest.PathToken, 500, "application/json", `{"error":"server_error","error_description":"SECRET-INTERNAL at /srv/app.js:12"}`)
	for _, accept := range []string{"application/json", page, ""} {
		c := k.Browser()
		callback := k.Authorize(k.Agent, k.Begin(c, ""))
		resp := k.Get(c, callback, "Accept", accept)
		failed := k.Logged(audit.LoginFailed)
		id := failed[len(failed)-1].RequestID
		if !strings.Contains(resp.Text, id) || !strings.Contains(k.Log.String(), "request_id="+id) {
			t.Errorf("LOG-4 %s: request ID %q is not in %s", accept, id, resp.Text)
		}
		for _, own := range []string{"SECRET-INTERNAL", "app.js", "goroutine", ".go:", "server_error", k.AS.URL} {
			if strings.Contains(resp.Text, own) {
				t.Errorf("LOG-4 %s: %s is in %s", accept, own, resp.Text)
			}
		}
		if accept == page {
			continue
		}
		var p struct {
			Error     string `json:"error"`
			RequestID string `json:"request_id"`
			Retry     bool   `json:"retry"`
		}
		if err := json.Unmarshal([]byte(resp.Text), &p); err != nil || p.Error == "" || p.RequestID != id || !p.Retry {
			t.Errorf("LOG-4: %v %s", err, resp.Text)
		}
	}
	if strings.Contains(k.Log.String(), "SECRET-INTERNAL") {
		t.Error("LOG-4: the server's words are in the log")
	}
}

// TestErrorHandlerAnswers: what ErrorHandler has answered is all that the client gets, and
// what it has left to the package is the package's.
func TestErrorHandlerAnswers(t *testing.T) {
	var answers bool
	k := newCluster(t, func(_ *bench, c *authagent.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *problem.Error) bool {
			if answers {
				w.WriteHeader(http.StatusTeapot)
				io.WriteString(w, "own")
			}
			return answers
		}
	})
	for _, accept := range []string{"text/html", "application/json"} {
		answers = true
		if resp := k.Do(k.Browser(), http.MethodPost, "/me", "Accept", accept); resp.StatusCode != http.StatusTeapot || resp.Text != "own" {
			t.Errorf("%s: %d %s", accept, resp.StatusCode, resp.Text)
		}
		answers = false
		if resp := k.Do(k.Browser(), http.MethodPost, "/me", "Accept", accept); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Text, "Sign-in required") {
			t.Errorf("%s, left to the package: %d %s", accept, resp.StatusCode, resp.Text)
		}
	}
}

// TestErrors is LOG-5: what errors.Is says of an Error.
func TestErrors(t *testing.T) {
	var got *problem.Error
	k := newCluster(t, func(_ *bench, c *authagent.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *problem.Error) bool {
			got = e
			w.WriteHeader(e.Status())
			return true
		}
	})
	k.MustSignIn(k.Browser(), k.Agent)
	for _, test := range []struct {
		do     func(c *http.Client)
		reason problem.Reason
		fault  problem.Fault
		status int
	}{
		{func(c *http.Client) { k.Get(c, "/auth/agent/callback") }, problem.InvalidRequest, problem.Agent, 400},
		{func(c *http.Client) { k.Get(c, "/auth/agent/callback?code=a&state=b") }, problem.Reason("state_mismatch"), problem.Agent, 400},
		{func(c *http.Client) { k.Get(c, "/auth/agent/logout") }, problem.Reason("method_not_allowed"), problem.Agent, 405},
		{func(c *http.Client) { k.Do(c, "POST", "/auth/agent/logout", "Origin", "null") }, problem.Reason("cross_origin"), problem.Agent, 403},
		{func(c *http.Client) { k.Get(c, "/auth/agent/login", "Sec-Purpose", "prefetch") }, problem.Reason("not_a_navigation"), problem.Agent, 403},
		{func(c *http.Client) { k.Get(c, "/me") }, problem.NoSession, problem.Agent, 401},
		{func(c *http.Client) {
			k.SignIn(c, k.AS.AddAgent(authagenttest.Agent{ID: "a2", Email: "nobody@example.com"}))
		}, problem.NoAccount, problem.Agent, 403},
		{func(c *http.Client) {
			k.reply(authagenttest.PathToken, 400, "application/json", `{"error":"invalid_grant"}`)
			k.SignIn(c, k.Agent)
		}, problem.Reason("code_refused"), problem.Agent, 400},
		{func(c *http.Client) {
			k.reply(authagenttest.PathToken, 401, "application/json", `{"error":"invalid_client"}`)
			k.SignIn(c, k.Agent)
		}, problem.Reason("client_refused"), problem.Server, 502},
		{func(c *http.Client) {
			k.reply(authagenttest.PathToken, 503, "text/plain", "down")
			k.SignIn(c, k.Agent)
		}, problem.Reason("server_unavailable"), problem.Server, 502},
	} {
		t.Run("LOG-5 "+string(test.reason), func(t *testing.T) {
			got = nil
			c := k.Browser()
			test.do(c)
			k.AS.Wrap(authagenttest.PathToken, nil)
			k.Begin(k.Browser(), "")
			if got == nil {
				t.Fatal("no error")
			}
			var err error = fmt.Errorf("wrapped: %w", got)
			if !errors.Is(err, test.reason) || !errors.Is(err, test.fault) || got.Status() != test.status || got.RequestID == "" {
				t.Errorf("%v: reason %v, fault %v, status %d", got, got.Reason, got.Fault(), got.Status())
			}
			for _, other := range []error{problem.Reason("issuer_mismatch"), problem.StoreFailed, problem.Site, problem.Reason("")} {
				if errors.Is(err, other) {
					t.Errorf("%v is %v", got, other)
				}
			}
		})
	}
}

// TestNoAddressInLog is LOG-5: a log at the default level, and at debug, has no
// e-mail address of a login that succeeds or fails.
func TestNoAddressInLog(t *testing.T) {
	k := newCluster(t)
	var usual bytes.Buffer
	k.Instance("usual", func(c *authagent.Config) { c.Logger = slog.New(slog.NewTextHandler(&usual, nil)) })
	for range 2 {
		c := k.Browser()
		callback := k.Authorize(k.Agent, k.Begin(c, ""))
		k.Get(c, callback, "X-Instance", "usual")
		k.SignIn(k.Browser(), k.AS.AddAgent(authagenttest.Agent{Email: "nobody@example.com", Name: "nobody@example.com"}))
		k.SignIn(k.Browser(), k.AS.AddAgent(authagenttest.Agent{Email: "not an address@"}))
	}
	if all := k.Log.String() + usual.String() + fmt.Sprintf("%+v", k.Events.All()); strings.Contains(all, "@") {
		t.Errorf("LOG-5: %s", all)
	}
	if usual.Len() == 0 {
		t.Error("LOG-5: nothing is logged")
	}
}

// TestSecretsDoNotPrint is LOG-1 for what a site may print.
func TestSecretsDoNotPrint(t *testing.T) {
	k := newCluster(t)
	body, err := json.Marshal(k.Config)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	slog.New(slog.NewJSONHandler(rec, nil)).Info("x", "config", k.Config, "rp", k.RP)
	slog.New(slog.NewTextHandler(rec, nil)).Info("x", "config", k.Config, "rp", k.RP)
	text := rec.Body.String() + string(body)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		text += fmt.Sprintf(verb+verb+verb, k.Config, &k.Config, k.RP)
	}
	for name, secret := range map[string]string{
		"client secret": k.Config.ClientSecret, "key": string(k.Config.SessionKeys[0]),
		"hex client secret": fmt.Sprintf("%x", k.Config.ClientSecret), "hex key": fmt.Sprintf("%x", k.Config.SessionKeys[0]),
		"numeric key": fmt.Sprint(k.Config.SessionKeys[0]),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("LOG-1: %s is in %s", name, text)
		}
	}
}

// TestAnswerToNobody_LOG_4 (LOG-4): a program that has not signed in gets the answer
// that any refusal is written as, though it is prepared, and an ID of its own.
func TestAnswerToNobody_LOG_4(t *testing.T) {
	id := regexp.MustCompile(`"request_id":"([A-Z2-7]{16})"`)
	answer := func(change func(b *bench, c *authagent.Config)) (status int, header http.Header, body string) {
		b := newBench(t, func(b *bench, c *authagent.Config) {
			c.Paths.Login, c.Paths.Discovery, c.RequirePOST = `/a<b&"c`, "/auth.md", true // what needs an escape gets one
			change(b, c)
		})
		resp, again := b.Get(b.Browser(), "/me"), b.Get(b.Browser(), "/me")
		if first, second := id.FindString(resp.Text), id.FindString(again.Text); first == "" || first == second {
			t.Errorf("the IDs of two requests are %s and %s", first, second)
		}
		resp.Header.Del("Date")
		resp.Header.Del("Content-Length") // the ports may have other lengths
		ports := strings.NewReplacer(b.URL, "https://site", b.AS.URL, "https://as")
		for _, values := range resp.Header {
			for i := range values {
				values[i] = ports.Replace(values[i])
			}
		}
		return resp.StatusCode, resp.Header, ports.Replace(id.ReplaceAllString(resp.Text, ""))
	}
	type reply struct {
		Status int
		Header http.Header
		Body   string
	}
	var prepared, general reply
	prepared.Status, prepared.Header, prepared.Body = answer(func(*bench, *authagent.Config) {})
	general.Status, general.Header, general.Body = answer(func(_ *bench, c *authagent.Config) {
		c.ErrorHandler = func(http.ResponseWriter, *http.Request, *problem.Error) bool { return false }
	})
	if diff := cmp.Diff(general, prepared); diff != "" {
		t.Errorf("prepared answer (-general +prepared):\n%s", diff)
	}
}
