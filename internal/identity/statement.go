package identity

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/strictjson"
	"github.com/authagent-go/authagent/internal/wire"
)

// A statement is what one of the three says: the id_token, the access token, or the server that
// is asked. A nil statement says nothing.
type statement struct {
	source  string
	proven  bool   // otherwise it is only good to refuse
	subject string // sub; empty if it says none
	actors  []audit.Agent

	subjectKinds, actorKinds, clientKinds []string // sub_profile, act.sub_profile, client_profile; in lower case

	model, sid string
	scopes     []string // nil if it says none
	odd        string   // why it may be an agent's although it names none; empty for no reason
	payload    []byte   // of an id_token
}

// believed reports whether a statement says something that is proven.
func (s *statement) believed() bool { return s != nil && s.proven }

// names reports whether a statement names an agent.
func (s *statement) names() bool {
	return s.believed() && (len(s.actors) > 0 || slices.Contains(s.subjectKinds, aiAgent))
}

// otherThanAgent reports whether a statement says that sub is something, and no agent.
func (s *statement) otherThanAgent() bool {
	return len(s.subjectKinds) > 0 && !slices.Contains(s.subjectKinds, aiAgent)
}

// What sub_profile and client_profile call an agent and a human (draft-mora-oauth-entity-profiles-01
// section 3).
const (
	aiAgent = "ai_agent"
	human   = "user"
)

// accessToken is what an access token is called in errors.
const accessToken = "access token"

const (
	maxActors   = 4       // levels of act, the agent's own included
	maxActBytes = 4 << 10 // of act, with all that is in it
)

// idToken verifies as OpenID Connect Core section 3.1.3.7 demands.
func (v *Verifier) idToken(ctx context.Context, m *wire.Metadata, t *wire.Token, nonce string) (*statement, error) {
	payload, alg, err := parts(t.ID)
	if err != nil {
		return nil, mismatch("id_token is none that can be read")
	}
	if err := v.verifyIDToken(ctx, m, t.ID, alg); err != nil {
		return nil, err
	}
	if err := v.isOurs(payload); err != nil {
		return nil, err
	}
	if err := isOfNow(payload); err != nil {
		return nil, err
	}
	if err := readProofs(payload).check(nonce, alg, t.Access); err != nil {
		return nil, err
	}
	s, err := readWithSubject("id_token", payload)
	if err != nil {
		return nil, err
	}
	if s.subject == "" {
		return nil, mismatch("id_token has no sub")
	}
	s.proven, s.scopes = true, nil
	if v.People {
		_, body, _ := strings.Cut(t.ID, ".")
		body, _, _ = strings.Cut(body, ".")
		s.payload, _ = base64.RawURLEncoding.DecodeString(body) // parts has
	}
	return s, nil
}

// proofs are the claims of an id_token that bind it to a login and to an access token.
type proofs struct {
	nonce, accessTokenHash string
	odd                    error // accessTokenHash is no text
}

func readProofs(payload strictjson.Object) (p proofs) {
	p.nonce, _, _ = payload.String("nonce") // what is no text is no nonce
	p.accessTokenHash, _, p.odd = payload.String("at_hash")
	return p
}

// check checks that the id_token is for the login with this nonce, and was given with this access token.
func (p proofs) check(nonce, alg, access string) error {
	if nonce == "" || subtle.ConstantTimeCompare([]byte(p.nonce), []byte(nonce)) != 1 {
		return mismatch("id_token has another nonce")
	}
	if p.odd != nil || p.accessTokenHash != "" && !hashes(p.accessTokenHash, alg, access) {
		return mismatch("id_token belongs to another access token (at_hash)")
	}
	return nil
}

// google is an issuer whose id_tokens may leave out the scheme of its name (Google's documentation of OpenID Connect).
const google = "https://accounts.google.com"

// isOurs checks who has issued an id_token, and for whom.
func (v *Verifier) isOurs(payload strictjson.Object) error {
	if !says(payload, "iss", v.Issuer) && (v.Issuer != google || !says(payload, "iss", strings.TrimPrefix(google, "https://"))) {
		return mismatch("id_token is of another issuer")
	}
	audience, err := audiences(payload)
	if err != nil || !slices.Contains(audience, v.ClientID) {
		return mismatch("id_token is for another audience")
	}
	if azp, said, err := payload.String("azp"); err != nil || said && azp != v.ClientID || !said && len(audience) > 1 {
		return mismatch("id_token was given to another client (azp)")
	}
	return nil
}

// early is how much too early an id_token may come by its nbf. No specification of id_tokens has this
// claim, and servers that send it differ in how well their clocks go.
const early = 4 * time.Minute

// isOfNow checks the times of an id_token.
func isOfNow(payload strictjson.Object) error {
	now := time.Now()
	expires, _, err1 := payload.Time("exp")
	begins, _, err2 := payload.Time("nbf")
	issued, _, err3 := payload.Time("iat")
	switch err := errors.Join(err1, err2, err3); {
	case err != nil:
		return mismatch("id_token: %v", err)
	case now.After(expires.Add(Skew)): // also where there is none
		return mismatch("id_token has expired, or has no exp")
	case begins.After(now.Add(early)):
		return mismatch("id_token is not valid yet (nbf)")
	case issued.IsZero() || issued.Unix() == 0:
		return mismatch("id_token has no iat")
	}
	return nil
}

// accessToken reads a JWT access token. Beside an id_token, which proves the identity, it need not
// be one. What cannot be verified or does not say whom it is for is opaque to a client (RFC 9068
// section 6), and only good to refuse.
func (v *Verifier) accessToken(ctx context.Context, m *wire.Metadata, raw string, beside bool) (*statement, error) {
	payload, alg, err := parts(raw)
	switch {
	case err != nil && looksLikeJWT(raw): // and nobody knows what it says
		return &statement{source: accessToken, odd: "it cannot be read"}, nil
	case err != nil:
		return nil, nil // two dots do not make a JWT
	}
	verified := false
	if !beside || v.SubjectIsUser { // otherwise the id_token says it all
		verified, err = v.signature(ctx, m, raw, alg)
		if err != nil && (!beside || !errors.Is(err, ErrMismatch)) {
			return nil, err
		}
	}
	issuer, hasIssuer, err1 := payload.String("iss")
	client, hasClient, err2 := clientOf(payload)
	expires, hasExpiry, err3 := payload.Time("exp")
	foreign := hasIssuer && issuer != v.Issuer
	switch err := errors.Join(err1, err2, err3); {
	case beside && (err != nil || foreign): // for somebody else, in words of theirs
		verified = false
	case err != nil:
		return nil, mismatch("access token: %v", err)
	case foreign:
		return nil, mismatch("access token is of another issuer")
	case hasClient && client != v.ClientID:
		return nil, mismatch("access token was given to another client")
	case hasExpiry && time.Now().After(expires.Add(Skew)):
		return nil, mismatch("access token has expired")
	}
	subject, hasSubject := payload.Raw("sub")
	proven := verified && hasIssuer && hasClient && hasExpiry && hasSubject && string(subject) != "null"
	s, err := read(accessToken, payload)
	if err == nil && (proven || v.SubjectIsUser && !foreign) { // others name people and agents in their own way
		err = s.readSubject(payload)
	}
	if err != nil {
		return nil, err
	}
	s.proven = proven
	return s, nil
}

// looksLikeJWT reports whether a token has three parts, the first of which is the text of a JSON object.
func looksLikeJWT(raw string) bool {
	start, _ := base64.RawURLEncoding.DecodeString(raw[:min(4, len(raw))])
	return strings.Count(raw, ".") == 2 && len(start) > 0 && start[0] == '{'
}

// clientOf returns the client that a token was given to: client_id, or azp as some servers call it.
func clientOf(payload strictjson.Object) (client string, said bool, err error) {
	client, said, err = payload.String("client_id")
	party, also, err2 := payload.String("azp")
	switch err = errors.Join(err, err2); {
	case err != nil:
		return "", false, err
	case said && also && client != party:
		return "", false, errors.New("client_id and azp differ")
	case !said:
		return party, also, nil
	}
	return client, true, nil
}

// introspect asks the server about an access token (RFC 7662). It need not say whom the token
// speaks of if something else has, and it is not alone.
func (v *Verifier) introspect(ctx context.Context, server *wire.Server, access string, alone bool) (*statement, error) {
	in, err := server.Introspect(ctx, access)
	switch {
	case err != nil:
		return nil, err
	case !in.Active:
		return nil, wire.ErrInactive
	case in.ClientID != v.ClientID: // RFC 7662 section 4; the published server answers for anybody's token
		return nil, mismatch("token was given to another client")
	case in.Issuer != "" && in.Issuer != v.Issuer:
		return nil, mismatch("token is of another issuer")
	case !in.Expires.IsZero() && time.Now().After(in.Expires.Add(Skew)):
		return nil, mismatch("token has expired")
	}
	s, err := readWithSubject("introspection", in.Claims)
	if err != nil {
		return nil, err
	}
	if s.subject == "" && alone {
		return nil, mismatch("introspection says no sub")
	}
	s.proven = true
	return s, nil
}

// parts returns the claims of a JWT and its algorithm, unverified.
func parts(raw string) (payload strictjson.Object, alg string, err error) {
	header, payload, err := split(raw)
	if err == nil {
		alg, _, err = header.String("alg")
	}
	return payload, alg, err
}

// split returns the header and the claims of a JWT, unverified.
func split(raw string) (header, payload strictjson.Object, err error) {
	if strings.Count(raw, ".") != 2 {
		return header, payload, errors.New("not a JWT")
	}
	for _, part := range [...]*strictjson.Object{&header, &payload} {
		var piece string
		piece, raw, _ = strings.Cut(raw, ".")
		var room [1 << 10]byte // most are shorter
		data, err := base64.RawURLEncoding.AppendDecode(room[:0], []byte(piece))
		if err != nil {
			return header, payload, errors.New("not a JWT")
		}
		if *part, err = strictjson.Parse(data); err != nil {
			return header, payload, err
		}
	}
	return header, payload, nil
}

// read reads what claims say of who is who, but for sub.
func read(source string, payload strictjson.Object) (*statement, error) {
	s := &statement{source: source}
	if err := s.readActors(payload); err != nil {
		return nil, mismatch("%s: %v", source, err)
	}
	var errs [2]error
	s.subjectKinds, errs[0] = kinds(payload, "sub_profile")
	s.clientKinds, errs[1] = kinds(payload, "client_profile")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, mismatch("%s: %v", source, err)
	}
	model, _, _ := payload.String("model")
	s.model = claims.Text(model)
	if sid, _, _ := payload.String("sid"); sid != "" && claims.Subject(sid) == nil {
		s.sid = sid
	}
	s.scopes = readScopes(payload)
	s.odd = cmp.Or(s.odd, oddity(payload))
	return s, nil
}

func readWithSubject(source string, payload strictjson.Object) (*statement, error) {
	s, err := read(source, payload)
	if err == nil {
		err = s.readSubject(payload)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *statement) readSubject(payload strictjson.Object) error {
	subject, said, err := payload.String("sub")
	if err == nil && said {
		err = claims.Subject(subject)
	}
	if err != nil {
		return mismatch("%s: %v", s.source, err)
	}
	s.subject = subject
	return nil
}

// readScopes reads what is granted: scope, or scp as some servers call it. Either may be a list. What
// is neither text nor a list of text grants nothing.
func readScopes(payload strictjson.Object) []string {
	for _, claim := range [...]string{"scope", "scp"} {
		text, said, err := payload.String(claim)
		if err != nil {
			list, _, _ := payload.Strings(claim)
			return append([]string{}, list...)
		}
		if said {
			return append([]string{}, strings.Fields(text)...)
		}
	}
	return nil
}

// readActors reads act (RFC 8693 section 4.1). The outermost is who acts now. Those inside acted
// before, and decide nothing.
func (s *statement) readActors(payload strictjson.Object) error {
	text, there := payload.Raw("act")
	if len(text) > maxActBytes {
		return errors.New("act is too long")
	}
	for level := payload; there; _, there = level.Raw("act") {
		actor, said, err := level.Object("act")
		switch {
		case err != nil:
			return err
		case !said && len(s.actors) == 0: // null, which is as good as absent, but for a person
			s.odd = "act is null"
			return nil
		case !said:
			return nil
		case len(s.actors) == maxActors:
			return errors.New("act is nested too deep")
		}
		by := audit.Agent{}
		by.ID, _, _ = actor.String("sub") // what is no string is no subject, as none is
		if by.Issuer, said, err = actor.String("iss"); err != nil || said && by.Issuer == "" {
			return errors.New("act.iss is not the name of an issuer")
		}
		if len(s.actors) == 0 {
			if err := claims.Subject(by.ID); err != nil {
				return errors.New("act has no sub that can be used")
			}
			if s.actorKinds, err = kinds(actor, "sub_profile"); err != nil {
				return err
			}
		} else if claims.Subject(by.ID) != nil || by.Issuer != "" && claims.Subject(by.Issuer) != nil {
			by = audit.Agent{} // it has no name that could be kept
		}
		s.actors = append(s.actors, by)
		level = actor
	}
	return nil
}

// kinds reads a claim that says what something is: words in any case, with spaces between. Nothing is
// a human and an agent.
func kinds(o strictjson.Object, claim string) ([]string, error) {
	if !o.Has(claim) {
		return nil, nil
	}
	text, said, err := o.String(claim)
	if err != nil || !said {
		return nil, errors.New(claim + " is not a string")
	}
	words := strings.Fields(claims.LowerASCII(text))
	if slices.Contains(words, human) && slices.Contains(words, aiAgent) {
		return nil, errors.New(claim + " says both a person and an agent")
	}
	return words, nil
}

// oddity returns why claims may be an agent's although they have no act: some providers name an agent
// by other claims, such as agent_type (OIDC-A), xms_act_fct (Microsoft Entra) or one whose name is a
// URL, as Auth0 demands for what a site adds. Whoever has one is no person, and no claim but act and
// sub names an agent here. None of the token's own text is in the reason.
func oddity(payload strictjson.Object) string {
	for name := range payload.Names() {
		word := claims.LowerASCII(name)
		word = word[strings.LastIndexAny(word, "/:#.")+1:]
		plain := strings.ReplaceAll(strings.ReplaceAll(word, "_", ""), "-", "") // as in agentId, agent-id, ai_agent
		switch {
		case name == "act": // which readActors has read
		case word == "act", plain == "actor", plain == "actort", plain == "actorid", plain == "actorsub":
			return "act by another name"
		case strings.HasPrefix(plain, "agent"), strings.HasSuffix(plain, "agent") && plain != "useragent":
			return "agent, or agent_ and more"
		case word == "xms_act_fct", word == "xms_par_app_azp":
			return "xms_act_fct or xms_par_app_azp"
		}
	}
	return ""
}
