package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/authagent-go/authagent/benchmarks/internal/figures"
)

var blockMarks = regexp.MustCompile(`(?s)<!-- plots: ([a-z-]+) -->\n.*?<!-- end -->`)

// fill writes the blocks of a page anew. What a person wrote between them stays.
func fill(page []byte, blocks map[string]string) (filled []byte, err error) {
	filled = blockMarks.ReplaceAllFunc(page, func(block []byte) []byte {
		name := string(blockMarks.FindSubmatch(block)[1])
		text, ok := blocks[name]
		if !ok {
			err = fmt.Errorf("there is no block %q", name)
		}
		delete(blocks, name)
		return fmt.Appendf(nil, "<!-- plots: %s -->\n%s<!-- end -->", name, text)
	})
	for name := range blocks {
		return nil, fmt.Errorf("the page has no place for %q", name)
	}
	return filled, err
}

// A block is a part of the page.
type block struct {
	strings.Builder
	files map[string][]byte
	facts string
}

// chart draws a chart, and shows it.
func (b *block) chart(name string, c chart) {
	b.files[folder+"/"+name+".svg"] = c.draw(b.facts)
	fmt.Fprintf(b, "![%s](%s/%s.svg)\n\n", c.alt(), folder, name)
}

// folded hides a table until somebody wants to see it.
func (b *block) folded(title string, table func(b *block)) {
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n", title)
	table(b)
	b.WriteString("\n</details>\n\n")
}

// blocks makes all parts of the page, and puts the charts into files.
func (m measured) blocks(files map[string][]byte) map[string]string {
	made := map[string]string{}
	write := func(name string, r figures.Results, f func(b *block)) {
		b := &block{files: files, facts: facts(r)}
		f(b)
		made[name] = strings.TrimRight(b.String(), "\n") + "\n"
	}
	write("run", m.beside, func(b *block) {
		fmt.Fprintf(b, "- medians of %d rounds\n", len(m.beside.Rounds))
		for _, f := range m.beside.Facts {
			if f.Name != "pkg" {
				fmt.Fprintf(b, "- %s: %s\n", f.Name, f.Value)
			}
		}
	})
	write("goals", m.beside, func(b *block) { figures.WriteGoals(b, m.beside) })
	for name, charts := range sectionCharts() {
		write(name, m.beside, func(b *block) { m.sections(b, charts) })
	}
	write("databases", m.databases, func(b *block) { writeDatabases(b, m.databases) })
	write("growth", m.growth, func(b *block) {
		writeGrowth(b, "growth-", m.growth)
		b.facts = facts(m.databases)
		writeGrowth(b, "growth-database-", m.databases)
		if b.Len() == 0 {
			b.WriteString("Not measured in this run.\n")
		}
	})
	return made
}

// facts say in a line where figures come from.
func facts(r figures.Results) string {
	var known []string
	for _, name := range [...]string{"date", "go", "cpu"} {
		if value := r.Fact(name); value != "" {
			known = append(known, value)
		}
	}
	return strings.Join(known, ", ")
}

// sections shows charts, and below them the tables of the sections whose benchmarks begin with the same word.
func (m measured) sections(b *block, charts []sectionChart) {
	for _, c := range charts {
		if drawn := c.of(m.beside); drawn != nil {
			b.chart(c.file, drawn)
		}
	}
	shown := map[string]bool{}
	for _, c := range charts {
		for _, s := range figures.Sections() {
			if strings.HasPrefix(s.Prefix, c.tables) && !shown[s.Title] && len(s.Rows(m.beside)) > 0 {
				shown[s.Title] = true
				b.folded(s.Title, func(b *block) { s.Table(b, m.beside) })
			}
		}
	}
}
