package staging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
)

// Packages finds the zips of packages, which the API checked when they came.
type Packages interface {
	// Open opens the zip with this SHA-256.
	Open(ctx context.Context, sum string) (*os.File, error)
}

// Config of a Stager.
type Config struct {
	Ledger   Ledger
	Packages Packages
	Droplets *droplet.Store
	Logs     cf.Logs
	Builder  *stager.Builder
	Log      *slog.Logger

	// Holder names this stager among all of the ledger; never two at a time.
	Holder string
	// Keep makes sure that a droplet is where others find it, before the ledger
	// names it. nil: Droplets is that place.
	Keep func(context.Context, *droplet.Droplet) error
	// Named tells the digests of the droplets that must stay whatever their age. nil:
	// others keep them, here they are for a while only.
	Named func(context.Context) (map[string]bool, error)

	// Warm compiles the standard library as soon as Run begins, in the background,
	// so that the first push need wait for little of it or nothing.
	Warm bool

	AtOnce     int           // builds at the same time; 0: half the CPUs, at least 2
	Time       time.Duration // of one build; 0: 15 minutes, as clients wait
	Patience   time.Duration // how long a build of another stager that does not move is respected; 0: 15 s
	CacheBytes int64         // of one space's caches; 0: 4 GiB
}

// limits of a package, as the API has them for uploads.
const (
	maxFiles    = 100_000
	maxLog      = 4 << 20
	maxDownload = 4 << 30
	maxPIDs     = 1024
	shares      = 256 // builds yield to what runs: a guest of 256 MB has as many
)

// Stager builds what the ledger says. It is safe for concurrent use.
type Stager struct {
	c    Config
	poke chan struct{}

	watch cf.LeaseWatch // of others' builds; Run's own

	mu      sync.Mutex
	running map[string]string // guid of a build to that of its space
	failed  map[string]int    // how often the end of a build could not be written
	grown   map[string]bool   // spaces that built since their caches were looked at
}

// New makes a stager, which does nothing until Run.
func New(c Config) *Stager {
	c.AtOnce = cmp.Or(c.AtOnce, max(2, runtime.NumCPU()/2))
	c.Time = cmp.Or(c.Time, 15*time.Minute)
	c.Patience = cmp.Or(c.Patience, 15*time.Second)
	c.CacheBytes = cmp.Or(c.CacheBytes, 4<<30)
	return &Stager{c: c, poke: make(chan struct{}, 1), running: map[string]string{}, failed: map[string]int{}, grown: map[string]bool{}}
}

// Concerns are the nouns whose changes a Stager should be told of, by Stage.
func Concerns() []cf.Noun { return []cf.Noun{"builds"} }

// Stage says that the ledger holds a build to be done. It does not wait.
func (s *Stager) Stage(context.Context, string) error {
	select {
	case s.poke <- struct{}{}:
	default: // somebody said so already
	}
	return nil
}

// How often the ledger is looked at without a word from anyone, and what is not
// needed any more is removed.
const (
	lookAgain = 15 * time.Second
	sweepTime = 10 * time.Minute
)

// Run builds until ctx ends. Builds that are under way then stay STAGING, and
// are done again by the next Run.
func (s *Stager) Run(ctx context.Context) error {
	var builds sync.WaitGroup
	defer builds.Wait()
	var clock cf.ClockWatch
	again, sweep := time.NewTicker(min(lookAgain, s.c.Patience/3)), time.NewTicker(sweepTime)
	defer again.Stop()
	defer sweep.Stop()
	if s.c.Warm {
		builds.Go(func() { s.warm(ctx) })
	}
	for {
		if err := s.begin(ctx, &builds); err != nil && ctx.Err() == nil {
			s.c.Log.Error("look for builds", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.poke:
		case <-again.C:
		case <-sweep.C:
			if now := time.Now(); !clock.Settled(now, now) {
				continue // a droplet that is a minute old may look a year old
			}
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				s.c.Log.Error("sweep droplets", "err", err)
			}
		}
	}
}

func (s *Stager) warm(ctx context.Context) {
	begun, cold := time.Now(), false
	err := s.c.Builder.Warm(ctx, func(step string) {
		cold = true
		s.c.Log.Info(step)
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.c.Log.Error("compile the standard library", "err", err)
	case cold:
		s.c.Log.Info("the standard library is compiled", "after", time.Since(begun).Round(time.Second).String())
	}
}

// begin starts the builds that there is room for.
func (s *Stager) begin(ctx context.Context, builds *sync.WaitGroup) error {
	waiting, leases, err := s.free(ctx)
	if err != nil {
		return err
	}
	s.trim()
	for b := s.next(waiting); b != nil; b = s.next(waiting) {
		builds.Go(func() {
			s.claimed(ctx, b, leases[cf.BuildLease(b.GUID)], func(ctx context.Context, token int64) { s.stage(ctx, b, token) })
			s.mu.Lock()
			delete(s.running, b.GUID)
			s.grown[b.SpaceGUID] = true
			s.mu.Unlock()
			if ctx.Err() == nil {
				s.Stage(ctx, b.GUID) // there is room again
			}
		})
	}
	return nil
}

// next takes the oldest build of the space with the fewest under way, nil when
// there is no room.
func (s *Stager) next(waiting []*cf.Build) *cf.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.running) >= s.c.AtOnce {
		return nil
	}
	of := map[string]int{}
	for _, space := range s.running {
		of[space]++
	}
	var best *cf.Build
	for _, b := range waiting {
		if _, busy := s.running[b.GUID]; !busy && (best == nil || of[b.SpaceGUID] < of[best.SpaceGUID]) {
			best = b
		}
	}
	if best != nil {
		s.running[best.GUID] = best.SpaceGUID
	}
	return best
}

// maxTries is how often a build is begun whose stagers die.
const maxTries = 10

// stage does one build and writes its end.
func (s *Stager) stage(ctx context.Context, b *cf.Build, token int64) {
	log := &lines{to: s.c.Logs, app: b.AppGUID}
	var d *droplet.Droplet
	err := errTries
	if token <= maxTries {
		d, err = s.build(ctx, b, token, log)
	}
	log.flush()
	if errors.Is(context.Cause(ctx), ErrTaken) {
		return // what another says of it counts
	}
	if ctx.Err() != nil {
		log.say("Staging is interrupted. It begins again when the stager is back.")
		return
	}
	if err == nil && s.c.Keep != nil {
		err = s.c.Keep(ctx, d)
	}
	if err != nil {
		message := s.explain(b, err)
		log.fail(message)
		s.end(ctx, b, token, Outcome{Error: message})
		return
	}
	log.say(fmt.Sprintf("Staged droplet sha256:%s, %.1f MB", d.Digest(), float64(d.Size())/1e6))
	m := d.Manifest()
	s.end(ctx, b, token, Outcome{Digest: d.Digest(), Bytes: d.Size(), Processes: m.Processes, Toolchain: m.Toolchain})
}

// end writes a build's end, unless it has one or is gone. What cannot be written
// is done again later; after some tries only the failure is.
func (s *Stager) end(ctx context.Context, b *cf.Build, token int64, o Outcome) {
	s.mu.Lock()
	tried := s.failed[b.GUID]
	s.mu.Unlock()
	if tried >= 3 {
		o = Outcome{Error: internal(b), Bare: true}
	}
	err := s.c.Ledger.End(ctx, b.GUID, token, o)
	if errors.Is(err, ErrTaken) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || cf.KindOf(err) == cf.NotFound { // the app was deleted meanwhile
		delete(s.failed, b.GUID)
		return
	}
	s.failed[b.GUID]++
	s.c.Log.Error("write the end of a build", "build", b.GUID, "err", err)
}

// explain turns an error into what the client prints. The words in front are
// Cloud Foundry's, which clients look for.
func (s *Stager) explain(b *cf.Build, err error) string {
	for _, c := range []struct {
		err error
		as  string
	}{
		{stager.ErrNotGo, "NoAppDetectedError"}, {stager.ErrNoMain, "NoAppDetectedError"}, {stager.ErrPrebuilt, "NoAppDetectedError"},
		{errTime, "StagingTimeExpired"}, {errTries, "StagingError"}, {stager.ErrLimit, "StagingError"}, {stager.ErrCompile, "BuildpackCompileFailed"},
		{stager.ErrCgo, "BuildpackCompileFailed"}, {stager.ErrSource, "StagingError"},
	} {
		if errors.Is(err, c.err) {
			return c.as + " - " + err.Error()
		}
	}
	s.c.Log.Error("a build failed", "build", b.GUID, "err", err)
	return internal(b)
}

func internal(b *cf.Build) string {
	return "StagingError - the stager failed, not the app. The operator's log tells why, for build " + b.GUID
}
