//go:build unix

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server of this run that is started, stopped and started again.
type process struct {
	name   string
	argv   []string
	env    []string
	dir    string
	as     *syscall.Credential // nil for the user of this run
	answer func(context.Context) error

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts it and waits until it answers.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(p.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd, p.done = exec.Command(p.argv[0], p.argv[1:]...), make(chan struct{})
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), p.env...), p.dir, log, log
	// A group of its own, so that Ctrl-C ends this run, and this run them.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	return p.await(ctx)
}

func (p *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := p.answer(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v; see %s", p.name, p.cmd.ProcessState, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", p.name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *process) tail() string {
	log, _ := os.ReadFile(filepath.Join(p.dir, p.name+".log"))
	return string(log[max(0, len(log)-2000):])
}

// stop sends a signal, waits for the end, and returns an error if that is not
// what the process made of it by itself with status 0.
func (p *process) stop(how syscall.Signal) error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(how)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s, after %v: %v", p.name, how, p.cmd.ProcessState)
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// A database is the PostgreSQL database of a run, and the means to upset it.
type database struct {
	dsn     string
	fault   string // what restart does
	restart func(context.Context) error
	crash   func(context.Context) error // nil if it cannot be
	close   func()
}

// newDatabase makes a server of this run's own if there is PostgreSQL, and uses
// the one that AUTHAGENT_POSTGRES names if there is not.
func newDatabase(ctx context.Context, dir string) (*database, error) {
	bin, err := postgresPrograms()
	if err != nil {
		if dsn := os.Getenv("AUTHAGENT_POSTGRES"); dsn != "" {
			return borrowDatabase(ctx, dsn)
		}
		return nil, fmt.Errorf("%w, and AUTHAGENT_POSTGRES is not set", err)
	}
	as, err := postgresUser()
	if err != nil {
		return nil, err
	}
	// Beside dir and not in it: a user that is not this run's has to get there.
	data, err := os.MkdirTemp("", "fleet-postgres-")
	if err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(data, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "fleet", "--auth", "trust", "-E", "UTF8", "--locale", "C")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: as}, data
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dsn := fmt.Sprintf("postgres://fleet@127.0.0.1:%d/postgres", port)
	p := &process{
		name: "postgres", dir: data, as: as, answer: func(ctx context.Context) error { return ping(ctx, dsn) },
		argv: []string{filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="},
	}
	// SIGINT is what pg_ctl restart sends; after SIGQUIT it recovers as after a crash.
	again := func(how syscall.Signal) func(context.Context) error {
		return func(ctx context.Context) error {
			_ = p.stop(how)
			return p.start(ctx)
		}
	}
	return &database{
		dsn: dsn, fault: "restarted, as by pg_ctl restart", restart: again(syscall.SIGINT), crash: again(syscall.SIGQUIT),
		close: func() {
			_ = p.stop(syscall.SIGINT)
			os.RemoveAll(data)
		},
	}, p.start(ctx)
}

func ping(ctx context.Context, dsn string) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// postgresPrograms finds the newest, on the path or where Debian puts them.
func postgresPrograms() (bin string, err error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("there is no initdb")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
	return filepath.Dir(newest), nil
}

// postgresUser is whom PostgreSQL runs as, which never is root.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// borrowDatabase makes a database at a server that others use too.
func borrowDatabase(ctx context.Context, dsn string) (*database, error) {
	server, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	name := "fleet_" + strings.ToLower(rand.Text()[:10])
	if _, err := server.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	own, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	own.Path = "/" + name
	return &database{
		dsn: own.String(), fault: "not restarted: all connections to its database ended, by pg_terminate_backend",
		restart: func(ctx context.Context) error {
			_, err := server.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
			return err
		},
		close: func() {
			_, _ = server.Exec("DROP DATABASE " + name + " WITH (FORCE)")
			server.Close()
		},
	}, nil
}
