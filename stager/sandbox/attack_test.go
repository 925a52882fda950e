package sandbox

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a command tries that has been taken over, with the one guard against it.
// An attack returns nil if it works. Each runs twice: with all guards, where it
// must fail, and without its own, where it must work or proves nothing.
type attempt struct {
	guard guard
	try   func() error
}

var attempts = map[string]attempt{
	"run what a build wrote":              {noExec, runWritten},
	"read the kernel's map":               {hiddenProc, read("/proc/kallsyms")},
	"read what the host has of memory":    {hiddenProc, read("/proc/meminfo")},
	"read the kernel's command line":      {hiddenProc, read("/proc/cmdline")},
	"list the kernel's settings":          {hiddenProc, func() error { _, err := os.ReadDir("/proc/sys/kernel"); return err }},
	"open very many files":                {rlimits, openMany},
	"make memory executable":              {callFilter, executable},
	"become root of a user namespace":     {callFilter, userNamespace},
	"trace a child":                       {callFilter, traceChild},
	"make an anonymous program":           {callFilter, anonymousProgram},
	"make a key":                          {callFilter, makeKey},
	"watch for events of the file system": {callFilter, call(unix.SYS_INOTIFY_INIT1, 0)},
	"take a host-wide message queue":      {callFilter, call(unix.SYS_MSGGET, 0, unix.IPC_CREAT|0o600)},
	"take shared memory":                  {callFilter, call(unix.SYS_SHMGET, 0, 4096, unix.IPC_CREAT|0o600)},
	"speak netlink":                       {callFilter, socket(unix.AF_NETLINK, unix.SOCK_RAW)},
	"speak to others by Unix sockets":     {callFilter, socket(unix.AF_UNIX, unix.SOCK_STREAM)},
	"send datagrams":                      {callFilter, socket(unix.AF_INET, unix.SOCK_DGRAM)},
	"read another process's memory":       {callFilter, readMemory},
	"switch address randomization off":    {callFilter, call(unix.SYS_PERSONALITY, 0x0040000)},
}

func call(number uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
}

func socket(family, kind int) func() error {
	return func() error { _, err := unix.Socket(family, kind, 0); return err }
}

func read(name string) func() error {
	return func() error {
		b := make([]byte, 16)
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.ReadFull(f, b)
		return err
	}
}

func runWritten() error {
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile("/w/program", b, 0o700)
	}
	if err != nil {
		return err
	}
	return child("/w/program", &syscall.SysProcAttr{})
}

// child starts a program as the probe "exit" and waits for it.
func child(path string, attr *syscall.SysProcAttr) error {
	pid, err := syscall.ForkExec(path, []string{"x"}, &syscall.ProcAttr{Env: []string{"PROBE=exit"}, Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || attr.Ptrace && status.Stopped() {
		return err
	}
	if status.ExitStatus() != 7 {
		return fmt.Errorf("it ended with %#x", status)
	}
	return nil
}

func openMany() error {
	for range maxOpen + 100 {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return err
		}
	}
	return nil
}

func executable() error {
	m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	return unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC)
}

func userNamespace() error {
	return child("/proc/self/exe", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER})
}

func traceChild() error { return child("/proc/self/exe", &syscall.SysProcAttr{Ptrace: true}) }

func anonymousProgram() error { _, err := unix.MemfdCreate("x", 0); return err }

func makeKey() error {
	_, err := unix.AddKey("user", "x", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
	return err
}

func readMemory() error {
	word, into := []byte("word"), make([]byte, 4)
	local, remote := []unix.Iovec{{Base: &into[0], Len: 4}}, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&word[0])), Len: 4}}
	_, err := unix.ProcessVMReadv(os.Getpid(), local, remote, 0)
	return err
}

// attack makes the attempt that it is told on its command line.
func attack() error {
	if err := attempts[os.Args[1]].try(); err != nil {
		return err
	}
	fmt.Println("it worked")
	return nil
}

func TestEachAttackNeedsItsGuardGone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it a sandbox is a user namespace, in which less can be tried")
	}
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			for _, without := range []guard{0, a.guard} {
				c := probe(t, "attack")
				c.Args = append(c.Args, name)
				c.Mounts = append(c.Mounts, Mount{Host: writable(t), Inside: "/w", Writable: true})
				c.without = without
				status, out, errs := run(t, c)
				worked := status == 0 && strings.HasSuffix(out, "it worked\n")
				switch {
				case without == 0 && worked:
					t.Errorf("it works")
				case without != 0 && !worked && absent(errs):
					t.Skipf("this kernel has no such thing, guard or not: %s", errs)
				case without != 0 && !worked:
					t.Errorf("without its guard: status %d %s%s: the test proves nothing", status, out, errs)
				}
			}
		})
	}
}

// absent tells whether the kernel was built without what was asked of it, or
// whether the machine forbids it to all.
func absent(says string) bool {
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EAFNOSUPPORT, unix.EPERM, unix.ENOSPC} {
		if strings.Contains(says, errno.Error()) {
			return true
		}
	}
	return false
}

// uprobes are the returns from probes, which kernels since 6.14 let through any
// filter (kernel/seccomp.c); from elsewhere they end with SIGILL.
var uprobes = []uint32{335, 336}

// otherCalls makes all calls that the table does not have.
func otherCalls() error {
	s := &setup{UID: UID}
	known := slices.Clone(uprobes)
	for _, r := range s.calls() {
		known = append(known, r.Call)
	}
	for n := range uint32(1024) {
		if slices.Contains(known, n) {
			continue
		}
		for _, number := range []uint32{n, n | 1<<30} { // and as of the x32 ABI
			if _, _, errno := unix.RawSyscall6(uintptr(number), 0, 0, 0, 0, 0, 0); errno != unix.ENOSYS {
				fmt.Println("call", number, "is answered:", errno)
			}
		}
	}
	fmt.Println("tried", 1024-len(known))
	return nil
}

func TestCallsThatAreNotInTheTableAreAbsent(t *testing.T) {
	status, out, errs := run(t, probe(t, "others"))
	if status != 0 || !strings.HasPrefix(out, "tried ") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

func showLimits() error {
	for _, resource := range []int{unix.RLIMIT_NOFILE, unix.RLIMIT_MEMLOCK, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_CORE, unix.RLIMIT_FSIZE} {
		var l unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &l); err != nil {
			return err
		}
		fmt.Print(l.Max, " ")
	}
	fmt.Println(os.Getuid(), os.Getgid())
	return os.WriteFile("/w/mine", nil, 0o600)
}

func TestUserAndLimitsAreAsConfigured(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to run as somebody else")
	}
	c := probe(t, "limits")
	c.User, c.FileSize = UID+7, 4096
	dir := t.TempDir()
	if err := os.Chown(dir, UID+7, UID+7); err != nil {
		t.Fatal(err)
	}
	c.Mounts = append(c.Mounts, Mount{Host: dir, Inside: "/w", Writable: true})
	// Go raises the soft limit of open files, not the hard one.
	want := fmt.Sprintln(maxOpen, 0, 0, 0, 4096, UID+7, UID+7)
	if _, out, errs := run(t, c); out != want || errs != "" {
		t.Errorf("%q %s, want %q", out, errs, want)
	}
}
