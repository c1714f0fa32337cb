package requirements_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
)

// A describedRequest is what a site can read of a request.
type describedRequest struct {
	Method, Host, RequestURI, Path, ID, Type, Body string
	Length                                         int64
	Header                                         []string
	Remote, Agent                                  string
}

func seenOf(r *http.Request) describedRequest {
	body, _ := io.ReadAll(r.Body)
	seen := describedRequest{
		r.Method, r.Host, r.RequestURI, r.URL.RequestURI(), r.PathValue("id"), r.Header.Get("Content-Type"), string(body),
		r.ContentLength, slices.Sorted(maps.Keys(r.Header)), r.RemoteAddr, "",
	}
	if s, ok := authagent.FromContext(r.Context()); ok {
		seen.Agent = s.Agent.ID
	}
	return seen
}

// An approverWith is an Approver that approves what it has looked at.
type approverWith func(context.Context, action.Request)

func (f approverWith) Approve(ctx context.Context, r action.Request) (*action.Reservation, string, error) {
	f(ctx, r)
	return &action.Reservation{Request: r}, "", nil
}

// TestActionRequestHTTP_APR_19 is APR-19: a site describes a request by what its handler
// will get, and by nothing else.
func TestActionRequestHTTP_APR_19(t *testing.T) {
	multipart := twoFields("b", "1", "secret")
	for name, test := range map[string]struct {
		method, target, contentType, body string
		want                              describedRequest
		amount                            string // the form's
	}{
		"form": {"POST", "/shop/orders/a%2Fb/refund?why=x", formType, "amount=%31&csrf=secret&to=b",
			describedRequest{"POST", "shop.example", "/shop/orders/a%2Fb/refund?why=x", "/orders/a%2Fb/refund?why=x", "a/b", formType, "amount=%31&to=b", 15,
				[]string{"Content-Length", "Content-Type", "Idempotency-Key"}, "", "agent_1"}, "1"},
		"multipart": {"POST", "/shop/orders/2/refund", "multipart/form-data; boundary=b", multipart,
			describedRequest{"POST", "shop.example", "/shop/orders/2/refund", "/orders/2/refund", "2", "multipart/form-data; boundary=b",
				"--b\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1\r\n--b--\r\n", 64,
				[]string{"Content-Length", "Content-Type", "Idempotency-Key"}, "", "agent_1"}, "1"},
		"JSON": {"PUT", "/shop/orders/2/refund", "application/json", `{"amount": 1}`,
			describedRequest{"PUT", "shop.example", "/shop/orders/2/refund", "/orders/2/refund", "2", "application/json", `{"amount": 1}`, 13,
				[]string{"Content-Length", "Content-Type", "Idempotency-Key"}, "", "agent_1"}, ""},
		"GET": {"GET", "/shop/orders/2/refund?amount=1", "", "",
			describedRequest{"GET", "shop.example", "/shop/orders/2/refund?amount=1", "/orders/2/refund?amount=1", "2", "", "", 0,
				[]string{"Idempotency-Key"}, "", "agent_1"}, "1"},
		"no type": {"POST", "/shop/orders/2/refund", "", "amount=1",
			describedRequest{"POST", "shop.example", "/shop/orders/2/refund", "/orders/2/refund", "2", "", "amount=1", 8,
				[]string{"Content-Length", "Idempotency-Key"}, "", "agent_1"}, ""},
		"no body": {"DELETE", "/shop/orders/2/refund", "", "",
			describedRequest{"DELETE", "shop.example", "/shop/orders/2/refund", "/orders/2/refund", "2", "", "", 0,
				[]string{"Idempotency-Key"}, "", "agent_1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCluster(t)
			c := b.Browser()
			s := b.MustSignIn(c, b.Agent)
			var asked, again, handled describedRequest
			var amount string
			approver := approverWith(func(ctx context.Context, r action.Request) {
				asked, amount = seenOf(r.HTTP(ctx)), r.HTTP(ctx).FormValue("amount")
				r.HTTP(ctx).SetPathValue("id", "another")
				r.HTTP(ctx).Header.Set("Idempotency-Key", "another")
				r.HTTP(ctx).URL.Path = "/another"
				again = seenOf(r.HTTP(ctx))
			})
			mux := http.NewServeMux()
			mux.Handle("/orders/{id}/refund", b.RP.RequireApproval("a:do", approver, "csrf")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				handled = seenOf(r)
			})))
			var body io.Reader
			if test.body != "" {
				body = strings.NewReader(test.body)
			}
			r := b.withCookies(c, httptest.NewRequest(test.method, test.target, body))
			r.Host = "shop.example"
			r.Header["X-Forwarded-Host"], r.Header["Idempotency-Key"] = []string{"evil.example"}, []string{"1"}
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			w := httptest.NewRecorder()
			http.StripPrefix("/shop", mux).ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			test.want.Agent = s.Agent.ID
			if diff := cmp.Diff(test.want, asked); diff != "" || amount != test.amount {
				t.Errorf("described by the amount %q and (-want +got):\n%s", amount, diff)
			}
			if diff := cmp.Diff(asked, again); diff != "" {
				t.Errorf("described once more (-want +got):\n%s", diff)
			}
			if handled.ID != asked.ID || handled.Path != asked.Path || handled.RequestURI != asked.RequestURI || handled.Agent != asked.Agent {
				t.Errorf("the handler gets %+v", handled)
			}
		})
	}
}

// TestActionRequestByHand_APR_19 is APR-19: a site's test makes a request itself, and not
// all that is asked about came by HTTP.
func TestActionRequestByHand_APR_19(t *testing.T) {
	r := action.Request{Method: "POST", Host: "shop.example", Target: "/orders/2?x=1", ContentType: formType, Body: []byte("amount=1")}
	got := r.HTTP(t.Context())
	if got == nil || got.URL.Path != "/orders/2" || got.Host != "shop.example" || got.FormValue("amount") != "1" || got.FormValue("x") != "1" {
		t.Errorf("got %+v", got)
	}
	for name, none := range map[string]action.Request{"no method": {Body: []byte("{}")}, "no address": {Method: "POST", Target: "orders"}} {
		if got := none.HTTP(t.Context()); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
