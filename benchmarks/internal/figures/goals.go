package figures

import (
	"fmt"
	"io"
)

// A Goal is what is wanted of a value.
type Goal struct {
	Text  string
	Value Value
	Most  bool // Limit is an upper one
	Limit float64
}

// Goals returns all goals.
func Goals() []Goal {
	var (
		peers    = []string{"byhand", "zitadel", "cap", "goth", "gologin", "pkgz"}
		withPKCE = []string{"byhand", "zitadel", "cap"}
		checkers = []string{"gorilla", "scs", "pkgz"}
	)
	signed := Section{Prefix: "Signed/ES256/", Base: "limit", Beside: "Signed/ES256/signing", Units: []string{CPU}}
	signIns := Section{Prefix: "SignIns/signed/", Base: "round-trips", Beside: "Signed/ES256/signing", Units: []string{CPU}}
	return []Goal{
		{"login, of the limit", Ratio("Login/authagent", "Login/limit", CPU), true, 5},
		{"login, of the floor", Ratio("Login/authagent", "Login/floor", CPU), true, 2.5},
		{"login, fastest peer with PKCE in relation", Over(Least("Login/", withPKCE, CPU), Figure("Login/authagent", CPU)), false, 5},
		{"login, allocations", Figure("Login/authagent", "allocs/op"), true, 15},
		{"callback, of the bare round trips", Ratio("Callback/authagent", "Callback/limit", CPU), true, 1.35},
		{"callback with an id_token (ES256), of the bare round trips and the signature", signed.Ratio("authagent"), true, 1.35},
		{"callback with an id_token, allocations", signed.Figure("authagent", "allocs/op"), true, 260},
		// 2.2 times a limit that has an HMAC in it as well, of which the floor is 1.43 times.
		{"valid session, of the floor", Ratio("Session/valid/authagent", "Session/valid/floor", CPU), true, 1.54},
		{"valid session, gorilla CookieStore in relation", Ratio("Session/valid/gorilla", "Session/valid/authagent", CPU), false, 10},
		{"valid session, scs in relation", Ratio("Session/valid/scs", "Session/valid/authagent", CPU), false, 10},
		{"valid session, allocations", Figure("Session/valid/authagent", "allocs/op"), true, 18},
		{"valid session with approval, limits and audit, of the floor", Ratio("Session/valid/authagent-owners", "Session/valid/floor", CPU), true, 4},
		{"forged session, of the cheapest peer", Over(Figure("Session/forged/authagent", CPU), Least("Session/forged/", checkers, CPU)), true, 1},
		{"absent session, of the cheapest peer", Over(Figure("Session/absent/authagent", CPU), Least("Session/absent/", checkers, CPU)), true, 1},
		{"sign-ins, 32 browsers, with an id_token (ES256), of the bare round trips", signIns.Ratio("authagent"), true, 1.5},
		{"sign-ins per processor second, of the bare round trips", Ratio("SignIns/default/limit", "SignIns/default/authagent", CPU), false, 0.75},
		{"sign-ins per processor second, of the best peer as it comes",
			Over(Least("SignIns/default/", peers, CPU), Figure("SignIns/default/authagent", CPU)), false, 1},
		{"sign-ins per processor second, of the best peer with pooled connections",
			Over(Least("SignIns/pooled/", peers, CPU), Figure("SignIns/pooled/authagent", CPU)), false, 1},
		{"connections dialled per sign-in once warm", Figure("SignIns/default/authagent", "dials/op"), true, 0},
		{"the same over TLS, HTTP/1.1", Figure("SignIns/http1/authagent", "dials/op"), true, 0},
		{"the same over TLS, HTTP/2", Figure("SignIns/http2/authagent", "dials/op"), true, 0},
	}
}

// WriteGoals writes, as Markdown, each goal that was measured, and whether it is met.
func WriteGoals(w io.Writer, r Results) {
	all := LeastDisturbed(r.Rounds)
	fmt.Fprintf(w, "| authagent | wanted | measured | | of the least of all rounds |\n|---|---|---|---|---|\n")
	for _, g := range Goals() {
		value, ok := r.Median(g.Value)
		if !ok {
			continue
		}
		sign, met := "≥", value >= g.Limit
		if g.Most {
			sign, met = "≤", value <= g.Limit
		}
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		undisturbed, _ := g.Value(all)
		fmt.Fprintf(w, "| %s | %s %.4g | %.2f | %s | %.2f |\n", g.Text, sign, g.Limit, value, verdict, undisturbed)
	}
}
