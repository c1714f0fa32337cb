// Package punycode writes a host name in ASCII (RFC 3492), to tell an operator how a
// setting is to be spelled. It is no IDNA: it maps capitals and dots and nothing else.
package punycode

import (
	"strings"
	"unicode/utf8"
)

// Host returns a host name with each label that is not ASCII in its xn-- form.
func Host(host string) string {
	host = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".").Replace(host) // dots to IDNA (RFC 3490 section 3.1)
	labels := strings.Split(strings.ToLower(host), ".")
	for i, label := range labels {
		if strings.ContainsFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) {
			labels[i] = "xn--" + encode([]rune(label))
		}
	}
	return strings.Join(labels, ".")
}

// The parameters of RFC 3492 section 5.
const (
	base, tmin, tmax  = 36, 1, 26
	skew, damp        = 38, 700
	firstBias, firstN = 72, 128
)

// encode is the procedure of RFC 3492 section 6.3.
func encode(input []rune) string {
	var out []byte
	for _, r := range input {
		if r < firstN {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	handled := basic
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(firstN), 0, firstBias
	for handled < len(input) {
		next := rune(utf8.MaxRune)
		for _, r := range input {
			if r >= n && r < next {
				next = r
			}
		}
		delta += int(next-n) * (handled + 1)
		n = next
		for _, r := range input {
			if r < n {
				delta++
			}
			if r == n {
				out = variable(out, delta, bias)
				bias = adapt(delta, handled+1, handled == basic)
				delta = 0
				handled++
			}
		}
		delta++
		n++
	}
	return string(out)
}

// variable appends delta as a variable-length integer.
func variable(out []byte, delta, bias int) []byte {
	for k := base; ; k += base {
		t := min(max(k-bias, tmin), tmax)
		if delta < t {
			return append(out, digit(delta))
		}
		out = append(out, digit(t+(delta-t)%(base-t)))
		delta = (delta - t) / (base - t)
	}
}

func digit(d int) byte { return "abcdefghijklmnopqrstuvwxyz0123456789"[d] }

// adapt is the bias adaptation of RFC 3492 section 6.1.
func adapt(delta, points int, first bool) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (base-tmin)*tmax/2; k += base {
		delta /= base - tmin
	}
	return k + (base-tmin+1)*delta/(delta+skew)
}
