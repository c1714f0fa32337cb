package authagent_test

import (
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// A site's frame stands around the package's pages, here around the page of a refusal, in German.
func ExampleRelyingParty_Frame() {
	frame := template.Must(template.New("frame").Parse(`
{{define "header"}}<a href="/">Leaf &amp; Kettle</a>{{end}}
{{define "footer"}}<a href="/imprint">Imprint</a>{{end}}`))
	rp, err := authagent.New(authagent.Config{
		Issuer: "https://as.example", ClientID: "shop", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Scenario: authagent.FreshProfile(&memstore.Profiles{}), Revocations: &memstore.Revocations{},
		Logger: slog.New(slog.DiscardHandler), Pages: frame, Languages: []*messages.Language{messages.English(), messages.German()},
	})
	if err != nil {
		log.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/orders", nil)
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Accept-Language", "de")
	answer := httptest.NewRecorder()
	rp.ServeError(answer, request, problem.NoAccount)
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "<h1>") || strings.HasPrefix(line, "<header>") || strings.HasPrefix(line, "<footer>") {
			fmt.Print(line)
		}
	}
	// Output:
	// <header><a href="/">Leaf &amp; Kettle</a></header>
	// <h1>Kein Konto</h1>
	// <footer><a href="/imprint">Imprint</a></footer>
}
