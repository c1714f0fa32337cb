// Package choice is linked into the tests that mutate builds. Each condition asks it
// for its value. So one build has all mutants, and the environment chooses one.
package choice

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Mutant is the environment variable that chooses a mutant: the number of its
// condition, a space, and "negate", or "true" or "false" for that value always.
const Mutant = "MUTATE_MUTANT"

// Reached is the environment variable that names a file. The numbers of the conditions
// that were evaluated are appended to it. Each process writes a number once.
const Reached = "MUTATE_REACHED"

// Max is the greatest number of a condition. The least is 1.
const Max = 1<<16 - 1

// Packages that import this one set their variables after these.
var (
	chosen, change = mutant()
	reached        = file()
	seen           [Max + 1]atomic.Bool
)

func mutant() (number int, change string) {
	text, change, ok := strings.Cut(os.Getenv(Mutant), " ")
	if !ok {
		return 0, ""
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		panic(Mutant + ": " + err.Error())
	}
	return number, change
}

func file() *os.File {
	name := os.Getenv(Reached)
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(Reached + ": " + err.Error())
	}
	return f
}

// Value returns the value of the condition with this number. That is its own value,
// unless its mutant is chosen.
func Value[B ~bool](number int, own B) B {
	if reached != nil && !seen[number].Load() && !seen[number].Swap(true) {
		fmt.Fprintln(reached, number)
	}
	if number != chosen {
		return own
	}
	switch change {
	case "negate":
		return !own
	case "true":
		return true
	}
	return false
}
