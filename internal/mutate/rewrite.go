package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"

	"github.com/authagent-go/authagent/internal/mutate/choice"
)

//go:embed choice/choice.go
var choiceSource []byte

// choicePath is where package choice is in every module that is built with mutants.
const choicePath = "internal/mutate/choice"

// choiceName is what files import the package as. Nothing else is called so.
const choiceName = "choice_"

// writeOverlay writes the files of the conditions as rewrite changes them, and an overlay
// that puts them in place of the module's files. The module is not changed.
func (m *module) writeOverlay(conditions []condition) error {
	byFile := make(map[string][]condition)
	for _, c := range conditions {
		if c.number > choice.Max {
			return fmt.Errorf("more than %d conditions", choice.Max)
		}
		byFile[c.file] = append(byFile[c.file], c)
	}
	replace := make(map[string]string)
	add := func(file string, source []byte) error {
		changed := filepath.Join(m.scratch, fmt.Sprint(len(replace), ".go"))
		replace[filepath.Join(m.dir, file)] = changed
		return os.WriteFile(changed, source, 0o600)
	}
	err := add(choicePath+"/choice.go", choiceSource)
	for file, found := range byFile {
		source, readErr := os.ReadFile(filepath.Join(m.dir, file))
		source, rewriteErr := rewrite(source, found, m.path+"/"+choicePath)
		err = errors.Join(err, readErr, rewriteErr, add(file, source))
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	m.overlay = filepath.Join(m.scratch, "overlay.json")
	return os.WriteFile(m.overlay, data, 0o600)
}

// rewrite puts each condition of a file into a call of choice.Value. Operands that &&
// and || skip stay skipped, and no line changes its number.
func rewrite(source []byte, conditions []condition, importPath string) ([]byte, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	type insertion struct {
		at   int
		text string
	}
	// Offsets are positions less one, as this is the only file of its set.
	insertions := []insertion{{int(file.Name.End()) - 1, fmt.Sprintf("; import %s %q", choiceName, importPath)}}
	open := func(c condition) {
		insertions = append(insertions, insertion{c.start, fmt.Sprintf("%s.Value(%d, ", choiceName, c.number)})
	}
	closing := func(c condition) {
		text := ")"
		if c.untyped {
			text = ") == true" // which is untyped again
		}
		insertions = append(insertions, insertion{c.end, text})
	}
	// Of conditions that begin or end at the same place, the outer one is opened first
	// and closed last.
	inner := slices.SortedFunc(slices.Values(conditions), func(a, b condition) int {
		return cmp.Compare(a.end-a.start, b.end-b.start)
	})
	for i := range inner {
		open(inner[len(inner)-1-i])
		closing(inner[i])
	}
	slices.SortStableFunc(insertions, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	var out bytes.Buffer
	done := 0
	for _, i := range insertions {
		out.Write(source[done:i.at])
		out.WriteString(i.text)
		done = i.at
	}
	out.Write(source[done:])
	return out.Bytes(), nil
}
