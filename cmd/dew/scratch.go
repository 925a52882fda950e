package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratch makes a folder among the temporary ones, for as long as this process needs
// it. Its lock ends with the process at the latest: what processes that were killed
// left is known by that, and removed here.
func scratch(kind string) (dir string, remove func(), err error) {
	return scratchIn(os.TempDir(), kind)
}

// jail makes QEMU's root: an empty folder that nobody's uid must reach. /run is open
// to all, which a TMPDIR of root's own need not be.
func jail() (dir string, remove func(), err error) {
	if os.Geteuid() != 0 {
		return scratch("jail")
	}
	return scratchIn("/run", "jail")
}

func scratchIn(parent, kind string) (dir string, remove func(), err error) {
	pattern := filepath.Join(parent, "dew-"+kind+"-")
	old, _ := filepath.Glob(pattern + "*") // the pattern is well-formed
	for _, dir := range old {
		if lock := own(dir); lock != nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
	for range 100 {
		if dir, err = os.MkdirTemp(parent, "dew-"+kind+"-"); err != nil {
			return "", nil, err
		}
		if lock := own(dir); lock != nil {
			return dir, func() { os.RemoveAll(dir); lock.Close() }, nil
		}
		// Another dew found it before it was locked.
	}
	return "", nil, fmt.Errorf("make a folder %s*: others remove it", pattern)
}

// own locks a folder that is there, is the caller's own, and is nobody's at the
// moment; nil otherwise. Other users make folders among the temporary ones too.
func own(dir string) *os.File {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var held, named unix.Stat_t
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || unix.Fstat(int(f.Fd()), &held) != nil || unix.Lstat(dir, &named) != nil ||
		held.Ino != named.Ino || held.Dev != named.Dev || int(held.Uid) != os.Geteuid() {
		f.Close()
		return nil
	}
	return f
}
