package wire

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent/metrics"
)

// endpointOf names the endpoint that the request of a step goes to, for the meter.
func endpointOf(step string) string {
	switch step {
	case "token request", "refresh request":
		return "token"
	case "userinfo request":
		return "userinfo"
	case "introspection request":
		return "introspection"
	case "revocation request":
		return "revocation"
	case PushStep:
		return "pushed_authorization"
	case keysStep:
		return "keys"
	case "metadata request":
		return "metadata"
	case "encoding probe", authStep: // to find out how requests are made, mostly at the token endpoint
		return "probe"
	}
	return metrics.Other
}

// statusOf says how a request was answered, for the meter: by a status or, if there is no whole answer, why.
func statusOf(a answer, err error) string {
	if err == nil {
		return statusText(a.status)
	}
	e := new(Error)
	switch errors.As(err, &e); {
	case e.Kind == Malformed && e.Status >= 300 && e.Status < 400:
		return statusText(e.Status)
	case e.Kind == Malformed:
		return "malformed"
	case e.Kind == Broken, e.Kind == Invalid:
		return "broken"
	case e.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "unreachable"
}

// told are the statuses that say something of their own. Nothing changes it. Others are told by their class: a
// server could make up hundreds.
var told = []int{200, 400, 401, 403, 404, 429, 500, 502, 503, 504}

func statusText(status int) string {
	switch class := status / 100; {
	case slices.Contains(told, status):
		return strconv.Itoa(status)
	case class >= 1 && class <= 5:
		return strconv.Itoa(class) + "xx"
	}
	return metrics.Other
}
