package requirements_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/metrics"
)

// TestMetricsTable_MET_12: the document has the metrics that there are.
func TestMetricsTable_MET_12(t *testing.T) {
	var want []string
	for _, m := range metrics.All() {
		want = append(want, fmt.Sprintf("| `%s` | %s | `%s` | %s |", m.Name, m.Kind, strings.Join(m.Labels, "`, `"), m.Help))
	}
	got := regexp.MustCompile("(?m)^\\| `authagent_.*$").FindAllString(document(t, "metrics.md"), -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("MET-12: docs/metrics.md (-want +got):\n%s", diff)
	}
}

// TestValuesTable_MET_12: the document names each value that a counter's label can have.
func TestValuesTable_MET_12(t *testing.T) {
	text := document(t, "metrics.md")
	for _, m := range metrics.All() {
		for _, labels := range m.Series {
			for i, label := range m.Labels {
				if label != "reason" && !strings.Contains(text, "`"+labels[i]+"`") {
					t.Errorf("MET-12: docs/metrics.md does not say what %s=%s of %s is", label, labels[i], m.Name)
				}
			}
		}
	}
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	ruleExpr    = regexp.MustCompile(`(?m)^        expr: (.*)$`)
	ruleName    = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	ruleMetric  = regexp.MustCompile(`(authagent_\w+)(?:\{([^}]*)\})?`)
	ruleMatcher = regexp.MustCompile(`^(\w+)(=~|!~|!=|=)"([^"]*)"$`)
	ruleTotal   = regexp.MustCompile(`\b(?:sum|max|min|avg|count)\b( by \(job)?`)
	ruleBy      = regexp.MustCompile(`by \(([^)]*)\)`)
)

// TestAlerts_MET_12: the rules ask for what there is, and each says why and leads to what to do. The file is in a form
// that this reads by lines; promtool reads it as what it is, where that is installed.
func TestAlerts_MET_12(t *testing.T) {
	text, doc := document(t, "alerts.yml"), document(t, "metrics.md")
	rules := strings.Split(text, "      - alert: ")[1:]
	if len(rules) < 12 {
		t.Fatalf("MET-12: %d rules", len(rules))
	}
	for _, rule := range rules {
		rule = "      - alert: " + rule
		name := ruleName.FindStringSubmatch(rule)
		expr := ruleExpr.FindStringSubmatch(rule)
		if name == nil || expr == nil {
			t.Errorf("MET-12: a rule without a name or expression:\n%s", rule)
			continue
		}
		for _, has := range []string{"        for: ", "          summary: ", "          description: ", "          runbook: docs/metrics.md#" + strings.ToLower(name[1]) + "\n"} {
			if !strings.Contains(rule, "\n"+has) {
				t.Errorf("MET-12: %s has no line %q", name[1], has)
			}
		}
		if !regexp.MustCompile("(?m)^### " + name[1] + "$\n\n\\S").MatchString(doc) {
			t.Errorf("MET-12: docs/metrics.md does not say what to do about %s", name[1])
		}
		checkExpr(t, name[1], expr[1])
		checkPage(t, name[1], rule)
	}
	if n := strings.Count(doc, "\n### Agent"); n != len(rules) {
		t.Errorf("MET-12: docs/metrics.md says what to do about %d alerts, and there are %d", n, len(rules))
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(promtool, "check", "rules", filepath.Join(repository, "docs/alerts.yml")).CombinedOutput(); err != nil {
			t.Errorf("MET-12: promtool: %v\n%s", err, out)
		}
	}
}

var (
	ruleSeverity = regexp.MustCompile(`(?m)^        labels: \{severity: (page|ticket)\}$`)
	ruleText     = regexp.MustCompile(`(?m)^          (?:summary|description): .*$`)
	ruleLabel    = regexp.MustCompile(`\$labels\.(\w+)`)
)

// checkPage checks what whoever is woken reads: of which site it is, how bad it is, and each label that tells where.
func checkPage(t *testing.T, rule, text string) {
	t.Helper()
	if !ruleSeverity.MatchString(text) {
		t.Errorf("MET-12: %s is neither a page nor a ticket", rule)
	}
	said := strings.Join(ruleText.FindAllString(text, -1), "\n")
	if !strings.Contains(said, "{{ $value ") {
		t.Errorf("MET-12: %s does not say the value", rule)
	}
	var told []string
	for _, m := range ruleLabel.FindAllStringSubmatch(said, -1) {
		told = append(told, m[1])
	}
	var has []string
	for _, m := range ruleBy.FindAllStringSubmatch(text, -1) {
		for _, label := range strings.Split(m[1], ", ") {
			if label != "le" && !slices.Contains(has, label) {
				has = append(has, label)
			}
		}
	}
	slices.Sort(told)
	slices.Sort(has)
	if diff := cmp.Diff(has, slices.Compact(told)); diff != "" {
		t.Errorf("MET-12: %s has labels that it does not tell, or tells others (-has +tells):\n%s", rule, diff)
	}
}

// checkExpr checks the metrics, labels and values that an expression asks for.
func checkExpr(t *testing.T, rule, expr string) {
	t.Helper()
	known := []string{"le", "job", "instance"}
	used := ruleMetric.FindAllStringSubmatch(expr, -1)
	if len(used) == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") {
		t.Errorf("MET-12: %s asks for nothing: %s", rule, expr)
	}
	for _, m := range used {
		metric, ok := metricOf(m[1])
		if !ok {
			t.Errorf("MET-12: %s asks for %s, which there is not", rule, m[1])
			continue
		}
		known = append(known, metric.Labels...)
		for _, matcher := range strings.Split(m[2], ",") {
			if matcher != "" {
				checkMatcher(t, rule, metric, matcher)
			}
		}
	}
	for _, m := range ruleTotal.FindAllStringSubmatch(expr, -1) {
		if m[1] == "" {
			t.Errorf("MET-12: %s mixes the sites of several jobs: %s", rule, expr)
		}
	}
	for _, m := range ruleBy.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(m[1], ", ") {
			if !slices.Contains(known, label) {
				t.Errorf("MET-12: %s sums by %s", rule, label)
			}
		}
	}
}

// metricOf returns the metric that a series of Prometheus is of.
func metricOf(series string) (metrics.Metric, bool) {
	for _, m := range metrics.All() {
		suffixes := []string{""}
		if m.Kind == metrics.Histogram {
			suffixes = []string{"_bucket", "_count", "_sum"}
		}
		for _, suffix := range suffixes {
			if series == string(m.Name)+suffix {
				return m, true
			}
		}
	}
	return metrics.Metric{}, false
}

func checkMatcher(t *testing.T, rule string, m metrics.Metric, matcher string) {
	t.Helper()
	parts := ruleMatcher.FindStringSubmatch(matcher)
	if parts == nil {
		t.Errorf("MET-12: %s has the matcher %s", rule, matcher)
		return
	}
	at := slices.Index(m.Labels, parts[1])
	if at < 0 {
		t.Errorf("MET-12: %s asks for %s of %s", rule, parts[1], m.Name)
		return
	}
	for _, value := range strings.Split(parts[3], "|") {
		if m.Series != nil && !slices.ContainsFunc(m.Series, func(l metrics.Labels) bool { return l[at] == value }) {
			t.Errorf("MET-12: %s asks for %s=%s of %s, which there is not", rule, parts[1], value, m.Name)
		}
	}
}
