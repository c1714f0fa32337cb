package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// lines is a chart of what grows with a number, which is on a logarithmic axis.
type lines struct {
	title  string
	about  []string
	x, y   string // the axes
	series []series
}

// A series is one line.
type series struct {
	label  string
	points []point
}

type point struct{ x, y float64 }

const plotHeight = 240.0

func (c *lines) draw(facts string) []byte {
	d := &drawing{}
	d.heading(c.title, append(c.about, c.y)...)
	most, least, last := 0.0, math.Inf(1), 0.0
	wide, ticksWide := 0.0, 0.0
	for _, s := range c.series {
		wide = max(wide, textWidth(s.text(), smallSize))
		for _, p := range s.points {
			most, least, last = max(most, p.y), min(least, p.x), max(last, p.x)
		}
	}
	top, bottom := d.y, d.y+plotHeight
	y := scale{from: bottom, to: top, most: most * 1.05}
	for _, t := range y.ticks() {
		ticksWide = max(ticksWide, textWidth(digits(t), smallSize))
	}
	x := scale{from: margin + ticksWide + 8, to: width - margin - wide - 16, least: least, most: last, log: true}
	for _, t := range y.ticks() {
		d.line(x.from, y.at(t), x.to, y.at(t), "grid")
		d.text(x.from-8, y.at(t)+smallSize*0.35, "end", "small", digits(t))
	}
	for _, n := range c.numbers() {
		d.line(x.at(n), top, x.at(n), bottom, "grid")
		d.text(x.at(n), bottom+smallSize+4, "middle", "small", short(n))
	}
	for i, s := range c.series {
		var path []string
		for _, p := range s.points {
			path = append(path, number(x.at(p.x))+","+number(y.at(p.y)))
		}
		d.add(`<polyline points="%s" class="s%d"/>`, strings.Join(path, " "), i%6)
		for _, p := range s.points {
			d.marker(x.at(p.x), y.at(p.y), i)
		}
	}
	for i, at := range apart(c.ends(y), top, bottom) {
		s := c.series[i]
		end := s.points[len(s.points)-1]
		d.line(x.at(end.x)+6, y.at(end.y), x.to+10, at, "grid")
		d.text(x.to+12, at+smallSize*0.35, "start", "small", s.text())
	}
	d.y = bottom + 2*smallSize + 12
	d.caption(x, d.y, c.x)
	d.y += smallSize + 12
	d.footing(facts)
	return d.svg(c.title, c.alt())
}

// marker draws a point. The shapes differ, for those who do not see the colours.
func (d *drawing) marker(x, y float64, i int) {
	switch i % 3 {
	case 0:
		d.add(`<circle cx="%s" cy="%s" r="4" class="s%d"/>`, number(x), number(y), i%6)
	case 1:
		d.rect(x-4, y-4, 8, 8, fmt.Sprintf("s%d", i%6))
	default:
		d.add(`<path d="M%s %sl5 9h-10z" class="s%d"/>`, number(x), number(y-5), i%6)
	}
}

// numbers are all values of x, in order.
func (c *lines) numbers() (all []float64) {
	for _, s := range c.series {
		for _, p := range s.points {
			if !slices.Contains(all, p.x) {
				all = append(all, p.x)
			}
		}
	}
	slices.Sort(all)
	return all
}

// ends are where the lines end, from top to bottom as they come.
func (c *lines) ends(y scale) (all []float64) {
	for _, s := range c.series {
		all = append(all, y.at(s.points[len(s.points)-1].y))
	}
	return all
}

// apart moves labels so far from each other that none covers another.
func apart(at []float64, top, bottom float64) []float64 {
	const room = smallSize + 4
	order := make([]int, len(at))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, at[a]-at[b])) })
	moved := slices.Clone(at)
	for i, n := range order[min(1, len(order)):] {
		moved[n] = max(moved[n], moved[order[i]]+room)
	}
	if len(order) > 0 { // back up where the last went below the plot
		over := moved[order[len(order)-1]] - bottom
		for i := len(order) - 1; i >= 0 && over > 0; i-- {
			moved[order[i]] -= over
			if i > 0 {
				over = moved[order[i-1]] + room - moved[order[i]]
			}
		}
	}
	return moved
}

// text is what stands at the end of a line.
func (s series) text() string { return s.label + " " + digits(s.points[len(s.points)-1].y) }

// short writes a large number as people say it.
func short(n float64) string {
	switch {
	case n >= 1e6:
		return digits(n/1e6) + " million"
	case n >= 1e4:
		return digits(n/1e3) + "\u202f000"
	}
	return digits(n)
}

func (c *lines) alt() string {
	var all []string
	for _, s := range c.series {
		var points []string
		for _, p := range s.points {
			points = append(points, fmt.Sprintf("%s at %s", digits(p.y), short(p.x)))
		}
		all = append(all, s.label+" "+strings.Join(points, ", "))
	}
	return fmt.Sprintf("%s, %s: %s.", c.title, c.y, strings.Join(all, "; "))
}
