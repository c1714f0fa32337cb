package door

import (
	"net/http"
	"strings"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/wire"
)

const scheme = "Bearer"

// Token returns the access token of a request, and whether it has one (RFC 6750 section 2.1). A token in
// the address or the body is none: it would be in logs. Other schemes, such as Basic, are the site's own. A proof of possession
// (RFC 9449) would be read here.
func Token(r *http.Request) (token string, came bool, err error) {
	lines := r.Header["Authorization"]
	for _, line := range lines {
		if !names(line) {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		if token = strings.Trim(rest, " "); len(lines) > 1 || !strings.EqualFold(kind, scheme) || !wire.IsToken(token) {
			return "", true, failure.New(reasons.InvalidCredentials, "read access token", "the Authorization header is repeated, or its access token is none")
		}
		came = true
	}
	return token, came, nil
}

// names reports whether a line of the header has credentials of the scheme, well written or not: with a tab
// behind it, or behind those of another scheme and a comma. The site's own code could read a token there.
func names(line string) bool {
	for part := range strings.SplitSeq(line, ",") {
		part = strings.Trim(part, " \t")
		if end := strings.IndexAny(part, " \t"); end >= 0 {
			part = part[:end]
		}
		if strings.EqualFold(part, scheme) {
			return true
		}
	}
	return false
}
