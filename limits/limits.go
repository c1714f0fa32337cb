// Package limits has the settings that bound how often clients and agents may do something. They are
// the field Limits of authagent.Config.
package limits

import "time"

// A Rate is how often something may happen: N times in each Per, which may be all at once. The zero
// value stands for the default. A negative N means no limit.
type Rate struct {
	N   int
	Per time.Duration // the default is a minute
}

// Settings bound how often something is done, as each process counts. Whoever exceeds a Rate gets
// status 429 and Retry-After.
type Settings struct {
	// Logins and Callbacks count for each client address, or for each /64 network of IPv6. The
	// defaults are 10 and 20 a minute. Addresses that are not public are not limited, since all
	// clients of a proxy would share one budget. Behind a proxy, set Config.ClientAddr. At a server
	// where people sign in as well (provider.Settings.OnPerson), these two count people too.
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
