package jar

import (
	"net/http"
	"time"
)

// Timed keeps a T for each browser in a Jar, and ends it if it was not used for a time. It is
// authagent.Sessions. Its fields are set before its first use.
type Timed[T any] struct {
	*Jar
	Idle time.Duration // how long a T may stay unused
	Skew time.Duration // how far clocks of instances may be apart

	Seal    func(T) []byte // with the time as it is now
	Parse   func(string) (t T, seen time.Time, err error)
	Started func(T) time.Time

	// None and Ended are what Load returns for a browser that has no T, or had one.
	None, Ended error
}

// Start keeps t for a browser, whatever it had.
func (j *Timed[T]) Start(w http.ResponseWriter, r *http.Request, t T) error {
	return j.Put(w, r, j.Seal(t))
}

// Load returns the browser's T. It comes with Ended if it was not used for too long.
func (j *Timed[T]) Load(w http.ResponseWriter, r *http.Request) (t T, err error) {
	value, err := j.Get(r)
	switch err {
	case nil:
	case ErrNone:
		return t, j.None
	case ErrUnreadable:
		return t, j.Ended
	default:
		return t, err
	}
	loaded, seen, err := j.Parse(value.Opened)
	if err != nil {
		return t, j.Ended // also of another version: the instance that made it goes on with it
	}
	now := time.Now()
	unused := now.Sub(seen)
	if unused > j.Idle || unused < -j.Skew || now.Sub(j.Started(loaded)) < -j.Skew {
		return loaded, j.Ended
	}
	if unused >= j.touchEvery() {
		if err := j.Replace(w, r, value, j.Seal(loaded)); err != nil {
			return t, err
		}
	}
	return loaded, nil
}

// touchEvery is how old a value gets before the client is given a fresh one. So an idle T
// ends up to that much early, and never late.
func (j *Timed[T]) touchEvery() time.Duration { return min(j.Idle/10, time.Minute) }

// End has the browser forget what it has.
func (j *Timed[T]) End(w http.ResponseWriter, r *http.Request) error { return j.Remove(w, r) }
