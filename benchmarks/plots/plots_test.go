package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const docsFolder = "../../docs"

// TestPlots: the page and its charts are what is drawn from the results. After new results, "go run ./plots" writes them.
func TestPlots(t *testing.T) {
	files, err := render("..", docsFolder)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if have, err := os.ReadFile(filepath.Join(docsFolder, name)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("docs/%s is not what is drawn from the results: run go run ./plots (%v)", name, err)
		}
	}
	there, err := filepath.Glob(filepath.Join(docsFolder, folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range there {
		if _, ok := files[folder+"/"+filepath.Base(name)]; !ok {
			t.Errorf("%s is not drawn any more", name)
		}
	}
}

// everything draws all charts that there are: of the results, and of made up ones of databases and growth.
func everything(t *testing.T) map[string][]byte {
	t.Helper()
	from := t.TempDir()
	for _, name := range []string{"../results.txt", "testdata/databases.txt", "testdata/growth.txt"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, filepath.Base(name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := render(from, docsFolder)
	if err != nil {
		t.Fatal(err)
	}
	again, err := render(from, docsFolder)
	if err != nil || !maps.EqualFunc(files, again, bytes.Equal) {
		t.Fatal("drawn again, it is not the same: ", err)
	}
	if !strings.Contains(string(files[page]), "growth-database-request.svg") || len(files[folder+"/databases-get.svg"]) == 0 {
		t.Error("databases and growth are not drawn")
	}
	delete(files, page)
	return files
}

// A written is a text of a chart, and the room that it takes.
type written struct {
	text                     string
	left, right, top, bottom float64
}

// TestLabels: in no chart does a text cover another one, or leave the paper. Each chart says in words what it shows.
func TestLabels(t *testing.T) {
	for name, file := range everything(t) {
		labels, said := labelsOf(t, file)
		if len(said["title"]) == 0 || len(said["desc"]) < 40 {
			t.Errorf("%s: title %q, desc %q", name, said["title"], said["desc"])
		}
		for i, a := range labels {
			if a.left < 0 || a.right > width {
				t.Errorf("%s: %q goes from %.0f to %.0f", name, a.text, a.left, a.right)
			}
			for _, b := range labels[:i] {
				if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
					t.Errorf("%s: %q covers %q", name, a.text, b.text)
				}
			}
		}
	}
}

// labelsOf reads an SVG, and what its title and desc say.
func labelsOf(t *testing.T, file []byte) (labels []written, said map[string]string) {
	t.Helper()
	said = map[string]string{}
	for decoder := xml.NewDecoder(bytes.NewReader(file)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return labels, said
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || !slices.Contains([]string{"text", "title", "desc"}, start.Name.Local) {
			continue
		}
		var text string
		if err := decoder.DecodeElement(&text, &start); err != nil {
			t.Fatal(err)
		}
		if start.Name.Local == "text" {
			labels = append(labels, labelOf(t, start, text))
		} else {
			said[start.Name.Local] = text
		}
	}
}

func labelOf(t *testing.T, start xml.StartElement, text string) written {
	t.Helper()
	attribute := map[string]string{}
	for _, a := range start.Attr {
		attribute[a.Name.Local] = a.Value
	}
	x, err1 := strconv.ParseFloat(attribute["x"], 64)
	y, err2 := strconv.ParseFloat(attribute["y"], 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	size := textSize
	switch {
	case strings.Contains(attribute["class"], "title"):
		size = titleSize
	case strings.Contains(attribute["class"], "small"):
		size = smallSize
	}
	left, w := x, textWidth(text, size)
	switch attribute["text-anchor"] {
	case "middle":
		left -= w / 2
	case "end":
		left -= w
	}
	return written{text, left, left + w, y - 0.75*size, y + 0.2*size}
}

// TestFill: what a person wrote stays, and a block that is missing or unknown is an error.
func TestFill(t *testing.T) {
	const text = "before\n<!-- plots: a -->\nold\n<!-- end -->\nafter\n"
	got, err := fill([]byte(text), map[string]string{"a": "new\n"})
	if want := strings.Replace(text, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, blocks := range []map[string]string{{}, {"a": "", "b": ""}} {
		if got, err := fill([]byte(text), blocks); err == nil {
			t.Errorf("%v: %q", blocks, got)
		}
	}
}
