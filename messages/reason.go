package messages

import "github.com/authagent-go/authagent/internal/reasons"

// otherReason stands for each reason of a site's own making.
const otherReason = "other"

// Reason returns the title and the detail of why a request was refused, in the form of the
// pages. code is a problem.Reason of this package or of the site's own making.
func (l *Language) Reason(code string) (title, detail string) {
	title, known := l.Lookup(reasonKey(code) + ".title")
	if !known {
		code = otherReason
		title = l.Text(reasonKey(code) + ".title")
	}
	return title, l.Text(reasonKey(code) + ".detail")
}

// addReasons adds the English texts of the reasons. They are in the table of reasons alone,
// since answers for programs, the discovery text and docs/reasons.md have them too.
func addReasons(english map[string]string) {
	add := func(code string, row reasons.Row) {
		english[reasonKey(code)+".title"], english[reasonKey(code)+".detail"] = row.Title, row.Detail
	}
	for _, row := range reasons.All() {
		add(row.Code, row)
	}
	add(otherReason, reasons.Of(otherReason))
}

func reasonKey(code string) string { return "reason." + code }
