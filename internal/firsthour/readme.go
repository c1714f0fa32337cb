//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A readme is what README.md tells a reader to write and to run. All of it comes from
// the text, so that the text is what is tried.
type readme struct {
	module  string // the commands that make the folder and its module
	program string // main.go
	replace string // the command for a module that is not published
	fetch   string // the command that fetches what main.go imports
	server  string // the command that runs the server for development
	site    string // the commands that start the site
	signIn  string // the command by which an agent asks to be let in
	request string // the command that sends a request with the agent's session

	page           string // where the owner decides
	name, password string // the owner's
	refused        string // what signIn says before the owner has decided
	answer         string // what request prints while the agent may read
	revoked        string // what it prints once the agent was revoked
}

// read reads the README of a copy of the repository.
func read(repository string) (*readme, error) {
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		return nil, err
	}
	return parse(string(text))
}

var block = regexp.MustCompile("(?ms)^```(go|sh)\n(.*?)^```$")

// parse finds the parts by the headings, by the order of the blocks, and by the words
// around what a reader is told to look for.
func parse(text string) (*readme, error) {
	first, err1 := blocks(text, "The smallest site", "sh", "go", "sh", "sh", "sh", "sh")
	notice, err2 := blocks(text, "Until the module is published", "sh")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	fetch, server, ok := strings.Cut(strings.TrimSpace(first[2]), "\n")
	if !ok || strings.Contains(server, "\n") {
		return nil, fmt.Errorf("README.md: %q is to be two commands", first[2])
	}
	r := &readme{
		module: first[0], program: first[1], replace: notice[0], fetch: fetch, server: server,
		site: first[3], signIn: first[4], request: first[5],
	}
	prose := strings.Join(strings.Fields(section(text, "The smallest site")), " ")
	return r, errors.Join(
		find(prose, "It is refused with `([^`]+)`", &r.refused),
		find(prose, "open <([^>]+)> in a private window", &r.page),
		find(prose, "sign in as `([^`]+)`", &r.name),
		find(prose, "with the password `([^`]+)`", &r.password),
		find(prose, "That prints `([^`]+)`", &r.answer),
		find(prose, "prints a refusal with `([^`]+)`", &r.revoked),
	)
}

// section is what stands below a heading.
func section(text, heading string) string {
	_, below, _ := strings.Cut(text, "\n## "+heading+"\n")
	within, _, _ := strings.Cut(below, "\n## ")
	return within
}

// blocks returns the code blocks of a section, which are to be of these languages.
func blocks(text, heading string, languages ...string) ([]string, error) {
	var found, code []string
	for _, m := range block.FindAllStringSubmatch(section(text, heading), -1) {
		found, code = append(found, m[1]), append(code, m[2])
	}
	if got, want := strings.Join(found, " "), strings.Join(languages, " "); got != want {
		return nil, fmt.Errorf("the README: below %q there are the code blocks %q, and this program follows %q", heading, got, want)
	}
	return code, nil
}

func find(prose, pattern string, into *string) error {
	m := regexp.MustCompile(pattern).FindStringSubmatch(prose)
	if m == nil {
		return fmt.Errorf("the README lacks the words %q", pattern)
	}
	*into = m[1]
	return nil
}
