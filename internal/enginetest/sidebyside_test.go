package enginetest_test

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// firstCompatible is the first commit beside which every later one works: it passes on
// what it does not know, its sessions name their redirect URL and have marks, its cookies
// are named after the relying party, and its settings have today's names, in which the
// program is written.
const firstCompatible = "f2ce81240d64d2367b9785522f1afba7d53b90fa"

// TestSideBySide_CMP_4 is CMP-4 and CMP-3: the binaries of two commits, on one database and
// with one set of keys, are one site. The old one makes the tables, and serves while the new
// one migrates them; and it can be started again on what the new one has made of them.
func TestSideBySide_CMP_4(t *testing.T) {
	old, recent := buildBoth(t)
	for _, kept := range []string{"cookie", "sqlstore"} {
		t.Run(kept, func(t *testing.T) {
			onEngines(t, func(t *testing.T, d *database) {
				db := d.connect(t)
				b := newSite(t, d.open(t, db))
				start := func(binary string) *http.ServeMux { return b.startBinary(t, d, kept, binary) }
				b.SetMux("", start(old))
				before := d.count(t, db, `SELECT MAX(version) FROM authagent_migrations`)
				goOn := b.goesOn(t)
				b.SetMux("2", start(recent))
				goOn()
				if after := d.count(t, db, `SELECT MAX(version) FROM authagent_migrations`); after <= before {
					t.Errorf("the old binary brings the schema to version %d, and the new one to %d: nothing was migrated", before, after)
				}
				for _, order := range []string{"began at the old one", "began at the new one"} {
					t.Run(order, func(t *testing.T) { b.isOneSite(t) })
					first := b.Mux("")
					b.SetMux("", b.Mux("2"))
					b.SetMux("2", first)
				}
				b.SetMux("", start(old)) // as whoever rolls a release back does
				t.Run("old one started again", func(t *testing.T) { b.isOneSite(t) })
			})
		})
	}
}

// goesOn has an agent sign in at the first instance, again and again, until the function that
// it returns is called: which checks that it always got in, and that its sessions still hold.
func (b *site) goesOn(t *testing.T) (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	sessions := []string{b.signIn(t, b.Browser())}
	go func() {
		defer close(stopped)
		for {
			started := b.begin(t)
			resp := b.get(t, started.callback, started.cookies)
			if resp.StatusCode != http.StatusSeeOther {
				t.Errorf("CMP-3: a sign-in at the old instance, while the new one migrates: %d %s", resp.StatusCode, resp.Text)
			}
			for _, c := range resp.Cookies() {
				if c.MaxAge >= 0 && c.Value != "" {
					sessions = append(sessions, c.Name+"="+c.Value)
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		<-stopped
		for _, cookies := range sessions {
			for _, instance := range []string{"", "2"} {
				if resp := b.get(t, "/me", cookies, "X-Instance", instance); resp.StatusCode != http.StatusOK {
					t.Errorf("CMP-3: a session from before the migration, at %q: %d %s", instance, resp.StatusCode, resp.Text)
				}
			}
		}
		if len(sessions) < 2 {
			t.Error("nobody signed in while the schema was migrated")
		}
	}
}

// isOneSite checks that what began at the first instance goes on at the second, and
// that what one ends is ended at the other.
func (b *site) isOneSite(t *testing.T) {
	me := func(cookies, instance string) int {
		return b.get(t, "/me", cookies, "X-Instance", instance).StatusCode
	}
	cookies := b.signIn(t, b.Browser())
	if got := me(cookies, "2"); got != http.StatusOK {
		t.Errorf("CMP-4: a session of the first gets %d at the second", got)
	}
	started := b.begin(t)
	if resp := b.get(t, started.callback, started.cookies, "X-Instance", "2"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("CMP-4: a login of the first gets %d %s at the second", resp.StatusCode, resp.Text)
	}
	paths := []string{"/end/session", "/auth/agent/logout", "/end/agent", "/end/user", "/end/all"}
	for _, path := range paths {
		for _, at := range []string{"", "2"} {
			cookies := b.signIn(t, b.Browser())
			if one, two := me(cookies, ""), me(cookies, "2"); one != http.StatusOK || two != http.StatusOK {
				t.Errorf("CMP-4: a new session gets %d and %d before %s", one, two, path)
			}
			if resp := b.post(t, path, cookies, "X-Instance", at); resp.StatusCode >= 400 {
				t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Text)
			}
			if one, two := me(cookies, ""), me(cookies, "2"); one != http.StatusUnauthorized || two != http.StatusUnauthorized {
				t.Errorf("CMP-4: %s at %s: the session gets %d and %d", path, at, one, two)
			}
		}
	}
}

// startBinary starts the process of a binary, and returns what passes requests on to it.
func (b *site) startBinary(t *testing.T, d *database, sessions, binary string) *http.ServeMux {
	t.Helper()
	command := exec.Command(binary)
	command.Stderr = os.Stderr
	command.Env = append(os.Environ(),
		"SITE_DRIVER="+d.driver, "SITE_DSN="+d.with(d.usual...), "SITE_PREFIX="+d.prefix, "SITE_SESSIONS="+sessions,
		"SITE_ISSUER="+b.AS.URL, "SITE_CLIENT="+b.Config.ClientID, "SITE_SECRET="+b.Config.ClientSecret,
		"SITE_REDIRECT="+b.URL+"/auth/agent/callback", "SITE_KEY="+base64.StdEncoding.EncodeToString(b.Config.SessionKeys[0]))
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not start: %v", binary, err)
	}
	target := &url.URL{Scheme: "http", Host: strings.TrimSpace(address)}
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}})
	return mux
}

// buildBoth builds the site program with the package as it was, and as it is.
func buildBoth(t *testing.T) (old, recent string) {
	t.Helper()
	run := func(dir, name string, args ...string) {
		t.Helper()
		command := exec.Command(name, args...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	if err := exec.Command("git", "cat-file", "-e", firstCompatible+"^{commit}").Run(); err != nil {
		t.Skipf("the history of the repository is not here: commit %s: %v", firstCompatible, err)
	}
	then, archive := t.TempDir(), filepath.Join(t.TempDir(), "then.tar")
	run("../..", "git", "archive", "-o", archive, firstCompatible)
	run(then, "tar", "-xf", archive)
	own := filepath.Join(then, "internal", "enginetest")
	if err := os.RemoveAll(filepath.Join(own, "sitebinary")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(own, "sitebinary"), os.DirFS("sitebinary")); err != nil {
		t.Fatal(err)
	}
	old, recent = filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	run(own, "go", "build", "-o", old, "./sitebinary")
	run(".", "go", "build", "-o", recent, "./sitebinary")
	return old, recent
}
