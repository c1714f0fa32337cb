// Package metrics says what a relying party counts and measures. A site sets a [Recorder] as
// Config.Metrics of package authagent, which passes the numbers on to what the site uses: Prometheus,
// OpenTelemetry, expvar. The modules examples/prometheus and examples/otel have one each, to copy.
//
// [All] describes every metric, so a Recorder can register them all before the first number comes.
// Names and labels are stable. docs/metrics.md lists them, and docs/alerts.yml has alerts.
package metrics

import (
	"slices"

	"github.com/authagent-go/authagent/internal/reasons"
)

// A Recorder takes the numbers of one or more relying parties.
//
// Record adds value to a counter or a gauge, and observes it in a histogram: go by the Kind that
// [All] has for the name. A gauge goes up and down by what it gets, so several relying parties can
// share a Recorder. labels are in the order of Metric.Labels.
//
// Record is called concurrently, while requests wait for it: it has to be quick. It is called while no
// lock is held, so one that blocks holds up its own request, and others only if they wait for the same
// answer of the server. If it panics, the number is lost, the log says so at most once a minute, and the
// request goes on.
//
// A later version may have further metrics. Record ignores a name that it does not know.
type Recorder interface {
	Record(name Name, value float64, labels Labels)
}

// A Name is that of a metric, by the conventions of Prometheus.
type Name string

// Labels are the values of a metric's labels, in the order of Metric.Labels. What a metric has no
// label for is empty. Each value is one of a few, whatever clients and servers send: no agent, account,
// address or path is among them.
type Labels [2]string

// The metrics.
const (
	SignIns        Name = "authagent_sign_ins_total"
	Refusals       Name = "authagent_refusals_total"
	SessionChecks  Name = "authagent_session_check_seconds"
	ServerRequests Name = "authagent_server_request_seconds"
	KeptTokens     Name = "authagent_kept_tokens_total"
	OwnerRequests  Name = "authagent_owner_requests_total"
	QueueWaiting   Name = "authagent_queue_waiting"
	QueueLost      Name = "authagent_queue_lost_total"
	StoreFailures  Name = "authagent_store_failures_total"
)

// A Kind says what is done with the values of a metric.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // values are added, and never negative
	Gauge     Kind = "gauge"     // values are added, and may be negative
	Histogram Kind = "histogram" // values are observed
)

// A Metric is what can be recorded under a name.
type Metric struct {
	Name   Name
	Help   string
	Kind   Kind
	Unit   string   // "seconds", or empty for a number of things
	Labels []string // their names, in the order of Labels; one or two

	// Buckets are upper bounds that suit a histogram. Nil for other kinds.
	Buckets []float64

	// Series are the labels that a counter or a gauge can have; nil for a histogram. Begin each at zero: an alert does
	// not see the first of something if there was no series before it.
	Series []Labels
}

// All describes every metric. The caller may change what it returns.
func All() []Metric {
	return []Metric{
		{
			Name: SignIns, Kind: Counter, Labels: []string{"door", "outcome"},
			Help:   "Sign-ins of agents, by how they come and what came of it.",
			Series: append(each([]string{"browser"}, "started", "ok", "person", "refused", "failed"), append(each([]string{"api"}, "ok", "refused", "failed"), Labels{"link", "ok"})...),
		},
		{
			Name: Refusals, Kind: Counter, Labels: []string{"reason", "fault"},
			Help:   "Requests that were refused, by reason and by who has to do something about it.",
			Series: refusals(),
		},
		{
			Name: SessionChecks, Kind: Histogram, Unit: "seconds", Labels: []string{"door", "outcome"},
			Help:    "How long it took to find out whether an agent's session holds.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		},
		{
			Name: ServerRequests, Kind: Histogram, Unit: "seconds", Labels: []string{"endpoint", "status"},
			Help:    "How long the authorization server took to answer, by endpoint and HTTP status.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		},
		{
			Name: KeptTokens, Kind: Counter, Labels: []string{"operation", "outcome"},
			Help:   "What the server was asked about kept tokens, and what came of it.",
			Series: append(each([]string{"refresh", "confirmation"}, "ok", "refused", "failed"), each([]string{"revocation"}, "ok", "failed")...),
		},
		{
			Name: OwnerRequests, Kind: Counter, Labels: []string{"outcome"},
			Help:   "Requests of agents to enter an account, by whether its owner is asked.",
			Series: each([]string{"asked", "dropped", "no_account"}, ""),
		},
		{
			Name: QueueWaiting, Kind: Gauge, Labels: []string{"queue"},
			Help:   "How much waits to be done in the background.",
			Series: each(queues(), ""),
		},
		{
			Name: QueueLost, Kind: Counter, Labels: []string{"queue", "cause"},
			Help:   "What was lost on its way through a queue.",
			Series: append(each(queues(), "full", "panic"), Labels{"events", "store"}),
		},
		{
			Name: StoreFailures, Kind: Counter, Labels: []string{"store"},
			Help:   "Calls of a store that failed, also in the background, where no request is refused for it.",
			Series: each([]string{"grants", "journal", "limits", "revocations", "states", "tokens"}, ""),
		},
	}
}

func queues() []string {
	return []string{"events", "owner_events", "owner_notices", "owner_requests"}
}

// each pairs every one of first with every one of second.
func each(first []string, second ...string) (all []Labels) {
	for _, a := range first {
		for _, b := range second {
			all = append(all, Labels{a, b})
		}
	}
	return all
}

// Other is the value of a label for what has no value of its own: a reason of the site's own making, or a status
// that HTTP does not know.
const Other = "other"

// refusals has each reason with its fault. What is wrong with the server may be the network's fault, if it has not answered.
func refusals() (all []Labels) {
	for _, row := range reasons.All() {
		switch row.Fault {
		case reasons.Server, reasons.Network:
			all = append(all, Labels{row.Code, reasons.Server}, Labels{row.Code, reasons.Network})
		default:
			all = append(all, Labels{row.Code, row.Fault})
		}
	}
	all = append(all, Labels{Other, reasons.Agent})
	slices.SortFunc(all, func(a, b Labels) int { return slices.Compare(a[:], b[:]) })
	return all
}
