//go:build unix

package benchmarks

import (
	"syscall"
	"time"
)

// processTime is how long this process has kept processors busy, which other
// programs on the machine disturb less than they do the time on the wall.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
