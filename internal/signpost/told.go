package signpost

import "github.com/authagent-go/authagent/internal/reasons"

// Told returns the problems of which agents are told beforehand.
func Told() (problems []Problem) {
	for _, row := range reasons.All() {
		if row.Has(reasons.Told) {
			problems = append(problems, Problem{Code: row.Code, Status: row.Status, Title: row.Title, Detail: row.Detail})
		}
	}
	return problems
}
