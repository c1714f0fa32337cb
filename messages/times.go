package messages

import (
	"strings"
	"time"
)

// Ago says how long before now a time was, up to a day, and then on which day: "2
// minutes ago", "yesterday", "16 November". The day is that of the zone of now.
func (l *Language) Ago(t, now time.Time) string {
	t = t.In(now.Location())
	switch past := now.Sub(t); {
	case past < time.Minute:
		return l.Text("ago.now")
	case past < time.Hour:
		return l.Count("ago.minutes", int(past/time.Minute))
	case past < 24*time.Hour:
		return l.Count("ago.hours", int(past/time.Hour))
	case sameDay(t, now.AddDate(0, 0, -1)):
		return l.Text("ago.yesterday")
	}
	return l.Day(t, now)
}

// Day says on which day t is, in its zone. The year is left out if it is that of now.
func (l *Language) Day(t, now time.Time) string {
	if t.Year() == now.In(t.Location()).Year() {
		return l.Text("time.day", "day", t.Day(), "month", l.month(t))
	}
	return l.Text("time.date", "day", t.Day(), "month", l.month(t), "year", t.Year())
}

// Moment says a day and a time in the zone of t, and that it is UTC if it is.
func (l *Language) Moment(t time.Time) string {
	date := l.Text("time.date", "day", t.Day(), "month", l.month(t), "year", t.Year())
	moment := l.Text("time.moment", "date", date, "time", t.Format("15:04"))
	if t.Location() == time.UTC {
		return moment + " UTC"
	}
	return moment
}

func (l *Language) month(t time.Time) string {
	months := strings.Split(l.Text("time.months"), ",")
	if i := int(t.Month()) - 1; i < len(months) {
		return strings.TrimSpace(months[i])
	}
	return t.Month().String()
}

func sameDay(a, b time.Time) bool {
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}
