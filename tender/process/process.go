package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
	"github.com/dewpaas/dew/tender/seccomp"
)

// Tender starts guests as sealed host processes. Make one with New and keep it.
type Tender struct {
	groups  *cgroup.Host
	wall    []unix.SockFilter
	lastCap uintptr
	null    *os.File
	started atomic.Uint32
}

var _ tender.Tender = (*Tender)(nil)

// leftBehind is how old a control group without a process is whose maker has died.
const leftBehind = time.Minute

// New probes the host, and removes control groups that those who died left behind.
func New() (*Tender, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("sealing a host process needs root: run dew as root, or use --tender qemu")
	}
	groups, err := cgroup.Probe()
	if err != nil {
		return nil, err
	}
	groups.Sweep(leftBehind)
	wall, err := seccomp.Compile(seccomp.Wall(), seccomp.Kill)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, err
	}
	lastCap, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 8)
	if err != nil {
		return nil, fmt.Errorf("read cap_last_cap: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	return &Tender{groups: groups, wall: wall, lastCap: uintptr(lastCap), null: null}, nil
}

// Reap ends and removes what callers that died have left behind. dead tells by
// an instance's name whether its caller has.
func (t *Tender) Reap(dead func(name string) bool) error { return t.groups.Reap(dead) }

// Start implements tender.Tender.
func (t *Tender) Start(ctx context.Context, spec *tender.Spec) (tender.Instance, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i, err := t.start(spec)
	if err != nil {
		return nil, fmt.Errorf("start instance %s: %w", spec.Name, err)
	}
	return i, nil
}

func (t *Tender) start(spec *tender.Spec) (_ *Instance, err error) {
	var opened closers // what the guest has its own copy of, once it runs
	defer func() { opened.close() }()
	j, control, err := t.prepare(spec, &opened)
	if err != nil {
		return nil, err
	}
	pids := spec.Limits.PIDs
	if pids == 0 {
		pids = tender.DefaultPIDs
	}
	group, err := t.groups.Create(spec.Name, cgroup.Limits{Memory: spec.Limits.Memory, CPUs: spec.Limits.CPUs, Shares: spec.Limits.Shares, PIDs: pids})
	if err != nil {
		control.Close()
		return nil, err
	}
	if j.procs, err = group.Procs(); err == nil {
		opened.addAll(j.procs)
		var c child
		if c, err = j.script().run(namespaces); err == nil {
			return newInstance(c, group, spec.Link(control)), nil
		}
	}
	control.Close()
	group.Remove()
	return nil, err
}

// closers are files to close together.
type closers []io.Closer

func (c *closers) add(f *os.File) *os.File {
	*c = append(*c, f)
	return f
}

func (c *closers) addAll(files []*os.File) {
	for _, f := range files {
		c.add(f)
	}
}

func (c closers) close() {
	for _, f := range c {
		f.Close()
	}
}

// prepare opens what the contract asks for. It returns our end of the control
// channel.
func (t *Tender) prepare(spec *tender.Spec, opened *closers) (*jail, io.ReadWriteCloser, error) {
	wake, err := descriptor("wake")(unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	if err != nil {
		return nil, nil, err
	}
	opened.add(wake)
	poll, err := descriptor("poll")(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	if err != nil {
		return nil, nil, err
	}
	opened.add(poll)
	record, size, err := bootRecord(spec)
	if err != nil {
		return nil, nil, err
	}
	opened.add(record)
	program, err := executable(spec.Program)
	if err != nil {
		return nil, nil, err
	}
	if program != spec.Program {
		opened.add(program)
	}
	stderr := spec.Stderr
	if stderr == nil {
		stderr = spec.Stdout
	}
	for _, f := range []*os.File{spec.Stdout, stderr} {
		if err := unix.SetNonblock(int(fd(f)), false); err != nil {
			return nil, nil, fmt.Errorf("make %s blocking: %w", f.Name(), err)
		}
	}
	theirs, ours, err := controlPair()
	if err != nil {
		return nil, nil, err
	}
	opened.add(theirs)
	j := &jail{
		files: [...]*os.File{abi.FDStdin: t.null, abi.FDStdout: spec.Stdout, abi.FDStderr: stderr, abi.FDPacket: spec.Tap,
			abi.FDWake: wake, abi.FDPoll: poll, abi.FDImage: spec.Image, abi.FDControl: theirs, abi.FDBoot: record},
		program: program, wall: t.wall, lastCap: t.lastCap, die: spec.DieWithCaller,
		argv: spec.Boot.Args, envp: environment(spec, size), id: t.nextID(),
		limits: map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_MEMLOCK: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NOFILE: seccomp.FDProgram + 1,
			unix.RLIMIT_NICE: 0, unix.RLIMIT_RTPRIO: 0, unix.RLIMIT_SIGPENDING: 1024},
		polled: map[uintptr]uint64{
			abi.FDWake:    unix.EPOLLIN<<32 | abi.PollWake,
			abi.FDControl: (unix.EPOLLIN|unix.EPOLLET)<<32 | abi.PollControl,
		},
	}
	if spec.Tap != nil {
		j.polled[abi.FDPacket] = (unix.EPOLLIN|unix.EPOLLET)<<32 | abi.PollPacket
	}
	return j, ours, nil
}

// descriptor names a descriptor that a call returned.
func descriptor(name string) func(fd int, err error) (*os.File, error) {
	return func(fd int, err error) (*os.File, error) {
		if err != nil {
			return nil, fmt.Errorf("make %s descriptor: %w", name, err)
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// firstID starts a range of user numbers that no distribution hands out
// (systemd.io/UIDS-GIDS: 0x7000_0000 and up is free of conventions). It ends at
// 0x7800_0000, where that of builds begins (stager/sandbox).
const firstID = 0x7000_0000

// nextID is a user of its own for each of a caller's instances.
func (t *Tender) nextID() uint32 {
	return firstID + uint32(os.Getpid())&0x1fff<<14 + t.started.Add(1)&0x3fff
}

// bootRecord writes the boot record into a sealed memfd.
func bootRecord(spec *tender.Spec) (f *os.File, size int, err error) {
	c := spec.Boot
	if c.MemoryLimit == 0 {
		c.MemoryLimit = spec.Limits.Memory
	}
	if c.CPUs == 0 {
		c.CPUs = cpus(spec.Limits.CPUs)
	}
	if c.Seed == [32]byte{} {
		rand.Read(c.Seed[:])
	}
	if spec.Image != nil && c.ImageSize == 0 {
		info, err := spec.Image.Stat()
		if err != nil {
			return nil, 0, fmt.Errorf("boot record: %w", err)
		}
		c.ImageSize = uint64(info.Size())
	}
	b := boot.Encode(&c)
	f, err = sealed("boot", b, 0o400)
	return f, len(b), err
}

// cpus is the number of CPUs that a quota is worth.
func cpus(quota float64) uint64 {
	n := uint64(runtime.NumCPU())
	if quota > 0 {
		n = min(n, uint64(quota+0.99))
	}
	return max(n, 1)
}

// sealed returns a memfd that nobody can change any more.
func sealed(name string, b []byte, mode uint32) (*os.File, error) {
	f, err := descriptor(name)(unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = unix.Fchmod(int(fd(f)), mode)
	}
	if err == nil {
		_, err = unix.FcntlInt(fd(f), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}

// executable returns f where a stranger may execute it, and a sealed copy in
// memory otherwise. Instances that run the file itself share its pages.
func executable(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(fd(f)), &fs); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", f.Name(), err)
	}
	if info.Mode()&1 != 0 && fs.Flags&unix.ST_NOEXEC == 0 {
		return f, nil
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return sealed("program", b, 0o111)
}

// controlPair returns the guest's and our end of the control channel.
func controlPair() (theirs *os.File, ours net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	end := os.NewFile(uintptr(fds[1]), "control")
	ours, err = net.FileConn(end)
	end.Close()
	if err != nil {
		unix.Close(fds[0])
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), ours, nil
}

// environment is the host's view of the guest's environment: the runtime reads
// its own settings there before the boot record is mapped.
func environment(spec *tender.Spec, size int) []string {
	n := spec.Boot.CPUs
	if n == 0 {
		n = cpus(spec.Limits.CPUs)
	}
	env := []string{fmt.Sprintf("%s=%d:%d:%d", abi.BootEnv, abi.Version, size, n)}
	own := false
	for _, kv := range spec.Boot.Env {
		own = own || strings.HasPrefix(kv, "GOMEMLIMIT=")
		if !strings.HasPrefix(kv, abi.BootEnv+"=") {
			env = append(env, kv)
		}
	}
	if limit := spec.Limits.Memory; limit > 0 && !own {
		env = append(env, "GOMEMLIMIT="+strconv.FormatUint(softLimit(limit), 10))
	}
	return env
}

// softLimit leaves room for what the Go runtime does not count: the program's
// pages, thread stacks, the kernel's own memory for the guest.
func softLimit(limit uint64) uint64 { return limit - max(limit/10, min(8<<20, limit/2)) }

// WithoutWall returns a tender like t that does not raise the seccomp wall: the
// tests prove with it what the wall is good for, and what still holds without.
func (t *Tender) WithoutWall() *Tender {
	return &Tender{groups: t.groups, lastCap: t.lastCap, null: t.null}
}
