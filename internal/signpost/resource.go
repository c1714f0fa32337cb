package signpost

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/internal/answer"
)

// A Resource is the site's API, as agents are told of it. The zero value is none.
type Resource struct {
	ID       string            // the resource identifier
	Metadata string            // the address of its metadata
	Scopes   map[string]string // what each scope is good for
}

// ResourceOf returns what there is to say of an API.
func ResourceOf(s api.Settings) Resource {
	if s.Resource == "" {
		return Resource{}
	}
	return Resource{ID: s.Resource, Metadata: api.MetadataURL(s.Resource), Scopes: maps.Clone(s.Scopes)}
}

// Challenge is the value of WWW-Authenticate that asks for an access token (RFC 6750 section 3, RFC 9728
// section 5.1). Without credentials there is no error. It is empty if there is no API.
func (r Resource) Challenge(wrong string, scopes []string) string {
	if r.ID == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("Bearer ")
	if wrong != "" {
		b.WriteString(`error="` + wrong + `", `)
	}
	if len(scopes) > 0 {
		b.WriteString(`scope="` + strings.Join(scopes, " ") + `", `)
	}
	b.WriteString(`resource_metadata="` + escapeHeader.Replace(r.Metadata) + `"`)
	return b.String()
}

// metadata is the document of RFC 9728 section 2.
type metadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported,omitempty"`
	Methods  []string `json:"bearer_methods_supported"`
	Name     string   `json:"resource_name,omitempty"`
	Doc      string   `json:"resource_documentation,omitempty"`
}

// ServeMetadata answers with the metadata of the API. It may be read by pages of other sites, in which
// clients run too.
func (s *Site) ServeMetadata(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	switch {
	case !answer.Allow(w, r, http.MethodGet, http.MethodHead):
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	case s.Resource.ID == "":
		http.NotFound(w, r)
		return
	}
	m := metadata{
		Resource: s.Resource.ID, Servers: []string{s.Issuer}, Scopes: slices.Sorted(maps.Keys(s.Resource.Scopes)), Methods: []string{"header"},
		Name: s.Host(),
	}
	if s.Discovery != "" {
		m.Doc = s.Origin + s.Discovery
	}
	body, _ := json.Marshal(m) // strings cannot fail
	publish(w, "application/json", body)
}

// resource tells a program of the API; nil if there is none.
func (s *Site) resource() *entrance {
	if s.Resource.ID == "" {
		return nil
	}
	e := &entrance{Resource: s.Resource.ID, Metadata: s.Resource.Metadata, Scopes: s.Resource.Scopes}
	if s.LinkPath != "" {
		e.Browser = &step{Method: http.MethodPost, URL: s.Origin + s.LinkPath, Fields: []string{"path", "description"}}
	}
	return e
}

type entrance struct {
	Resource string            `json:"resource"`
	Metadata string            `json:"metadata"`
	Scopes   map[string]string `json:"scopes,omitempty"`
	Browser  *step             `json:"continue_in_browser,omitempty"`
}

// api tells a reader of the API.
func (s *Site) api() []string {
	if s.Resource.ID == "" {
		return nil
	}
	lines := []string{"## Use the API", "",
		"You need no browser for the API of this site:", "",
		"- Get an access token from the authorization server for the resource " + s.Resource.ID + " (RFC 8707).",
		"- Send it with each request, in one header: Authorization: Bearer, and the token. Send no cookie beside it.",
		"- Everything else is the same as with a browser: what you may do, your owner's approval, and the refusals.",
		"- Metadata (RFC 9728): " + s.Resource.Metadata,
	}
	if s.LinkPath != "" {
		lines = append(lines, "- To open a page of this site in a browser, POST "+s.Origin+s.LinkPath+" with the token and a JSON object: path, the path of the page, and description,"+
			" what you want there, in one line. The answer has a url that is good for 60 seconds and one time. Open it in a browser in which nobody is signed in, and press the button."+
			" Then that browser has a session that may do what the token may, and ends with it.")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resource.Scopes)) {
		lines = append(lines, "- Scope `"+name+"`: "+s.Resource.Scopes[name])
	}
	return append(lines, "")
}
