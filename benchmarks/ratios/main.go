// Ratios runs the benchmarks of this module a number of times and prints, as
// Markdown, the medians and what they are in relation to the floor, the limit and
// the peers, beside what is wanted.
//
//	go run ./ratios -save results.txt
//
// A ratio is taken within one round, where all have had the same machine, and the
// median is of the ratios of all rounds. In a round everything is run several times
// in turn, and the time that was disturbed the least, which is the shortest, stands
// for it: on a virtual machine the neighbours slow one run in two. Time is the time
// of the process on a processor; see README.md.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/benchmarks/internal/figures"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 10, "how often everything is run")
	repeat := flag.Int("repeat", 5, "how often in a round")
	short := flag.Duration("time", 50e6, "how long each benchmark runs each time")
	long := flag.Duration("signins", 100e6, "the same for whole sign-ins")
	from := flag.String("from", "", "read the output of \"go test -bench\" from this `file` instead of running anything; each repetition is a round")
	save := flag.String("save", "", "write what was measured to this `file` after each round, as \"go test -bench\" prints it")
	flag.Parse()
	var results figures.Results
	if *from != "" {
		results = read(*from)
	} else {
		results = measure(*rounds, *repeat, *short, *long, func(done figures.Results) {
			if *save != "" {
				write(*save, done)
			}
		})
	}
	if len(results.Rounds) == 0 {
		log.Fatal("ratios: no results")
	}
	report(os.Stdout, results)
}

func read(name string) figures.Results {
	file, err := os.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	results, err := figures.Read(file)
	if err != nil {
		log.Fatal(err)
	}
	return results
}

func write(name string, results figures.Results) {
	var text bytes.Buffer
	results.Write(&text)
	if err := os.WriteFile(name, text.Bytes(), 0o666); err != nil {
		log.Fatal(err)
	}
}

// measure builds the benchmarks once and runs them, each time each in a process of
// its own: one that has run another before has other memory. It calls saved after each round.
func measure(rounds, repeat int, short, long time.Duration, saved func(figures.Results)) figures.Results {
	dir, err := os.MkdirTemp("", "ratios")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "benchmarks.test")
	command("go", "test", "-c", "-o", binary, "github.com/authagent-go/authagent/benchmarks")
	first := parse(benchmark(binary, "", "1x"))
	results := figures.Results{Facts: append([]figures.Fact{
		{Name: "date", Value: time.Now().UTC().Format(time.DateOnly)},
		{Name: "go", Value: runtime.Version()},
		{Name: "processors", Value: fmt.Sprint(runtime.NumCPU(), ", of which one is used")},
		{Name: "rounds", Value: fmt.Sprintf("each is the least disturbed of %d runs", repeat)},
	}, first.Facts...)}
	names := slices.Sorted(maps.Keys(figures.LeastDisturbed(first.Rounds)))
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
		results.Rounds = append(results.Rounds, figures.LeastDisturbed(parse(output.Bytes()).Rounds))
		saved(results)
	}
	return results
}

func parse(output []byte) figures.Results {
	results, err := figures.Read(bytes.NewReader(output))
	if err != nil {
		log.Fatal(err)
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

func report(w io.Writer, results figures.Results) {
	fmt.Fprintf(w, "Medians of %d rounds; in the first table also what the shortest times of all rounds give.\n\n", len(results.Rounds))
	figures.WriteGoals(w, results)
	for _, s := range figures.Sections() {
		if len(s.Rows(results)) > 0 {
			fmt.Fprintf(w, "\n%s\n\n", s.Title)
			s.Table(w, results)
		}
	}
}
