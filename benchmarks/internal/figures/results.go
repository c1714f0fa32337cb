// Package figures reads and writes what benchmarks have measured, and says what it comes to: the goals, and the
// tables of each section.
package figures

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// CPU is the time for which the process has kept a processor busy. Other programs disturb it less than the time on the wall.
const CPU = "cpu-ns/op"

// Results are what one or several rounds have measured.
type Results struct {
	Facts  []Fact // of the machine and the run, in the order in which they were said
	Rounds []Round
}

// A Fact is a line such as "goos: linux".
type Fact struct{ Name, Value string }

// A Round has each benchmark's figures of one round, by unit.
type Round map[string]map[string]float64

var (
	factLine  = regexp.MustCompile(`^([a-z][a-z ]*): +(.+)$`)
	processor = regexp.MustCompile(`-\d+$`) // how many processors, behind a name
)

// Read reads the output of "go test -bench". A benchmark that comes again begins another round.
func Read(r io.Reader) (Results, error) {
	var all Results
	seen := map[string]int{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if m := factLine.FindStringSubmatch(lines.Text()); m != nil {
			all.say(Fact{m[1], m[2]})
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := processor.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		if seen[name] == len(all.Rounds) {
			all.Rounds = append(all.Rounds, Round{})
		}
		all.Rounds[seen[name]][name] = values(fields[2:])
		seen[name]++
	}
	return all, lines.Err()
}

func (r *Results) say(f Fact) {
	if !slices.ContainsFunc(r.Facts, func(have Fact) bool { return have.Name == f.Name }) {
		r.Facts = append(r.Facts, f)
	}
}

// Fact returns what is said of a name, if anything is.
func (r Results) Fact(name string) string {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// values reads pairs of a number and its unit.
func values(fields []string) map[string]float64 {
	all := map[string]float64{}
	for i := 0; i+1 < len(fields); i += 2 {
		if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
			all[fields[i+1]] = v
		}
	}
	return all
}

// Write writes what Read reads. Figures have four digits, which is more than a machine is good for.
func (r Results) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, f := range r.Facts {
		fmt.Fprintf(out, "%s: %s\n", f.Name, f.Value)
	}
	for _, round := range r.Rounds {
		for _, name := range slices.Sorted(maps.Keys(round)) {
			fmt.Fprintf(out, "Benchmark%s 1", name)
			for _, unit := range slices.Sorted(maps.Keys(round[name])) {
				fmt.Fprintf(out, " %s %s", fourDigits(round[name][unit]), unit)
			}
			fmt.Fprintln(out)
		}
	}
	return out.Flush()
}

// fourDigits writes a number without an exponent.
func fourDigits(v float64) string {
	short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// LeastDisturbed takes, of each benchmark, the run that took the shortest time.
func LeastDisturbed(rounds []Round) Round {
	all := Round{}
	for _, r := range rounds {
		for name, figures := range r {
			if have, ok := all[name]; !ok || figures[CPU] < have[CPU] {
				all[name] = figures
			}
		}
	}
	return all
}

// A Value is something that is worked out of one round, if the round has what it needs.
type Value func(Round) (float64, bool)

// Figure is one benchmark's figure.
func Figure(name, unit string) Value {
	return func(r Round) (float64, bool) { v, ok := r[name][unit]; return v, ok }
}

// Less is f without g.
func Less(f, g Value) Value {
	return both(f, g, func(a, b float64) (float64, bool) { return a - b, true })
}

// Over is f divided by g.
func Over(f, g Value) Value {
	return both(f, g, func(a, b float64) (float64, bool) { return a / b, b != 0 })
}

func both(f, g Value, of func(a, b float64) (float64, bool)) Value {
	return func(r Round) (float64, bool) {
		a, ok1 := f(r)
		b, ok2 := g(r)
		if !ok1 || !ok2 {
			return 0, false
		}
		return of(a, b)
	}
}

// Ratio is of one benchmark's figure to that of another.
func Ratio(name, to, unit string) Value { return Over(Figure(name, unit), Figure(to, unit)) }

// Least is the smallest figure of several benchmarks whose names begin alike.
func Least(prefix string, names []string, unit string) Value {
	return func(r Round) (float64, bool) {
		var found []float64
		for _, name := range names {
			if v, ok := r[prefix+name][unit]; ok {
				found = append(found, v)
			}
		}
		if len(found) == 0 {
			return 0, false
		}
		return slices.Min(found), true
	}
}

// Median is of all rounds that have the value.
func (r Results) Median(v Value) (float64, bool) {
	var found []float64
	for _, round := range r.Rounds {
		if x, ok := v(round); ok {
			found = append(found, x)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	slices.Sort(found)
	n := len(found)
	return (found[(n-1)/2] + found[n/2]) / 2, true
}

// Below returns what comes behind prefix in the names of benchmarks that begin with it, sorted.
func (r Results) Below(prefix string) []string {
	found := map[string]bool{}
	for _, round := range r.Rounds {
		for name := range round {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				found[rest] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Medians returns the medians of all figures.
func (r Results) Medians() Round {
	all := Round{}
	for _, name := range r.Below("") {
		all[name] = map[string]float64{}
		for _, round := range r.Rounds {
			for unit := range round[name] {
				all[name][unit], _ = r.Median(Figure(name, unit))
			}
		}
	}
	return all
}
