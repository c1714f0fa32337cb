package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/authagent-go/authagent/benchmarks/internal/figures"
)

// A sample is one figure of a benchmark. BenchmarkWhole/postgres with the unit cookie-get-p50-µs has the work Whole, the
// place postgres, the kind cookie and the quantity get-p50-µs. BenchmarkRequest/sqlite/1000 has the number 1000.
type sample struct {
	work, place, kind, quantity string
	n                           float64 // 0 if the name has none
	value                       float64
}

var numbered = regexp.MustCompile(`^(?:[a-z]+=)?(\d+)$`)

// samples takes all results apart. Units that every benchmark has are left out, unless there is nothing else.
func samples(r figures.Results) (all []sample) {
	round := r.Medians()
	for _, name := range slices.Sorted(maps.Keys(round)) {
		work, place, n := split(name)
		units := slices.DeleteFunc(slices.Sorted(maps.Keys(round[name])), isUsual)
		if len(units) == 0 && round[name]["ns/op"] > 0 {
			units = []string{"ns/op"}
		}
		for _, unit := range units {
			kind, quantity := "", unit
			if first, rest, ok := strings.Cut(unit, "-"); ok && (strings.Contains(rest, "-") || strings.HasSuffix(rest, "/s")) {
				kind, quantity = first, rest
			}
			all = append(all, sample{work, place, kind, quantity, n, round[name][unit]})
		}
	}
	slices.SortFunc(all, inOrder)
	return all
}

func isUsual(unit string) bool { return unit == "ns/op" || unit == "B/op" || unit == "allocs/op" }

// split takes the name of a benchmark apart: what it measures, where, and how much there is of something.
func split(name string) (work, place string, n float64) {
	elements := strings.Split(name, "/")
	var places []string
	for _, e := range elements[1:] {
		if m := numbered.FindStringSubmatch(e); m != nil {
			n, _ = strconv.ParseFloat(m[1], 64)
			if of, _, ok := strings.Cut(e, "="); ok {
				places = append(places, of)
			}
			continue
		}
		places = append(places, e)
	}
	return elements[0], strings.Join(places, ", "), n
}

// order is that of places and kinds. What is not named comes after, as the alphabet has it.
var order = []string{"postgres", "mysql", "sqlite", "cookie", "database", "limits", "journal", "both"}

func rank(name string) int {
	if at := slices.Index(order, name); at >= 0 {
		return at
	}
	return len(order)
}

func inOrder(x, y sample) int {
	return cmp.Or(cmp.Compare(x.work, y.work), cmp.Compare(x.n, y.n), cmp.Compare(rank(x.place), rank(y.place)),
		cmp.Compare(rank(x.kind), rank(y.kind)), cmp.Compare(x.place, y.place), cmp.Compare(x.kind, y.kind), cmp.Compare(x.quantity, y.quantity))
}

// words are how pages call what the benchmarks of the databases name.
var words = map[string]string{
	"sqlite": "SQLite", "postgres": "PostgreSQL", "mysql": "MariaDB", "cookie": "cookies", "limits": "database, shared limits",
	"journal": "database, gapless trail", "both": "database, both",
}

// word says a place or a kind in words. A place may have several elements.
func word(name string) string {
	parts := strings.Split(name, ", ")
	for i, part := range parts {
		parts[i] = cmp.Or(words[part], part)
	}
	return strings.Join(parts, ", ")
}

// titles are of the benchmarks whose names do not say it.
var titles = map[string]string{
	"Whole": "A request with everything on", "WholeSignIn": "Sign-ins with everything on", "Request": "Session and revocations in a database",
	"SignIn": "Callback with everything in a database", "CheckSession": "Session, revocations, rules and grant", "OwnerPages": "Owners' pages",
	"Trail": "The audit trail", "CleanUp": "A clean-up", "Action": "A named action, with and without the journal",
	"SessionGrowth": "Session check in one process", "SignInGrowth": "Callback in one process",
}

func title(work string) string { return cmp.Or(titles[work], work) }

// databaseCharts are the charts of single requests and of sign-ins, if they were measured.
var databaseCharts = []struct{ file, title, work, quantity, second, axis string }{
	{"databases-get", "A guarded GET with everything on", "Whole", "get-p50-µs", "get-p99-µs", "milliseconds: half of all requests, and 99 of 100, take less"},
	{"databases-action", "A named action with everything on", "Whole", "action-p50-µs", "action-p99-µs", "milliseconds: half of all requests, and 99 of 100, take less"},
	{"databases-sign-ins", "Callbacks with everything on, 16 at once", "WholeSignIn", "callback-16/s", "", "sign-ins in a second; more is better"},
}

// writeDatabases shows what requests cost in a database. What grows with its rows has a section of its own.
func writeDatabases(b *block, r figures.Results) {
	all := slices.DeleteFunc(samples(r), func(s sample) bool { return s.n > 0 })
	if len(all) == 0 {
		b.WriteString("Not measured in this run.\n")
		return
	}
	for _, c := range databaseCharts {
		drawn := &bars{title: c.title, axis: c.axis}
		for _, s := range all {
			if s.work != c.work || s.quantity != c.quantity {
				continue
			}
			its := []bar{databaseBar(s, "ours")}
			for _, other := range all {
				if other.quantity == c.second && other.work == s.work && other.place == s.place && other.kind == s.kind {
					its = append(its, databaseBar(other, "more"))
				}
			}
			drawn.rows = append(drawn.rows, row{label: word(s.place) + ", " + word(s.kind), bars: its})
		}
		if len(drawn.rows) > 0 {
			b.chart(c.file, drawn)
		}
	}
	writeTables(b, all)
}

func databaseBar(s sample, class string) bar {
	if strings.HasSuffix(s.quantity, "-µs") {
		_, half, _ := strings.Cut(strings.TrimSuffix(s.quantity, "-µs"), "-")
		return bar{s.value / 1000, digits(s.value/1000) + " ms, " + half, class}
	}
	return bar{s.value, digits(s.value), class}
}

// writeTables writes a table for each work: a row for each place, number and kind, a column for each quantity.
func writeTables(b *block, all []sample) {
	for _, work := range distinct(all, func(s sample) string { return s.work }) {
		its := slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.work != work })
		b.folded(title(work), func(b *block) {
			quantities := distinct(its, func(s sample) string { return s.quantity })
			fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(quantities, " | "), strings.Repeat("---|", len(quantities)))
			for _, name := range distinct(its, sample.row) {
				fmt.Fprintf(b, "| %s |", name)
				for _, q := range quantities {
					at := slices.IndexFunc(its, func(s sample) bool { return s.row() == name && s.quantity == q })
					if at < 0 {
						b.WriteString(" – |")
						continue
					}
					fmt.Fprintf(b, " %s |", digits(its[at].value))
				}
				b.WriteString("\n")
			}
		})
	}
}

// row names the row of a sample in a table.
func (s sample) row() string {
	var parts []string
	for _, part := range [...]string{word(s.place), word(s.kind)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if s.n > 0 {
		parts = append(parts, short(s.n))
	}
	return strings.Join(parts, ", ")
}

// distinct returns each value of f once, in the order of all.
func distinct(all []sample, f func(sample) string) (values []string) {
	for _, s := range all {
		if v := f(s); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// writeGrowth shows what grows with a number.
func writeGrowth(b *block, prefix string, r figures.Results) {
	all := slices.DeleteFunc(samples(r), func(s sample) bool { return s.n == 0 })
	for _, work := range distinct(all, func(s sample) string { return s.work }) {
		if drawn := growthChart(work, all); drawn != nil {
			b.chart(prefix+strings.ToLower(work), drawn)
		}
	}
	writeTables(b, all)
}

// growthChart draws the times of one work, in microseconds, or returns nil if there are not two points of a line.
func growthChart(work string, all []sample) chart {
	drawn := &lines{title: title(work), x: "how many there are, logarithmic", y: "microseconds"}
	at := map[string]int{}
	for _, s := range all {
		µs, ok := microseconds(s)
		if s.work != work || !ok {
			continue
		}
		name := strings.Trim(word(s.place)+", "+word(s.kind), ", ")
		if _, ok := at[name]; !ok {
			at[name] = len(drawn.series)
			drawn.series = append(drawn.series, series{label: name})
		}
		line := &drawn.series[at[name]]
		line.points = append(line.points, point{s.n, µs})
	}
	drawn.series = slices.DeleteFunc(drawn.series, func(s series) bool { return len(s.points) < 2 })
	if len(drawn.series) == 0 {
		return nil
	}
	return drawn
}

// microseconds reads a median, or the time of an operation.
func microseconds(s sample) (µs float64, ok bool) {
	switch s.quantity {
	case "p50-µs":
		return s.value, true
	case "p50-ms":
		return s.value * 1000, true
	case "p50-ns/op", "ns/op":
		return s.value / 1000, true
	}
	return 0, false
}
