package figures

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Section is a table: what is compared at one piece of work.
type Section struct {
	Title  string
	Prefix string   // of the names of the benchmarks
	Base   string   // the one to which ratios are
	Beside string   // a benchmark whose figures are taken off before, as they are nobody's; may be empty
	Hidden []string // what is part of another calculation, and no row
	Units  []string // the first is the one of the ratios
}

// Sections returns all sections in their order. Those of which nothing was measured have no table.
func Sections() []Section {
	all := []Section{
		{Title: "A. Login redirect", Prefix: "Login/", Base: "limit", Units: []string{CPU, "cookie-bytes", "B/op", "allocs/op"}},
		{Title: "B. Callback, two round trips", Prefix: "Callback/", Base: "limit", Units: []string{CPU, "B/op", "allocs/op"}},
	}
	for _, alg := range [...]string{"ES256", "RS256", "EdDSA"} {
		prefix := "Signed/" + alg + "/"
		all = append(all, Section{
			Title: "B. Callback at a provider that signs (" + alg + ")", Prefix: prefix, Base: "limit", Beside: prefix + "signing",
			Hidden: []string{"signing"}, Units: []string{CPU, "B/op", "allocs/op"},
		})
	}
	for _, part := range [...]string{"valid", "forged", "absent", "renew"} {
		base := "floor"
		if part == "valid" {
			base = "limit"
		}
		all = append(all, Section{Title: "C. Session check, " + part, Prefix: "Session/" + part + "/", Base: base, Units: []string{CPU, "B/op", "allocs/op"}})
	}
	all = append(all, Section{
		Title: "C. Session check of a request that performs an action", Prefix: "Session/action/", Base: "authagent",
		Units: []string{CPU, "B/op", "allocs/op"},
	})
	for _, over := range [...][2]string{
		{"default", "D. Whole sign-ins, 32 browsers, HTTP clients as they come"},
		{"pooled", "D. The same, http.DefaultTransport with enough idle connections"},
		{"http1", "D. The same over TLS, HTTP/1.1, HTTP clients as they come"},
		{"http2", "D. The same over TLS, HTTP/2, HTTP clients as they come"},
	} {
		all = append(all, Section{
			Title: over[1], Prefix: "SignIns/" + over[0] + "/", Base: "limit", Units: []string{CPU, "sign-ins/s", "p99-ms", "dials/op"},
		})
	}
	all = append(all, Section{
		Title: "D. The same at a provider that signs (ES256)", Prefix: "SignIns/signed/", Base: "round-trips", Beside: "Signed/ES256/signing",
		Units: []string{CPU, "sign-ins/s", "p99-ms", "dials/op"},
	}, Section{
		Title: "D. One round trip, connection kept or new", Prefix: "RoundTrip/", Base: "plain/kept", Units: []string{CPU, "dials/op", "allocs/op"},
	})
	for _, part := range [...][2]string{
		{"known", "JWT that has come before (ES256)"}, {"ES256", "JWT that is new (ES256)"}, {"RS256", "JWT that is new (RS256)"},
		{"EdDSA", "JWT that is new (EdDSA)"}, {"opaque-known", "opaque token that has come before"},
		{"opaque-new", "opaque token that is new"}, {"forged", "JWT that was made up, another one each time (ES256)"}, {"absent", "no token"},
	} {
		base := "limit"
		if part[0] == "absent" {
			base = "byhand"
		}
		all = append(all, Section{Title: "E. API, " + part[1], Prefix: "Bearer/" + part[0] + "/", Base: base, Units: []string{CPU, "B/op", "allocs/op"}})
	}
	return all
}

// Figure is a row's figure, without what is nobody's if that has the unit too.
func (s Section) Figure(row, unit string) Value {
	whole := Figure(s.Prefix+row, unit)
	if s.Beside == "" {
		return whole
	}
	net := Less(whole, Figure(s.Beside, unit))
	return func(r Round) (float64, bool) {
		if v, ok := net(r); ok {
			return v, true
		}
		return whole(r)
	}
}

// Ratio is of a row to the base.
func (s Section) Ratio(row string) Value {
	return Over(s.Figure(row, s.Units[0]), s.Figure(s.Base, s.Units[0]))
}

// Rows returns the rows of a section, the fastest first.
func (s Section) Rows(r Results) []string {
	rows := slices.DeleteFunc(r.Below(s.Prefix), func(row string) bool { return slices.Contains(s.Hidden, row) })
	slices.SortStableFunc(rows, func(a, b string) int {
		x, _ := r.Median(s.Figure(a, s.Units[0]))
		y, _ := r.Median(s.Figure(b, s.Units[0]))
		return cmp.Compare(x, y)
	})
	return rows
}

// Table writes a section as Markdown, and nothing if it has no row.
func (s Section) Table(w io.Writer, r Results) {
	rows := s.Rows(r)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "| | of the %s | %s |\n|---|%s\n", s.Base, strings.Join(s.Units, " | "), strings.Repeat("---|", len(s.Units)+1))
	for _, row := range rows {
		fmt.Fprintf(w, "| %s |", row)
		if of, ok := r.Median(s.Ratio(row)); ok {
			fmt.Fprintf(w, " %.2f |", of)
		} else {
			fmt.Fprint(w, " – |")
		}
		for _, unit := range s.Units {
			if value, ok := r.Median(s.Figure(row, unit)); ok {
				fmt.Fprintf(w, " %s |", fourDigits(value))
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintln(w)
	}
}
