package grants

import (
	"cmp"
	"context"
	"html/template"
	"sync"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/meter"
)

const (
	// Of one kind an owner is told once in a gatherFor, and toldOften times, or
	// steadily once, in a toldPeriod and a third of it: what comes in between is
	// told together.
	gatherFor  = time.Minute
	toldOften  = 3
	toldPeriod = 30 * time.Minute

	// maxLetters bounds how many wait to be told, of all owners. Of one owner there is at most
	// one of each kind.
	maxLetters = 4096

	// What is not urgent is told together once in a digestEvery, after the first of it.
	// Where more than maxDigests are being gathered, it is told like the rest.
	// A digest lists maxItems.
	digestEvery = 24 * time.Hour
	maxDigests  = 4096
	maxItems    = 50
)

// notify tells the owner in the background: mail takes its time.
func (p *Policy) notify(ctx context.Context, n Notice) {
	if p.Notify == nil {
		return
	}
	n.Path, n.Count, n.At = p.path(), 1, time.Now()
	if !p.post.add(context.WithoutCancel(ctx), n) {
		p.logger().Error("grants: too many notices wait; an owner is not told", "kind", n.Kind, "on_behalf_of", n.UserID)
	}
}

// A post has the notices that wait to be told. Of one kind, an owner has one that
// waits; further ones are counted in it. What is not urgent is gathered in a digest,
// which is a kind as well.
type post struct {
	policy *Policy
	page   *template.Template // the HTML of mails
	pause  *limit.Limiter     // by kind and owner, as is often
	often  *limit.Limiter

	mu       sync.Mutex
	waiting  map[slot]*letter
	owners   map[string]int // how many letters wait for each, without digests
	digests  int            // how many of waiting are
	timer    *time.Timer    // starts run when the next letter is due
	running  bool
	hurrying int // how many wait for all to be told, due or not
	meter    *meter.Meter
}

type slot struct {
	userID string
	kind   audit.Name
}

type letter struct {
	ctx    context.Context
	notice Notice
	since  time.Time // when it was put in
	due    time.Time
	paid   bool // it may be told as soon as it is its turn
	meter  *meter.Meter
}

func (l *letter) slot() slot { return slot{l.notice.UserID, l.notice.Kind} }

// before reports whether l is to be told before m: first what matters more, then
// what has waited longer, whoever it is for.
func (l *letter) before(m *letter) bool {
	return cmp.Or(cmp.Compare(l.notice.rank(), m.notice.rank()), l.since.Compare(m.since)) < 0
}

func newPost(p *Policy) *post {
	return &post{
		policy: p, page: template.Must(template.New("mail").Parse(mailPage)), pause: limit.New(1, gatherFor), often: limit.New(toldOften, toldPeriod),
		waiting: make(map[slot]*letter), owners: make(map[string]int),
	}
}

// add puts a notice in, and reports whether there is room.
func (o *post) add(ctx context.Context, n Notice) bool {
	o.mu.Lock()
	if o.policy.isErased(n.UserID) { // forget has been here, or will be: there is nobody to tell
		o.mu.Unlock()
		return true
	}
	before, m := o.letters(), o.meter
	room, lost := o.put(ctx, n)
	more := o.letters() - before
	o.mu.Unlock()
	m.Waits(meter.OwnerNotices, more)
	if lost {
		m.Lost(meter.OwnerNotices, meter.Full)
	}
	return room
}

// letters is how many wait to be told, without digests. The caller holds o.mu.
func (o *post) letters() int { return len(o.waiting) - o.digests }

// put is add, and reports whether a notice was lost: n, or one that mattered less. The caller holds o.mu.
func (o *post) put(ctx context.Context, n Notice) (room, lost bool) {
	now := time.Now()
	if n.isCalm(now) && o.gather(ctx, n, now) {
		return true, false
	}
	at := slot{n.UserID, n.Kind}
	if l := o.waiting[at]; l != nil {
		l.notice.Count++
		return true, false
	}
	if lost = o.letters() >= maxLetters; lost && !o.makeRoom(n) {
		return false, lost
	}
	l := &letter{ctx: ctx, notice: n, since: now}
	o.pay(l, now)
	o.waiting[at] = l
	o.owners[n.UserID]++
	o.start()
	return true, lost
}

// gather puts a notice into its owner's digest, and reports whether there is room for one.
func (o *post) gather(ctx context.Context, n Notice, now time.Time) bool {
	at := slot{n.UserID, EventDigest}
	l := o.waiting[at]
	switch {
	case l == nil && o.digests >= maxDigests:
		return false
	case l == nil:
		digest := Notice{Kind: EventDigest, UserID: n.UserID, Path: n.Path, At: n.At}
		l = &letter{ctx: ctx, notice: digest, since: now, due: now.Add(digestEvery), paid: true}
		o.waiting[at] = l
		o.digests++
	}
	if l.notice.Count++; len(l.notice.Items) < maxItems {
		l.notice.Items = append(l.notice.Items, n)
	}
	o.start()
	return true
}

// makeRoom throws out a notice that matters less than n, or one of an owner for
// whom more wait than would for n's.
func (o *post) makeRoom(n Notice) bool {
	least := slot{n.UserID, n.Kind}
	rank, wait := n.rank(), o.owners[n.UserID]+1
	for at, l := range o.waiting {
		if at.kind == EventDigest { // these have room of their own
			continue
		}
		if c := cmp.Or(cmp.Compare(l.notice.rank(), rank), cmp.Compare(o.owners[at.userID], wait)); c > 0 {
			least, rank, wait = at, l.notice.rank(), o.owners[at.userID]
		}
	}
	if o.waiting[least] == nil {
		return false
	}
	o.policy.logger().Error("grants: too many notices wait; an owner is not told", "kind", least.kind, "on_behalf_of", least.userID)
	o.remove(least)
	return true
}

// forget drops all that waits for an owner.
func (o *post) forget(userID string) {
	o.mu.Lock()
	before, m := o.letters(), o.meter
	for at := range o.waiting {
		if at.userID == userID {
			o.remove(at)
		}
	}
	fewer := o.letters() - before
	o.mu.Unlock()
	m.Waits(meter.OwnerNotices, fewer)
}

func (o *post) remove(at slot) {
	delete(o.waiting, at)
	if at.kind == EventDigest {
		o.digests--
		return
	}
	if o.owners[at.userID]--; o.owners[at.userID] == 0 {
		delete(o.owners, at.userID)
	}
}

// start has what is due told, if nobody does that already. The caller holds o.mu.
func (o *post) start() {
	if !o.running && len(o.waiting) > 0 {
		o.running = true
		o.policy.under.Go(o.run)
	}
}

func (o *post) run() {
	for {
		l := o.next()
		if l == nil {
			return
		}
		n, m := l.notice, l.meter
		if n.Kind != EventDigest {
			m.Waits(meter.OwnerNotices, -1)
		}
		if len(n.Items) == 1 { // alone, it is told as what it is
			n = n.Items[0]
		}
		o.policy.do(l.ctx, func(ctx context.Context) error {
			n = o.policy.written(ctx, n)
			return nil
		})
		err := o.policy.do(l.ctx, func(ctx context.Context) error {
			if !o.policy.isErased(n.UserID) { // since next has taken it
				o.policy.Notify(ctx, n)
			}
			return nil
		})
		if err != nil {
			m.Lost(meter.OwnerNotices, meter.Panic)
		}
	}
}

// next takes the letter that is to be told now. Without one it sees to it that run
// starts when there is.
func (o *post) next() *letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for {
		var first *letter
		for _, l := range o.waiting {
			if (o.hurrying > 0 || !now.Before(l.due)) && (first == nil || l.before(first)) {
				first = l
			}
		}
		if first == nil {
			o.running = false
			o.wake(now)
			return nil
		}
		if o.pay(first, now); first.paid || o.hurrying > 0 {
			o.remove(first.slot())
			first.meter = o.meter
			return first
		}
	}
}

// pay takes a letter from the budget of its kind and owner, or puts off when it is due.
func (o *post) pay(l *letter, now time.Time) {
	if l.paid {
		return
	}
	key := string(l.notice.Kind) + " " + l.notice.UserID
	wait := o.pause.Allow(key)
	if wait == 0 {
		wait = o.often.Allow(key)
	}
	l.paid, l.due = wait == 0, now.Add(wait)
}

// wake has run started when the next letter is due.
func (o *post) wake(now time.Time) {
	if o.timer != nil {
		o.timer.Stop()
	}
	if len(o.waiting) == 0 {
		return
	}
	due := now.Add(digestEvery)
	for _, l := range o.waiting {
		if l.due.Before(due) {
			due = l.due
		}
	}
	o.timer = time.AfterFunc(due.Sub(now), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.start()
	})
}

// hurry has all told at once until the function that it returns is called.
func (o *post) hurry() (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurrying++
	o.start()
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.hurrying--
	}
}
