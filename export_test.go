package authagent

// Sessions returns those of the site, or the ones on its Session.Store, or in
// cookies: the kit in package storetest is for all three.
func (rp *RelyingParty) Sessions() Sessions { return rp.sessions }

// Login is one login's secrets, for the tests of how they are made and that they
// print nowhere.
type Login = login

func NewLogin(returnTo string) *Login { return newLogin(returnTo) }

func (l *login) Challenge() string {
	challenge := l.challenge()
	return string(challenge[:])
}

// ParseLogin and ParseSession read what a cookie holds.
func ParseLogin(value []byte) *Login { return parseLogin(string(value)) }

func ParseSession(value []byte) (*Session, error) {
	s, _, err := parseSession(string(value))
	return s, err
}

func (l *login) Encode() []byte { return l.seal(0) }
