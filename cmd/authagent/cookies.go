package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// A setCookie is a cookie, and where it was set.
type setCookie struct {
	*http.Cookie
	at *url.URL
}

// gone reports whether the cookie was dropped.
func (c setCookie) gone() bool {
	return c.MaxAge < 0 || !c.Expires.IsZero() && c.MaxAge == 0 && c.Expires.Before(time.Now())
}

// scope is what a cookie is known by, beside its name: the domain, whether it is for what
// is beneath it too, and the path (RFC 6265 section 5.3).
func (c setCookie) scope() (domain string, beneath bool, at string) {
	if at = c.Path; !strings.HasPrefix(at, "/") {
		at = path.Dir("/" + strings.TrimPrefix(c.at.Path, "/"))
	}
	if domain = strings.TrimPrefix(c.Domain, "."); domain != "" && domain != c.at.Hostname() {
		return domain, true, at
	}
	return c.at.Hostname(), domain != "", at
}

// line is the cookie in Netscape's format, as curl describes it: domain, whether hosts
// beneath it get it too, path, whether it needs TLS, when it expires (0: with the
// session), name, value.
func (c setCookie) line() string {
	domain, beneath, at := c.scope()
	expires := int64(0)
	switch {
	case c.MaxAge > 0:
		expires = time.Now().Add(time.Duration(c.MaxAge) * time.Second).Unix()
	case !c.Expires.IsZero():
		expires = c.Expires.Unix()
	}
	if beneath {
		domain = "." + domain
	}
	if c.HttpOnly {
		domain = "#HttpOnly_" + domain
	}
	value := c.Value
	if c.Quoted {
		value = `"` + value + `"`
	}
	word := map[bool]string{false: "FALSE", true: "TRUE"}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%s\t%s\n", domain, word[beneath], at, word[c.Secure], expires, c.Name, value)
}

// lines are the cookies that are left, in the order in which they were set first.
func lines(cookies []setCookie) string {
	var order []string
	last := make(map[string]setCookie)
	for _, c := range cookies {
		domain, _, at := c.scope()
		key := domain + "\t" + at + "\t" + c.Name
		if _, known := last[key]; !known {
			order = append(order, key)
		}
		last[key] = c
	}
	var b strings.Builder
	b.WriteString("# Netscape HTTP Cookie File\n")
	for _, key := range order {
		if !last[key].gone() {
			b.WriteString(last[key].line())
		}
	}
	return b.String()
}

// A cookieFile is a file for cookies that nobody else can read. It is there, and
// whole, once leave has returned nil.
type cookieFile struct {
	name string
	temp *os.File // becomes the file; nil if no file is wanted
}

// newCookieFile makes sure that the file can be written before anybody signs in.
func newCookieFile(name string) (*cookieFile, error) {
	if name == "" {
		return &cookieFile{}, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is not a file")
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".authagent-cookies-*") // mode 0600
	if err != nil {
		return nil, err
	}
	return &cookieFile{name, temp}, nil
}

// leave writes the file, and says how to use it for the page at which the agent landed.
func (f *cookieFile) leave(out io.Writer, cookies []setCookie, landed *url.URL) error {
	if f.temp == nil {
		return nil
	}
	_, err := f.temp.WriteString(lines(cookies))
	if err = errors.Join(err, f.temp.Close()); err == nil {
		err = os.Rename(f.temp.Name(), f.name)
	}
	if err != nil {
		return failed("write cookies: %w", err)
	}
	page := url.URL{Scheme: landed.Scheme, Host: landed.Host, Path: landed.Path}
	fmt.Fprintf(out, "\nThe session is in %s. To go on with it:\n\n\tcurl -b %s %s\n", printable(f.name), quoted(f.name), quoted(page.String()))
	return nil
}

// discard removes what has not become the file.
func (f *cookieFile) discard() {
	if f.temp != nil {
		f.temp.Close()
		os.Remove(f.temp.Name())
	}
}
