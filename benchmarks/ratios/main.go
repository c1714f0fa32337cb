// Ratios runs the benchmarks of this module a number of times and prints, as
// Markdown, the medians and what they are in relation to the floor, the limit and
// the peers, beside what is wanted.
//
//	go run ./ratios
//
// A ratio is taken within one round, where all have had the same machine, and the
// median is of the ratios of all rounds. In a round everything is run several times
// in turn, and the time that was disturbed the least, which is the shortest, stands
// for it: on a virtual machine the neighbours slow one run in two. Time is the time
// of the process on a processor; see README.md.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 10, "how often everything is run")
	repeat := flag.Int("repeat", 5, "how often in a round")
	short := flag.Duration("time", 50e6, "how long each benchmark runs each time")
	long := flag.Duration("signins", 100e6, "the same for whole sign-ins")
	from := flag.String("from", "", "read the output of \"go test -bench\" from this `file` instead of running anything; each repetition is a round")
	flag.Parse()
	var results []run
	if *from != "" {
		data, err := os.ReadFile(*from)
		if err != nil {
			log.Fatal(err)
		}
		results = parse(bytes.NewReader(data))
	} else {
		results = measure(*rounds, *repeat, *short, *long)
	}
	if len(results) == 0 {
		log.Fatal("ratios: no results")
	}
	report(os.Stdout, results)
}

// A run has the figures of one round: benchmark, unit, value.
type run map[string]map[string]float64

// parse reads the output of go test -bench. A benchmark that comes again begins
// another round.
func parse(r io.Reader) (runs []run) {
	lines := bufio.NewScanner(r)
	seen := map[string]int{}
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if seen[name] == len(runs) {
			runs = append(runs, run{})
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				figures[fields[i+1]] = value
			}
		}
		runs[seen[name]][name] = figures
		seen[name]++
	}
	return runs
}

// measure builds the benchmarks once and runs them, each time each in a process of
// its own: one that has run another before has other memory.
func measure(rounds, repeat int, short, long fmt.Stringer) (results []run) {
	dir, err := os.MkdirTemp("", "ratios")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "benchmarks.test")
	command("go", "test", "-c", "-o", binary, "github.com/authagent-go/authagent/benchmarks")
	names := slices.Sorted(maps.Keys(leastDisturbed(parse(bytes.NewReader(benchmark(binary, "", "1x"))))))
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, rounds)
		var output bytes.Buffer
		for range repeat {
			for _, name := range names {
				duration := short
				if strings.HasPrefix(name, "SignIns/") {
					duration = long
				}
				output.Write(benchmark(binary, name, duration.String()))
			}
		}
		results = append(results, leastDisturbed(parse(&output)))
	}
	return results
}

// benchmark runs the benchmark of this name, or all if it is empty, on one
// processor, so that what is done at the same time is counted too.
func benchmark(binary, name, duration string) []byte {
	pattern := "."
	if name != "" {
		pattern = "^Benchmark" + strings.ReplaceAll(name, "/", "$/^") + "$"
	}
	return command(binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", duration, "-test.cpu", "1")
}

// leastDisturbed takes, of each benchmark, the run that took the shortest time.
func leastDisturbed(runs []run) run {
	all := run{}
	for _, r := range runs {
		for name, figures := range r {
			if have, ok := all[name]; !ok || figures[cpu] < have[cpu] {
				all[name] = figures
			}
		}
	}
	return all
}

func command(name string, args ...string) []byte {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		os.Stderr.Write(out)
		log.Fatalf("ratios: %s: %v", name, err)
	}
	return out
}

const cpu = "cpu-ns/op"

// median returns the median over all rounds of what f makes of one, and whether
// there is any.
func median(runs []run, f func(run) (float64, bool)) (float64, bool) {
	var values []float64
	for _, r := range runs {
		if v, ok := f(r); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

func figure(name, unit string) func(run) (float64, bool) {
	return func(r run) (float64, bool) { v, ok := r[name][unit]; return v, ok }
}

// ratio is of one figure to another's in the same round.
func ratio(name, to, unit string) func(run) (float64, bool) {
	return func(r run) (float64, bool) {
		a, ok1 := r[name][unit]
		b, ok2 := r[to][unit]
		return a / b, ok1 && ok2 && b != 0
	}
}

// least is the smallest of several figures in one round.
func least(prefix string, names []string, unit string) func(run) (float64, bool) {
	return func(r run) (float64, bool) {
		var values []float64
		for _, name := range names {
			if v, ok := r[prefix+name][unit]; ok {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			return 0, false
		}
		return slices.Min(values), true
	}
}

// over is f divided by g.
func over(f, g func(run) (float64, bool)) func(run) (float64, bool) {
	return func(r run) (float64, bool) {
		a, ok1 := f(r)
		b, ok2 := g(r)
		return a / b, ok1 && ok2 && b != 0
	}
}

func report(w io.Writer, runs []run) {
	fmt.Fprintf(w, "Medians of %d rounds; in the first table also what the shortest times of all rounds give.\n", len(runs))
	targets(w, runs)
	table(w, runs, "A. Login redirect", "Login/", "limit", cpu, "cookie-bytes", "B/op", "allocs/op")
	table(w, runs, "B. Callback, two round trips", "Callback/", "limit", cpu, "B/op", "allocs/op")
	for _, part := range [...]string{"valid", "forged", "absent", "renew"} {
		table(w, runs, "C. Session check, "+part, "Session/"+part+"/", "floor", cpu, "B/op", "allocs/op")
	}
	table(w, runs, "C. Session check of a request that performs an action", "Session/action/", "authagent", cpu, "B/op", "allocs/op")
	table(w, runs, "D. Whole sign-ins, 32 browsers, HTTP clients as they come", "SignIns/default/", "limit", cpu, "sign-ins/s", "p99-ms", "dials/op")
	table(w, runs, "D. The same, http.DefaultTransport with enough idle connections", "SignIns/pooled/", "limit", cpu, "sign-ins/s", "p99-ms", "dials/op")
}

// A target is what is wanted of a ratio.
type target struct {
	text  string
	value func(run) (float64, bool)
	most  bool // the limit is an upper one
	limit float64
}

func targets(w io.Writer, runs []run) {
	var (
		peers    = []string{"byhand", "zitadel", "cap", "goth", "gologin", "pkgz"}
		withPKCE = []string{"byhand", "zitadel", "cap"}
		checkers = []string{"gorilla", "scs", "pkgz"}
	)
	all := leastDisturbed(runs)
	fmt.Fprintf(w, "\n| authagent | wanted | measured | | of the least of all rounds |\n|---|---|---|---|---|\n")
	for _, t := range []target{
		{"login, of the floor", ratio("Login/authagent", "Login/floor", cpu), true, 2.5},
		{"login, fastest peer with PKCE in relation", over(least("Login/", withPKCE, cpu), figure("Login/authagent", cpu)), false, 5},
		{"login, allocations", figure("Login/authagent", "allocs/op"), true, 15},
		{"callback, of the bare round trips", ratio("Callback/authagent", "Callback/limit", cpu), true, 1.35},
		{"valid session, of the floor", ratio("Session/valid/authagent", "Session/valid/floor", cpu), true, 2},
		{"valid session, gorilla CookieStore in relation", ratio("Session/valid/gorilla", "Session/valid/authagent", cpu), false, 10},
		{"valid session, scs in relation", ratio("Session/valid/scs", "Session/valid/authagent", cpu), false, 10},
		{"valid session, allocations", figure("Session/valid/authagent", "allocs/op"), true, 18},
		{"valid session with approval, limits and audit, of the floor", ratio("Session/valid/authagent-owners", "Session/valid/floor", cpu), true, 4},
		{"forged session, of the cheapest peer", over(figure("Session/forged/authagent", cpu), least("Session/forged/", checkers, cpu)), true, 1},
		{"absent session, of the cheapest peer", over(figure("Session/absent/authagent", cpu), least("Session/absent/", checkers, cpu)), true, 1},
		{"sign-ins per processor second, of the bare round trips", ratio("SignIns/default/limit", "SignIns/default/authagent", cpu), false, 0.75},
		{"sign-ins per processor second, of the best peer as it comes",
			over(least("SignIns/default/", peers, cpu), figure("SignIns/default/authagent", cpu)), false, 1},
		{"sign-ins per processor second, of the best peer with pooled connections",
			over(least("SignIns/pooled/", peers, cpu), figure("SignIns/pooled/authagent", cpu)), false, 1},
		{"connections dialled per sign-in once warm", figure("SignIns/default/authagent", "dials/op"), true, 0},
	} {
		value, ok := median(runs, t.value)
		if !ok {
			continue
		}
		sign, met := "≥", value >= t.limit
		if t.most {
			sign, met = "≤", value <= t.limit
		}
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		undisturbed, _ := t.value(all)
		fmt.Fprintf(w, "| %s | %s %.4g | %.2f | %s | %.2f |\n", t.text, sign, t.limit, value, verdict, undisturbed)
	}
}

// table prints the medians of all benchmarks with this prefix, and the ratio of
// the first unit to that of base.
func table(w io.Writer, runs []run, title, prefix, base string, units ...string) {
	names := map[string]bool{}
	for _, r := range runs {
		for name := range r {
			if subject, ok := strings.CutPrefix(name, prefix); ok {
				names[subject] = true
			}
		}
	}
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n\n| | of the %s | %s |\n|---|%s\n", title, base, strings.Join(units, " | "), strings.Repeat("---|", len(units)+1))
	order := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		x, _ := median(runs, figure(prefix+a, units[0]))
		y, _ := median(runs, figure(prefix+b, units[0]))
		return int(x - y)
	})
	for _, name := range order {
		of, _ := median(runs, ratio(prefix+name, prefix+base, units[0]))
		fmt.Fprintf(w, "| %s | %.2f |", name, of)
		for _, unit := range units {
			value, ok := median(runs, figure(prefix+name, unit))
			if !ok {
				fmt.Fprint(w, " – |")
				continue
			}
			fmt.Fprintf(w, " %.4g |", value)
		}
		fmt.Fprintln(w)
	}
}
