package redisstore_test

import (
	"crypto/rand"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	redisstore "github.com/authagent-go/authagent/examples/redis"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/storetest"
)

// TestLimits runs the kit.
func TestLimits_LIM_1_LIM_2_LIM_4_LIM_5(t *testing.T) {
	client := connect(t)
	storetest.Limits(t, func() limits.Store { return &redisstore.Limits{Client: client} })
}

// TestLimitsTogether_LIM_3: two instances, each with many requests at once, let exactly as many
// pass as one may.
func TestLimitsTogether_LIM_3(t *testing.T) {
	instances := []*redisstore.Limits{{Client: connect(t)}, {Client: connect(t)}}
	owner := limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 60, Per: time.Hour}}
	agents := []limits.Budget{{Key: rand.Text(), Rate: owner.Rate}, {Key: rand.Text(), Rate: owner.Rate}}
	passed := together(t, 200, func(i int) (time.Duration, error) {
		return instances[i%2].Take(t.Context(), owner, agents[i/2%2])
	})
	if passed != 60 {
		t.Errorf("LIM-3: %d events pass at two instances, want 60", passed)
	}
}

// together takes n events at once, and returns how many of them pass.
func together(t *testing.T, n int, take func(i int) (wait time.Duration, err error)) int64 {
	t.Helper()
	var passed atomic.Int64
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			wait, err := take(i)
			if err != nil {
				t.Error(err)
			}
			if wait == 0 {
				passed.Add(1)
			}
		})
	}
	group.Wait()
	return passed.Load()
}

// TestLimitsByOneClock_LIM_11: a Redis whose clock is behind the one that it has taken over from
// refuses nobody for long.
func TestLimitsByOneClock_LIM_11(t *testing.T) {
	client := connect(t)
	before := keys(t, client)
	store, b := &redisstore.Limits{Client: client}, limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 5, Per: time.Hour}}
	if wait, err := store.Take(t.Context(), b); wait != 0 || err != nil {
		t.Fatal(wait, err)
	}
	for name := range keys(t, client) {
		if !before[name] {
			client.IncrBy(t.Context(), name, 86400_000_000)
		}
	}
	if wait, err := store.Take(t.Context(), b); wait != 0 || err != nil {
		t.Errorf("LIM-11: right after the clock went back a day: wait %v, %v; want one event", wait, err)
	}
	if wait, err := store.Take(t.Context(), b); err != nil || wait <= 11*time.Minute || wait > 12*time.Minute {
		t.Errorf("LIM-11: after the clock went back a day: wait %v, %v; want that of one event", wait, err)
	}
}

// TestLimitsExpire: a key lives until its budget is whole, also after something was given back.
func TestLimitsExpire(t *testing.T) {
	client := connect(t)
	before := keys(t, client)
	store, b := &redisstore.Limits{Client: client}, limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 4, Per: time.Hour}}
	for range 2 {
		if wait, err := store.Take(t.Context(), b); wait != 0 || err != nil {
			t.Fatal(wait, err)
		}
	}
	if err := store.Return(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for name := range keys(t, client) {
		if ttl := client.TTL(t.Context(), name).Val(); !before[name] && (ttl < 29*time.Minute || ttl > 30*time.Minute) {
			t.Errorf("%s lives %v", name, ttl)
		}
	}
}

// TestLimitsInCluster_LIM_13: in a Redis Cluster, the budgets of one Take may be at several servers.
func TestLimitsInCluster_LIM_13(t *testing.T) {
	nodes := make([]*redis.Client, 3)
	for i := range nodes {
		nodes[i] = start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		first, last := 16384*i/len(nodes), 16384*(i+1)/len(nodes)-1
		if err := nodes[i].Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", first, last).Err(); err != nil {
			t.Fatal(err)
		}
		if host, port, err := net.SplitHostPort(nodes[i].Options().Addr); err != nil || nodes[0].Do(t.Context(), "CLUSTER", "MEET", host, port).Err() != nil {
			t.Fatal("nodes do not meet")
		}
	}
	for _, node := range nodes {
		until(t, "the cluster is complete", func() bool {
			info, err := node.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Options().Addr}})
	defer client.Close()
	store := &redisstore.Limits{Client: client}
	own := make([]limits.Budget, 40)
	for i := range own {
		own[i] = limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 2, Per: time.Hour}}
	}
	shared := limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 30, Per: time.Hour}}
	passed := together(t, len(own), func(i int) (time.Duration, error) { return store.Take(t.Context(), own[i], shared) })
	if passed != 30 {
		t.Errorf("LIM-13: %d events pass, want 30", passed)
	}
	left := 0
	for _, b := range own {
		for range 3 {
			if wait, err := store.Take(t.Context(), b); wait == 0 && err == nil {
				left++
			}
		}
	}
	if left != 50 {
		t.Errorf("LIM-13: %d events are left beside, want 50", left)
	}
	for what, err := range writes(t, client, 0) {
		if err != nil {
			t.Errorf("LIM-13: %s: %v", what, err)
		}
	}
}
