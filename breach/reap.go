package breach

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a run makes on the host is named after its process, so that the next one
// can tell what a run has left that was killed.
const (
	groupPrefix  = "breach-"     // of control groups: breach-PID-N
	folderPrefix = "dew-breach-" // of folders: dew-breach-PID-RANDOM
)

// folders is where runs have theirs. Not a TMPDIR, which may be root's own: attackers
// are nobody special, and what stops them must be the guard.
const folders = "/tmp"

// reap removes what runs have left whose process is gone.
func (u *Suite) reap() error {
	left, err := filepath.Glob(filepath.Join(u.parent, folderPrefix+"*-*"))
	errs := []error{err, u.process.Reap(func(name string) bool { return isDead(name, groupPrefix) })}
	for _, path := range left {
		if isDead(filepath.Base(path), folderPrefix) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what an earlier run has left: %w", err)
	}
	return nil
}

// isDead tells of a name whether it is of a run, and its process is gone.
func isDead(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	text, _, more := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(text)
	return ok && more && err == nil && pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
