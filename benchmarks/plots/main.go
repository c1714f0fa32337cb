// Plots draws the charts of docs/performance.md, and writes the tables in it, from what the benchmarks have measured.
//
//	go run ./plots
//
// It reads results.txt, which ratios -save writes, and databases.txt and growth.txt, if they are there. README.md says how
// to make them. From the same files it always makes the same bytes, and TestPlots fails if docs has others.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/authagent-go/authagent/benchmarks/internal/figures"
)

func main() {
	log.SetFlags(0)
	from := flag.String("from", ".", "the `folder` with results.txt, databases.txt and growth.txt")
	docs := flag.String("docs", "../docs", "the `folder` of performance.md")
	flag.Parse()
	files, err := render(*from, *docs)
	if err != nil {
		log.Fatal("plots: ", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(*docs, name), files[name], 0o666); err != nil {
			log.Fatal("plots: ", err)
		}
	}
}

const (
	page   = "performance.md"
	folder = "performance" // of the charts, beside the page
)

// measured is all that there is to draw.
type measured struct {
	beside    figures.Results // this module: authagent and the others
	databases figures.Results // internal/enginetest
	growth    figures.Results // the root
}

// render returns the files in docs, by their names there: the page with its blocks written anew, and the charts.
func render(from, docs string) (map[string][]byte, error) {
	var m measured
	for name, results := range map[string]*figures.Results{"results.txt": &m.beside, "databases.txt": &m.databases, "growth.txt": &m.growth} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil && (name == "results.txt" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		if *results, err = figures.Read(bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(docs, page))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	written, err := fill(text, m.blocks(files))
	if err != nil {
		return nil, err
	}
	files[page] = written
	return files, nil
}
