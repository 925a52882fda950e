package staging

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
)

var (
	errTime  = errors.New("staging took too long")
	errTries = errors.New("staging was interrupted too often")
)

// build makes the droplet of a build.
func (s *Stager) build(ctx context.Context, b *cf.Build, token int64, log *lines) (*droplet.Droplet, error) {
	m, err := s.c.Ledger.Material(ctx, b.GUID, token)
	if err != nil {
		return nil, err
	}
	// No time of another stager's clock, or of ours before somebody set it, is
	// believed: every try has all of the time.
	ctx, cancel := context.WithTimeoutCause(ctx, s.c.Time, errTime)
	defer cancel()
	f, err := s.c.Packages.Open(ctx, m.Package)
	if err != nil {
		return nil, fmt.Errorf("open the package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	files, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("open the package: %w", err)
	}
	log.say(fmt.Sprintf("Staging with %s in a sandbox: %d MB memory, %d MB disk", s.c.Builder.Go(), b.MemoryMB, b.DiskMB))
	if v := m.Env["GOVERSION"]; v != "" && !strings.HasPrefix(s.c.Builder.Go()+".", v+".") {
		log.say(fmt.Sprintf("GOVERSION %s is not installed here; building with %s", v, s.c.Builder.Go()))
	}
	return s.c.Builder.Build(ctx, &stager.Request{Files: archive{files}, Env: m.Env, Tenant: b.SpaceGUID, Log: log, Step: log.step,
		Limits: stager.Limits{Memory: uint64(b.MemoryMB) << 20, Disk: int64(b.DiskMB) << 20, Shares: shares, PIDs: maxPIDs, Files: maxFiles, Log: maxLog, Download: maxDownload},
	}, s.c.Droplets)
}
