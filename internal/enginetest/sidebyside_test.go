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

// TestSideBySide_CMP_4 is CMP-4: the binaries of two commits, on one database and with one
// set of keys, are one site.
func TestSideBySide_CMP_4(t *testing.T) {
	binaries := buildBoth(t)
	for _, kept := range []string{"cookie", "sqlstore"} {
		t.Run(kept, func(t *testing.T) {
			onEngines(t, func(t *testing.T, d *database) {
				s, _ := d.migrated(t)
				b := newSite(t, s)
				b.twoBinaries(t, d, kept, binaries)
				for _, order := range []string{"began at the old one", "began at the new one"} {
					t.Run(order, func(t *testing.T) { b.isOneSite(t) })
					old := b.Mux("")
					b.SetMux("", b.Mux("2"))
					b.SetMux("2", old)
				}
			})
		})
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

// twoBinaries puts the processes of two binaries in the place of both instances.
func (b *site) twoBinaries(t *testing.T, d *database, sessions string, binaries [2]string) {
	t.Helper()
	for i, binary := range binaries {
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
		if i == 0 {
			b.SetMux("", mux)
		} else {
			b.SetMux("2", mux)
		}
	}
}

// buildBoth builds the site program with the package as it was, and as it is.
func buildBoth(t *testing.T) (binaries [2]string) {
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
	binaries = [2]string{filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")}
	run(own, "go", "build", "-o", binaries[0], "./sitebinary")
	run(".", "go", "build", "-o", binaries[1], "./sitebinary")
	return binaries
}
