package grants

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/limit"
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
)

// A post has the notices that wait to be told. Of one kind, an owner has one that
// waits; further ones are counted in it.
type post struct {
	policy *Policy
	pause  *limit.Limiter // by kind and owner, as is often
	often  *limit.Limiter

	mu       sync.Mutex
	waiting  map[slot]*letter
	owners   map[string]int // how many letters wait for each
	timer    *time.Timer    // starts run when the next letter is due
	running  bool
	hurrying int // how many wait for all to be told, due or not
}

type slot struct {
	userID string
	kind   authagent.EventName
}

type letter struct {
	ctx    context.Context
	notice Notice
	since  time.Time // when it was put in
	due    time.Time
}

func newPost(p *Policy) *post {
	return &post{
		policy: p, pause: limit.New(1, gatherFor), often: limit.New(toldOften, toldPeriod),
		waiting: make(map[slot]*letter), owners: make(map[string]int),
	}
}

// rank says in which order notices are told: first what has changed in an account,
// then what waits for its owner, then the rest.
func (n Notice) rank() int {
	switch n.Kind {
	case EventApproved, EventChanged, EventSuspended, EventRevoked:
		return 0
	case EventPending, EventActionAsked:
		return 1
	}
	return 2
}

// notify tells the owner in the background: mail takes its time.
func (p *Policy) notify(ctx context.Context, n Notice) {
	if p.Notify == nil {
		return
	}
	n.Path, n.Count = p.path(), 1
	if !p.post.add(context.WithoutCancel(ctx), n) {
		p.logger().Error("grants: too many notices wait; an owner is not told", "kind", n.Kind, "user", n.UserID)
	}
}

// add puts a notice in, and reports whether there is room.
func (o *post) add(ctx context.Context, n Notice) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := slot{n.UserID, n.Kind}
	if l := o.waiting[at]; l != nil {
		l.notice.Count++
		return true
	}
	if len(o.waiting) >= maxLetters && !o.makeRoom(n) {
		return false
	}
	now := time.Now()
	o.waiting[at] = &letter{ctx: ctx, notice: n, since: now, due: now}
	o.owners[n.UserID]++
	o.start()
	return true
}

// makeRoom throws out a notice that matters less than n, or one of an owner for
// whom more wait than would for n's.
func (o *post) makeRoom(n Notice) bool {
	least := slot{n.UserID, n.Kind}
	rank, wait := n.rank(), o.owners[n.UserID]+1
	for at, l := range o.waiting {
		if c := cmp.Or(cmp.Compare(l.notice.rank(), rank), cmp.Compare(o.owners[at.userID], wait)); c > 0 {
			least, rank, wait = at, l.notice.rank(), o.owners[at.userID]
		}
	}
	if o.waiting[least] == nil {
		return false
	}
	o.policy.logger().Error("grants: too many notices wait; an owner is not told", "kind", least.kind, "user", least.userID)
	o.remove(least)
	return true
}

func (o *post) remove(at slot) {
	delete(o.waiting, at)
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
		o.policy.do(l.ctx, func(ctx context.Context) error {
			o.policy.Notify(ctx, l.notice)
			return nil
		})
	}
}

// next takes the letter that is to be told now. Without one it sees to it that run
// starts when there is.
func (o *post) next() *letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	all := make([]*letter, 0, len(o.waiting))
	for _, l := range o.waiting {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *letter) int {
		return cmp.Or(cmp.Compare(a.notice.rank(), b.notice.rank()), a.since.Compare(b.since), cmp.Compare(a.notice.UserID, b.notice.UserID))
	})
	for _, l := range all {
		if !now.Before(l.due) || o.hurrying > 0 {
			if wait := o.mayTell(l); wait == 0 || o.hurrying > 0 {
				o.remove(slot{l.notice.UserID, l.notice.Kind})
				return l
			} else {
				l.due = now.Add(wait)
			}
		}
	}
	o.running = false
	o.wake(all, now)
	return nil
}

// mayTell returns how long a letter has to wait, lest its owner is told too often.
func (o *post) mayTell(l *letter) time.Duration {
	key := string(l.notice.Kind) + " " + l.notice.UserID
	if wait := o.pause.Allow(key); wait > 0 {
		return wait
	}
	return o.often.Allow(key)
}

// wake has run started when the first of all is due.
func (o *post) wake(all []*letter, now time.Time) {
	if o.timer != nil {
		o.timer.Stop()
	}
	if len(all) == 0 {
		return
	}
	first := slices.MinFunc(all, func(a, b *letter) int { return a.due.Compare(b.due) })
	o.timer = time.AfterFunc(first.due.Sub(now), func() {
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
