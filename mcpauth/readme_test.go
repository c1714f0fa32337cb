package mcpauth_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadme: the lines that the README shows are those of the example, which is compiled and run.
func TestReadme(t *testing.T) {
	readme, err1 := os.ReadFile("../README.md")
	example, err2 := os.ReadFile("example_test.go")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	_, section, _ := strings.Cut(string(readme), "### Your API, and your MCP server\n")
	section, _, _ = strings.Cut(section, "\n### ")
	found := 0
	for line := range strings.Lines(section) {
		code, isCode := strings.CutPrefix(line, "    ")
		if !isCode {
			continue
		}
		if found++; !strings.Contains(string(example), "\t"+code) {
			t.Errorf("the example has no line %q", code)
		}
	}
	if found != 5 {
		t.Errorf("the README has %d lines, want 5", found)
	}
}
