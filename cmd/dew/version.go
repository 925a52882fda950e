package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/dewpaas/dew/abi"
)

type versionCmd struct{}

func (versionCmd) Run(c *console) error {
	_, err := fmt.Fprintf(c.out, "dew %s\nguest contract %d\n%s %s/%s\n",
		ownVersion(), abi.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// ownVersion is the module version that the linker recorded, or the commit.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, changed := "unreleased", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			commit = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with local changes"
		}
	}
	return commit + changed
}
