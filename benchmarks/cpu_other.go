//go:build !unix

package benchmarks

import "time"

var began = time.Now()

// processTime is the time on the wall where there is nothing better.
func processTime() time.Duration { return time.Since(began) }
