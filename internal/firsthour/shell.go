//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A shell runs the README's commands in one folder, as a reader does.
type shell struct {
	out    io.Writer
	folder string
}

// run runs commands to their end, and returns what they print and whether they succeed.
func (s *shell) run(ctx context.Context, commands string) (printed string, err error) {
	fmt.Fprintf(s.out, "\n$ %s\n", bytes.TrimSpace([]byte(commands)))
	var out bytes.Buffer
	cmd := s.command(ctx, commands)
	cmd.Stdout = io.MultiWriter(&out, s.out)
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	return out.String(), err
}

// must is run for commands that have to succeed.
func (s *shell) must(ctx context.Context, commands string) error {
	if _, err := s.run(ctx, commands); err != nil {
		return fmt.Errorf("%s: %w", commands, err)
	}
	return nil
}

func (s *shell) command(ctx context.Context, commands string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-e", "-c", commands)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // "go run" has a child
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// A terminal is one in which something runs until stop.
type terminal struct {
	mu   sync.Mutex
	out  bytes.Buffer
	done chan struct{}
	err  error
	stop func()
}

// start runs commands in a terminal of their own, until something listens at the address.
func (s *shell) start(ctx context.Context, commands, address string) (*terminal, error) {
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("the README needs %s, and another program listens there", address)
	}
	t, err := s.launch(ctx, commands)
	if err != nil {
		return nil, err
	}
	if err := t.listens(ctx, address); err != nil {
		t.stop()
		return nil, err
	}
	return t, nil
}

// launch runs commands in a terminal of their own.
func (s *shell) launch(ctx context.Context, commands string) (*terminal, error) {
	fmt.Fprintf(s.out, "\n$ %s\n", bytes.TrimSpace([]byte(commands)))
	ctx, cancel := context.WithCancel(ctx)
	t := &terminal{done: make(chan struct{})}
	cmd := s.command(ctx, commands)
	cmd.Stdout, cmd.Stderr = t, t
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		t.err = cmd.Wait()
		close(t.done)
	}()
	t.stop = func() {
		cancel()
		<-t.done
	}
	return t, nil
}

// listens waits until somebody takes connections, for a minute.
func (t *terminal) listens(ctx context.Context, address string) error {
	for range 600 {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-t.done:
			return fmt.Errorf("it has ended (%w) and printed\n%s", t.err, t.printed())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("nothing listens at %s after a minute; it has printed\n%s", address, t.printed())
}

// Write takes what is printed.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Write(p)
}

func (t *terminal) printed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.String()
}
