package staging

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Import keeps a droplet that a client sent, once all of it is verified, and
// returns its digest and the start command of each process type.
func (s *Stager) Import(r io.Reader) (sum string, types map[string]string, err error) {
	d, err := s.c.Droplets.Receive(r, "")
	if err != nil {
		return "", nil, err
	}
	return d.Digest(), d.Manifest().Processes, nil
}

// Export writes a droplet as one file.
func (s *Stager) Export(w io.Writer, sum string) error {
	d, err := s.c.Droplets.Open(sum)
	if err != nil {
		return err
	}
	return d.Export(w)
}

// sweepAge is how long a droplet that the ledger does not name is kept: longer
// than it takes to write it there, and than instances are started from it.
const sweepAge = 15 * time.Minute

// sweep removes droplets that no record of the ledger names, and caches of
// spaces that are gone or too large.
func (s *Stager) sweep(ctx context.Context) error {
	var named map[string]bool
	if s.c.Named != nil {
		var err error
		if named, err = s.c.Named(ctx); err != nil {
			return err
		}
	}
	_, err := s.c.Droplets.Sweep(func(digest string, used time.Time) bool { return named[digest] || time.Since(used) < sweepAge })
	if err != nil {
		return err
	}
	var spaces []string // that have caches
	if err := s.c.Builder.Forget(func(space string) bool { spaces = append(spaces, space); return true }); err != nil {
		return err
	}
	left, err := s.c.Ledger.Tidy(ctx, spaces)
	if err != nil {
		return err
	}
	err = s.c.Builder.Forget(func(space string) bool {
		return s.busy(space) || slices.Contains(left, space) || !slices.Contains(spaces, space)
	})
	return errors.Join(err, s.c.Builder.Trim(downloadBytes))
}

// Named are the digests of the droplets that the ledger names: as such, as what
// instances are started from, or as what a placement or a task was to start.
func Named(tx cf.Tx) (map[string]bool, error) {
	named := map[string]bool{}
	droplets, err := cf.List[cf.Droplet](tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	for _, d := range droplets {
		named[d.Checksum] = true
	}
	processes, err := cf.List[cf.Process](tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	for _, p := range processes { // crashed instances are replaced from these
		if p.Launch != nil {
			named[p.Launch.DropletSHA256] = true
		}
	}
	placements, err := cf.List[cf.Placement](tx, cf.Query{})
	if err != nil {
		return nil, err
	}
	for _, p := range placements {
		if p.Launch != nil {
			named[p.Launch.DropletSHA256] = true
		}
	}
	tasks, err := cf.List[cf.Task](tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.TaskPending, cf.TaskRunning)}})
	for _, k := range tasks {
		named[k.Launch.DropletSHA256] = true
	}
	return named, err
}

// downloadBytes is how much of what builds downloaded is kept.
const downloadBytes = 20 << 30

// trim removes caches that the builds since have made too large. It runs between
// builds, on the goroutine that begins them.
func (s *Stager) trim() {
	s.mu.Lock()
	grown := s.grown
	s.grown = map[string]bool{}
	s.mu.Unlock()
	for space := range grown {
		if s.busy(space) {
			continue // its next end is another occasion
		}
		if err := s.c.Builder.Shrink(space, s.c.CacheBytes); err != nil {
			s.c.Log.Error("shrink the caches of a space", "space", space, "err", err)
		}
	}
}

// busy tells whether a space has a build under way.
func (s *Stager) busy(space string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, running := range s.running {
		if running == space {
			return true
		}
	}
	return false
}
