package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

const versionHelp = `Usage: authagent version

Prints the version of this command, the Go version that built it, and the platform.
`

// version prints what the Go toolchain has recorded in the program.
func version(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	if err := parse(flags, args, versionHelp); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return failed("the program was built without information about its modules")
	}
	fmt.Fprintf(out, "authagent %s\n", describe(info))
	return nil
}

// describe says what was built. A build from a working copy has no version; its
// revision says more.
func describe(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := info.Main.Version
	if !isRelease(text) {
		text = "(devel)"
	}
	if revision := settings["vcs.revision"]; revision != "" {
		text += " " + revision[:min(len(revision), 12)]
		if settings["vcs.modified"] == "true" {
			text += " with changes"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", text, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}

// isRelease reports whether a version can be downloaded: others are (devel), empty, or
// marked as changed.
func isRelease(version string) bool {
	return strings.HasPrefix(version, "v") && !strings.Contains(version, "+dirty")
}
