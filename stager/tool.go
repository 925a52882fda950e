package stager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/stager/modproxy"
	"github.com/dewpaas/dew/stager/sandbox"
)

// places are where a go command finds its folders.
type places struct {
	src, out, tmp       string
	buildCache, modules string
	proxy               string // GOPROXY
}

// inside are the places in a sandbox: in a folder of their own, since Go is shown
// where it is on the host.
var inside = places{"/stage/src", "/stage/out", "/stage/tmp", "/stage/build", "/stage/modules", "http://" + sandbox.Addr}

// maxListing bounds what a go command prints on stdout.
const maxListing = 64 << 20

// tool runs the go command on the source, with more environment (K=V), and
// returns what it prints. What it says goes to the log; when it fails, the error
// is ErrCompile with the last of that.
func (w *work) tool(env []string, args ...string) ([]byte, error) {
	out, said := &capped{left: maxListing}, &limitedLog{to: w.log}
	status, err := w.run(out, said, env, args)
	switch {
	case err != nil:
		return nil, err
	case status != 0:
		return nil, because(ErrCompile, "%s", tail(said.said(), status))
	}
	return out.Bytes(), nil
}

func tail(said string, status int) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if over := len(lines) - 20; over > 0 {
		lines = lines[over:]
	}
	if text := strings.Join(lines, "\n"); text != "" {
		return text
	}
	return fmt.Sprintf("the go command exited with status %d", status)
}

// capped is a buffer with an end.
type capped struct {
	buf  bytes.Buffer
	left int
}

func (c *capped) Bytes() []byte { return c.buf.Bytes() }

func (c *capped) Write(b []byte) (int, error) {
	if len(b) > c.left {
		return 0, because(ErrLimit, "the go command prints too much")
	}
	c.left -= len(b)
	return c.buf.Write(b)
}

func (w *work) run(out, errs io.Writer, env, args []string) (status int, err error) {
	if !w.bare.Load() {
		status, err = w.sandboxed(out, errs, env, args)
		if !errors.Is(err, sandbox.ErrUnavailable) {
			return status, err
		}
		if !w.c.SandboxOptional {
			return 0, fmt.Errorf("%w. Remedy: run as root, or allow unprivileged user namespaces", err)
		}
		w.bare.Store(true)
	}
	return w.plain(out, errs, env, args)
}

// env is the whole environment of a go command.
func (w *work) env(p places, more []string) []string {
	env := append(w.root.Env(),
		"PATH="+filepath.Join(w.root.Dir, "bin"), "HOME="+p.tmp, "TMPDIR="+p.tmp, "LC_ALL=C",
		"GOPATH="+filepath.Join(p.tmp, "gopath"), "GOBIN="+p.out, "GOCACHE="+p.buildCache, "GOMODCACHE="+p.modules,
		"GOPROXY="+p.proxy, "GONOPROXY=none", "GOVCS=*:off", "GOENV=off", "GO111MODULE=on", "GOAMD64=v1", "GOTELEMETRY=off",
		"GOFLAGS=-modcacherw", // what is removed must be removable
	)
	if w.c.SumDB != "" {
		env = append(env, "GOSUMDB="+w.c.SumDB)
	}
	if w.c.NoSumDB != "" {
		env = append(env, "GONOSUMDB="+w.c.NoSumDB)
	}
	return append(env, more...)
}

func (w *work) relay() (http.Handler, error) {
	return modproxy.New(modproxy.Config{Upstream: w.c.Proxy, Folders: w.c.Downloads, Cache: filepath.Join(w.c.Cache, "downloads"), Limit: w.Limits.Download})
}

// sandboxed runs the go command in a sandbox.
func (w *work) sandboxed(out, errs io.Writer, env, args []string) (int, error) {
	build, modules, err := w.caches(boxed)
	if err != nil {
		return 0, err
	}
	relay, err := w.relay()
	if err != nil {
		return 0, err
	}
	c := &sandbox.Config{Args: append([]string{w.root.Go()}, args...), Env: w.env(inside, env), Dir: inside.src, Root: w.sandbox(), Stdout: out, Stderr: errs, Handler: relay, User: w.uid,
		Mounts: []sandbox.Mount{{Host: w.root.Dir, Inside: w.root.Dir, Programs: true}, {Host: w.src(), Inside: inside.src},
			{Host: w.out(), Inside: inside.out, Writable: true}, {Host: w.tmp(), Inside: inside.tmp, Writable: true},
			{Host: build, Inside: inside.buildCache, Writable: true}, {Host: modules, Inside: inside.modules, Writable: true}}}
	for _, dir := range w.root.Outside {
		c.Mounts = append(c.Mounts, sandbox.Mount{Host: dir, Inside: dir, Programs: true})
	}
	if w.Module != "" {
		c.Dir = inside.tmp // no go.mod but that of the module
	}
	if w.Limits.Disk > 0 {
		c.FileSize = uint64(w.Limits.Disk)
	}
	group, err := w.limit(c)
	if err != nil {
		return 0, err
	}
	defer group.remove()
	ctx, full := w.watchDisk([]string{w.out(), w.tmp()}, build, modules)
	defer full()
	status, err := sandbox.Run(ctx, c)
	switch {
	case group.exhausted():
		return 0, because(ErrLimit, "it needs more memory than %d MiB", w.Limits.Memory>>20)
	case err != nil && context.Cause(ctx) != nil:
		return 0, context.Cause(ctx)
	}
	return status, err
}

// plain runs the go command as an ordinary process: no limits but time.
func (w *work) plain(out, errs io.Writer, env, args []string) (int, error) {
	build, modules, err := w.caches(plain)
	if err != nil {
		return 0, err
	}
	relay, err := w.relay()
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: relay, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	here := places{w.src(), w.out(), w.tmp(), build, modules, "http://" + l.Addr().String()}
	cmd := exec.CommandContext(w.ctx, w.root.Go(), args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env(here, env), here.src, out, errs
	if w.Module != "" {
		cmd.Dir = here.tmp
	}
	// The go command's children are of its group, and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	var exited *exec.ExitError
	if errors.As(err, &exited) && exited.Exited() {
		return exited.ExitCode(), nil
	}
	return 0, err
}
