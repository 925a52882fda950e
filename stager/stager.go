package stager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/goroot"
)

// Config of a Builder.
type Config struct {
	Cache string // folder of its own
	// Common is a folder that builders may share, whatever they build for whom:
	// shadows of Go and the compiled standard library. "": Cache.
	Common string
	// SandboxOptional lets builds go on without a sandbox where none can be had.
	SandboxOptional bool
	// NoSandbox builds without one in any case.
	NoSandbox bool
	Proxy     string   // as GOPROXY; "": proxy.golang.org
	SumDB     string   // as GOSUMDB; "": the go command's default
	NoSumDB   string   // as GONOSUMDB: modules that no public database knows
	Downloads []string // folders as GOMODCACHE/cache/download, only read
	// Std are packages of the standard library that are compiled once, with what
	// they import, for all tenants, layer by layer; none: what services mostly use.
	Std [][]string
}

// Builder builds droplets.
type Builder struct {
	c    Config
	root *goroot.Root
	// bare is set once it is known that no sandbox can be had.
	bare atomic.Bool
	// used are the locks of the shadow and of the compiled standard library that it
	// builds with, held until the process ends.
	used   []*os.File
	crowd  crowd
	shares shares
}

// New prepares a builder: it finds Go and makes its shadow where it is missing.
func New(ctx context.Context, c Config) (*Builder, error) {
	if c.Common == "" {
		c.Common = c.Cache
	}
	for _, dir := range []*string{&c.Cache, &c.Common} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, err
		}
		*dir = abs
	}
	if c.Proxy == "" {
		c.Proxy = "https://proxy.golang.org"
	}
	if len(c.Std) == 0 {
		c.Std = [][]string{strings.Fields(stdFirst), strings.Fields(stdMore)}
	}
	if err := os.MkdirAll(filepath.Join(c.Cache, "work"), 0o755); err != nil {
		return nil, fmt.Errorf("make the stager's cache: %w", err)
	}
	root, err := goroot.Open(ctx, filepath.Join(c.Common, "goroot"))
	if err != nil {
		return nil, err
	}
	b := &Builder{c: c, root: root}
	b.bare.Store(c.NoSandbox)
	if err := b.use(); err != nil {
		return nil, fmt.Errorf("lock what builds use: %w", err)
	}
	return b, b.tidy()
}

// Go is the release that the builder compiles with.
func (b *Builder) Go() string { return b.root.Version }

// Sandboxed tells whether builds so far ran in a sandbox.
func (b *Builder) Sandboxed() bool { return !b.bare.Load() }

// use notes that the shadow and the compiled standard library are in use, now and as
// long as this process lives.
func (b *Builder) use() error {
	now := time.Now()
	for _, dir := range []string{b.root.Dir, b.base()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.Chtimes(dir, now, now); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		f, err := flock(dir, unix.LOCK_SH|unix.LOCK_NB)
		if err != nil {
			return err
		}
		b.used = append(b.used, f)
	}
	return nil
}

// unused is how long what was made for another Go or dew is kept.
const unused = 30 * 24 * time.Hour

// tidy removes the work of builds that were killed, and what was made for a Go or a
// dew that was not used here for long and is not in use: a clock that was set makes
// everything look old.
func (b *Builder) tidy() error {
	now := time.Now()
	if err := b.tidyWork(now); err != nil {
		return err
	}
	old := []string{filepath.Join(b.c.Common, "goroot", "*"), filepath.Join(b.c.Common, "std-*"),
		filepath.Join(b.c.Cache, "sandboxed")} // where a dew of before kept what boxed holds
	for _, pattern := range old {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			info, err := os.Stat(dir)
			if err != nil || now.Sub(info.ModTime()) <= unused {
				continue
			}
			if lock, err := lockDir(dir); err == nil {
				os.RemoveAll(dir)
				lock.Close()
			}
		}
	}
	return nil
}

// tidyWork removes what killed builds left: folders that nobody has locked.
func (b *Builder) tidyWork(now time.Time) error {
	dirs, err := filepath.Glob(filepath.Join(b.c.Cache, "work", "*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || now.Sub(info.ModTime()) < time.Minute {
			continue // it may be locked in a moment
		}
		if lock, err := lockDir(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
	return reapGroups()
}

// lockDir takes a folder's lock, or returns an error at once.
func lockDir(dir string) (*os.File, error) { return flock(dir, unix.LOCK_EX|unix.LOCK_NB) }

// flock locks a folder as flock(2) does, until the file is closed or the process ends.
func flock(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// Request is one build: of Files or of Module.
type Request struct {
	Files    fs.FS    // source, with a go.mod at its root
	Module   string   // main package of a module proxy, PACKAGE@VERSION, as for go install
	Packages []string // main packages to build; none: see plan.go
	// Env are variables as Cloud Foundry's Go buildpack takes them:
	// GO_INSTALL_PACKAGE_SPEC, GO_LINKER_SYMBOL, GO_LINKER_VALUE. Others are
	// ignored, and never reach the go command.
	Env map[string]string
	// Tenant names caches that builds of others do not share; "": the common
	// ones. Letters, digits, '-' and '_'.
	Tenant string
	Limits Limits
	Log    io.Writer         // what the go command says; nil: nowhere
	Step   func(name string) // called when a step begins; may be nil
}

// Limits of one build; zero values are no limit.
type Limits struct {
	Memory   uint64 // bytes, of the go command and what it runs
	CPUs     float64
	Shares   int // of the CPUs when they are all wanted, beside guests and other builds; 0: 1024
	PIDs     int
	Time     time.Duration
	Disk     int64 // bytes of source, and of what the build writes
	Files    int   // of the source
	Log      int64 // bytes of the log
	Download int64 // bytes from module proxies
}

// Build makes a droplet and puts it into a store.
func (b *Builder) Build(ctx context.Context, r *Request, store *droplet.Store) (d *droplet.Droplet, err error) {
	if (r.Files == nil) == (r.Module == "") {
		return nil, errors.New("a build is of files or of a module")
	}
	if r.Limits.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Limits.Time, because(ErrLimit, "it took more than %v", r.Limits.Time))
		defer cancel()
	}
	w, err := b.work(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if gone := w.remove(); err == nil {
			err = gone
		}
	}()
	if d, err = w.make(store); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return d, nil
}

// work is one build under way.
type work struct {
	*Builder
	*Request
	ctx     context.Context
	dir     string   // of this build alone
	lock    *os.File // held while it is under way
	log     *limitedLog
	sources []source // files of the snapshot
	digest  string   // of the snapshot
	uid     uint32   // as which its sandbox runs, if we are root
	shared  string   // the build cache to use in place of the tenant's
	idly    bool     // it takes what CPU others leave, as long as nobody waits for it

	build, modules string // caches, once they are known
	allowed        int64  // bytes that all folders may have, once it is known
}

// The folders of a work.
func (w *work) src() string { return filepath.Join(w.dir, "src") }
func (w *work) out() string { return filepath.Join(w.dir, "out") }
func (w *work) tmp() string { return filepath.Join(w.dir, "tmp") }

// sandbox is an empty folder; sandboxes mount over it.
func (w *work) sandbox() string { return filepath.Join(w.dir, "root") }

func (b *Builder) work(ctx context.Context, r *Request) (*work, error) {
	dir, err := os.MkdirTemp(filepath.Join(b.c.Cache, "work"), "build-")
	if err != nil {
		return nil, err
	}
	w := &work{Builder: b, Request: r, ctx: ctx, dir: dir, log: &limitedLog{to: r.Log, left: r.Limits.Log}}
	if w.lock, err = lockDir(dir); err != nil {
		os.Remove(dir)
		return nil, err
	}
	if err := w.folders(); err != nil {
		w.remove()
		return nil, err
	}
	return w, nil
}

func (w *work) folders() (err error) {
	if w.uid, err = w.userOf(w.Tenant); err != nil {
		return err
	}
	for _, d := range []string{w.src(), w.out(), w.tmp()} { // and not w.dir
		if err := w.writable(d); err != nil {
			return err
		}
	}
	return os.Mkdir(w.sandbox(), 0o700)
}

func (w *work) remove() error {
	defer w.lock.Close()
	return os.RemoveAll(w.dir)
}

// writable makes a folder that the sandbox of this build may write to. One that
// another user's sandbox wrote to is made anew.
func (w *work) writable(dir string) error {
	if user, is := owner(dir); is && isUser(user) && user != w.uid {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(dir, int(w.uid), int(w.uid))
}

func (w *work) step(name string) {
	if w.Step != nil {
		w.Step(name)
	}
}

// make goes through the steps.
func (w *work) make(store *droplet.Store) (*droplet.Droplet, error) {
	if w.Files != nil {
		w.step("take the source")
		if err := w.snapshot(); err != nil {
			return nil, err
		}
	}
	w.step("find the programs")
	p, err := w.plan()
	if err != nil {
		return nil, err
	}
	w.step("compile")
	if err := w.compile(p); err != nil {
		return nil, err
	}
	w.step("make the droplet")
	return w.assemble(p, store)
}
