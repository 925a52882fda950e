package qemu

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
)

// Accel is what executes the guest's instructions.
type Accel string

const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

// Tender starts guests in QEMU.
type Tender struct {
	Binary string // path of qemu-system-x86_64
	Accel  Accel
	Jail   string // an empty directory for QEMU's root, reachable for all; "": none, for callers that are not root

	groups *cgroup.Host   // nil without root: limits are then not enforced
	clock  *clock         // nil: guests measure for themselves
	known  func() options // of this QEMU; nil: asked when it is wanted
	alter  func(args []string) []string
}

// Altered returns a tender like t that changes the arguments of QEMU: tests
// prove with it what they are good for.
func (t *Tender) Altered(alter func(args []string) []string) *Tender {
	other := *t
	other.alter = alter
	return &other
}

var _ tender.Tender = (*Tender)(nil)

// Name of the program that Find looks for.
const Name = "qemu-system-x86_64"

// ErrNotInstalled is returned by Find where there is no QEMU.
var ErrNotInstalled = errors.New(Name + " is not installed. Remedy: apt install qemu-system-x86, or use the process tender")

// Find returns a tender with the QEMU on the path and the best accelerator
// that works. jail must be an empty directory that root owns; its parents must
// be searchable for all.
func Find(ctx context.Context, jail string) (*Tender, error) {
	path, err := exec.LookPath(Name)
	if err != nil {
		return nil, ErrNotInstalled
	}
	t := &Tender{Binary: path, clock: newClock(), known: ask(path)}
	t.Accel = Probe(ctx, path)
	if os.Geteuid() == 0 {
		t.Jail = jail
		if err := os.Chmod(jail, 0o755); err != nil { // nobody's uid must reach it
			return nil, fmt.Errorf("QEMU's root directory: %w", err)
		}
		if err := reachable(jail); err != nil {
			return nil, err
		}
		if t.groups, err = cgroup.Probe(); err != nil {
			return nil, fmt.Errorf("find control groups: %w", err)
		}
	}
	return t, nil
}

// reachable refuses a folder below one that is not open to all: QEMU enters it with
// a uid of its own.
func reachable(dir string) error {
	dir, err := filepath.Abs(dir)
	for err == nil && dir != "/" {
		var info os.FileInfo
		if info, err = os.Stat(dir); err == nil && info.Mode()&0o001 == 0 {
			return fmt.Errorf("QEMU's root directory is below %s, which is not searchable for all. Remedy: chmod o+x %s, or take another folder", dir, dir)
		}
		dir = filepath.Dir(dir)
	}
	return err
}

// Reap ends and removes what callers that died have left behind. dead tells by
// an instance's name whether its caller has.
func (t *Tender) Reap(dead func(name string) bool) error {
	if t.groups == nil {
		return nil
	}
	return t.groups.Reap(dead)
}

// Memory in bytes: of a guest whose spec names none, the least that boots, and
// what QEMU itself takes of a limit (measured: 40 MB with an emulated CPU, and
// its cache of translated code).
const (
	DefaultMemory = 256 << 20
	leastMemory   = 16 << 20
	OwnMemory     = 80 << 20
)

// Start implements tender.Tender.
func (t *Tender) Start(ctx context.Context, s *tender.Spec) (tender.Instance, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	spec := *s
	if err := complete(&spec); err != nil {
		return nil, err
	}
	m, err := t.machine(&spec)
	if err != nil {
		return nil, fmt.Errorf("instance %s: %w", s.Name, err)
	}
	defer m.closeInherited()
	if err := m.limit(t.groups, &spec); err != nil {
		m.abandon()
		return nil, fmt.Errorf("instance %s: %w", s.Name, err)
	}
	i, err := m.run(&spec)
	if err != nil {
		m.abandon()
		return nil, fmt.Errorf("instance %s: start QEMU: %w", s.Name, err)
	}
	return i, nil
}

// complete fills in what the spec leaves to the tender.
func complete(s *tender.Spec) error {
	b := &s.Boot
	if l := s.Limits.Memory; l != 0 {
		if l < OwnMemory+leastMemory {
			return fmt.Errorf("instance %s: a memory limit of %d bytes. Remedy: at least %d, or the process tender", s.Name, l, OwnMemory+leastMemory)
		}
		if b.MemoryLimit == 0 || b.MemoryLimit > l-OwnMemory {
			b.MemoryLimit = l - OwnMemory
		}
	}
	if b.MemoryLimit == 0 {
		b.MemoryLimit = DefaultMemory
	}
	if b.MemoryLimit < leastMemory {
		return fmt.Errorf("instance %s: %d bytes of memory. Remedy: at least %d", s.Name, b.MemoryLimit, leastMemory)
	}
	if err := completeEnv(s); err != nil {
		return err
	}
	if b.CPUs == 0 {
		b.CPUs = max(uint64(s.Limits.CPUs+0.999), 1)
	}
	b.CPUs = min(b.CPUs, maxCPUs)
	if b.WallClock == 0 {
		b.WallClock = time.Now().UnixNano()
	}
	if b.Seed == [32]byte{} {
		rand.Read(b.Seed[:])
	}
	if s.Image != nil && b.ImageSize == 0 {
		info, err := s.Image.Stat()
		if err != nil {
			return fmt.Errorf("instance %s: image: %w", s.Name, err)
		}
		b.ImageSize = uint64(info.Size())
	}
	return nil
}

// completeEnv tells the Go runtime when to collect: before the machine, which
// also holds the program itself, is full.
func completeEnv(s *tender.Spec) error {
	const name = "GOMEMLIMIT="
	for _, kv := range s.Boot.Env {
		if strings.HasPrefix(kv, name) {
			return nil
		}
	}
	info, err := s.Program.Stat()
	if err != nil {
		return fmt.Errorf("instance %s: program: %w", s.Name, err)
	}
	room := s.Boot.MemoryLimit - min(s.Boot.MemoryLimit/2, s.Boot.MemoryLimit/10+uint64(info.Size())+4<<20)
	s.Boot.Env = append(slices.Clone(s.Boot.Env), name+strconv.FormatUint(room, 10))
	return nil
}

// maxCPUs is what guest/kernel can start.
const maxCPUs = 8

// machine is a QEMU command that has not started.
type machine struct {
	args      []string
	inherited []*os.File // QEMU's descriptors from 3 on
	ours      []*os.File // those of them to close once it has started
	control   *os.File   // our end of the control channel
	group     *cgroup.Group
	procs     []*os.File // to write QEMU's pid into
	words     *os.File   // what QEMU itself says
	binary    string
	jail      string
	uid       int
}

// machine lays out the descriptors and the command line.
func (t *Tender) machine(s *tender.Spec) (m *machine, err error) {
	m = &machine{binary: t.Binary, jail: t.Jail, uid: uidOf(s.Name)}
	defer func() {
		if err != nil {
			m.closeInherited()
			m.abandon()
		}
	}()
	module, err := moduleFile(&s.Boot, s.Image)
	if err != nil {
		return nil, err
	}
	m.ours = append(m.ours, module)
	theirs, err := m.openControl()
	if err != nil {
		return nil, err
	}
	if m.words, err = memfd("dew-qemu-words"); err != nil {
		return nil, err
	}
	stderr := s.Stderr
	if stderr == nil {
		stderr = s.Stdout
	}
	m.processor(t.Accel, s, t.clock.words())
	m.add("-kernel", m.path(s.Program), "-initrd", m.path(module))
	m.add("-device", "virtio-serial-device,id=s,max_ports=4,bus=virtio-mmio-bus.0")
	m.console(1, "socket,fd="+strconv.Itoa(m.inherit(theirs)))
	m.console(2, m.log(s.Stdout))
	m.console(3, m.log(stderr))
	m.add("-chardev", m.log(stderr)+",id=last", "-serial", "chardev:last")
	if s.Tap != nil {
		m.network(s)
	}
	m.confine(t)
	if t.alter != nil {
		m.args = t.alter(m.args)
	}
	return m, nil
}

func (m *machine) add(args ...string) { m.args = append(m.args, args...) }

// inherit gives QEMU a descriptor and returns its number there.
func (m *machine) inherit(f *os.File) int {
	m.inherited = append(m.inherited, f)
	return 2 + len(m.inherited)
}

func (m *machine) path(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(m.inherit(f)) }

// log is a character device that writes to an inherited file.
func (m *machine) log(f *os.File) string {
	n := strconv.Itoa(m.inherit(m.writeOnly(f)))
	m.add("-add-fd", "fd="+n+",set="+n)
	return "file,append=on,path=/dev/fdset/" + n
}

// writeOnly is f, opened anew where it can be read too, as a terminal can: QEMU
// takes only a descriptor that has the access it asks for (monitor/fds.c,
// monitor_fdset_dup_fd_add). What cannot be opened anew, a socket, stays.
func (m *machine) writeOnly(f *os.File) *os.File {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE == unix.O_WRONLY {
		return f
	}
	other, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|os.O_APPEND|syscall.O_NOCTTY, 0)
	if err != nil {
		return f
	}
	m.ours = append(m.ours, other)
	return other
}

// processor is the machine without its devices: nothing that is not named is
// there, no BIOS options are read, a reset ends it. The timer chip is for guests
// that are not told how fast their clocks go, or were built before they could be.
func (m *machine) processor(a Accel, s *tender.Spec, clocks string) {
	const machine = "microvm,acpi=off,x-option-roms=off,isa-serial=on,pit=on,pic=off,rtc=off,auto-kernel-cmdline=on"
	if clocks != "" {
		m.add("-append", clocks)
	}
	cpu, accel := "max", "tcg,tb-size=32"
	if a == KVM {
		cpu, accel = "host", "kvm"
	}
	m.add("-M", machine, "-accel", accel, "-cpu", cpu,
		"-m", strconv.FormatUint((s.Boot.MemoryLimit+1<<20-1)>>20, 10)+"M",
		"-smp", strconv.FormatUint(s.Boot.CPUs, 10),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none",
		"-global", "virtio-mmio.force-legacy=false",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
}

// console plugs a port into the console device. These are no "virtconsole":
// QEMU drops the output of such a one when the reader is slow.
func (m *machine) console(port int, chardev string) {
	n := strconv.Itoa(port)
	m.add("-chardev", chardev+",id=c"+n, "-device", "virtserialport,bus=s.0,nr="+n+",chardev=c"+n)
}

func (m *machine) network(s *tender.Spec) {
	a := s.Boot.NIC.MAC
	m.add("-netdev", fmt.Sprintf("tap,id=n0,fd=%d,vhost=off", m.inherit(s.Tap)),
		"-device", fmt.Sprintf("virtio-net-device,netdev=n0,bus=virtio-mmio-bus.1,mac=%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]))
}

// confine is QEMU's own part of the jail. It changes root and gives up what it
// may do in its user namespace after it has opened what it was given and
// before the guest runs; its filter denies fork, exec and what it calls
// obsolete, and sets no_new_privs.
func (m *machine) confine(t *Tender) {
	m.add("-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny")
	if m.jail == "" {
		return
	}
	known := t.known
	if known == nil {
		known = ask(t.Binary)
	}
	m.add(known().jail(m.jail)...)
}

// uidOf gives every instance two uids of its own, above those of people and
// away from those that container tools hand out.
func uidOf(name string) int {
	return 1_600_000_000 + 2*int(crc32.ChecksumIEEE([]byte(name))%100_000_000)
}

// namespaces put QEMU where there is nothing but its descriptors. It is root of
// its user namespace, which is nobody outside, until it becomes user 1 there.
func (m *machine) namespaces(a *syscall.SysProcAttr) {
	const all = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.uid, Size: 2}}
	a.Cloneflags = all
	a.UidMappings, a.GidMappings, a.GidMappingsEnableSetgroups = ids, ids, true
	a.Credential = &syscall.Credential{}
}

// openControl makes the two ends of the control channel.
func (m *machine) openControl() (theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control channel: %w", err)
	}
	m.control = os.NewFile(uintptr(fds[0]), "control")
	theirs = os.NewFile(uintptr(fds[1]), "control")
	m.ours = append(m.ours, theirs)
	return theirs, nil
}

func (m *machine) closeInherited() {
	for _, f := range m.ours {
		f.Close()
	}
}

// limit makes the control group that QEMU will be put into. Its threads are the
// virtual CPUs and a few of its own.
func (m *machine) limit(h *cgroup.Host, s *tender.Spec) (err error) {
	if h == nil {
		return nil
	}
	m.group, err = h.Create(s.Name, cgroup.Limits{Memory: s.Limits.Memory, CPUs: s.Limits.CPUs, Shares: s.Limits.Shares, PIDs: maxThreads})
	if err != nil {
		return err
	}
	m.procs, err = m.group.Procs()
	m.ours = append(m.ours, m.procs...)
	return err
}

const maxThreads = 64

// abandon closes and removes what an Instance would own.
func (m *machine) abandon() {
	if m.group != nil {
		m.group.Remove()
	}
	for _, f := range []*os.File{m.control, m.words} {
		if f != nil {
			f.Close()
		}
	}
}
