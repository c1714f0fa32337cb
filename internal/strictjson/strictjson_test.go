package strictjson_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/strictjson"
)

const tokenReply = `{"access_token":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0.c2ln","token_type":"Bearer",` +
	`"expires_in":3600,"refresh_token":"rt_0123456789abcdef","scope":"openid profile email"}`

var accepted = []string{
	`{}`,
	" \t\r\n{ } \t\r\n",
	tokenReply,
	`{"":1}`,
	`{"sub":"attacker","Sub":"victim"}`,
	`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}`,
	`{"a":[ ],"b":[1 , -0.5e+3,true,false,null,"x",{}]}`,
	`{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 \ufffd"}`,
	`{"s\u0075b":"a","n":1e999,"m":1E+5,"z":-0,"y":0.0,"x":0e0}`,
	`{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`,
	`{"\u007f":"` + "\x7f\u2028" + `"}`,
}

var refused = []struct{ name, in string }{
	{"empty", ``}, {"white space", "  \n"}, {"array", `[]`}, {"null", `null`}, {"string", `"x"`}, {"number", `1`}, {"true", `true`},
	{"HTML", `<html>`}, {"form", `access_token=x`}, {"byte order mark", "\ufeff{}"}, {"callback", `f({})`},
	{"two objects", `{}{}`}, {"object and comma", `{},`}, {"object and bracket", `{}]`}, {"object and NUL", "{}\x00"}, {"NUL and object", "\x00{}"},
	{"comment", `{/**/}`}, {"trailing comment", `{}//x`}, {"no-break space", "{\u00a0}"}, {"form feed", "{\f}"},

	{"not closed", `{`}, {"member not closed", `{"a":1`}, {"comma at the end", `{"a":1,}`}, {"comma first", `{,}`}, {"two commas", `{"a":1,,"b":2}`},
	{"no comma", `{"a":1 "b":2}`}, {"no colon", `{"a" 1}`}, {"no value", `{"a":}`}, {"name only", `{"a"}`}, {"no name", `{:1}`}, {"no second name", `{"a":1,:2}`}, {"name unquoted", `{a:1}`}, {"name single-quoted", `{'a':1}`},
	{"name a number", `{1:1}`}, {"name null", `{null:1}`}, {"wrong bracket", `{"a":[1}]`}, {"array comma", `{"a":[1,]}`}, {"array not closed", `{"a":[1`},
	{"nested bad", `{"a":{"b":[{"c":tru}]}}`}, {"value name NUL", "{\"a\":\x00}"}, {"truncated after comma", `{"a":1,`}, {"truncated after colon", `{"a":`},

	{"NaN", `{"a":NaN}`}, {"Infinity", `{"a":-Infinity}`}, {"leading zero", `{"a":01}`}, {"negative leading zero", `{"a":-01}`}, {"plus", `{"a":+1}`}, {"minus", `{"a":-}`},
	{"point first", `{"a":.5}`}, {"point last", `{"a":1.}`}, {"exponent empty", `{"a":1e}`}, {"exponent sign", `{"a":1e+}`}, {"two exponent signs", `{"a":1e+-5}`}, {"two others", `{"a":1e-+5}`}, {"hexadecimal", `{"a":0x1}`}, {"underscore", `{"a":1_0}`},
	{"True", `{"a":True}`}, {"truex", `{"a":truex}`}, {"nul", `{"a":nul}`},

	{"string not closed", `{"a":"b`}, {"string ends in half an escape", `{"a":"\u12`}, {"string ends in half a pair", `{"a":"\ud83d\ude`}, {"string ends in backslash", `{"a":"b\`}, {"line feed in string", "{\"a\":\"b\nc\"}"}, {"NUL in string", "{\"a\":\"b\x00c\"}"},
	{"bad escape", `{"a":"\x41"}`}, {"single quote escape", `{"a":"\'"}`}, {"short unicode escape", `{"a":"\u12"}`}, {"no hexadecimal", `{"a":"\u12g4"}`}, {"signed escape", `{"a":"\u+123"}`}, {"underscore escape", `{"a":"\u1_23"}`},
	{"high surrogate", `{"a":"\ud800"}`}, {"low surrogate", `{"a":"\udc00"}`}, {"high and high", `{"a":"\ud800\ud800"}`}, {"high and letter", `{"a":"\ud800a"}`},
	{"high and what would be low", `{"a":"\ud83dxxde00"}`}, {"high and low of another escape", `{"a":"\ud83d\nde00"}`}, {"high and low in capitals", `{"a":"\ud83d\Ude00"}`},
	{"low and high", `{"a":"\udc00\ud800"}`}, {"high and escape", `{"a":"\ud800\n"}`}, {"surrogate in a name", `{"\ud800":1}`}, {"nested surrogate", `{"a":[{"b":"\udfff"}]}`},
	{"invalid UTF-8 in string", "{\"a\":\"\xff\"}"}, {"invalid UTF-8 in name", "{\"a\xc0\xaf\":1}"}, {"UTF-8 surrogate", "{\"a\":\"\xed\xa0\x80\"}"}, {"UTF-16", "{\x00}\x00"}, {"invalid UTF-8 after", "{}\xff"},

	{"33 deep arrays", `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`},
	{"33 deep objects", strings.Repeat(`{"a":`, 32) + `{}` + strings.Repeat("}", 32)},
	{"20 000 deep", `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`},
	{"20 000 deep, not closed", strings.Repeat(`{"a":`, 20000)},
}

func TestParseAccepts_NET6(t *testing.T) {
	for _, in := range accepted {
		if _, err := strictjson.Parse([]byte(in)); err != nil {
			t.Errorf("NET-6: Parse(%q) = %v, want nil", in, err)
		}
	}
}

func TestParseRefuses_NET6(t *testing.T) {
	for _, r := range refused {
		t.Run("NET-6 "+r.name, func(t *testing.T) {
			if _, err := strictjson.Parse([]byte(r.in)); err == nil {
				t.Errorf("Parse(%.80q) = nil, want an error", r.in)
			}
		})
	}
}

// TestReasons: an error says what kind of thing is wrong, and nothing of the text.
func TestReasons(t *testing.T) {
	for in, want := range map[string]string{
		``: "not a JSON object", `<html>`: "not a JSON object", `[{}]`: "not a JSON object",
		`{"a"`: "not valid JSON", `{:1}`: "not valid JSON", "{\"a\":\"\xff\"}": "not valid UTF-8", `{}x`: "text after the object",
		`{"a":1,"a":2}`: "two members of one name", `{"a":"\ud800\n"}`: "unpaired surrogate in a string", `{"a":"\ud800\u0041"}`: "unpaired surrogate in a string",
		`{"a":` + strings.Repeat("[", 32): "nested too deeply",
	} {
		if _, err := strictjson.Parse([]byte(in)); err == nil || err.Error() != "strictjson: "+want {
			t.Errorf("Parse(%.80q) = %v, want %q", in, err, want)
		}
	}
}

func TestParseRefusesDuplicates_NET7(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"m%d":1,`, i)
	}
	for _, in := range []string{
		`{"sub":"a","sub":"b"}`,
		`{"sub":"a","sub":"a"}`,
		`{"sub":"a","s\u0075b":"b"}`,
		`{"\u0073ub":"a","s\u0075b":"b"}`,
		`{"sub":"a","x":1,"sub":null}`,
		`{"":1,"":2}`,
		`{"a/b":1,"a\/b":2}`,
		`{"x":{"sub":"a","sub":"b"}}`,
		`{"x":[[{"sub":"a","s\u0075b":"b"}]]}`,
		`{` + many.String() + `"m0":1}`,
		`{` + many.String() + `"m999":1}`,
		`{` + many.String() + `"m31":1}`,
	} {
		if _, err := strictjson.Parse([]byte(in)); err == nil {
			t.Errorf("NET-7: Parse(%.80q) = nil, want an error", in)
		}
	}
	o, err := strictjson.Parse([]byte(`{` + many.String() + `"sub":"a"}`))
	if err != nil {
		t.Fatalf("NET-7: 1001 members: %v", err)
	}
	if got, _, _ := o.String("sub"); got != "a" {
		t.Errorf("NET-7: 1001 members: sub = %q, want a", got)
	}
}

func TestNamesAreExact_NET7(t *testing.T) {
	for in, want := range map[string]string{
		`{"sub":"attacker","Sub":"victim"}`:           "attacker",
		`{"Sub":"victim","sub":"attacker"}`:           "attacker",
		`{"\u017fub":"victim","sub":"attacker"}`:      "attacker", // folds to s
		`{"s\u0075b":"attacker","SUB":"victim"}`:      "attacker",
		`{"sub\u0000":"victim","sub":"attacker"}`:     "attacker",
		`{"sub ":"victim","x":{"sub":"victim"}}`:      "",
		`{"Sub":"victim"}`:                            "",
		`{"SUB":"victim","sub":null,"\u017fub":"vi"}`: "",
	} {
		o, err := strictjson.Parse([]byte(in))
		if err != nil {
			t.Errorf("NET-7: Parse(%q) = %v", in, err)
			continue
		}
		got, ok, err := o.String("sub")
		if got != want || ok != (want != "") || err != nil {
			t.Errorf("NET-7: %s: sub = %q, %v, %v, want %q", in, got, ok, err, want)
		}
	}
}

// A value of another type is an error that names the member and not the value.
func TestTypes_NET6(t *testing.T) {
	read := map[string]func(o strictjson.Object) (any, bool, error){
		"string":  func(o strictjson.Object) (any, bool, error) { return wrap(o.String("m")) },
		"strings": func(o strictjson.Object) (any, bool, error) { return wrap(o.Strings("m")) },
		"bool":    func(o strictjson.Object) (any, bool, error) { return wrap(o.Bool("m")) },
		"number":  func(o strictjson.Object) (any, bool, error) { return wrap(o.Number("m")) },
		"seconds": func(o strictjson.Object) (any, bool, error) { return wrap(o.Seconds("m")) },
		"time":    func(o strictjson.Object) (any, bool, error) { return wrap(o.Time("m")) },
		"object":  func(o strictjson.Object) (any, bool, error) { return wrap(o.Object("m")) },
	}
	rows := []struct{ value, kinds string }{
		{`"se4cret"`, "string"},
		{`"77777"`, "string number seconds time"},
		{`77777`, "number seconds time"},
		{`true`, "bool"},
		{`false`, "bool"},
		{`"true"`, "string"},
		{`[]`, "strings"},
		{`["se4cret", "b"]`, "strings"},
		{`["se4cret",1]`, ""},
		{`["se4cret",null]`, ""},
		{`[["se4cret"]]`, ""},
		{`{}`, "object"},
		{`{"se4cret":1}`, "object"},
	}
	for _, r := range rows {
		o, err := strictjson.Parse([]byte(`{"m": ` + r.value + ` }`))
		if err != nil {
			t.Fatal(err)
		}
		for kind, f := range read {
			want := slices.Contains(strings.Fields(r.kinds), kind)
			_, ok, err := f(o)
			if ok != want || (err == nil) != want {
				t.Errorf("NET-6: %s as %s: ok %v, err %v, want ok %v", r.value, kind, ok, err, want)
			}
			if err != nil && (!strings.Contains(err.Error(), `"m"`) || strings.Contains(err.Error(), "se4cret") || strings.Contains(err.Error(), "77777")) {
				t.Errorf("NET-6: %s as %s: error %q, want the member and not the value", r.value, kind, err)
			}
		}
	}
	for _, in := range []string{`{}`, `{"m":null}`, `{"M":1}`} {
		o, err := strictjson.Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		for kind, f := range read {
			if _, ok, err := f(o); ok || err != nil {
				t.Errorf("NET-6: %s as %s: ok %v, err %v, want absent", in, kind, ok, err)
			}
		}
	}
}

func wrap[T any](value T, ok bool, err error) (any, bool, error) { return value, ok, err }

func TestValues_NET6(t *testing.T) {
	data := []byte(`{"s":"a\u00e9\ud83d\ude00\n\"","e":"","l":["a","\u0062",""],"b":true,"o":{"x":{"y":"z"}},"n":null}`)
	o, err := strictjson.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data) // the object must not lean on the caller's buffer
	if got, ok, err := o.String("s"); got != "aé😀\n\"" || !ok || err != nil {
		t.Errorf("s = %q, %v, %v", got, ok, err)
	}
	if got, ok, err := o.String("e"); got != "" || !ok || err != nil {
		t.Errorf("e = %q, %v, %v", got, ok, err)
	}
	if got, ok, err := o.Strings("l"); !slices.Equal(got, []string{"a", "b", ""}) || !ok || err != nil {
		t.Errorf("l = %q, %v, %v", got, ok, err)
	}
	if got, ok, err := o.Bool("b"); !got || !ok || err != nil {
		t.Errorf("b = %v, %v, %v", got, ok, err)
	}
	inner, _, _ := o.Object("o")
	inner, _, _ = inner.Object("x")
	if got, ok, err := inner.String("y"); got != "z" || !ok || err != nil {
		t.Errorf("o.x.y = %q, %v, %v", got, ok, err)
	}
	if !o.Has("n") || o.Has("N") || o.Has("y") {
		t.Errorf("Has: n %v, N %v, y %v, want true, false, false", o.Has("n"), o.Has("N"), o.Has("y"))
	}
	if raw, ok := o.Raw("o"); !ok || string(raw) != `{"x":{"y":"z"}}` {
		t.Errorf("Raw(o) = %s, %v", raw, ok)
	}
	if raw, ok := o.Raw("n"); !ok || string(raw) != `null` {
		t.Errorf("Raw(n) = %s, %v", raw, ok)
	}
	if raw, ok := o.Raw("absent"); ok || len(raw) != 0 {
		t.Errorf("Raw(absent) = %s, %v", raw, ok)
	}
	if (strictjson.Object{}).Has("") {
		t.Error("the zero Object has a member")
	}
}

func TestErrorsKeepTheData_NET6(t *testing.T) {
	const secret = "se4cret"
	for _, in := range []string{
		secret, `{"` + secret, `{"` + secret + `":1,"` + secret + `":2}`, `{"a":` + secret + `}`, `{"a":"` + secret + `\ud800"}`, `{}` + secret,
		`{"a":"\use4cret"}`, "{\"a\":\"" + secret + "\xff\"}",
	} {
		_, err := strictjson.Parse([]byte(in))
		if err == nil || strings.Contains(err.Error(), "se4c") {
			t.Errorf("NET-6: Parse(%q) = %v, want an error without the data", in, err)
		}
	}
}

func TestNumbers_NET9(t *testing.T) {
	const fails = -1
	year9999 := float64(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix())
	limit := (10 * 366 * 24 * time.Hour).Seconds()
	inf := math.Inf(1)
	rows := []struct {
		value                 string
		number, seconds, time float64 // inf for a number out of range, fails for an error
	}{
		{`3600`, 3600, 3600, 3600},
		{`"3600"`, 3600, 3600, 3600},
		{`"\u0033600"`, 3600, 3600, 3600},
		{`3600.9`, 3600.9, 3600, 3600},
		{`"3.6e3"`, 3600, 3600, 3600},
		{`0`, 0, 0, 0},
		{`-0`, 0, 0, 0},
		{`1e-400`, 0, 0, 0},
		{`0.5`, 0.5, 0, 0},
		{`-5`, -5, 0, fails},
		{`"-5"`, -5, 0, fails},
		{`-1e30`, -1e30, 0, fails},
		{`-1e999`, inf, 0, fails},
		{`253402300799`, 253402300799, limit, year9999},
		{`253402300800`, 253402300800, limit, fails},
		{`1e18`, 1e18, limit, fails},
		{`9223372036854775808`, 1 << 63, limit, fails},
		{`1e30`, 1e30, limit, fails},
		{`"1e30"`, 1e30, limit, fails},
		{`1e999`, inf, limit, fails},
		{`"1e999999999999999999999"`, inf, limit, fails},
		{`1` + strings.Repeat("0", 100000), inf, limit, fails},
		{`""`, fails, fails, fails},
		{`" 1"`, fails, fails, fails},
		{`"1 "`, fails, fails, fails},
		{`"1s"`, fails, fails, fails},
		{`"+1"`, fails, fails, fails},
		{`"01"`, fails, fails, fails},
		{`"0x10"`, fails, fails, fails},
		{`"1_000"`, fails, fails, fails},
		{`"Inf"`, fails, fails, fails},
		{`"NaN"`, fails, fails, fails},
		{`"\"1\""`, fails, fails, fails},
		{`true`, fails, fails, fails},
		{`[1]`, fails, fails, fails},
		{`{}`, fails, fails, fails},
	}
	for _, r := range rows {
		t.Run("NET-9 "+r.value[:min(len(r.value), 30)], func(t *testing.T) {
			o, err := strictjson.Parse([]byte(`{"m":` + r.value + `}`))
			if err != nil {
				t.Fatal(err)
			}
			number, ok, err := o.Number("m")
			if wantErr := r.number == fails || r.number == inf; wantErr != (err != nil) || ok == wantErr || !wantErr && number != r.number {
				t.Errorf("Number = %v, %v, %v, want %v", number, ok, err, r.number)
			}
			seconds, ok, err := o.Seconds("m")
			if wantErr := r.seconds == fails; wantErr != (err != nil) || ok == wantErr || !wantErr && seconds.Seconds() != r.seconds {
				t.Errorf("Seconds = %v, %v, %v, want %v", seconds, ok, err, r.seconds)
			}
			at, ok, err := o.Time("m")
			if wantErr := r.time == fails; wantErr != (err != nil) || ok == wantErr || !wantErr && float64(at.Unix()) != r.time {
				t.Errorf("Time = %v, %v, %v, want %v", at, ok, err, r.time)
			}
		})
	}
}

// Parse's work grows with its input, not with the square of it.
func TestParseIsLinear_NET6(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"a":0`)
	for i := range 100_000 {
		fmt.Fprintf(&b, `,"%x":0`, i+16)
	}
	b.WriteString(`}`)
	start := time.Now()
	if _, err := strictjson.Parse([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("NET-6: 100 000 members took %v", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, in := range accepted {
		f.Add([]byte(in))
	}
	for _, r := range refused {
		if len(r.in) < 1000 {
			f.Add([]byte(r.in))
		}
	}
	f.Add([]byte(`{"sub":"a","s\u0075b":"b"}`))
	f.Add([]byte(`{"expires_in":"1e30","exp":1e999,"n":-1.5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := strictjson.Parse(data)
		if err != nil {
			return
		}
		agrees(t, o, data)
	})
}

// agrees compares o with what encoding/json makes of data.
func agrees(t *testing.T, o strictjson.Object, data []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(data, &want); err != nil || want == nil {
		t.Fatalf("Parse accepts %q, and encoding/json does not: %v", data, err)
	}
	for name, text := range want {
		raw, ok := o.Raw(name)
		if !ok || string(raw) != string(text) {
			t.Fatalf("%q of %q = %q, %v, want %q", name, data, raw, ok, text)
		}
		value, isString, _ := o.String(name)
		values, isStrings, _ := o.Strings(name)
		b, isBool, _ := o.Bool(name)
		inner, isObject, _ := o.Object(name)
		number, isNumber, _ := o.Number(name)
		if d, _, _ := o.Seconds(name); d < 0 || d > 10*366*24*time.Hour {
			t.Errorf("%q of %q is %v", name, data, d)
		}
		if at, ok, _ := o.Time(name); ok && (at.Unix() < 0 || at.UTC().Year() > 9999) {
			t.Errorf("%q of %q is %v", name, data, at)
		}
		if isNumber && (math.IsInf(number, 0) || math.IsNaN(number)) {
			t.Errorf("%q of %q is %v", name, data, number)
		}

		var decoded any
		if err := json.Unmarshal(text, &decoded); err != nil {
			continue // a number beyond float64
		}
		switch w := decoded.(type) {
		case string:
			if !isString || value != w || isStrings || isBool || isObject {
				t.Errorf("%q of %q = %q, %v, want %q", name, data, value, isString, w)
			}
			if isNumber && !json.Valid([]byte(w)) {
				t.Errorf("%q of %q: %q is no number", name, data, w)
			}
		case bool:
			if !isBool || b != w || isString || isStrings || isObject || isNumber {
				t.Errorf("%q of %q = %v, %v, want %v", name, data, b, isBool, w)
			}
		case float64:
			if !isNumber || number != w || isString || isStrings || isBool || isObject {
				t.Errorf("%q of %q = %v, %v, want %v", name, data, number, isNumber, w)
			}
		case map[string]any:
			if !isObject || isString || isStrings || isBool || isNumber {
				t.Fatalf("%q of %q is not read as an object", name, data)
			}
			agrees(t, inner, text)
		case []any:
			if isStrings {
				var ws []string
				if err := json.Unmarshal(text, &ws); err != nil || !slices.Equal(values, ws) {
					t.Errorf("%q of %q = %q, want %q", name, data, values, ws)
				}
			}
			if isString || isBool || isObject || isNumber {
				t.Errorf("%q of %q is read as something else than an array", name, data)
			}
		case nil:
			if isString || isStrings || isBool || isObject || isNumber || !o.Has(name) {
				t.Errorf("%q of %q is null and read as something else", name, data)
			}
		}
	}
}

func BenchmarkParse(b *testing.B) {
	data := []byte(tokenReply)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		o, err := strictjson.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		if token, ok, err := o.String("access_token"); !ok || err != nil || token == "" {
			b.Fatal(err)
		}
	}
}
