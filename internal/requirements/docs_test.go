package requirements_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are what a reader starts from.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(repository, "docs/*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatal("no documents: ", err)
	}
	return append(docs, filepath.Join(repository, "README.md"))
}

// known is what snippets use without saying where it comes from: what a reader's
// own program has. A snippet that declares one of these names itself has its own.
var known = map[string]string{
	"mux":         "var mux = http.NewServeMux()",
	"rp":          "var rp *authagent.RelyingParty",
	"config":      "var config authagent.Config",
	"as":          "var as *authagenttest.Server",
	"users":       "var users authagent.UserStore",
	"table":       "var table storetest.UserTable",
	"profiles":    "var profiles authagent.ProfileStore",
	"policy":      "var policy authagent.LinkPolicy",
	"revocations": "var revocations authagent.RevocationStore",
	"states":      "var states authagent.StateStore",
	"record":      "func record(context.Context, audit.Event) {}",
	"trail":       "var trail interface{ Append(context.Context, audit.Event) }",
	"key":         "var key []byte",
	"secret":      "var secret, issuer, userID string",
	"orders":      "var orders, newOrder, notes, password, payouts, handler http.Handler",
	"owners":      "var owners *grants.Policy",
	"other":       "var other *authagent.RelyingParty",
	"adminID":     "var adminID string",
	"mailer":      "var mailer interface{ Send(ctx context.Context, to, subject, text, html string) }",
	"order":       "type Order struct{ ID, Total string; TotalCents int64 }",
	"send":        "func send(to, subject, text, html string) {}",
	"findOrder":   "func findOrder(ctx context.Context, userID, id string) (Order, error) { return Order{}, nil }",
	"noOrder":     "var errNoSuchOrder error",
	"addressOf":   "func addressOf(userID string) string { return \"\" }",
	"toTrail":     "func toTrail(context.Context, audit.Event) {}",
	"signedIn":    "func signedInUser(*http.Request) (string, error) { return \"\", nil }",
	"r":           "var r *http.Request",
	"ctx":         "var ctx context.Context",
	"err":         "var err error",
	"t":           "var t *testing.T",
	"server":      "var server *http.Server",
	"db":          "var db *sql.DB",
	"tx":          "var tx *sql.Tx",
	"id":          "var id string",
	"DB":          "type DB struct{ *sql.DB }",
	"store":       "var store *sqlstore.Store",
	"balance":     "var balance int64",
	"deleteFile":  "func deleteFile(name string) error { return nil }",
	"newSite":     "func newSite(*testing.T, string) (*httptest.Server, *grants.Policy, string) { return nil, nil, \"\" }",
}

// packages are those that snippets use by name.
var packages = map[string]string{
	"authagent": "github.com/authagent-go/authagent", "authagenttest": "github.com/authagent-go/authagent/authagenttest",
	"memstore": "github.com/authagent-go/authagent/memstore", "sqlstore": "github.com/authagent-go/authagent/sqlstore",
	"problem": "github.com/authagent-go/authagent/problem", "audit": "github.com/authagent-go/authagent/audit",
	"storetest": "github.com/authagent-go/authagent/storetest", "grants": "github.com/authagent-go/authagent/grants",
	"action":   "github.com/authagent-go/authagent/action",
	"messages": "github.com/authagent-go/authagent/messages",
	"api":      "github.com/authagent-go/authagent/api", "stores": "github.com/authagent-go/authagent/stores", "tokens": "github.com/authagent-go/authagent/tokens",
	"provider": "github.com/authagent-go/authagent/provider", "limits": "github.com/authagent-go/authagent/limits",
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "os": "os", "strings": "strings", "time": "time",
	"rand": "crypto/rand", "sql": "database/sql", "json": "encoding/json", "template": "html/template", "slog": "log/slog",
	"http": "net/http", "httptest": "net/http/httptest", "testing": "testing", "synctest": "testing/synctest",
}

var goSnippet = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

// TestSnippets compiles and vets every Go snippet of the documents, but for those that
// TestQuotedSnippets finds in files that are compiled. A file that is named to go vet is
// compiled as part of the module, wherever it lies.
func TestSnippets(t *testing.T) {
	for _, doc := range documents(t) {
		if _, quotes := quoted[filepath.Base(doc)]; quotes {
			continue
		}
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range goSnippet.FindAllSubmatch(text, -1) {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(doc), i+1), func(t *testing.T) {
				t.Parallel()
				source, err := program(string(m[1]))
				if err != nil {
					t.Fatalf("%v\n%s", err, m[1])
				}
				file := filepath.Join(t.TempDir(), "snippet.go")
				if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
					t.Errorf("%s\n%s", out, m[1])
				}
			})
		}
	}
}

// quoted are the documents that quote code which tests run, and the files that it is from.
var quoted = map[string][]string{
	"api.md":     {"api/example_test.go"},
	"confirm.md": {"grants/passkey/example_test.go"}, // of a module of its own
	"mcp.md":     {"mcpauth/example_test.go"},        // likewise
	"oidc.md":    {"provider/example_test.go"},
	"handlers.md": {
		"internal/requirements/handlersshop_test.go", "internal/requirements/htmx_test.go", "internal/requirements/crossorigin_test.go",
		"internal/requirements/twocallbacks_test.go", "examples/routers/chi.go", "examples/routers/gin.go", "examples/routers/echo.go",
	},
}

// TestQuotedSnippets: each Go snippet of these documents is in one of the files that tests run,
// line by line, whatever the indentation.
func TestQuotedSnippets(t *testing.T) {
	for name, files := range quoted {
		doc, err := os.ReadFile(filepath.Join(repository, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		var sources []string
		for _, file := range files {
			source, err := os.ReadFile(filepath.Join(repository, file))
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, unindented(string(source)))
		}
		snippets := goSnippet.FindAllSubmatch(doc, -1)
		if len(snippets) == 0 {
			t.Errorf("%s has no snippet", name)
		}
		for i, m := range snippets {
			snippet := unindented(string(m[1]))
			if !slices.ContainsFunc(sources, func(source string) bool { return strings.Contains(source, snippet) }) {
				t.Errorf("%s: snippet %d is in none of %s:\n%s", name, i+1, strings.Join(files, ", "), m[1])
			}
		}
	}
}

// unindented begins each line with its first word, and the text with a line's end.
func unindented(text string) string {
	var b strings.Builder
	b.WriteString("\n")
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, "\t "))
	}
	return b.String()
}

// program makes a file of a snippet: of declarations as they are, of statements
// in a function, with what they need in front. A snippet may be a whole file itself.
func program(snippet string) (string, error) {
	if strings.HasPrefix(snippet, "package ") {
		return snippet, nil
	}
	const head = "package snippet\n"
	set := token.NewFileSet()
	body := snippet
	file, err := parser.ParseFile(set, "", head+body, 0)
	if err != nil {
		wrapped := "func snippet() {\n" + body + "}\n"
		if file, err = parser.ParseFile(set, "", head+wrapped, 0); err != nil {
			return "", err
		}
		body = "func snippet() {\n" + body + used(file) + "}\n"
		if file, err = parser.ParseFile(set, "", head+body, 0); err != nil {
			return "", err
		}
	}
	declared := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			declared[d.Name.Name] = d.Recv == nil
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					declared[s.Name.Name] = true
				}
			}
		}
	}
	var prelude strings.Builder
	for name, source := range known {
		if !declared[name] {
			prelude.WriteString(source + "\n")
		}
	}
	all := prelude.String() + body
	var imports strings.Builder
	for name, path := range packages {
		if regexp.MustCompile(`(^|[^\w.])` + name + `\.[A-Z]`).MatchString(all) {
			fmt.Fprintf(&imports, "import %s %q\n", name, path)
		}
	}
	return head + imports.String() + all, nil
}

// used uses the variables that the function's statements define: a reader goes on
// from there.
func used(file *ast.File) string {
	var uses strings.Builder
	for _, statement := range file.Decls[len(file.Decls)-1].(*ast.FuncDecl).Body.List {
		if assign, ok := statement.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE {
			for _, left := range assign.Lhs {
				if name, ok := left.(*ast.Ident); ok && name.Name != "_" {
					uses.WriteString("_ = " + name.Name + "\n")
				}
			}
		}
	}
	return uses.String()
}

var (
	markdownLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	markdownHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	codeBlock       = regexp.MustCompile("(?ms)^```.*?^```")
)

// TestLinks: what a document links to within the repository is there.
func TestLinks(t *testing.T) {
	for _, doc := range append(documents(t), filepath.Join(repository, "SECURITY.md"), filepath.Join(repository, "CHANGELOG.md")) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range markdownLink.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := doc
			if path != "" {
				target = filepath.Join(filepath.Dir(doc), filepath.FromSlash(path))
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(content)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", doc, m[1])
			}
		}
	}
}

// TestGuardTableTwice: README.md and docs/guards.md have the same table.
func TestGuardTableTwice(t *testing.T) {
	var tables [2]string
	for i, doc := range []string{"README.md", "docs/guards.md"} {
		text, err := os.ReadFile(filepath.Join(repository, doc))
		if err != nil {
			t.Fatal(err)
		}
		tables[i] = regexp.MustCompile(`(?m)^\| guard \|.*\n(\|.*\n)+`).FindString(string(text))
	}
	if tables[0] != tables[1] || strings.Count(tables[0], "\n") < 9 {
		t.Errorf("README.md has\n%s\ndocs/guards.md has\n%s", tables[0], tables[1])
	}
}

// anchors are the headings of a document as links name them.
func anchors(text string) (all []string) {
	for _, m := range markdownHeading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		slug := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		all = append(all, regexp.MustCompile(`[^\w-]`).ReplaceAllString(slug, ""))
	}
	return all
}

// TestMigrationNamesEveryOption: each option of the published plugin and clients
// has its row.
func TestMigrationNamesEveryOption(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs/migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{
		"authServerUrl", "clientId", "clientSecret", "scenario", "scopes", "autoCreateUser", "mapAgentToUser", "onSuccess", // the plugin
		"/sign-in/auth-agent", "/callback/auth-agent", "callbackURL",
		"AUTH_AGENT_SERVER_URL", "AUTH_AGENT_CLIENT_ID", "AUTH_AGENT_CLIENT_SECRET", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL",
		"text", "children", "className", "style", "onSignInStart", "onError", "showLoading", "disabled", // the button
		"useAuthAgent", "isAuthAgentAuth", "authAgentState", "AuthAgentButtonMinimal",
		"redirectUri", "scope", "allowedHosts", "signIn", "handleCallback", // the browser's client
	} {
		if !regexp.MustCompile("(?m)^\\|[^|]*`[^`]*" + regexp.QuoteMeta(option) + "[^`]*`[^|]*\\|").Match(text) {
			t.Errorf("no row for %s", option)
		}
	}
}
