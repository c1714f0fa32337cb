package grants

import (
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/metrics"
)

// measure has the recorder of the first relying party that has one told what waits here, and what is lost.
func (p *Policy) measure(to metrics.Recorder) {
	m := failure.Panics{Logger: p.logger()}.Meter(to)
	if m == nil || !p.measured.CompareAndSwap(nil, m) {
		return
	}
	p.trail.Watch(m, meter.OwnerEvents)
	p.aside.Watch(m, meter.OwnerEvents)
	m.Waits(meter.OwnerRequests, p.requests.watch(m, meter.OwnerRequests))
	m.Waits(meter.OwnerNotices, p.post.watch(m))
}

// meter is nil where nobody measures.
func (p *Policy) meter() *meter.Meter { return p.measured.Load() }

// watch has a meter told how much waits, under the name of a queue. It returns how much does.
func (q *fair[T]) watch(m *meter.Meter, name string) (waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.meter, q.name = m, name
	return q.total
}

// watch has a meter told how many notices wait, without digests, which are to wait. It returns how many do.
func (o *post) watch(m *meter.Meter) (waiting int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meter = m
	return o.letters()
}
