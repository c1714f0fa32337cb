package main

import (
	"fmt"
	"strings"
)

// parseEquivalents reads equivalent.txt: a line has the file, the function, the
// change, the condition and the reason, separated by tabs. A line that matches no
// condition is an error, since what it was written for has changed.
func parseEquivalents(text string, all []condition) (map[string]string, error) {
	there := make(map[string]bool)
	for _, c := range all {
		for _, change := range changes {
			there[mutant{c, change}.key()] = true
		}
	}
	reasons := make(map[string]string)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		last := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 4 || strings.TrimSpace(line[last:]) == "" {
			return nil, fmt.Errorf("equivalent.txt line %d: want file, function, change, condition and reason, separated by tabs", number)
		}
		if !there[line[:last]] {
			return nil, fmt.Errorf("equivalent.txt line %d: matches no condition: %s", number, line[:last])
		}
		reasons[line[:last]] = line[last+1:]
	}
	return reasons, nil
}
