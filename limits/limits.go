// Package limits has the settings that bound how often clients and agents may do something, and the store
// by which several instances count together. They are the field Limits of authagent.Config.
package limits

import (
	"context"
	"time"
)

// A Rate is how often something may happen: N times in each Per, which may be all at once. The zero
// value stands for the default. A negative N means no limit.
type Rate struct {
	N   int
	Per time.Duration // the default is a minute
}

// Settings bound how often something is done. Whoever exceeds a Rate gets status 429 and Retry-After.
type Settings struct {
	// Store counts for all instances together. By default each process counts for itself, and N instances
	// let N times as much pass. If the store fails or takes longer than a second, logins, callbacks and
	// requests are counted by each process for itself, so that the site stays open and stays limited;
	// what is limited by Actions is refused with problem.StoreFailed. For the next three seconds the
	// store is not asked, and then by one request first.
	Store Store

	// Logins and Callbacks count for each client address, and in IPv6 for each /64 network. All of a
	// /48 together have 16 times as much. The defaults are 10 and 20 a minute. Addresses that are not
	// public are not limited, since all clients of a proxy would share one budget. Behind a proxy, set
	// Config.ClientAddr. At a server where people sign in as well (provider.Settings.OnPerson), these
	// two count people too.
	Logins, Callbacks Rate

	// Agent limits the requests of each agent for each account, Owner those of all agents of an account. Unless Agent
	// is lower, one agent can use up Owner for the others. The default is no limit.
	Agent, Owner Rate

	// Actions limits, by name, the actions of each owner's agents together, see
	// RequireAction of authagent.RelyingParty. Behind RequireApproval it limits the requests that an
	// owner is asked about and, in a budget of the same size, those performed. Asking how a request
	// stands does not count. The default is no limit.
	Actions map[string]Rate
}

// A Budget is how often something may happen for one key: Rate.N events in each Rate.Per, as many at
// once, and then one in each Rate.Per / Rate.N. Both numbers are positive.
type Budget struct {
	// Key says what is counted, for whom, and of which relying party. It is any text, and may be
	// longer than a database allows for a key: keep a cryptographic hash of it.
	Key string

	Rate Rate
}

// A Store counts for all instances of a site. sqlstore has one for your database, memstore one for tests and
// for several relying parties in one process, and storetest.Limits tests one. Implementations are safe for
// concurrent use.
//
// It keeps one time for each key: when its budget is whole again (the generic cell rate algorithm). An event
// moves that time, or now if it has passed, by Rate.Per / Rate.N, and is refused if it would then be more than
// Rate.Per ahead. A key whose time has passed may be forgotten. Time is the store's: the clocks of two instances
// may be minutes apart. A time that is further ahead than Rate.Per, since the store's clock went back or the
// Rate was another one, counts as Rate.Per ahead.
//
// It is asked on each request of an agent whose requests are limited. ctx ends after a second, and not with
// the request.
type Store interface {
	// Take takes one event from each of the budgets, and returns 0. If one of them has none left, Take takes
	// nothing from any, and returns how long to wait until all have one again. The keys differ. However many
	// instances ask at once, no more events are taken than a budget has. After an error, nobody knows what
	// was taken.
	Take(ctx context.Context, budgets ...Budget) (wait time.Duration, err error)

	// Return gives back one event to each of the budgets, which Take has taken and which did not happen. A
	// budget never has more than Rate.N. A key that was forgotten needs nothing back.
	Return(ctx context.Context, budgets ...Budget) error
}
