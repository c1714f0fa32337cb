// Package requirements has the tests of testdata/requirements.txt, from outside: a site,
// its handlers, a browser and a server, on internal/testsite. A test names the
// requirements that it is for, and TestRequirements finds a requirement without one.
//
// The files by the groups of the requirements:
//
//	ACT, APR          action, approval, limits
//	CB, TXN           callback, txn, clock
//	CFG, CHK, FACE    config, env, check, surface
//	CMP               compat
//	GRD, MW           guards, middleware, mounted, attribution
//	ID, KEY           identity, signatures, strangers, conformance
//	LNK               scenarios, accounts, pages
//	LOG, NTC          log, audit, canary
//	NET, CAUTH, DB    net, answers, encoding, clientauth, metadata, servers, samesecond
//	REF               refresh, revoke, client
//	REL               reliability, panic, fuzz
//	REQ               login
//	RET, WEB, WIR     return, web, discovery
//	SES               session, sessionlimits, ended, endedcopies, confirm
//
// What is about the whole repository is here, too: its public face, its documents, and
// what goes over the wire (golden, docs).
package requirements
