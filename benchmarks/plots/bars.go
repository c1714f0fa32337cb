package main

import (
	"fmt"
	"strings"
)

// A chart can be drawn.
type chart interface {
	draw(facts string) []byte
	alt() string // says it in words
}

// bars is a chart of horizontal bars.
type bars struct {
	title string
	about []string // paragraphs below the title
	axis  string
	log   bool
	mark  string // what a line at 1 is called; no line if it is empty
	rows  []row
}

// A row has a label and one bar, or two.
type row struct {
	label string
	ours  bool
	bars  []bar
}

type bar struct {
	value float64
	text  string // behind the bar
	class string
}

const (
	rowGap = 10.0
	barGap = 2.0
)

// thick is the height of a bar in a row.
func (r row) thick() float64 {
	if len(r.bars) > 1 {
		return 15
	}
	return 20
}

func (r row) height() float64 { return float64(len(r.bars))*(r.thick()+barGap) - barGap }

func (c *bars) draw(facts string) []byte {
	d := &drawing{}
	d.heading(c.title, c.about...)
	x := c.scale()
	top := d.y
	if c.mark != "" {
		d.text(x.at(1), top+smallSize-4, "middle", "small", c.mark)
		top += smallSize + 4
	}
	bottom := top
	for _, r := range c.rows {
		bottom += r.height() + rowGap
	}
	for _, t := range x.ticks() {
		d.line(x.at(t), top, x.at(t), bottom, "grid")
		d.text(x.at(t), bottom+smallSize+4, "middle", "small", digits(t))
	}
	y := top + rowGap/2
	for _, r := range c.rows {
		c.row(d, x, r, y)
		y += r.height() + rowGap
	}
	if c.mark != "" {
		d.line(x.at(1), top, x.at(1), bottom, "mark")
	}
	d.y = bottom + 2*smallSize + 12
	d.caption(x, d.y, c.axisText())
	d.y += smallSize + 12
	d.footing(facts)
	return d.svg(c.title, c.alt())
}

func (c *bars) axisText() string {
	if c.log {
		return c.axis + ", logarithmic"
	}
	return c.axis
}

// scale leaves room for the labels on the left and the texts behind the longest bar.
func (c *bars) scale() scale {
	left, right, most, least := 0.0, 0.0, 0.0, 1.0
	for _, r := range c.rows {
		left = max(left, textWidth(r.label, textSize)*1.1) // of bold letters
		for _, b := range r.bars {
			right, most = max(right, textWidth(b.text, smallSize)*1.1), max(most, b.value)
			for least > max(b.value, 1e-3) { // the shortest bar is to be seen
				least /= 2
			}
		}
	}
	s := scale{from: margin + left + 8, to: width - margin - right - 8, most: most, log: c.log}
	if c.log {
		s.least, s.most = least, roundStep(most)
	} else {
		s.most = max(most*1.02, 1e-9)
	}
	return s
}

func (c *bars) row(d *drawing, x scale, r row, y float64) {
	class := ""
	if r.ours {
		class = "bold"
	}
	d.text(x.from-8, y+r.height()/2+textSize*0.35, "end", class, r.label)
	for _, b := range r.bars {
		d.rect(x.from, y, max(x.at(b.value)-x.from, 1), r.thick(), b.class)
		d.text(x.at(b.value)+6, y+r.thick()/2+smallSize*0.35, "start", strings.TrimSpace("small value "+class), b.text)
		y += r.thick() + barGap
	}
}

func (c *bars) alt() string {
	var all []string
	for _, r := range c.rows {
		var texts []string
		for _, b := range r.bars {
			texts = append(texts, b.text)
		}
		all = append(all, r.label+" "+strings.Join(texts, ", "))
	}
	return fmt.Sprintf("%s, %s: %s.", c.title, c.axisText(), strings.Join(all, "; "))
}
