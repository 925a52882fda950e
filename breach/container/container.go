package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
)

// Variant is whom the process in the container is.
type Variant int

const (
	Root Variant = iota // user 0, Docker's default capabilities
	User                // user 1000, no capabilities, no_new_privs
)

// Host makes containers.
type Host struct {
	groups *cgroup.Host
}

// New probes the host.
func New() (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a container needs root: run dew as root")
	}
	groups, err := cgroup.Probe()
	return &Host{groups}, err
}

// Spec is one container.
type Spec struct {
	Name    string // unique on this host
	Variant Variant
	Dir     string   // of its own, and empty: the root directory is made in it. The program is /attacker there
	Program *os.File // which completes its own container, see package
	Args    []string // behind argument 0
	Env     []string // K=V
	Stdout  *os.File // and stderr
	Image   *os.File // descriptor 6; nil for none
	Limits  tender.Limits

	// Network, where it is set, gives the container's network its interfaces,
	// before anything of the container runs. pid is its first process.
	Network func(pid int) error
}

// Container is a running or ended one.
type Container struct {
	cmd   *exec.Cmd
	group *cgroup.Group
	done  chan struct{}
	exit  tender.Exit // written before done is closed
}

// Root is where the root directory of the spec's container is.
func (s *Spec) Root() string { return filepath.Join(s.Dir, "root") }

// namespaces of a container. Its processes are gone with its first.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// Start starts one. A root directory that is there already is used again, as
// when a container is restarted. The container dies with the calling thread,
// which therefore must stay.
func (h *Host) Start(s *Spec) (*Container, error) {
	c, err := h.start(s)
	if err != nil {
		return nil, fmt.Errorf("start container %s: %w", s.Name, err)
	}
	return c, nil
}

func (h *Host) start(s *Spec) (*Container, error) {
	words, err := s.prepare()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.Root(), "attacker"), append([]string{words}, s.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.Env, s.Stdout, s.Stdout
	waits, gate, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer waits.Close()
	defer gate.Close() // which lets the process go on
	cmd.ExtraFiles = []*os.File{0: waits, 3: s.Image}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true, Pdeathsig: syscall.SIGKILL}
	c := &Container{cmd: cmd, done: make(chan struct{})}
	pids := s.Limits.PIDs
	if pids == 0 {
		pids = tender.DefaultPIDs
	}
	if c.group, err = h.groups.Create(s.Name, cgroup.Limits{Memory: s.Limits.Memory, CPUs: s.Limits.CPUs, PIDs: pids}); err != nil {
		return nil, err
	}
	if err := c.startIn(s.Network); err != nil {
		c.group.Remove()
		return nil, err
	}
	go c.collect()
	return c, nil
}

// startIn starts the process, moves it into its group and connects it, for which
// the process waits.
func (c *Container) startIn(network func(pid int) error) error {
	procs, err := c.group.Procs()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range procs {
			f.Close()
		}
	}()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	for _, f := range procs {
		if _, err := f.WriteString(strconv.Itoa(c.cmd.Process.Pid)); err != nil {
			c.cmd.Process.Kill()
			c.cmd.Wait()
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	if network != nil {
		if err := network(c.cmd.Process.Pid); err != nil {
			c.cmd.Process.Kill()
			c.cmd.Wait()
			return fmt.Errorf("connect the container: %w", err)
		}
	}
	return nil
}

// prepare makes the root directory and returns the step that enters it.
func (s *Spec) prepare() (step string, err error) {
	caps, user, noNew := defaults(), 0, 0
	if s.Variant == User {
		caps, user, noNew = nil, 1000, 1
	}
	wall, err := filter(caps)
	if err != nil {
		return "", err
	}
	where := filepath.Join(s.Dir, "filter")
	if err := os.WriteFile(where, wall, 0o600); err != nil {
		return "", err
	}
	step = fmt.Sprintf("contain %s %d %d %d %s", s.Root(), mask(caps), user, noNew, where)
	if _, err := os.Stat(s.Root()); err == nil {
		return step, nil
	}
	for _, dir := range []string{"proc", "dev", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(s.Root(), dir), 0o755); err != nil {
			return "", err
		}
	}
	os.Chmod(filepath.Join(s.Root(), "tmp"), 0o1777)
	for _, name := range []string{"null", "zero", "urandom"} {
		if err := os.WriteFile(filepath.Join(s.Root(), "dev", name), nil, 0o666); err != nil {
			return "", err
		}
	}
	return step, s.copyProgram(user)
}

// copyProgram is the image's one file. The user owns it, as what a user's
// build has made.
func (s *Spec) copyProgram(user int) error {
	path := filepath.Join(s.Root(), "attacker")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	info, err := s.Program.Stat()
	if err == nil {
		_, err = io.Copy(f, io.NewSectionReader(s.Program, 0, info.Size()))
	}
	return errors.Join(err, f.Close(), os.Chown(path, user, user), os.Chown(s.Root(), user, user))
}

func (c *Container) collect() {
	c.cmd.Wait()
	state := c.cmd.ProcessState
	c.exit = tender.Exit{Call: -1, CPUTime: state.UserTime() + state.SystemTime()}
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.exit.MaxRSS = uint64(u.Maxrss) << 10
	}
	w, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case w.Signaled() && c.group.OOMKilled():
		c.exit.Reason, c.exit.Signal = tender.OutOfMemory, w.Signal()
	case w.Signaled():
		c.exit.Reason, c.exit.Signal = tender.Killed, w.Signal()
	default:
		c.exit.Status = state.ExitCode()
	}
	c.group.Remove()
	close(c.done)
}

// PID of the first process, as the host knows it.
func (c *Container) PID() int { return c.cmd.Process.Pid }

// Kill ends the container.
func (c *Container) Kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Wait returns how the first process ended, or ctx's error.
func (c *Container) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-c.done:
		return c.exit, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}
