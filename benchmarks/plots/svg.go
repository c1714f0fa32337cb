package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// width is that of all charts. At it they fit a page as it is, and a phone at a little more than half the size.
const width = 640.0

const (
	margin    = 16.0
	titleSize = 18.0
	textSize  = 15.0
	smallSize = 13.0
)

// style paints a background, so that a chart can be read on any page, and follows the reader's choice of light or dark.
const style = `
.page{fill:#ffffff;stroke:#d1d9e0}
text{fill:#1f2328;font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:15px}
.title{font-size:18px;font-weight:600}
.small{fill:#59636e;font-size:13px}
.value{stroke:#ffffff;stroke-width:4px;paint-order:stroke;stroke-linejoin:round}
.bold{font-weight:600}
.grid{stroke:#d1d9e0}
.mark{stroke:#1f2328;stroke-width:1.5;stroke-dasharray:4 3}
.ours{fill:#0969da}
.more{fill:#5b9be8}
.floor{fill:#ffffff;stroke:#6e7781;stroke-width:1.5}
.peer{fill:#818b98}
.pale{fill:#c1c8cf}
.s0{fill:#0969da;stroke:#0969da}
.s1{fill:#bf3989;stroke:#bf3989}
.s2{fill:#1a7f37;stroke:#1a7f37}
.s3{fill:#9a6700;stroke:#9a6700}
.s4{fill:#8250df;stroke:#8250df}
.s5{fill:#57606a;stroke:#57606a}
polyline{stroke-width:2}
polyline.s0,polyline.s1,polyline.s2,polyline.s3,polyline.s4,polyline.s5{fill:none}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117;stroke:#3d444d}
text{fill:#f0f6fc}
.small{fill:#9198a1}
.value{stroke:#0d1117}
.grid{stroke:#3d444d}
.mark{stroke:#f0f6fc}
.ours{fill:#4493f8}
.more{fill:#2f67ad}
.floor{fill:#0d1117;stroke:#9198a1}
.peer{fill:#7d8590}
.pale{fill:#474e57}
.s0{fill:#4493f8;stroke:#4493f8}
.s1{fill:#db61a2;stroke:#db61a2}
.s2{fill:#3fb950;stroke:#3fb950}
.s3{fill:#d29922;stroke:#d29922}
.s4{fill:#ab7df8;stroke:#ab7df8}
.s5{fill:#9198a1;stroke:#9198a1}
}
`

// A drawing is an SVG that grows downwards.
type drawing struct {
	body strings.Builder
	y    float64
}

func (d *drawing) text(x, y float64, anchor, class, content string) {
	fmt.Fprintf(&d.body, `<text x="%s" y="%s" text-anchor="%s"`, number(x), number(y), anchor)
	if class != "" {
		fmt.Fprintf(&d.body, ` class="%s"`, class)
	}
	fmt.Fprintf(&d.body, ">%s</text>\n", html.EscapeString(content))
}

// caption writes the name of an axis in the middle of it, or as near as the paper is wide enough for.
func (d *drawing) caption(x scale, y float64, content string) {
	half := textWidth(content, smallSize) / 2
	middle := max(margin+half, min((x.from+x.to)/2, width-margin-half))
	d.text(middle, y, "middle", "small", content)
}

func (d *drawing) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(&d.body, `<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`+"\n", number(x), number(y), number(w), number(h), class)
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&d.body, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`+"\n", number(x1), number(y1), number(x2), number(y2), class)
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.body, format+"\n", args...) }

// heading writes a title and what is said below it, in as many lines as they take.
func (d *drawing) heading(title string, below ...string) {
	d.y = margin + titleSize
	for _, line := range wrap(title, titleSize, width-2*margin) {
		d.text(margin, d.y, "start", "title", line)
		d.y += titleSize + 6
	}
	for _, paragraph := range below {
		for _, line := range wrap(paragraph, smallSize, width-2*margin) {
			d.text(margin, d.y, "start", "small", line)
			d.y += smallSize + 5
		}
	}
	d.y += 10
}

// footing writes small lines at the end.
func (d *drawing) footing(text string) {
	for _, line := range wrap(text, smallSize, width-2*margin) {
		d.text(margin, d.y, "start", "small", line)
		d.y += smallSize + 5
	}
}

// svg returns the file. Title and description are for those who cannot see it.
func (d *drawing) svg(title, description string) []byte {
	height := number(d.y + margin - smallSize)
	var all strings.Builder
	fmt.Fprintf(&all, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="title desc">`+"\n",
		number(width), height)
	fmt.Fprintf(&all, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n<style>%s</style>\n", html.EscapeString(title), html.EscapeString(description), style)
	fmt.Fprintf(&all, `<rect x="0.5" y="0.5" width="%s" height="%s" rx="6" class="page"/>`+"\n", number(width-1), number(d.y+margin-smallSize-1))
	all.WriteString(d.body.String())
	all.WriteString("</svg>\n")
	return []byte(all.String())
}

// number writes a coordinate, with one digit behind the point at most.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// textWidth is how much room a text takes at most. Which font a reader has is not known, so it is taken for a wide one.
func textWidth(text string, size float64) float64 {
	w := 0.0
	for _, r := range text {
		switch {
		case strings.ContainsRune("ijltfrI.,:;'|!()[]/ ", r):
			w += 0.36
		case strings.ContainsRune("mwMW@%", r):
			w += 0.92
		case r >= 'A' && r <= 'Z':
			w += 0.7
		default:
			w += 0.6
		}
	}
	return w * size
}

// wrap breaks a text into lines that are not wider than most.
func wrap(text string, size, most float64) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && textWidth(longer, size) > most {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	return append(lines, line)
}

// A scale says where a value is on an axis.
type scale struct {
	from, to    float64 // on the paper
	least, most float64
	log         bool
}

func (s scale) at(v float64) float64 {
	v = min(max(v, s.least), s.most)
	part := 0.0
	if s.log {
		part = (math.Log(v) - math.Log(s.least)) / (math.Log(s.most) - math.Log(s.least))
	} else {
		part = (v - s.least) / (s.most - s.least)
	}
	return s.from + part*(s.to-s.from)
}

// ticks are round values along the axis. On a logarithmic one they are 1, 2, 5 and 10 times these, or only the powers of
// ten if there is no room for more.
func (s scale) ticks() []float64 {
	if !s.log {
		var all []float64
		step := roundStep((s.most - s.least) / 5)
		for i := 0; float64(i)*step <= s.most*1.0001; i++ {
			all = append(all, float64(i)*step)
		}
		return all
	}
	if all := s.powers(1, 2, 5); s.fit(all) {
		return all
	}
	return s.powers(1)
}

func (s scale) powers(of ...float64) (all []float64) {
	for power := math.Floor(math.Log10(s.least)); math.Pow(10, power) <= s.most; power++ {
		for _, digit := range of {
			if v := digit * math.Pow(10, power); v >= s.least*0.9999 && v <= s.most*1.0001 {
				all = append(all, v)
			}
		}
	}
	return all
}

// fit reports whether no label of a tick would cover the next one.
func (s scale) fit(ticks []float64) bool {
	for i := range len(ticks) - 1 {
		room := (textWidth(digits(ticks[i]), smallSize) + textWidth(digits(ticks[i+1]), smallSize)) / 2
		if s.at(ticks[i+1])-s.at(ticks[i]) < room+4 {
			return false
		}
	}
	return true
}

// roundStep is the next of 1, 2, 5 and 10 times these.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range [...]float64{1, 2, 5} {
		if digit*power >= v*0.9999 {
			return digit * power
		}
	}
	return 10 * power
}

// digits writes a value with three digits, and thin spaces between thousands.
func digits(v float64) string {
	if v != 0 {
		unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
		v = math.Round(v/unit) * unit
	}
	text := strconv.FormatFloat(v, 'f', decimals(v), 64)
	whole, rest, _ := strings.Cut(text, ".")
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "\u202f" + whole[at:]
	}
	if rest = strings.TrimRight(rest, "0"); rest != "" {
		return whole + "." + rest
	}
	return whole
}

func decimals(v float64) int {
	if v = math.Abs(v); v == 0 || v >= 100 {
		return 0
	}
	return min(2-int(math.Floor(math.Log10(v))), 6)
}
