//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// A fleet is everything of one run.
type fleet struct {
	plan      plan
	site      string // the proxy's origin
	auth      *authagenttest.Server
	instances []*instance
	database  *database
	redis     *process // nil for none
	db        *sql.DB
	sql       *sqlstore.Store
	store     *sqlstore.Grants
	owners    *grants.Policy
	client    *http.Client
	agents    []*agent
	ledger    *ledger
	faults    atomic.Int64 // how often something has gone wrong
	clean     []func()
}

// An instance is one process of the site.
type instance struct {
	process
	origin string
}

// runOnce does all of it once, and returns what was counted.
func runOnce(ctx context.Context, p plan, binary, dir string, withRedis bool) (*report, error) {
	ctx, cancel := context.WithTimeout(ctx, p.longest)
	defer cancel()
	dir = filepath.Join(dir, map[bool]string{false: "postgres", true: "redis"}[withRedis])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f := &fleet{plan: p, ledger: newLedger(), client: newClient()}
	defer func() {
		for i := range f.clean {
			f.clean[len(f.clean)-1-i]()
		}
	}()
	start := time.Now()
	if err := f.open(ctx, binary, dir, withRedis); err != nil {
		return nil, err
	}
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	f.verify(ctx)
	f.stopAll(ctx, dir)
	if ctx.Err() != nil {
		f.ledger.fault(notAsIntended, "the time was over: %v", ctx.Err())
	}
	return &report{f.ledger, p, f.database.fault, withRedis, time.Since(start)}, nil
}

// open starts everything.
func (f *fleet) open(ctx context.Context, binary, dir string, withRedis bool) (err error) {
	if f.database, err = newDatabase(ctx, dir); f.database != nil {
		f.clean = append(f.clean, f.database.close)
	}
	if err != nil {
		return err
	}
	var args []string
	if withRedis {
		var addr string
		if f.redis, addr, err = newRedis(ctx, dir); f.redis != nil {
			f.clean = append(f.clean, func() { _ = f.redis.stop(syscall.SIGTERM) })
		}
		if err != nil {
			return err
		}
		args = []string{"-redis", addr}
	}
	f.auth = authagenttest.NewServer()
	proxy, balancer := newProxy()
	f.clean = append(f.clean, f.auth.Close, proxy.Close)
	f.site = proxy.URL
	if err := f.startInstances(ctx, binary, dir, args); err != nil {
		return err
	}
	for _, i := range f.instances {
		balancer.origins = append(balancer.origins, i.origin)
	}
	return f.openDatabase(ctx)
}

const instances = 3

// startInstances starts all at once, on a database that has no tables yet.
func (f *fleet) startInstances(ctx context.Context, binary, dir string, args []string) error {
	const callback = "/auth/agent/callback"
	client := f.auth.AddClient(authagenttest.Client{RedirectURIs: []string{f.site + callback}})
	key := make([]byte, 32)
	rand.Read(key)
	env := []string{
		"AUTH_AGENT_ISSUER=" + f.auth.URL, "AUTH_AGENT_CLIENT_ID=" + client.ID, "AUTH_AGENT_CLIENT_SECRET=" + client.Secret,
		"AUTH_AGENT_REDIRECT_URL=" + f.site + callback, "AUTH_AGENT_SESSION_KEYS=" + hex.EncodeToString(key),
		"DATABASE_URL=" + f.database.dsn, "FLEET_PROXIES=127.0.0.1/32", "FLEET_DRAIN=300ms", "FLEET_CONFIRM_EVERY=10s",
	}
	errs := make([]error, instances)
	var group sync.WaitGroup
	for n := range instances {
		i, err := newInstance(fmt.Sprintf("instance-%d", n+1), binary, dir, args, env)
		if err != nil {
			return err
		}
		f.instances = append(f.instances, i)
		f.clean = append(f.clean, func() { _ = i.stop(syscall.SIGKILL) })
		group.Go(func() { errs[n] = i.start(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func newInstance(name, binary, dir string, args, env []string) (*instance, error) {
	public, err := freePort()
	if err != nil {
		return nil, err
	}
	internal, err := freePort()
	if err != nil {
		return nil, err
	}
	ready := fmt.Sprintf("http://127.0.0.1:%d/ready", internal)
	addresses := []string{fmt.Sprintf("FLEET_ADDR=127.0.0.1:%d", public), fmt.Sprintf("FLEET_INTERNAL_ADDR=127.0.0.1:%d", internal)}
	return &instance{process{
		name: name, argv: append([]string{binary}, args...), env: append(addresses, env...), dir: dir,
		answer: func(ctx context.Context) error {
			a := send(ctx, http.DefaultClient, "", request{method: http.MethodGet, url: ready})
			if a.err == nil && a.status != http.StatusOK {
				a.err = errors.New(string(a.body))
			}
			return a.err
		},
	}, fmt.Sprintf("http://127.0.0.1:%d", public)}, nil
}

// openDatabase is for the owners, who decide in the database by the policy, and
// to see at the end what is there.
func (f *fleet) openDatabase(ctx context.Context) (err error) {
	if f.db, err = sql.Open("pgx", f.database.dsn); err != nil {
		return err
	}
	f.clean = append(f.clean, func() { f.db.Close() })
	f.db.SetMaxOpenConns(20)
	f.db.SetMaxIdleConns(20)
	if f.sql, err = sqlstore.New(f.db, sqlstore.Config{}); err != nil {
		return err
	}
	f.store = f.sql.Grants()
	f.owners = grants.OwnerApproval(f.store)
	f.owners.Actions = map[string]string{"orders:create": "Place orders"}
	f.owners.Logger = slog.New(slog.DiscardHandler)
	for n := range f.plan.agents {
		a, err := f.newAgent(ctx, n)
		if err != nil {
			return err
		}
		f.agents = append(f.agents, a)
	}
	return nil
}

func (f *fleet) newAgent(ctx context.Context, n int) (*agent, error) {
	id := agentName(n)
	email := id + "@example.com"
	a := &agent{
		fleet: f, as: f.auth.AddAgent(authagenttest.Agent{ID: id, Email: email}), userID: "user_" + id,
		number: n,
	}
	if _, err := f.db.ExecContext(ctx, `INSERT INTO fleet_users (id, email, email_verified) VALUES ($1, $2, TRUE)`, a.userID, email); err != nil {
		return nil, err
	}
	secret := rand.Text()
	a.person = "fleet-person=" + secret
	_, err := f.db.ExecContext(ctx, `INSERT INTO fleet_people (secret_key, kind, user_id, expires_at)
		VALUES (sha256($1), 'session', $2, now() + interval '1 day')`, []byte(secret), a.userID)
	return a, err
}

// load has the agents live while things go wrong.
func (f *fleet) load(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	for _, a := range f.agents {
		group.Go(func() { a.live(ctx, loading) })
	}
	err := f.goWrong(ctx)
	stop()
	group.Wait()
	return err
}

// goWrong is what goes wrong, one after the other.
func (f *fleet) goWrong(ctx context.Context) error {
	killed, rolled := f.instances[0], f.instances[1]
	steps := []struct {
		what string
		do   func(context.Context) error // nil if it is not there to go wrong
	}{
		{"an instance is killed, and started " + f.plan.gap.String() + " later", func(ctx context.Context) error {
			_ = killed.stop(syscall.SIGKILL)
			sleep(ctx, f.plan.gap)
			return killed.start(ctx)
		}},
		{"PostgreSQL is " + f.database.fault, f.database.restart},
		{"PostgreSQL crashes and recovers", f.database.crash},
		{"Redis is killed, and started again", f.killRedis()},
		{"the Auth Agent server refuses for " + f.plan.refusal.String(), f.refuse},
		{"an instance is stopped by SIGTERM, and started again", func(ctx context.Context) error {
			if err := rolled.stop(syscall.SIGTERM); err != nil {
				f.ledger.fault(stopFailed, "%v: %s", err, rolled.tail())
			}
			return rolled.start(ctx)
		}},
	}
	for _, step := range steps {
		if step.do == nil {
			continue
		}
		sleep(ctx, f.plan.gap)
		start := time.Now()
		f.faults.Add(1)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		f.ledger.do(func() {
			f.ledger.events = append(f.ledger.events, fmt.Sprintf("%s (%v)", step.what, time.Since(start).Round(time.Millisecond)))
		})
	}
	sleep(ctx, f.plan.gap)
	return nil
}

func (f *fleet) killRedis() func(context.Context) error {
	if f.redis == nil {
		return nil
	}
	return func(ctx context.Context) error {
		_ = f.redis.stop(syscall.SIGKILL)
		return f.redis.start(ctx)
	}
}

// refuse has the Auth Agent server refuse: half of the time the site, so that
// agents come back with codes that nobody can redeem, and then everybody.
func (f *fleet) refuse(ctx context.Context) error {
	backChannel := []string{
		authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathRevoke, authagenttest.PathMetadata,
	}
	no := authagenttest.Reply(http.StatusServiceUnavailable, "text/plain", "unavailable")
	for _, path := range backChannel {
		f.auth.Wrap(path, no)
	}
	sleep(ctx, f.plan.refusal/2)
	for _, path := range backChannel {
		f.auth.Wrap(path, nil)
	}
	f.auth.Wrap("", no)
	sleep(ctx, f.plan.refusal/2)
	f.auth.Wrap("", nil)
	return nil
}
