package requirements_test

import (
	"html/template"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/problem"
)

// TestPendingLeadsOn_APR_13 is APR-13: a browser whose request waits for its owner is led to
// where it stands, by a link and by itself, and is told so. Nothing else changes.
func TestPendingLeadsOn_APR_13(t *testing.T) {
	waits := func(path string) approverFunc {
		return func(action.Request) (string, error) { return path, problem.ApprovalPending }
	}
	own := template.Must(template.New("").Parse(`{{define "refused"}}{{.Detail}} <a href="{{.Approval}}">{{end}}`))
	for name, test := range map[string]struct {
		approver approverFunc
		header   []string
		change   func(*authagent.Config)
		want     string // where the page leads to; empty for nowhere
	}{
		"a browser":                       {waits("/look/1"), []string{"Accept", page}, nil, "/look/1"},
		"from a page of the site":         {waits("/look/1"), []string{"Accept", page, "Referer", "https://shop.example/pay?a=1&b=2"}, nil, "/look/1?from=%2Fpay%3Fa%3D1%26b%3D2"},
		"from there, to a query":          {waits("/look?id=1"), []string{"Accept", page, "Referer", "https://shop.example/pay"}, nil, "/look?id=1&from=%2Fpay"},
		"from the page where it leads to": {waits("/look/1"), []string{"Accept", page, "Referer", "https://shop.example/look/1?from=%2Fpay"}, nil, "/look/1?from=%2Fpay"},
		"from the sign-in":                {waits("/look/1"), []string{"Accept", page, "Referer", "https://shop.example/auth/agent/login"}, nil, "/look/1"},
		"from a page of another site":     {waits("/look/1"), []string{"Accept", page, "Referer", "https://shop.example.evil.example/pay"}, nil, "/look/1"},
		"from a page that is not there":   {waits("/look/1"), []string{"Accept", page, "Referer", "https://shop.example//evil.example"}, nil, "/look/1"},
		"to a page of the site's own":     {waits("/look/1"), []string{"Accept", page}, func(c *authagent.Config) { c.Pages = own }, "/look/1"},
		"nowhere":                         {waits(""), []string{"Accept", page}, nil, ""},
		"denied": {func(action.Request) (string, error) { return "/look/1", problem.ActionDenied },
			[]string{"Accept", page}, nil, ""},
		"a program": {waits("/look/1"), nil, nil, ""},
		"an answer of the site's own": {waits("/look/1"), []string{"Accept", page}, func(c *authagent.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *problem.Error) bool {
				w.WriteHeader(e.Status())
				return true
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t, func(_ *bench, c *authagent.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			k.handle("POST /pay", k.RP.RequireApproval("a:do", test.approver))
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			resp := k.Send(c, "POST", "/pay", "x", test.header...)
			refresh, told := resp.Header.Get("Refresh"), strings.Contains(resp.Text, "After 10 seconds this page goes on by itself")
			if test.want == "" {
				if refresh != "" || told || strings.Contains(resp.Text, "See how") {
					t.Errorf("Refresh %q: %s", refresh, resp.Text)
				}
				return
			}
			if link := `<a href="` + strings.ReplaceAll(test.want, "&", "&amp;") + `">`; refresh != "10;url="+test.want || !told || !strings.Contains(resp.Text, link) {
				t.Errorf("Refresh %q, want %s: %s", refresh, test.want, resp.Text)
			}
			if location, _, _ := strings.Cut(test.want, "from"); resp.StatusCode != 202 || resp.Header.Get("Location") != strings.TrimRight(location, "?&") {
				t.Errorf("%d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
			}
		})
	}
}

// TestComplete_APR_14 is APR-14: an Approver is told whether what it keeps is all that has to be
// sent again.
func TestComplete_APR_14(t *testing.T) {
	for name, test := range map[string]struct {
		ignored []string
		method  string
		body    string
		key     string
		want    bool
	}{
		"a form":                              {nil, "POST", "a=1", "", true},
		"a form with a key":                   {nil, "POST", "a=1", "1", false},
		"GET":                                 {[]string{"csrf"}, "GET", "", "", true},
		"GET with a key":                      {nil, "GET", "", "1", false},
		"GET with a form that says nothing":   {[]string{"csrf"}, "GET", "csrf=1", "", false},
		"a form with a field that is ignored": {[]string{"csrf"}, "POST", "a=1&csrf=1", "", false},
		"a form that lacks that field":        {[]string{"csrf"}, "POST", "a=1", "", false},
		"nothing, where a field is ignored":   {[]string{"csrf"}, "POST", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCluster(t)
			var got *bool
			k.handle("/pay", k.RP.RequireApproval("a:do", approverFunc(func(r action.Request) (string, error) {
				got = &r.Complete
				return "", problem.ApprovalPending
			}), test.ignored...))
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			header := []string{"Content-Type", formType}
			if test.key != "" {
				header = append(header, "Idempotency-Key", test.key)
			}
			if resp := k.Send(c, test.method, "/pay", test.body, header...); got == nil || *got != test.want {
				t.Errorf("%d %s, want Complete %v", resp.StatusCode, resp.Text, test.want)
			}
		})
	}
}
