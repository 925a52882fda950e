package stager

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender/cgroup"
)

// What is compiled of the standard library for all tenants. The first layer, with
// what it imports, is what nearly every service has; a first push waits for no
// more. The second is what many have.
const (
	stdFirst = "bufio bytes context crypto/tls database/sql embed encoding/json errors expvar flag fmt html/template io log log/slog math/rand net/http os os/exec os/signal path/filepath " +
		"regexp runtime/debug sort strconv strings sync sync/atomic syscall time unicode/utf8"
	stdMore = "archive/zip compress/bzip2 compress/zlib container/heap container/list encoding/csv encoding/gob encoding/xml hash/fnv image/jpeg image/png " +
		"iter maps mime/multipart net/http/cookiejar net/http/httputil net/http/pprof net/mail net/smtp os/user runtime/trace slices testing text/tabwriter time/tzdata unique"
)

// Shares of the CPUs for a compilation that nobody waits for, beside the 1024 of
// those that have none.
const idleShares = 2

// Warm compiles the standard library for all tenants, as far as that was not done
// yet for this Go and this library OS, and with the CPU time that nobody else
// wants. A build that comes meanwhile waits for the first layer, which then goes at
// full speed, and finds it done. What was begun before and was interrupted goes on.
// step, which may be nil, hears what begins.
func (b *Builder) Warm(ctx context.Context, step func(string)) error {
	if b.bare.Load() {
		return nil // then each has its own
	}
	w, err := b.work(ctx, &Request{Files: os.DirFS("/dev/null"), Step: step})
	if err != nil {
		return err
	}
	defer w.remove()
	w.idly = true
	for i := range w.c.Std {
		if _, err := w.layer(i); err != nil {
			return err
		}
	}
	return nil
}

// std is the folder of the last layer that is there. Without any, the first is
// compiled, or waited for; a build without a tenant, of which there may never be
// another, compiles what it needs instead, and gets "".
func (w *work) std() (dir string, err error) {
	for i := range slices.Backward(w.c.Std) {
		build, complete := w.layerPlace(i)
		if _, err := os.Stat(complete); err == nil {
			return build, nil
		}
	}
	if w.Tenant == "" {
		return "", nil
	}
	defer w.crowd.wait()()
	return w.layer(0)
}

// base is where the layers lie.
func (b *Builder) base() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "layers %s %q", b.root.Digest, b.c.Std))
	return filepath.Join(b.c.Common, "std-"+hex.EncodeToString(sum[:16]))
}

// layerPlace tells where a layer is, and which file says that it is complete.
func (b *Builder) layerPlace(i int) (build, complete string) {
	dir := filepath.Join(b.base(), strconv.Itoa(i))
	return filepath.Join(dir, "build"), filepath.Join(dir, "complete")
}

// layer returns the folder of a layer. It is made under the lock of the folder it
// lies in, complete when the file "complete" is beside it, and never changes after
// that.
func (w *work) layer(i int) (string, error) {
	build, complete := w.layerPlace(i)
	if _, err := os.Stat(complete); err == nil {
		return build, nil
	}
	dir := filepath.Dir(build)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := w.await(dir)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(complete); err == nil {
		return build, nil
	}
	if err := w.compileLayer(i, build); err != nil {
		return "", fmt.Errorf("compile the standard library: %w", err)
	}
	return build, os.WriteFile(complete, nil, 0o600)
}

// lookAgain is how often a lock is tried that another may have: a wait in the
// kernel could not be ended with the build.
const lookAgain = 100 * time.Millisecond

// await takes the lock of a layer, when whoever has it is done.
func (w *work) await(dir string) (*os.File, error) {
	told := false
	for {
		lock, err := lockDir(dir)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return lock, err
		}
		if !told {
			w.step("wait until the standard library is compiled, which is done once on this machine and may take minutes")
			told = true
		}
		select {
		case <-w.ctx.Done():
			return nil, context.Cause(w.ctx)
		case <-time.After(lookAgain):
		}
	}
}

// compileLayer compiles a layer on top of the one before.
func (w *work) compileLayer(i int, build string) error {
	what := "what services use most"
	if i > 0 {
		what = "what many services use"
	}
	w.step("compile the standard library, once on this machine: " + what)
	if err := w.writable(build); err != nil {
		return err
	}
	if i > 0 {
		below, complete := w.layerPlace(i - 1)
		if _, err := os.Stat(complete); err == nil {
			if err := w.link(below, build); err != nil {
				return err
			}
		}
	}
	s := *w
	s.Request = &Request{Module: "std", Limits: Limits{Shares: usualShares}} // it needs no source
	s.shared, s.build, s.modules = build, "", ""
	if _, err := s.tool(nil, append([]string{"build", "-trimpath"}, w.c.Std[i]...)...); err != nil {
		return err
	}
	return freeze(build)
}

// usualShares is what the kernel gives a group unasked.
const usualShares = 1024

// crowd is those who compile the standard library while nobody waits for it, and
// those who do wait.
type crowd struct {
	mu      sync.Mutex // guards the rest
	waiting int
	idle    map[*cgroup.Group]bool
}

// wait gives the idle the time that others have, until leave is called.
func (c *crowd) wait() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting++; c.waiting == 1 {
		c.share(usualShares)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waiting--; c.waiting == 0 {
			c.share(idleShares)
		}
	}
}

// join makes a group one of the idle, until leave is called.
func (c *crowd) join(g *cgroup.Group) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = map[*cgroup.Group]bool{}
	}
	c.idle[g] = true
	if c.waiting == 0 {
		c.share(idleShares)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.idle, g)
	}
}

func (c *crowd) share(n int) {
	for g := range c.idle {
		g.Share(n) // what fails costs time, nothing else
	}
}
