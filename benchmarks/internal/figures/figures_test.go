package figures

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

const output = `goos: linux
cpu: Some Processor @ 2 GHz
BenchmarkA/x-2   	    1000	      12345.6 ns/op	         3 cpu-ns/op
BenchmarkA/y-2   	    1000	         2 ns/op	         1 cpu-ns/op
BenchmarkA/x-2   	    1000	        20 ns/op	         5 cpu-ns/op
PASS
ok  	example.com/a	1.2s
`

func read(t *testing.T, text string) Results {
	t.Helper()
	r, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRead: a benchmark that comes again begins another round, and what is written can be read again.
func TestRead(t *testing.T) {
	r := read(t, output)
	if len(r.Rounds) != 2 || len(r.Rounds[0]) != 2 || len(r.Rounds[1]) != 1 || r.Rounds[1]["A/x"]["ns/op"] != 20 {
		t.Fatalf("%+v", r)
	}
	if r.Fact("cpu") != "Some Processor @ 2 GHz" || r.Fact("date") != "" {
		t.Errorf("facts %+v", r.Facts)
	}
	var written bytes.Buffer
	if err := r.Write(&written); err != nil {
		t.Fatal(err)
	}
	again := read(t, written.String())
	if got := again.Rounds[0]["A/x"]; got["ns/op"] != 12350 || !maps.Equal(again.Rounds[0]["A/y"], r.Rounds[0]["A/y"]) || len(again.Rounds) != 2 {
		t.Errorf("%s", written.String())
	}
}

// TestValues: what is worked out of rounds, and that a round without a figure does not count.
func TestValues(t *testing.T) {
	r := read(t, output)
	for name, test := range map[string]struct {
		value Value
		want  float64
		ok    bool
	}{
		"figure":    {Figure("A/x", CPU), 4, true},
		"ratio":     {Ratio("A/x", "A/y", CPU), 3, true},
		"less":      {Less(Figure("A/x", CPU), Figure("A/y", CPU)), 2, true},
		"least":     {Least("A/", []string{"x", "y", "z"}, CPU), 3, true},
		"none":      {Figure("A/z", CPU), 0, false},
		"over none": {Over(Figure("A/x", CPU), Figure("A/x", "dials/op")), 0, false},
	} {
		if got, ok := r.Median(test.value); got != test.want || ok != test.ok {
			t.Errorf("%s: %v %v, want %v %v", name, got, ok, test.want, test.ok)
		}
	}
	if got := LeastDisturbed(r.Rounds)["A/x"][CPU]; got != 3 {
		t.Errorf("the least disturbed has %v", got)
	}
}

// TestSections: the figures of what is nobody's are taken off on both sides of a ratio, and only then.
func TestSections(t *testing.T) {
	r := read(t, `
BenchmarkS/us 1 50 cpu-ns/op 90 allocs/op
BenchmarkS/limit 1 30 cpu-ns/op 50 allocs/op
BenchmarkS/signing 1 10 cpu-ns/op 40 allocs/op
`)
	s := Section{Prefix: "S/", Base: "limit", Beside: "S/signing", Hidden: []string{"signing"}, Units: []string{CPU, "allocs/op"}}
	var table bytes.Buffer
	s.Table(&table, r)
	if want := "| limit | 1.00 | 20 | 10 |\n| us | 2.00 | 40 | 50 |\n"; !strings.HasSuffix(table.String(), want) {
		t.Errorf("%s", table.String())
	}
	for i, s := range Sections() {
		for _, other := range Sections()[:i] {
			if s.Title == other.Title || strings.HasPrefix(s.Prefix, other.Prefix) {
				t.Errorf("%q is the section of %q too", s.Prefix, other.Prefix)
			}
		}
	}
}
