//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/sqlstore"
)

// A fleet is everything of one run.
type fleet struct {
	plan      plan
	start     time.Time
	site      string // the proxy's origin
	auth      *authagenttest.Server
	now, then release  // then has no argv if nothing is deployed
	keys      []string // of sessions: the one that the run begins with, and the one that it ends with
	instances []*instance
	database  *database
	redis     *redisServers // nil for none
	db        *sql.DB
	sql       *sqlstore.Store
	store     *sqlstore.Grants
	client    *http.Client
	agents    []*agent
	ledger    *ledger
	entered   sync.WaitGroup // agents that have been in for the first time
	times     times
	faults    atomic.Int64     // how often something has gone wrong
	leave     atomic.Int64     // the generation of the sessions that agents stay in: they leave older ones
	lastOld   map[string]int64 // by table: the highest ID when the last instance of the release before ended
	clean     []func()
}

// An instance is one process of the site.
type instance struct {
	process
	own     []string // of its environment
	origin  string
	ready   string // URL
	inProxy *backend
}

// use has the instance be of a release when it is started next.
func (i *instance) use(r release) {
	i.argv, i.env = r.argv, append(i.own[:len(i.own):len(i.own)], r.env...)
}

// runOnce does all of it once, and returns what was counted.
func runOnce(ctx context.Context, p plan, built binaries, dir string, withRedis bool) (*report, error) {
	ctx, cancel := context.WithTimeout(ctx, p.longest)
	defer cancel()
	dir = filepath.Join(dir, map[bool]string{false: "postgres", true: "redis"}[withRedis])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f := &fleet{plan: p, ledger: newLedger(), client: newClient(), lastOld: map[string]int64{}}
	defer func() {
		for i := range f.clean {
			f.clean[len(f.clean)-1-i]()
		}
	}()
	f.start = time.Now()
	if err := f.open(ctx, built, dir, withRedis); err != nil {
		return nil, err
	}
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	f.plan.say("all that was acknowledged is looked for")
	f.verify(ctx)
	f.stopAll(ctx, dir)
	if ctx.Err() != nil {
		f.ledger.fault(notAsIntended, "the time was over: %v", ctx.Err())
	}
	return &report{f.ledger, p, f.database.fault, withRedis, time.Since(f.start)}, nil
}

// open starts everything.
func (f *fleet) open(ctx context.Context, built binaries, dir string, withRedis bool) (err error) {
	if f.database, err = newDatabase(ctx, dir); f.database != nil {
		f.clean = append(f.clean, f.database.close)
	}
	if err != nil {
		return err
	}
	if withRedis {
		if f.redis, err = newRedisServers(ctx, dir); f.redis != nil {
			f.clean = append(f.clean, f.redis.close)
		}
		if err != nil {
			return err
		}
	}
	f.auth = authagenttest.NewServer()
	proxy, balancer := newProxy()
	f.clean = append(f.clean, f.auth.Close, proxy.Close)
	f.site = proxy.URL
	f.newReleases(built)
	if err := f.startInstances(ctx, dir); err != nil {
		return err
	}
	for _, i := range f.instances {
		balancer.add(ctx, i)
	}
	for _, i := range f.instances {
		if err := i.inProxy.await(ctx); err != nil {
			return err
		}
	}
	return f.openDatabase(ctx)
}

const instances = 3

// newReleases says what instances are started with. The release of before does not know
// Sentinels and replicas: it is told where the primary is, which is right until that fails.
func (f *fleet) newReleases(built binaries) {
	const callback = "/auth/agent/callback"
	client := f.auth.AddClient(authagenttest.Client{RedirectURIs: []string{f.site + callback}})
	f.keys = []string{newKey(), newKey()}
	env := []string{
		"AUTH_AGENT_ISSUER=" + f.auth.URL, "AUTH_AGENT_CLIENT_ID=" + client.ID, "AUTH_AGENT_CLIENT_SECRET=" + client.Secret,
		"AUTH_AGENT_REDIRECT_URL=" + f.site + callback,
		"DATABASE_URL=" + f.database.dsn, "FLEET_PROXIES=127.0.0.1/32", "FLEET_DRAIN=" + drain.String(), "FLEET_CONFIRM_EVERY=10s",
	}
	f.now = release{argv: []string{built.now}, env: env}.withKeys(f.keys[0])
	if f.redis != nil {
		f.now.argv = append(f.now.argv, f.redis.bySentinel()...)
	}
	if built.then == "" {
		return
	}
	f.then = release{argv: []string{built.then}, env: f.now.env}
	if f.redis != nil {
		f.then.argv = append(f.then.argv, f.redis.byAddress()...)
	}
}

// startInstances starts all at once, on a database that has no tables yet.
func (f *fleet) startInstances(ctx context.Context, dir string) error {
	first := f.then
	if first.argv == nil {
		first = f.now
	}
	errs := make([]error, instances)
	var group sync.WaitGroup
	for n := range instances {
		i, err := newInstance(fmt.Sprintf("instance-%d", n+1), dir)
		if err != nil {
			return err
		}
		i.use(first)
		f.instances = append(f.instances, i)
		f.clean = append(f.clean, func() { _ = i.stop(syscall.SIGKILL) })
		group.Go(func() { errs[n] = i.start(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func newInstance(name, dir string) (*instance, error) {
	public, err := freePort()
	if err != nil {
		return nil, err
	}
	internal, err := freePort()
	if err != nil {
		return nil, err
	}
	i := &instance{
		process: process{name: name, dir: dir},
		own:     []string{fmt.Sprintf("FLEET_ADDR=127.0.0.1:%d", public), fmt.Sprintf("FLEET_INTERNAL_ADDR=127.0.0.1:%d", internal)},
		origin:  fmt.Sprintf("http://127.0.0.1:%d", public),
		ready:   fmt.Sprintf("http://127.0.0.1:%d/ready", internal),
	}
	i.answer = func(ctx context.Context) error {
		a := send(ctx, http.DefaultClient, "", request{method: http.MethodGet, url: i.ready})
		if a.err == nil && a.status != http.StatusOK {
			a.err = errors.New(string(a.body))
		}
		return a.err
	}
	return i, nil
}

// openDatabase is for the accounts of the agents' owners, and to see at the end what is there.
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
	f.entered.Add(len(f.agents))
	for _, a := range f.agents {
		group.Go(func() { a.live(ctx, loading) })
	}
	// Three sign-ins of one agent at once, as its first ones, are not what a deployment is to bear:
	// the published server takes back the tokens of one for those of another.
	f.entered.Wait()
	err := f.goWrong(ctx)
	stop()
	group.Wait()
	return err
}

// A step is something that the run does to the servers.
type step struct {
	what string
	roll bool                        // it is what a site does every day, which nobody may notice
	do   func(context.Context) error // nil if it cannot be done
}

// steps are in order. Those that nobody may notice come first, when nothing has gone wrong yet.
func (f *fleet) steps() []step {
	killed := f.instances[0]
	deploy, rollBack := f.deploy, f.rollBack
	if f.then.argv == nil {
		deploy, rollBack = nil, nil
	}
	old, recent := f.keys[0], f.keys[1]
	steps := []step{
		{"a release with a schema change is deployed, instance by instance", true, deploy},
		{"an instance is rolled back to the release before, and forward again", true, rollBack},
		{"the session key is replaced, step 1: the new key last", true, f.replaceKey(old, recent)},
		{"the session key is replaced, step 2: the new key first", true, f.replaceKey(recent, old)},
		{"the session key is replaced, step 3: the old key removed", true, f.removeKey(recent)},
		{"all instances are restarted, one after the other", true, func(ctx context.Context) error { return f.roll(ctx, f.now, f.instances...) }},
		{"an instance is killed, and started " + f.plan.gap.String() + " later", false, func(ctx context.Context) error {
			_ = killed.stop(syscall.SIGKILL)
			sleep(ctx, f.plan.gap)
			return killed.start(ctx)
		}},
		{"PostgreSQL is " + f.database.fault, false, f.database.restart},
		{"PostgreSQL crashes and recovers", false, f.database.crash},
	}
	if f.redis != nil {
		steps = append(steps,
			step{"Redis is killed, and started again", false, f.redis.crash},
			step{"Redis is killed, its replica promoted, and " + f.plan.gap.String() + " later there is a replica again", false,
				func(ctx context.Context) error { return f.redis.failOver(ctx, f.plan.gap) }},
		)
	}
	return append(steps, step{"the Auth Agent server refuses for " + f.plan.refusal.String(), false, f.refuse})
}

// goWrong does the steps, one after the other.
func (f *fleet) goWrong(ctx context.Context) error {
	for _, step := range f.steps() {
		if step.do == nil {
			continue
		}
		sleep(ctx, f.plan.gap)
		start := time.Now()
		f.plan.say(step.what)
		f.faults.Add(1)
		end := f.times.begin(step.roll)
		err := step.do(ctx)
		end()
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		f.ledger.do(func() {
			f.ledger.events = append(f.ledger.events, fmt.Sprintf("%s (%v)", step.what, time.Since(start).Round(time.Millisecond)))
		})
	}
	sleep(ctx, f.plan.gap)
	return nil
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
