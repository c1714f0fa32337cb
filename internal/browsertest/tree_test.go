package browsertest_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// trees is where the accessibility trees are kept.
const trees = "testdata/ax"

// golden compares the page's tree with the file of that name.
func (b *tab) golden(name, got string) {
	b.t.Helper()
	file := filepath.Join(trees, name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			b.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		b.t.Error(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		b.t.Errorf("%s (go test -run TestPages -update writes it anew):\n%s", file, diff)
	}
}

// A tree is what Chromium tells a screen reader of a page.
type tree struct {
	nodes map[accessibility.NodeID]*accessibility.Node
	open  map[cdp.BackendNodeID]bool // what was unfolded before the test unfolded all
	out   strings.Builder
}

// describe returns the page's accessibility tree as an indented text: roles, names, states
// and values. What is folded is in it too, and marked as collapsed. What differs from run
// to run is replaced.
func (b *tab) describe() string {
	b.t.Helper()
	t := &tree{nodes: make(map[accessibility.NodeID]*accessibility.Node), open: make(map[cdp.BackendNodeID]bool)}
	for _, n := range b.nodes() {
		t.open[n.BackendDOMNodeID] = property(n, "expanded") == "true"
	}
	if b.unfold() {
		defer b.fold()
	}
	all := b.nodes()
	for _, n := range all {
		t.nodes[n.NodeID] = n
	}
	t.print(all[0], "", 0)
	return b.steady(t.out.String())
}

func (b *tab) nodes() []*accessibility.Node {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	all, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil || len(all.Nodes) == 0 {
		b.t.Fatalf("no accessibility tree: %v", err)
	}
	return all.Nodes
}

// roles are Chromium's own names of roles, and what the text says instead. Nodes with an
// empty one are left out, but not what is below them.
var roles = map[string]string{
	"RootWebArea": "page", "StaticText": "text", "LabelText": "label", "Legend": "legend", "Figcaption": "caption", "DescriptionList": "descriptions",
	"DisclosureTriangle": "summary", "DisclosureTriangleGrouped": "summary", "MenuListPopup": "", "none": "", "generic": "",
}

func role(n *accessibility.Node) string {
	name := text(n.Role)
	if other, ok := roles[name]; ok {
		return other
	}
	return name
}

// print writes a node and those below it. above is the name of the node above it.
func (t *tree) print(n *accessibility.Node, above string, depth int) {
	role, name, inside := role(n), oneLine(text(n.Name)), oneLine(t.inside(n))
	if n.Ignored || role == "" {
		t.printChildren(n, above, depth)
		return
	}
	plain := t.plain(n)
	switch {
	case unspoken[role], role == "text" && inside == "":
		return
	case plain && naming[role] && squeeze(inside) == squeeze(above): // the node above has its name from it
		return
	case role == "label" && squeeze(inside) == squeeze(t.labelled(n)): // and so has the field
		t.printFields(n, depth)
		return
	}
	line := strings.Repeat("  ", depth) + role
	if name != "" && role != "text" {
		line += " " + quote(name)
	}
	if plain && inside != "" && (role == "text" || squeeze(inside) != squeeze(name)) {
		line += ": " + quote(inside)
	}
	t.out.WriteString(line + t.states(n) + "\n")
	if !plain {
		t.printChildren(n, name, depth+1)
	}
}

func (t *tree) children(n *accessibility.Node) (all []*accessibility.Node) {
	for _, id := range n.ChildIDs {
		if child := t.nodes[id]; child != nil {
			all = append(all, child)
		}
	}
	return all
}

func (t *tree) printChildren(n *accessibility.Node, above string, depth int) {
	for _, child := range t.children(n) {
		t.print(child, above, depth)
	}
}

// printFields writes what is in a label beside its text.
func (t *tree) printFields(n *accessibility.Node, depth int) {
	for _, child := range t.children(n) {
		switch {
		case role(child) == "text":
		case child.Ignored, inline[role(child)]:
			t.printFields(child, depth)
		default:
			t.print(child, "", depth)
		}
	}
}

// labelled returns the name of the field in a label, empty if there is none.
func (t *tree) labelled(n *accessibility.Node) string {
	for _, child := range t.children(n) {
		if !child.Ignored && !inline[role(child)] {
			return text(child.Name)
		}
		if name := t.labelled(child); name != "" {
			return name
		}
	}
	return ""
}

var (
	unspoken = map[string]bool{"ListMarker": true, "LineBreak": true, "InlineTextBox": true}
	naming   = map[string]bool{"legend": true, "caption": true}

	// What is a part of a text.
	inline = map[string]bool{
		"": true, "text": true, "InlineTextBox": true, "LineBreak": true, "ListMarker": true,
		"code": true, "strong": true, "emphasis": true, "time": true, "mark": true,
	}
)

// plain reports whether there is nothing but text in a node.
func (t *tree) plain(n *accessibility.Node) bool {
	for _, child := range t.children(n) {
		if !child.Ignored && !inline[role(child)] || !t.plain(child) {
			return false
		}
	}
	return true
}

// inside returns the text in a node, without that of fields and of what else is no text.
func (t *tree) inside(n *accessibility.Node) string {
	switch role(n) {
	case "text":
		return text(n.Name)
	case "LineBreak":
		return " "
	case "ListMarker", "InlineTextBox":
		return ""
	}
	var all strings.Builder
	for _, child := range t.children(n) {
		if child.Ignored || inline[role(child)] {
			all.WriteString(t.inside(child))
		}
	}
	return all.String()
}

// states are what is to be known of a node beside its role and its name.
func (t *tree) states(n *accessibility.Node) string {
	var all []string
	for _, p := range n.Properties {
		switch value := text(p.Value); {
		case p.Name == "expanded" && value == "true" && t.open[n.BackendDOMNodeID]:
			all = append(all, "expanded")
		case p.Name == "expanded":
			all = append(all, "collapsed")
		case p.Name == "level" && role(n) == "heading", p.Name == "live":
			all = append(all, string(p.Name)+"="+value)
		case p.Name == "checked" && value == "false":
			all = append(all, "unchecked")
		case shown[p.Name] && value != "false":
			all = append(all, string(p.Name))
		}
	}
	if value := oneLine(text(n.Value)); value != "" {
		all = append(all, "value="+quote(value))
	}
	if described := oneLine(text(n.Description)); described != "" {
		all = append(all, "description="+quote(described))
	}
	if len(all) == 0 {
		return ""
	}
	return " [" + strings.Join(all, " ") + "]"
}

// shown are the properties that are shown if they are not false.
var shown = map[accessibility.PropertyName]bool{
	"checked": true, "required": true, "disabled": true, "invalid": true, "selected": true, "readonly": true, "pressed": true, "modal": true, "busy": true,
}

// property returns a property of a node, empty if it has none of that name.
func property(n *accessibility.Node, name accessibility.PropertyName) string {
	for _, p := range n.Properties {
		if p.Name == name {
			return text(p.Value)
		}
	}
	return ""
}

// text returns the value of a property, empty if there is none.
func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var s string
	if json.Unmarshal(v.Value, &s) == nil {
		return s
	}
	return string(v.Value)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

func quote(s string) string { return `"` + s + `"` }

// changing are the texts that differ from run to run, and what stands in their place.
var changing = []struct {
	text *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`\d{1,2}\.? (Jan|Feb|Mar|Mär|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[ck]t|Nov|De[cz])\pL*( 20\d\d)?(, \d\d:\d\d( Uhr)?( UTC)?)?`), "TIME"},
	{regexp.MustCompile(`· (request|Anfrage) [0-9A-Za-z_-]{8,}`), "· $1 ID"},
	{regexp.MustCompile(`/confirm\?token=\S+`), "/confirm?token=TOKEN"},
	{regexp.MustCompile(`http://(127\.0\.0\.1|localhost):\d+`), "http://HOST"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`), "HOST"},
}

// steady replaces what differs from run to run: times, and what is made with the site's keys
// or has its port.
func (b *tab) steady(s string) string {
	b.t.Helper()
	times := found(b, `[...document.querySelectorAll("time")].map(e => e.textContent)`)
	slices.SortFunc(times, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	for _, time := range times {
		if time = oneLine(time); time != "" {
			s = strings.ReplaceAll(s, time, "TIME")
		}
	}
	for _, code := range found(b, `[...document.querySelectorAll(".code, .compare code")].map(e => e.textContent)`) {
		s = strings.ReplaceAll(s, code, "CODE")
	}
	for _, c := range changing {
		s = c.text.ReplaceAllString(s, c.put)
	}
	return s
}
