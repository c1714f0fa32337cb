// Package requirements has the tests of testdata/requirements.txt, from outside: a site,
// its handlers, browsers and a server, on internal/testsite. A test names the
// requirements that it is for; TestRequirements finds those that have none.
//
// Where the groups of requirements mostly are:
//
//	API         door, door_hostile, door_guards, door_answers, door_grants, door_ended, door_cheap, door_settings
//	APR         approval, approvalrequest
//	CAUTH       clientauth
//	CB          callback
//	CAP         grants, and enginetest
//	CFG, FACE   config, env, keys, surface
//	CHK         check
//	CMP         compat
//	GRD, MW     guards, middleware, mounted, action
//	ID, KEY     identity, signatures, strangers, conformance
//	LNK         scenarios, accounts, ownscenario, connect, pages
//	LOG         log, audit, canary, attribution
//	MEM         memory; and internal/memory
//	NET         net, answers, dialled, encoding, metadata, servers, samesecond
//	REF         tokens, refresh, refreshed, revoke
//	REL         reliability, panic, fuzz
//	REQ         login
//	RET, WEB    return, web, discovery, limits
//	SES         session, ownsessions, ended, endedcopies, confirm
//	TXN         txn, clock, constanttime
//	WIR         handlers, htmx, crossorigin, twocallbacks; around handlersshop
//
// Groups that are not here have their tests in grants (LNK, APR, NTC, WIR, too) and in
// internal/enginetest (DB).
//
// What is about the whole repository is here as well: its public face, its documents,
// and what goes over the wire (golden, docs).
package requirements
