package benchmarks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The floor is the least design that does the work: the login's secrets in one
// sealed cookie, the session in one sealed cookie that is read once per request,
// the standard library, and none of the checks beyond the protocol's own. It is
// no product: it has no metadata, one tab, no middleware, no errors to act on.
type floor struct {
	aead   cipher.AEAD
	prefix string // of the authorization URL
	token  string
	info   string
	client *http.Client
}

func key() []byte {
	k := make([]byte, 32)
	rand.Read(k)
	return k
}

func newAEAD() cipher.AEAD {
	return must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(key()))))
}

func newFloor(p *provider) *floor {
	query := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {origin + callbackPath},
		"scope": {"openid profile email"}, "code_challenge_method": {"S256"},
	}
	return &floor{
		aead: newAEAD(), prefix: p.URL + "/authorize?" + query.Encode(), token: p.URL + "/token", info: p.URL + "/userinfo",
		client: &http.Client{Transport: pooled()},
	}
}

func floorSite(p *provider) *site {
	f := newFloor(p)
	return &site{
		pkce: true, server: p,
		login: http.HandlerFunc(f.login), finish: http.HandlerFunc(f.callback), orders: f.guard(http.HandlerFunc(floorOrders), false),
	}
}

const (
	floorLogin   = "__Host-login"
	floorSession = "__Host-session"

	cookieAttributes = "; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age="
)

// What is sealed is bound to the name of its cookie.
var (
	floorLoginName   = []byte(floorLogin)
	floorSessionName = []byte(floorSession)
)

func (f *floor) open(sealed string, name []byte) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, false
	}
	value, err := f.aead.Open(raw[:0], nil, raw, name)
	return value, err == nil
}

// setCookie returns a cookie with what value holds, sealed. It uses the room
// that value has behind its end.
func (f *floor) setCookie(name, value []byte, maxAge string) string {
	sealed := f.aead.Seal(value[len(value):], nil, value, name)
	line := sealed[len(sealed):]
	line = append(append(line, name...), '=')
	line = base64.RawURLEncoding.AppendEncode(line, sealed)
	return string(append(append(line, cookieAttributes...), maxAge...))
}

func (f *floor) login(w http.ResponseWriter, r *http.Request) {
	var random [64]byte
	rand.Read(random[:])
	value := make([]byte, 86, 640)
	state, verifier := value[:43], value[43:]
	base64.RawURLEncoding.Encode(state, random[:32])
	base64.RawURLEncoding.Encode(verifier, random[32:])
	value = binary.AppendVarint(value, time.Now().Unix())
	sum := sha256.Sum256(verifier)
	location := make([]byte, 0, 512)
	location = append(append(append(location, f.prefix...), "&state="...), state...)
	location = base64.RawURLEncoding.AppendEncode(append(location, "&code_challenge="...), sum[:])
	values := []string{string(location), f.setCookie(floorLoginName, value, "600")}
	h := w.Header()
	h["Location"], h["Set-Cookie"] = values[0:1:1], values[1:2:2]
	w.WriteHeader(http.StatusSeeOther)
}

// cookie returns the value of a cookie, without what net/http parses for it.
func cookie(r *http.Request, name string) string {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if have, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && have == name {
				return value
			}
		}
	}
	return ""
}

func (f *floor) callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	state := query.Get("state")
	value, ok := f.open(cookie(r, floorLogin), floorLoginName)
	if !ok || len(value) < 86 || subtle.ConstantTimeCompare([]byte(state), value[:43]) != 1 {
		http.Error(w, "state", http.StatusBadRequest)
		return
	}
	if began, _ := binary.Varint(value[86:]); time.Now().Unix()-began > 600 {
		http.Error(w, "expired", http.StatusBadRequest)
		return
	}
	form := "grant_type=authorization_code&code=" + url.QueryEscape(query.Get("code")) + "&code_verifier=" + string(value[43:86]) +
		"&redirect_uri=" + url.QueryEscape(origin+callbackPath) + "&client_id=" + clientID + "&client_secret=" + url.QueryEscape(clientSecret)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	var info struct{ Sub, Email, Name, Model string }
	err := f.ask(r.Context(), http.MethodPost, f.token, form, "", &token)
	if err == nil {
		err = f.ask(r.Context(), http.MethodGet, f.info, "", token.AccessToken, &info)
	}
	if err != nil || info.Email != email {
		http.Error(w, "sign-in", http.StatusBadGateway)
		return
	}
	f.start(w, info.Sub)
	h := w.Header()
	h.Add("Set-Cookie", floorLogin+"="+cookieAttributes+"0")
	h["Location"] = []string{"/"}
	w.WriteHeader(http.StatusSeeOther)
}

func (f *floor) ask(ctx context.Context, method, address, form, bearer string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form))
	if err != nil {
		return err
	}
	if form != "" {
		req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	}
	if bearer != "" {
		req.Header["Authorization"] = []string{"Bearer " + bearer}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// A session is what all that are compared keep: the same fields, the same lengths.
type session struct {
	ID, Issuer, Agent, Model, Scenario, User, Profile string
	Started, Expires, Seen                            int64
}

func newSession(agent string) session {
	now := time.Now()
	return session{
		ID: rand.Text(), Issuer: "http://127.0.0.1:12345", Agent: agent, Model: "model-1", Scenario: "FullAccount", User: "user_1",
		Started: now.Unix(), Expires: now.Add(12 * time.Hour).Unix(), Seen: now.Unix(),
	}
}

func (s *session) strings() [7]*string {
	return [...]*string{&s.ID, &s.Issuer, &s.Agent, &s.Model, &s.Scenario, &s.User, &s.Profile}
}

func (s *session) numbers() [3]*int64 { return [...]*int64{&s.Started, &s.Expires, &s.Seen} }

func (s *session) append(b []byte) []byte {
	for _, n := range s.numbers() {
		b = binary.AppendVarint(b, *n)
	}
	for _, text := range s.strings() {
		b = append(binary.AppendUvarint(b, uint64(len(*text))), *text...)
	}
	return b
}

func (s *session) parse(b []byte) bool {
	for _, n := range s.numbers() {
		var size int
		if *n, size = binary.Varint(b); size <= 0 {
			return false
		}
		b = b[size:]
	}
	all := string(b) // the fields share it
	for _, text := range s.strings() {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return false
		}
		at := len(all) - len(b) + size
		*text = all[at : at+int(n)]
		b = b[size+int(n):]
	}
	return len(b) == 0
}

func (f *floor) start(w http.ResponseWriter, agent string) {
	s := newSession(agent)
	f.save(w, &s)
}

func (f *floor) save(w http.ResponseWriter, s *session) {
	w.Header()["Set-Cookie"] = []string{f.setCookie(floorSessionName, s.append(make([]byte, 0, 800)), "43200")}
}

type floorKey struct{}

func (f *floor) guard(next http.Handler, renew bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := f.load(r)
		if !ok {
			unauthorized(w)
			return
		}
		if renew {
			s.Seen = time.Now().Unix()
			f.save(w, s)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), floorKey{}, s)))
	})
}

func (f *floor) load(r *http.Request) (*session, bool) {
	sealed := cookie(r, floorSession)
	if sealed == "" {
		return nil, false
	}
	value, ok := f.open(sealed, floorSessionName)
	if !ok {
		return nil, false
	}
	s := &session{}
	now := time.Now().Unix()
	return s, s.parse(value) && now < s.Expires && now-s.Seen < 1800
}

func floorOrders(w http.ResponseWriter, r *http.Request) {
	if s, ok := r.Context().Value(floorKey{}).(*session); ok && s.User == "user_1" {
		w.WriteHeader(http.StatusOK)
	}
}

// unauthorized is the least of an answer.
func unauthorized(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(http.StatusUnauthorized)
	w.Write(unauthorizedText)
}

var unauthorizedText = []byte("sign in\n")

// bareSite is the limit of a callback: the two round trips to the provider, with
// all that the protocol has everybody send, and nothing made of what comes back.
// Its login does nothing. The signature of an id_token is verified if the provider signs each.
func bareSite(p *provider) *site {
	return roundTrips(p, func(body []byte) {
		if p.signer != nil {
			p.verify(body)
		}
	})
}

// roundTrips hands what the token endpoint has answered to look.
func roundTrips(p *provider, look func(body []byte)) *site {
	client := &http.Client{Transport: pooled()}
	id := clientID
	if p.signer != nil {
		id = oidcClientID
	}
	form := formOf(id)
	bearer := []string{"Bearer " + p.access}
	return &site{
		server: p,
		login: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Location"] = []string{p.URL + "/authorize?state=none"}
			w.WriteHeader(http.StatusSeeOther)
		}),
		finish: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			post := must(http.NewRequest(http.MethodPost, p.URL+"/token", bytes.NewReader(form)))
			post.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
			look(bare(client, post))
			get := must(http.NewRequest(http.MethodGet, p.URL+"/userinfo", nil))
			get.Header["Authorization"] = bearer
			bare(client, get)
			w.Header()["Location"] = []string{"/"}
			w.WriteHeader(http.StatusSeeOther)
		}),
	}
}

func bare(client *http.Client, r *http.Request) (body []byte) {
	resp := must(client.Do(r))
	defer resp.Body.Close()
	return must(io.ReadAll(resp.Body))
}
