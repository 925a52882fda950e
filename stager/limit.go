package stager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dewpaas/dew/stager/sandbox"
	"github.com/dewpaas/dew/tender/cgroup"
)

// group is the control group of one go command; nil where nothing is limited.
type group struct {
	*cgroup.Group
	leave func() // called before it is removed
}

func (g group) remove() {
	if g.Group != nil {
		g.leave()
		g.Remove()
	}
}

func (g group) exhausted() bool { return g.Group != nil && g.OOMKilled() }

const groupPrefix = "stage-"

// reapGroups removes the control groups of processes that were killed.
func reapGroups() error {
	if os.Geteuid() != 0 {
		return nil
	}
	host, err := cgroup.Probe()
	if err != nil {
		return err
	}
	return host.Reap(func(name string) bool {
		rest, ok := strings.CutPrefix(name, groupPrefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		return ok && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

func groupName(w *work) string {
	return fmt.Sprintf("%s%d-%s", groupPrefix, os.Getpid(), filepath.Base(w.dir))
}

// limit makes a control group with the request's limits and lets the command
// join it.
func (w *work) limit(c *sandbox.Config) (group, error) {
	if os.Geteuid() != 0 && w.shared != "" {
		return group{}, nil // shares are all that a layer of std asks for
	}
	l := cgroup.Limits{Memory: w.Limits.Memory, CPUs: w.Limits.CPUs, Shares: w.Limits.Shares, PIDs: w.Limits.PIDs}
	if l == (cgroup.Limits{}) {
		return group{}, nil
	}
	host, err := cgroup.Probe()
	if err != nil {
		return group{}, err
	}
	g, err := host.Create(groupName(w), l)
	if err != nil {
		return group{}, fmt.Errorf("limit the build: %w", err)
	}
	c.Join, err = g.Procs()
	if err != nil {
		g.Remove()
		return group{}, err
	}
	if w.idly {
		return group{g, w.crowd.join(g)}, nil
	}
	return group{g, func() {}}, nil
}

// watchDisk ends the returned context when what the build writes is more than the
// limit: all that is in the fresh folders, and what is more in the kept ones than
// at the first look. It looks from time to time: what is written between two looks
// is bounded by the speed of the disk, and a quick build is not looked at.
func (w *work) watchDisk(fresh []string, kept ...string) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	if w.Limits.Disk <= 0 {
		return ctx, func() { cancel(nil) }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause := time.Second; ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			begun := time.Now()
			before := used(kept)
			if w.allowed == 0 { // the limit is for all commands of a build
				w.allowed = before + w.Limits.Disk
			}
			if before+used(fresh) > w.allowed {
				cancel(because(ErrLimit, "it writes more than %d MiB to disk", w.Limits.Disk>>20))
				return
			}
			pause = max(time.Second, 10*time.Since(begun)) // a tenth of one CPU at most
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// block is what an empty file or folder costs, at least.
const block = 4096

// used is how many bytes the files below the folders have, and what it takes to
// keep them: a million empty files are no small thing.
func used(dirs []string) (total int64) {
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // files come and go
			}
			total += block
			if info, err := d.Info(); err == nil && !d.IsDir() {
				total += info.Size()
			}
			return nil
		})
	}
	return total
}
