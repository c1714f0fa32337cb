package authagent

// Sessions returns those of the site, or the ones on its SessionStore, or in
// cookies: the kit in package storetest is for all three.
func (rp *RelyingParty) Sessions() Sessions { return rp.sessions }
