// Package benchmarks runs the work of a sign-in through authagent, through its
// peers, through the least design that does the same (the floor), and through
// the part of it that no design avoids (the limit), in one process, so that the
// ratios between them can be read. See README.md.
package benchmarks
