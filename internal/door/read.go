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
		kind, rest, _ := strings.Cut(line, " ")
		if !strings.EqualFold(kind, scheme) {
			continue
		}
		if token = strings.Trim(rest, " "); len(lines) > 1 || !wire.IsToken(token) {
			return "", true, failure.New(reasons.InvalidCredentials, "read access token", "the Authorization header is repeated, or its access token is none")
		}
		came = true
	}
	return token, came, nil
}
