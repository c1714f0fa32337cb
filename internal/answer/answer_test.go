package answer_test

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/internal/answer"
)

// TestWriteProblem: what is written by hand is what encoding/json writes, for every
// member, set and not.
func TestWriteProblem(t *testing.T) {
	full := answer.Problem{Status: 403, Retry: true, Allowed: []string{"GET", "HEAD"}}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString("a\"b<c>&\u2028\x00é" + v.Type().Field(i).Name)
		}
	}
	cases := []answer.Problem{{}, full, {Status: 401, Title: "Sign-in required", Code: "no_session"}}
	for i := range v.NumField() { // each member alone
		alone := answer.Problem{}
		reflect.ValueOf(&alone).Elem().Field(i).Set(v.Field(i))
		cases = append(cases, alone)
	}
	for _, p := range cases {
		if p.Status == 0 {
			p.Status = 400
		}
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		answer.WriteProblem(w, p)
		if got := strings.TrimSuffix(w.Body.String(), "\n"); got != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
