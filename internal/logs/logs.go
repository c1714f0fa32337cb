// Package logs keeps a site's log handler from ending the process. Much of what
// is logged is logged from goroutines, where a panic has nobody to recover it.
package logs

import (
	"context"
	"log/slog"
)

// Safe returns a Logger that writes to l and loses a record where l's handler
// panics.
func Safe(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(handler); ok {
		return l
	}
	return slog.New(handler{l.Handler()})
}

type handler struct{ next slog.Handler }

// Enabled implements [slog.Handler]. A handler that panics is not asked to write.
func (h handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer ignore()
	return h.next.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	defer ignore()
	return h.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h handler) WithAttrs(attrs []slog.Attr) (made slog.Handler) {
	made = handler{slog.DiscardHandler} // unless the next line gets through
	defer ignore()
	return handler{h.next.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h handler) WithGroup(name string) (made slog.Handler) {
	made = handler{slog.DiscardHandler}
	defer ignore()
	return handler{h.next.WithGroup(name)}
}

// ignore, deferred, ends a panic. There is nowhere left to report it to.
func ignore() { _ = recover() }
