package messages

import (
	"strconv"
	"strings"
)

// Choose returns the language that the lines of an Accept-Language header prefer (RFC
// 9110 section 12.5.4), or the first of all if they prefer none of them. A language that
// is named in general, "de", stands for each of its kind, and each for the general one:
// who prefers "de-AT" gets "de". Only the first 32 that are named count: a browser names a
// few, and a stranger could name half a million. all must not be empty.
func Choose(accept []string, all []*Language) *Language {
	best, weight, left := all[0], 0.0, maxWanted
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			if left--; left < 0 {
				return best
			}
			want, parameters, _ := strings.Cut(part, ";")
			q := quality(parameters)
			if q <= weight {
				continue
			}
			if l := Find(strings.TrimSpace(want), all); l != nil {
				best, weight = l, q
			}
		}
	}
	return best
}

// maxWanted is how many languages of a header count.
const maxWanted = 32

// Find returns the language with this tag or, if there is none, one of its kind. It
// returns nil if there is neither, and the first for "*".
func Find(tag string, all []*Language) *Language {
	if tag == "*" {
		return all[0]
	}
	var kin *Language
	for _, l := range all {
		switch {
		case strings.EqualFold(l.tag, tag):
			return l
		case kin == nil && strings.EqualFold(primary(l.tag), primary(tag)):
			kin = l
		}
	}
	return kin
}

// quality returns the weight that the parameters of a part of the header give it.
func quality(parameters string) float64 {
	name, value, _ := strings.Cut(strings.TrimSpace(parameters), "=")
	if strings.TrimSpace(name) != "q" {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !(q >= 0 && q <= 1) { // nor is NaN
		return 0
	}
	return q
}

// primary returns the language subtag of a tag: "pt" of "pt-BR".
func primary(tag string) string {
	language, _, _ := strings.Cut(tag, "-")
	return strings.ToLower(language)
}

// isTag reports whether s has the form of a BCP 47 tag, so that it can stand in a page.
func isTag(s string) bool {
	for part := range strings.SplitSeq(s, "-") {
		if len(part) < 1 || len(part) > 8 {
			return false
		}
		for _, c := range []byte(part) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
				return false
			}
		}
	}
	return len(primary(s)) >= 2
}
