//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServers are two Redis of this run's own, a primary and its replica, and the Sentinel
// that promotes the replica when the primary is gone. A site has three Sentinels, so that
// one that is cut off decides nothing.
type redisServers struct {
	servers  []*redisServer
	sentinel *redisServer
}

// A redisServer is one process.
type redisServer struct {
	process
	port int
}

func (s *redisServer) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

const (
	primaryName = "fleet" // which the Sentinel has for the primary
	downAfter   = 3 * time.Second
)

func newRedisServers(ctx context.Context, dir string) (*redisServers, error) {
	r := &redisServers{}
	var replicaOf *redisServer
	for _, name := range []string{"redis-1", "redis-2"} {
		s, err := newRedisServer(filepath.Join(dir, name), name)
		if err != nil {
			return r, err
		}
		r.servers = append(r.servers, s)
		if err := errors.Join(s.configure(replicaOf), s.start(ctx)); err != nil {
			return r, err
		}
		replicaOf = r.servers[0]
	}
	var err error
	if r.sentinel, err = newRedisServer(filepath.Join(dir, "sentinel"), "sentinel"); err != nil {
		return r, err
	}
	if err := errors.Join(r.sentinel.watch(replicaOf), r.sentinel.start(ctx)); err != nil {
		return r, err
	}
	return r, r.awaitReplica(ctx)
}

func newRedisServer(dir, name string) (*redisServer, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &redisServer{process: process{name: name, dir: dir, argv: []string{path, filepath.Join(dir, "redis.conf")}}}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	s.answer = func(ctx context.Context) error { return askRedis(ctx, s.addr()) }
	return s, nil
}

// configure writes the settings of a Redis that writes before it answers.
func (s *redisServer) configure(replicaOf *redisServer) error {
	settings := []string{"save \"\"", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "repl-diskless-sync-delay 0"}
	if replicaOf != nil {
		settings = append(settings, fmt.Sprintf("replicaof 127.0.0.1 %d", replicaOf.port))
	}
	return s.write(settings...)
}

// watch writes the settings of a Sentinel. It keeps in that file what it learns.
func (s *redisServer) watch(primary *redisServer) error {
	s.argv = append(s.argv, "--sentinel")
	return s.write(
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", primaryName, primary.port),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", primaryName, downAfter.Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s 10000", primaryName),
	)
}

func (s *redisServer) write(settings ...string) error {
	settings = append([]string{"port " + strconv.Itoa(s.port), "bind 127.0.0.1", "dir " + s.dir}, settings...)
	return os.WriteFile(filepath.Join(s.dir, "redis.conf"), []byte(strings.Join(settings, "\n")+"\n"), 0o644)
}

// bySentinel are the flags of the site: it asks the Sentinel, and waits for the one replica.
func (r *redisServers) bySentinel() []string {
	return []string{"-redis", r.sentinel.addr(), "-redis-primary", primaryName, "-redis-replicas", "1"}
}

// byAddress are those of a site that knows one Redis.
func (r *redisServers) byAddress() []string { return []string{"-redis", r.servers[0].addr()} }

func (r *redisServers) close() {
	for _, s := range append(r.servers, r.sentinel) {
		if s != nil {
			_ = s.stop(syscall.SIGKILL)
		}
	}
}

// primary asks the Sentinel which of the two it is.
func (r *redisServers) primary(ctx context.Context) (*redisServer, error) {
	client := redis.NewSentinelClient(&redis.Options{Addr: r.sentinel.addr()})
	defer client.Close()
	addr, err := client.GetMasterAddrByName(ctx, primaryName).Result()
	if err != nil {
		return nil, fmt.Errorf("ask the Sentinel: %w", err)
	}
	for _, s := range r.servers {
		if s.addr() == net.JoinHostPort(addr[0], addr[1]) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the Sentinel names %s", addr)
}

// awaitReplica waits until the primary has a replica that has all of it.
func (r *redisServers) awaitReplica(ctx context.Context) error {
	return eventually(ctx, func() error {
		primary, err := r.primary(ctx)
		if err != nil {
			return err
		}
		client := redis.NewClient(&redis.Options{Addr: primary.addr()})
		defer client.Close()
		info, err := client.Info(ctx, "replication").Result()
		if err == nil && (!strings.Contains(info, "role:master") || !strings.Contains(info, "state=online")) {
			err = fmt.Errorf("%s has no replica:\n%s", primary.name, info)
		}
		return err
	})
}

// crash kills the primary and starts it again, before the Sentinel does something about it.
func (r *redisServers) crash(ctx context.Context) error {
	primary, err := r.primary(ctx)
	if err != nil {
		return err
	}
	_ = primary.stop(syscall.SIGKILL)
	return errors.Join(primary.start(ctx), r.awaitReplica(ctx))
}

// failOver kills the primary, waits until the Sentinel has promoted the replica, and has the
// one that was the primary come back, as the replica, after a while. Until then nothing is
// acknowledged that is kept in Redis, since no replica would have it.
func (r *redisServers) failOver(ctx context.Context, gap time.Duration) error {
	was, err := r.primary(ctx)
	if err != nil {
		return err
	}
	_ = was.stop(syscall.SIGKILL)
	var is *redisServer
	if err := eventually(ctx, func() error {
		if is, err = r.primary(ctx); err == nil && is == was {
			err = fmt.Errorf("%s is not replaced", was.name)
		}
		return err
	}); err != nil {
		return err
	}
	sleep(ctx, gap)
	return errors.Join(was.configure(is), was.start(ctx), r.awaitReplica(ctx))
}

// eventually tries until there is no error, for a minute.
func eventually(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

func askRedis(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	answer := make([]byte, 5)
	if _, err = conn.Write([]byte("PING\r\n")); err == nil {
		_, err = conn.Read(answer)
	}
	if err == nil && !bytes.HasPrefix(answer, []byte("+PONG")) { // it loads what it has
		err = errors.New(string(answer))
	}
	return err
}
