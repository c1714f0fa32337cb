package authagenttest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// What follows is misbehaviour for Server.Wrap, one kind each, to see that a
// site survives an authorization server that is broken, overloaded or taken
// over. It wraps any other handler as well.

// RedirectTo answers with a redirect instead of the endpoint's own answer:
//
//	as.Wrap(authagenttest.PathToken, authagenttest.RedirectTo(307, evil.URL))
func RedirectTo(status int, url string) func(http.Handler) http.Handler {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", url)
		w.WriteHeader(status)
	})
}

// Reply answers with this body instead of the endpoint's own. An empty
// contentType sends none.
func Reply(status int, contentType, body string) func(http.Handler) http.Handler {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil // or net/http would guess one
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// Rewrite has change alter the members of the endpoint's answer, if that is a
// JSON object sent with status 200; other answers pass as they are. Numbers are
// [json.Number].
func Rewrite(change func(body map[string]any)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own := httptest.NewRecorder()
			next.ServeHTTP(own, r)
			body := own.Body.Bytes()
			var members map[string]any
			dec := json.NewDecoder(strings.NewReader(string(body)))
			dec.UseNumber()
			if own.Code == http.StatusOK && dec.Decode(&members) == nil && members != nil {
				change(members)
				body = marshal(members)
			}
			maps.Copy(w.Header(), own.Header())
			w.WriteHeader(own.Code)
			w.Write(body)
		})
	}
}

// WithMember is [Rewrite] that sets one member, or adds it. A nil value is sent as
// null. With it, metadata can point elsewhere:
//
//	as.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint", evil.URL))
func WithMember(name string, value any) func(http.Handler) http.Handler {
	return Rewrite(func(body map[string]any) { body[name] = value })
}

// WithoutMember is [Rewrite] that removes members.
func WithoutMember(names ...string) func(http.Handler) http.Handler {
	return Rewrite(func(body map[string]any) {
		maps.DeleteFunc(body, func(name string, _ any) bool { return slices.Contains(names, name) })
	})
}

// Endless answers with JSON that never ends, as fast as the client takes it,
// until the client goes away.
func Endless() func(http.Handler) http.Handler {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, -1)
	})
}

// GzipBomb answers with a JSON object that is size bytes long when it has been
// decompressed, and about a thousandth of that on the wire. A client that does
// not ask for gzip gets it all the same.
func GzipBomb(size int64) func(http.Handler) http.Handler {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		writeJSON(z, size)
	})
}

// writeJSON writes a JSON object of this many bytes, or without end if size is
// negative. It stops when the reader does.
func writeJSON(w io.Writer, size int64) {
	const head, tail = `{"x":"`, `"}`
	chunk := strings.Repeat("x", 32<<10)
	left := size - int64(len(head)+len(tail))
	if _, err := io.WriteString(w, head); err != nil {
		return
	}
	for size < 0 || left > 0 {
		if size >= 0 && left < int64(len(chunk)) {
			chunk = chunk[:left]
		}
		n, err := io.WriteString(w, chunk)
		if err != nil {
			return
		}
		left -= int64(n)
	}
	io.WriteString(w, tail)
}

// Trickle sends the head of the endpoint's answer at once and then its body, one
// byte per interval. Behind [Hosts], which passes on complete answers only, all
// of it comes at the end.
func Trickle(interval time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own := httptest.NewRecorder()
			next.ServeHTTP(own, r)
			maps.Copy(w.Header(), own.Header())
			w.WriteHeader(own.Code)
			flush := http.NewResponseController(w).Flush
			for _, b := range own.Body.Bytes() {
				if flush() != nil || sleep(r.Context(), interval) != nil {
					return
				}
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
			}
		})
	}
}

// Hang accepts the request and answers nothing until the client gives up or the
// [Server] is closed. The endpoint is not reached.
func Hang() func(http.Handler) http.Handler {
	return instead(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// Cut does all that the endpoint does, sends the head of its answer and half of
// the body, and cuts the connection: what the server did has been done, and the
// client does not know.
func Cut() func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own := httptest.NewRecorder()
			next.ServeHTTP(own, r)
			maps.Copy(w.Header(), own.Header())
			w.Header().Set("Content-Length", fmt.Sprint(own.Body.Len()))
			w.WriteHeader(own.Code)
			w.Write(own.Body.Bytes()[:own.Body.Len()/2])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
	}
}

// FailFirst lets mw have the first n requests and the endpoint itself all later ones.
// The returned function counts all its requests together.
func FailFirst(n int, mw func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	var seen atomic.Int64
	return func(next http.Handler) http.Handler {
		failing := mw(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1) <= int64(n) {
				failing.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// instead is a wrapper that never calls what it wraps.
func instead(f http.HandlerFunc) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler { return f }
}
