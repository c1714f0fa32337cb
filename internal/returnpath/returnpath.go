// Package returnpath decides whether a browser may be sent to a target that
// came with a request: the return_to of a login, the next of a logout.
//
// An open redirector turns a login page into a phishing tool and leaks codes
// (RFC 9700 sections 2.1 and 4.11.1). Peers have fixed theirs again and again,
// because a rule about one spelling misses the next one: oauth2-proxy
// GHSA-qqxw-m5fj-f7gv and CVE-2021-21291, Gitea CVE-2021-45328, Auth.js
// CVE-2022-24858. So this package names what is allowed, a plain path of this
// site, and holds that path to the same rule again after each further
// percent-decoding that a proxy, a router or a careless handler may do.
package returnpath

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLength bounds the work done here and the size of the cookie that
	// carries the target through the login.
	maxLength = 2048

	// maxLevels is at how many levels a path is checked: as it stands, and
	// decoded once, twice and three times. No application encodes more often,
	// so a path that the last decoding would still change is refused.
	maxLevels = 4
)

// The errors are constants, as a target is hostile text until it has passed:
// it must not reach a log or a page by way of a message. That is also why
// the error of url.Parse, which quotes its input, is never wrapped.
var (
	errEmpty     = errors.New("return path: empty")
	errLong      = errors.New("return path: longer than 2048 bytes")
	errByte      = errors.New("return path: backslash, space, control or non-ASCII byte")
	errRelative  = errors.New("return path: does not begin with a slash")
	errHost      = errors.New("return path: names a host")
	errSyntax    = errors.New("return path: not a valid URL path")
	errRedirect  = errors.New("return path: would be rewritten by a redirect")
	errSeparator = errors.New("return path: encoded slash or backslash")
	errControl   = errors.New("return path: encoded control character")
	errUTF8      = errors.New("return path: not valid UTF-8 when decoded")
	errSegment   = errors.New("return path: empty path segment")
	errDot       = errors.New("return path: dot segment")
	errScheme    = errors.New("return path: begins with a URL scheme")
	errEncoding  = errors.New("return path: encoded too many times")
	errOwn       = errors.New("return path: is a login, callback or logout path")
)

// Check returns nil if target is a path on this site, with or without a query
// and a fragment, that is safe to send a browser to. [net/http.Redirect] writes
// an accepted target to the Location header byte by byte as it came in.
//
// own lists paths of this site that are never targets, decoded as in
// [net/url.URL.Path]: a login that returns to login or logout is a loop or a
// forced logout. They are compared without regard to case, to a trailing slash
// and to path parameters; an empty string in own is ignored.
//
// Query and fragment are free within printable ASCII, as neither can change the
// origin, except that a fragment has to be a valid one and not one that a
// redirect would rewrite ("#a//b").
//
// The error says what is wrong and never contains the target.
func Check(target string, own ...string) error {
	if err := checkBytes(target); err != nil {
		return err
	}
	u, err := url.Parse(target)
	if err != nil {
		return errSyntax
	}
	if u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return errHost
	}
	p := target
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		p = p[:i]
	}
	for range maxLevels {
		if err := checkPath(p, own); err != nil {
			return err
		}
		next := decode(p)
		if next == p {
			return checkRedirect(target)
		}
		p = next
	}
	return errEncoding
}

// checkBytes holds target to printable ASCII without the backslash, which
// browsers read as a slash, and to exactly one leading slash. Browsers drop
// tabs and line ends inside a URL, and white space around it.
func checkBytes(target string) error {
	switch {
	case target == "":
		return errEmpty
	case len(target) > maxLength:
		return errLong
	}
	for i := range len(target) {
		if c := target[i]; c < 0x21 || c > 0x7e || c == '\\' {
			return errByte
		}
	}
	switch {
	case target[0] != '/':
		return errRelative
	case strings.HasPrefix(target, "//"):
		return errHost
	}
	return nil
}

// checkRedirect reports whether http.Redirect would change target: it cleans
// all that stands before the first question mark, the fragment too.
func checkRedirect(target string) error {
	before, _, _ := strings.Cut(target, "?")
	if before != "/" && path.Clean(before) != strings.TrimSuffix(before, "/") {
		return errRedirect
	}
	return nil
}

// checkPath checks a path at one level of decoding.
func checkPath(p string, own []string) error {
	if hasEncodedSeparator(p) || strings.Contains(p, `\`) {
		return errSeparator
	}
	if !utf8.ValidString(p) {
		return errUTF8 // "%c0%af" is a slash to a lax decoder
	}
	if strings.ContainsFunc(p, unicode.IsControl) {
		return errControl
	}
	if err := checkSegments(p[1:]); err != nil {
		return err
	}
	if hasScheme(p[1:]) {
		return errScheme
	}
	if isOwn(p, own) {
		return errOwn
	}
	return nil
}

// hasEncodedSeparator reports whether p contains %2f in any case. A backslash, which no
// path may have, is found once it is decoded.
func hasEncodedSeparator(p string) bool {
	for {
		_, after, _ := strings.Cut(p, "%")
		if len(after) < 2 {
			return false
		}
		if c, _ := unhex(after[0], after[1]); c == '/' { // which no other digits make
			return true
		}
		p = after
	}
}

// checkSegments refuses segments that vanish when a path is cleaned, and those
// that would if white space or path parameters went first: servlet containers
// read "/..;x/" as "/../", and "/;/evil.example" as "//evil.example".
func checkSegments(rest string) error {
	for {
		segment, after, more := strings.Cut(rest, "/")
		name := uptoAny(segment, ";")
		if name = strings.TrimFunc(name, isBlank); name == "" && (more || segment != "") {
			return errSegment
		}
		// A "?" or "#" in here was encoded, and ends the path once decoded.
		switch strings.TrimFunc(uptoAny(name, "?#"), isBlank) {
		case ".", "..":
			return errDot
		}
		if !more {
			return nil
		}
		rest = after
	}
}

// hasScheme reports whether a path whose leading slash was trimmed off would
// be a URL that browsers run or follow elsewhere. Other colons are fine: "/a:b".
func hasScheme(rest string) bool {
	rest = strings.TrimLeftFunc(rest, isBlank)
	for _, scheme := range [...]string{"http:", "https:", "javascript:", "data:", "vbscript:"} {
		if len(rest) >= len(scheme) && strings.EqualFold(rest[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// isOwn reports whether p is one of own to any router that might serve it.
func isOwn(p string, own []string) bool {
	p = strings.TrimRight(strings.TrimFunc(uptoAny(p, ";?#"), isBlank), "/")
	for _, o := range own {
		if o != "" && strings.EqualFold(p, strings.TrimRight(o, "/")) {
			return true
		}
	}
	return false
}

// decode undoes one level of percent-encoding. It leaves broken escapes as they
// are, like the lax decoders it stands in for, where url.PathUnescape would
// give up: "%25%2f" must not hide behind "%%2f". Characters that become a slash,
// a dot or a percent sign in compatibility normalisation (NFKC) or in the
// best-fit mappings of legacy code pages are replaced by it.
func decode(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	b := make([]byte, 0, len(p))
	ascii := true
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' && i+2 < len(p) {
			if d, ok := unhex(p[i+1], p[i+2]); ok {
				c = d
				i += 2
			}
		}
		ascii = ascii && c < utf8.RuneSelf
		b = append(b, c)
	}
	if ascii {
		return string(b)
	}
	return lookalikes.Replace(string(b))
}

var lookalikes = strings.NewReplacer(
	"\uff0f", "/", "\u2044", "/", "\u2215", "/",
	"\uff3c", `\`, "\ufe68", `\`,
	"\uff0e", ".", "\ufe52", ".", "\u2024", ".", "\u2025", "..",
	"\uff05", "%", "\ufe6a", "%",
)

// isBlank reports whether trimming or rendering may make r disappear.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

// uptoAny returns s up to the first of chars.
func uptoAny(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i]
	}
	return s
}

// unhex returns the byte that two hexadecimal digits stand for.
func unhex(hi, lo byte) (byte, bool) {
	h, ok1 := nibble(hi)
	l, ok2 := nibble(lo)
	return h<<4 | l, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
