package redisstore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"

	redisstore "github.com/authagent-go/authagent/examples/redis"
)

// start starts a Redis server of the test's own, with these settings.
func start(t *testing.T, settings ...string) *redis.Client {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("replicas are not tested: there is no redis-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	server := exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--repl-diskless-sync-delay", "0",
	}, settings...)...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
	t.Cleanup(func() { client.Close() })
	until(t, "the server answers", func() bool { return client.Ping(t.Context()).Err() == nil })
	return client
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("waited in vain: ", what)
}

// writes are all that must not be lost, each by a store that waits for so many replicas.
func writes(t *testing.T, client redis.UniversalClient, replicas int) map[string]error {
	id := rand.Text()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	gs := sessions.NewSession(nil, "name")
	gs.ID, gs.Options = id, &sessions.Options{MaxAge: -1}
	begun := sessions.NewSession(nil, "name")
	begun.Options = &sessions.Options{MaxAge: 60}
	kept := &redisstore.Sessions{Client: client, Replicas: replicas}
	tokens := &redisstore.Tokens{Client: client, Replicas: replicas}
	_, state := (&redisstore.States{Client: client, Replicas: replicas}).UseState(t.Context(), id, time.Now().Add(time.Hour))
	return map[string]error{
		"state":         state,
		"revocation":    (&redisstore.Revocations{Client: client, Replicas: replicas}).Revoke(t.Context(), id, "mark", time.Now().Add(time.Hour)),
		"new session":   kept.Save(r, httptest.NewRecorder(), begun),
		"session's end": kept.Save(r, httptest.NewRecorder(), gs),
		"tokens":        tokens.SaveTokens(t.Context(), id, nil, []byte("sealed"), time.Now().Add(time.Hour)),
		"tokens' end":   tokens.DeleteTokens(t.Context(), id),
	}
}

// TestReplicas_LIM_12: with Replicas, a write counts as done once so many replicas have it,
// and what was done is there when one of them is promoted.
func TestReplicas_LIM_12(t *testing.T) {
	primary := start(t)
	host, port, err := net.SplitHostPort(primary.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range writes(t, primary, 1) {
		if !errors.Is(err, redisstore.ErrNotReplicated) {
			t.Errorf("LIM-12: %s, without a replica: %v", what, err)
		}
	}
	replica := start(t, "--replicaof", host+" "+port)
	until(t, "the replica follows", func() bool {
		return primary.Do(t.Context(), "WAIT", 1, 10).Val() == int64(1)
	})
	for what, err := range writes(t, primary, 1) {
		if err != nil {
			t.Errorf("LIM-12: %s, with a replica: %v", what, err)
		}
	}
	id := rand.Text()
	if err := (&redisstore.Revocations{Client: primary, Replicas: 1}).Revoke(t.Context(), id, "mark", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := primary.Do(t.Context(), "SHUTDOWN", "NOSAVE").Err(); err == nil {
		t.Log("the primary answered to SHUTDOWN")
	}
	if err := replica.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	marks, err := (&redisstore.Revocations{Client: replica}).Marks(t.Context(), []string{id})
	if err != nil || marks[0] != "mark" {
		t.Errorf("LIM-12: after the failover: %q, %v", marks, err)
	}
}
