package grants_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/problem"
)

// describedShop is a shop that describes payouts by what text returns.
func describedShop(t *testing.T, text func() (string, error)) (s *shop, agent *http.Client) {
	t.Helper()
	s = newShop(t, options{policy: func(p *grants.Policy) {
		p.Describe = func(context.Context, action.Request) (string, error) { return text() }
	}})
	_, agent = s.approved("agent_1")
	s.get(agent, "/me")
	s.told()
	return s, agent
}

// waiting returns the descriptions of what waits in alice's account, sorted.
func (s *shop) waiting() []string {
	s.t.Helper()
	var all []string
	for _, a := range s.overview(s.alice).Approvals {
		if a.State == grants.Pending {
			all = append(all, a.Description)
		}
	}
	return sorted(all)
}

// approveDescribed has alice approve what waits with this description.
func (s *shop) approveDescribed(text string) {
	s.t.Helper()
	for _, a := range s.overview(s.alice).Approvals {
		if a.State == grants.Pending && a.Description == text {
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
	s.t.Fatalf("nothing waits that is described as %q", text)
}

// TestDescribe_APR_16 is APR-16: what an owner approves is a request with its description.
func TestDescribe_APR_16(t *testing.T) {
	bubble(t, "the same", func(t *testing.T) {
		asked := 0
		s, c := describedShop(t, func() (string, error) { asked++; return "Pay Bob $12.50", nil })
		for range 3 {
			if got := s.pay(c, "amount=12.5"); got != 202 {
				t.Errorf("asked: %d", got)
			}
		}
		if diff := cmp.Diff([]string{"Pay Bob $12.50"}, s.waiting()); diff != "" {
			t.Errorf("what waits (-want +got):\n%s", diff)
		}
		s.wait()
		notices := s.notices.take()
		if len(notices) != 1 || notices[0].Approval.Description != "Pay Bob $12.50" {
			t.Errorf("notices: %+v", notices)
		}
		s.approveDescribed("Pay Bob $12.50")
		for _, want := range []int{200, 409} {
			if got := s.pay(c, "amount=12.5"); got != want {
				t.Errorf("payout: %d, want %d", got, want)
			}
		}
		if asked != 5 {
			t.Errorf("the site was asked %d times, want one for each of 5 requests", asked)
		}
	})
	bubble(t, "a price that changes", func(t *testing.T) {
		price := "$12.50"
		s, c := describedShop(t, func() (string, error) { return "Refund order 2, " + price, nil })
		pay := func(want int) {
			t.Helper()
			before := s.ran.Load()
			if got := s.pay(c, "order=2"); got != want || s.ran.Load()-before != map[bool]int32{true: 1}[want == 200] {
				t.Errorf("at %s: %d, want %d; ran %d times", price, got, want, s.ran.Load()-before)
			}
		}
		pay(202)
		s.approveDescribed("Refund order 2, $12.50")
		price = "$99.00"
		pay(202)
		if diff := cmp.Diff([]string{"Refund order 2, $99.00"}, s.waiting()); diff != "" {
			t.Errorf("what waits (-want +got):\n%s", diff)
		}
		price = "$12.50" // as it was approved
		pay(200)
		pay(409)
		price = "$99.00"
		pay(202)
		s.approveDescribed("Refund order 2, $99.00")
		pay(200)
		pay(409)
	})
	bubble(t, "denied", func(t *testing.T) {
		price := "$12.50"
		s, c := describedShop(t, func() (string, error) { return "Refund order 2, " + price, nil })
		s.pay(c, "order=2")
		s.decideAction(s.alice, false)
		if got := s.pay(c, "order=2"); got != 403 {
			t.Errorf("denied: %d", got)
		}
		if price = "$1.00"; s.pay(c, "order=2") != 202 {
			t.Error("another description is not asked about")
		}
	})
	bubble(t, "described from now on, and no more", func(t *testing.T) {
		text := ""
		s, c := describedShop(t, func() (string, error) { return text, nil })
		s.pay(c, "order=2")
		s.approveDescribed("")
		if text = "Refund order 2"; s.pay(c, "order=2") != 202 || s.ran.Load() != 1 { // beside /me
			t.Error("what was approved without a description passes with one")
		}
		s.approveDescribed("Refund order 2")
		if text = ""; s.pay(c, "order=2") != 200 || s.pay(c, "order=2") != 409 {
			t.Error("what was approved without a description does not pass once without one")
		}
	})
}

// TestUndescribed_APR_16 is APR-16: where the site says nothing, the digest is that of the
// request, as it was before sites could describe one.
func TestUndescribed_APR_16(t *testing.T) {
	for name, describe := range map[string]func(context.Context, action.Request) (string, error){
		"no function": nil,
		"no text":     func(context.Context, action.Request) (string, error) { return "", nil },
		"no letter":   func(context.Context, action.Request) (string, error) { return " \u200b\n\u202e", nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := &recordedApprovals{}
			policy := grants.OwnerApproval(p)
			policy.Logger, policy.Describe = quiet, describe
			r := action.Request{UserID: "user_1", Digest: "as it was"}
			if _, _, err := policy.Approve(t.Context(), r); !errors.Is(err, problem.ApprovalPending) {
				t.Fatal(err)
			}
			if a := p.created; a.Digest != "as it was" || a.Description != "" {
				t.Errorf("digest %q, description %q", a.Digest, a.Description)
			}
		})
	}
}

// recordedApprovals keeps the approval that is created.
type recordedApprovals struct {
	grants.Store
	created grants.Approval
}

func (*recordedApprovals) OwnerApprovals(context.Context, string) ([]grants.Approval, error) {
	return nil, nil
}

func (s *recordedApprovals) CreateApproval(_ context.Context, a grants.Approval) (grants.Approval, bool, error) {
	s.created = a
	return a, true, nil
}

// TestDescription_APR_17 is APR-17: nothing in a description is hidden, and all of it is
// shown or none.
func TestDescription_APR_17(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"plain":              {"Refund order 2, “Pine cone”, 12,50 €", "Refund order 2, “Pine cone”, 12,50 €"},
		"bidi override":      {"Pay \u202e05.21$\u202c to Bob", "Pay 05.21$ to Bob"},
		"isolates":           {"Pay \u2066Bob\u2069", "Pay Bob"},
		"zero width and tag": {"Pay\u200b Bob\U000e0041", "Pay Bob"},
		"lines":              {"  Pay\r\n\tBob\u2028 now\x00 ", "Pay Bob now"},
		"no UTF-8":           {"Pay \xff\xfeBob", "Pay Bob"},
		"markup":             {`<b>Pay</b> & "Bob"`, `<b>Pay</b> & "Bob"`},
		"200 characters":     {strings.Repeat("ü", 200), strings.Repeat("ü", 200)},
		"200 that are seen":  {strings.Repeat("ü\u200b", 200), strings.Repeat("ü", 200)},
	} {
		bubble(t, name, func(t *testing.T) {
			s, c := describedShop(t, func() (string, error) { return test.text, nil })
			if got := s.pay(c, "amount=1"); got != 202 {
				t.Fatal(got)
			}
			if diff := cmp.Diff([]string{test.want}, s.waiting()); diff != "" {
				t.Errorf("what waits (-want +got):\n%s", diff)
			}
		})
	}
	for name, text := range map[string]string{
		"201 characters": strings.Repeat("ü", 201), "257 characters": strings.Repeat("a", 257), "a book": "Pay Bob" + strings.Repeat(" and more", 10000),
	} {
		bubble(t, name, func(t *testing.T) {
			s, c := describedShop(t, func() (string, error) { return text, nil })
			s.refuses(c, 500, problem.StoreFailed)
		})
	}
}

// refuses sends a request that is refused, and about which nobody is asked.
func (s *shop) refuses(c *http.Client, status int, reason problem.Reason) {
	s.t.Helper()
	before := s.ran.Load()
	resp := s.do(c, "POST", "/payouts", "amount=1")
	if resp.StatusCode != status || resp.reason() != reason || s.ran.Load() != before {
		s.t.Errorf("%d %s, want %d %s; ran %d times", resp.StatusCode, resp.body, status, reason, s.ran.Load()-before)
	}
	if told, waiting := s.told(), s.waiting(); len(told)+len(waiting) > 0 {
		s.t.Errorf("%v waits, and the owner was told %v", waiting, told)
	}
}

// TestDescribeFails_APR_18 is APR-18: what cannot be described is refused, whether its
// owner has approved it or not.
func TestDescribeFails_APR_18(t *testing.T) {
	for name, test := range map[string]struct {
		fail   func() (string, error)
		status int
		reason problem.Reason
	}{
		"an error":               {func() (string, error) { return "Pay Bob", errors.New("secret") }, 500, problem.StoreFailed},
		"a store's not found":    {func() (string, error) { return "Pay Bob", authagent.ErrNotFound }, 500, problem.StoreFailed},
		"a panic":                {func() (string, error) { panic("secret") }, 500, problem.StoreFailed},
		"no such order":          {func() (string, error) { return "", problem.NotFound }, 404, problem.NotFound},
		"no such order, somehow": {func() (string, error) { return "", fmt.Errorf("order: %w", problem.NotFound) }, 404, problem.NotFound},
	} {
		bubble(t, name, func(t *testing.T) {
			var failing atomic.Bool
			failing.Store(true)
			s, c := describedShop(t, func() (string, error) {
				if failing.Load() {
					return test.fail()
				}
				return "Pay Bob", nil
			})
			s.refuses(c, test.status, test.reason)
			failing.Store(false)
			s.pay(c, "amount=1")
			s.told()
			s.approveDescribed("Pay Bob")
			failing.Store(true)
			s.refuses(c, test.status, test.reason)
			failing.Store(false)
			if got := s.pay(c, "amount=1"); got != 200 {
				t.Errorf("the approval is gone: %d", got)
			}
		})
	}
}

// TestDecisionIsRecorded_LOG_9: the audit trail says on which description an owner has decided, with
// nothing in it that cannot be seen.
func TestDecisionIsRecorded_LOG_9(t *testing.T) {
	for _, approve := range []bool{true, false} {
		bubble(t, fmt.Sprint("LOG-9 approve ", approve), func(t *testing.T) {
			s, agent := describedShop(t, func() (string, error) { return "Pay\u202e Bob\n$12.50", nil })
			s.pay(agent, "amount=1")
			s.happened()
			s.decideAction(s.alice, approve)
			s.wait()
			if all := s.events.take(); len(all) != 1 || all[0].Detail != "Pay Bob $12.50" {
				t.Errorf("LOG-9: %+v", all)
			}
		})
	}
}

// TestDescribeIsLimited_APR_18: an agent that is over its own limit, or whose grant is not in force,
// has nothing described.
func TestDescribeIsLimited_APR_18(t *testing.T) {
	for name, test := range map[string]struct {
		agent  limits.Rate
		before func(*shop)
		status []int
	}{
		"over the limit": {limits.Rate{N: 4}, nil, []int{202, 202, 202, 429, 429}}, // one was the visit
		"stopped":        {limits.Rate{}, func(s *shop) { s.decide(s.alice, "agent_1", grants.Revoked) }, []int{401}},
	} {
		bubble(t, "APR-18 "+name, func(t *testing.T) {
			asked, want := 0, 0
			s := newShop(t, options{
				policy: func(p *grants.Policy) {
					p.Describe = func(context.Context, action.Request) (string, error) { asked++; return "Pay Bob", nil }
				},
				config: func(_ *shop, c *authagent.Config) { c.Limits.Agent = test.agent },
			})
			_, agent := s.approved("agent_1")
			s.get(agent, "/me")
			if test.before != nil {
				test.before(s)
			}
			for _, status := range test.status {
				if status == 202 {
					want++
				}
				if got := s.pay(agent, "amount=1"); got != status {
					t.Errorf("APR-18: %d, want %d", got, status)
				}
			}
			if asked != want {
				t.Errorf("APR-18: described %d times, want %d", asked, want)
			}
		})
	}
}

// TestDescriptionOnPage_APR_17 is APR-17: the owner's page shows what a store gives it with
// nothing hidden, and escaped.
func TestDescriptionOnPage_APR_17(t *testing.T) {
	s, agent, _ := payoutSite(t)
	s.owners.Template = template.Must(template.New("page").Parse(
		`{{range .Approvals}}[{{.Description}}]{{end}}{{define "standing.html"}}[{{.Description}}]{{end}}`))
	text := "Pay <b>Bob</b> \u202e05.21$"
	s.owners.Describe = func(context.Context, action.Request) (string, error) { return "Pay Bob", nil }
	at := s.ask(agent, "POST", "/pay/x", "a=1")
	at = s.alter(at, func(a *grants.Approval) { a.Description = text }) // as another program has stored it
	handler := grants.Handler(s.owners, s.rp)
	page := s.serve(handler, s.human(s.alice), agents).Body.String()
	if want := "[Pay &lt;b&gt;Bob&lt;/b&gt; ‹U&#43;202E›05.21$]"; !strings.Contains(page, want) {
		t.Errorf("the page has no %s: %s", want, page)
	}
	t.Run("APR-20", func(t *testing.T) { // the agent is told nothing that the site says to the owner
		if resp := s.serve(handler, agent, at); resp.Body.String() != "[]" {
			t.Errorf("%d %s", resp.Code, resp.Body)
		}
		if resp := s.do(agent, "GET", at, "", "Accept", "application/json"); resp.StatusCode != 200 || strings.Contains(resp.body, "Bob") {
			t.Errorf("%d %s", resp.StatusCode, resp.body)
		}
	})
	if resp := s.do(s.human(s.alice), "GET", agents, "", "Accept", "application/json"); !strings.Contains(resp.body, `"description":"Pay `) {
		t.Errorf("the owner's program is not told: %s", resp.body)
	}
}
