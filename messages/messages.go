// Package messages has the texts of authagent's pages, mails and refusals, in each
// language. English and German are here. [Parse] reads another language, or other words
// for one of these two.
//
//	//go:embed texts.fr.txt
//	var french string
//
//	fr, err := messages.Parse("fr", french)
//	if err != nil {
//		log.Fatal(err)
//	}
//	config.Languages = []*messages.Language{messages.English(), fr}
//
// The texts of English are in the folder en of this package, to start from, and those of
// reasons in docs/reasons.md.
package messages

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

//go:embed en de
var files embed.FS

// A Language has all texts in one language. Make one with [English], [German] or [Parse].
// It never changes, and is safe for concurrent use.
type Language struct {
	tag   string
	texts map[string]string
}

// English returns the language that every text is in.
func English() *Language { return must("en") }

// German returns German.
func German() *Language { return must("de") }

// must returns a language of this package, whose tests read each.
func must(tag string) *Language {
	l, err := Parse(tag, "")
	if err != nil {
		panic(err)
	}
	return l
}

// Parse returns the language with this tag (BCP 47, such as "fr" or "pt-BR") and the
// texts of a table. Each line of the table has a key and a text:
//
//	# A comment.
//	owner.title = Vos agents
//	ago.minutes.one = il y a {n} minute
//	ago.minutes.other = il y a {n} minutes
//
// A text that the table does not have is this package's in that language, or English. A
// text with the key "action." and the name of an action says in this language what the
// action is, and one with the key "reading" what reading means at the site: they count
// before the words in grants.Policy.
//
// The error names each line that is malformed, whose key is not known, or that uses a
// placeholder in braces which the English text does not have.
func Parse(tag, table string) (*Language, error) {
	english, err := readFolder("en")
	if err != nil {
		return nil, err
	}
	if !isTag(tag) {
		return nil, fmt.Errorf("messages: %q is not a language tag", tag)
	}
	l := &Language{tag, maps.Clone(english)}
	if own := primary(tag); own != "en" && slices.Contains(here(), own) {
		texts, err := readFolder(own)
		if err != nil {
			return nil, err
		}
		maps.Copy(l.texts, texts)
	}
	texts, err := read(table)
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		err = errors.Join(err, checkText(english, key, texts[key]))
	}
	if err != nil {
		return nil, fmt.Errorf("messages: language %s: %w", tag, err)
	}
	maps.Copy(l.texts, texts)
	return l, nil
}

// here returns the languages of this package.
func here() []string {
	dirs, _ := fs.ReadDir(files, ".")
	names := make([]string, len(dirs))
	for i, d := range dirs {
		names[i] = d.Name()
	}
	return names
}

// readFolder returns the texts of a language of this package.
func readFolder(name string) (map[string]string, error) {
	paths, err := fs.Glob(files, name+"/*.txt")
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	if name == "en" {
		addReasons(all)
	}
	for _, path := range paths {
		table, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		texts, err := read(string(table))
		if err != nil {
			return nil, fmt.Errorf("messages: %s: %w", path, err)
		}
		for key, text := range texts {
			if _, twice := all[key]; twice {
				return nil, fmt.Errorf("messages: %s: %s is in another file too", path, key)
			}
			all[key] = text
		}
	}
	return all, nil
}

// read returns the texts of a table.
func read(table string) (map[string]string, error) {
	texts := make(map[string]string)
	var errs []error
	number := 0
	for line := range strings.Lines(table) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, text, ok := strings.Cut(line, "=")
		key, text = strings.TrimSpace(key), strings.TrimSpace(text)
		_, twice := texts[key]
		switch {
		case !ok, key == "", text == "":
			errs = append(errs, fmt.Errorf("line %d: it is not a key, \"=\" and a text", number))
		case twice:
			errs = append(errs, fmt.Errorf("line %d: %s is there twice", number, key))
		}
		texts[key] = text
	}
	return texts, errors.Join(errs...)
}

// actionPrefix begins the keys of what the site's actions are. readingKey is that of what
// reading means there.
const (
	actionPrefix = "action."
	readingKey   = "reading"
)

// checkText says what is wrong with a text.
func checkText(english map[string]string, key, text string) error {
	if strings.HasPrefix(key, actionPrefix) || key == readingKey {
		return nil
	}
	base, known := english[key]
	if !known {
		stem, _ := cutForm(key)
		base, known = english[stem+".other"]
	}
	if !known {
		return fmt.Errorf("%s: there is no such text", key)
	}
	for _, name := range placeholders(text) {
		if !slices.Contains(placeholders(base), name) {
			return fmt.Errorf("%s: the placeholder {%s} is not in the English text", key, name)
		}
	}
	return nil
}

// placeholders returns the names in braces.
func placeholders(text string) (names []string) {
	for {
		_, after, found := strings.Cut(text, "{")
		if !found {
			return names
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return names
		}
		names, text = append(names, name), rest
	}
}

// Tag returns the language's tag, for an HTML lang attribute.
func (l *Language) Tag() string { return l.tag }

// Text returns the text of a key as plain text. args are names of placeholders, each
// followed by its value: a string or an integer. A key that does not exist is returned
// as it is.
func (l *Language) Text(key string, args ...any) string {
	return fill(plain(l.raw(key)), args, func(v any) string { return fmt.Sprint(v) })
}

// HTML is Text for a page. The values are escaped, and isolated from the text around
// them, whatever direction they are written in. A value of type template.HTML is put in
// as it is. What stands between two pairs of asterisks is strong.
func (l *Language) HTML(key string, args ...any) template.HTML {
	text := strong(template.HTMLEscapeString(l.raw(key)))
	return template.HTML(fill(text, args, func(v any) string {
		switch v := v.(type) {
		case template.HTML:
			return string(v)
		case int:
			return fmt.Sprint(v)
		}
		return "<bdi>" + template.HTMLEscapeString(fmt.Sprint(v)) + "</bdi>"
	}))
}

// Count is Text for n things: the text has a form for each way in which the language
// counts, such as key.one and key.other, and n is its placeholder {n}.
func (l *Language) Count(key string, n int, args ...any) string {
	return l.Text(l.form(key, n), append(args, "n", n)...)
}

// Lookup returns the text of a key that the language may not have, such as an action's.
func (l *Language) Lookup(key string) (text string, ok bool) {
	text, ok = l.texts[key]
	return plain(text), ok
}

func (l *Language) raw(key string) string {
	if text, ok := l.texts[key]; ok {
		return text
	}
	return key
}

// form returns the key of the form for n things.
func (l *Language) form(key string, n int) string {
	if form := key + "." + plural(primary(l.tag), n); l.texts[form] != "" {
		return form
	}
	return key + ".other"
}

// fill puts values in the place of their names.
func fill(text string, args []any, show func(any) string) string {
	var filled strings.Builder
	for {
		before, after, found := strings.Cut(text, "{")
		name, rest, closed := strings.Cut(after, "}")
		filled.WriteString(before)
		if !found || !closed {
			return filled.String()
		}
		filled.WriteString(show(value(args, name)))
		text = rest
	}
}

func value(args []any, name string) any {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == name {
			return args[i+1]
		}
	}
	return ""
}

const strongMark = "**"

func plain(text string) string { return strings.ReplaceAll(text, strongMark, "") }

func strong(text string) string {
	parts := strings.Split(text, strongMark)
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = "<strong>" + parts[i] + "</strong>"
	}
	return strings.Join(parts, "")
}
