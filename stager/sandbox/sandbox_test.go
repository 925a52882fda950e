package sandbox

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probes are commands that run in a sandbox: this program again.
var probes = map[string]func() error{
	"exit":    func() error { os.Exit(7); return nil },
	"die":     func() error { return unix.Kill(os.Getpid(), unix.SIGKILL) },
	"hang":    func() error { os.Stdout.WriteString("hanging\n"); select {} },
	"orphan":  orphan,
	"inspect": inspect,
	"escape":  escape,
	"write":   writeFiles,
	"fetch":   fetch,
	"flood":   flood,
	"attack":  attack,
	"others":  otherCalls,
	"limits":  showLimits,
}

func TestMain(m *testing.M) {
	if Inside() {
		os.Exit(Serve())
	}
	if p := probes[os.Getenv("PROBE")]; p != nil {
		if err := p(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// probe is a config that runs one.
func probe(t *testing.T, name string) *Config {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if program, err := elf.Open(self); err != nil || slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Skip("needs a static test program: CGO_ENABLED=0")
	}
	return &Config{Args: []string{"/self/" + filepath.Base(self)}, Env: []string{"PROBE=" + name}, Dir: "/", Root: t.TempDir(),
		Mounts: []Mount{{Host: filepath.Dir(self), Inside: "/self", Programs: true}}}
}

func run(t *testing.T, c *Config) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, err := Run(ctx, c)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return status, out.String(), errs.String()
}

func TestStatusComesBack(t *testing.T) {
	for name, want := range map[string]int{"exit": 7, "die": 128 + int(syscall.SIGKILL)} {
		if status, _, _ := run(t, probe(t, name)); status != want {
			t.Errorf("%s: status %d, want %d", name, status, want)
		}
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	c := probe(t, "")
	c.Args = []string{"/none"}
	_, err := Run(t.Context(), c)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "/none") {
		t.Error(err)
	}
}

// inspect says what a sandboxed process is and sees.
func inspect() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); slices.Contains([]string{"Uid:", "Groups:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:"}, f[0]) {
			fmt.Println(strings.Join(f, " "))
		}
	}
	entries, _ := os.ReadDir("/")
	for _, e := range entries {
		fmt.Println("/" + e.Name())
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	rest, _ := filepath.Glob("/proc/[^0-9]*")
	var name unix.Utsname // os.Hostname wants /proc/sys
	unix.Uname(&name)
	fmt.Println(len(processes), "processes", len(rest), "others", unix.ByteSliceToString(name.Nodename[:]), len(os.Environ()), "variables")
	for fd := range 100 { // what the runtime opened for itself is of no interest
		if to, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			fmt.Println(fd, strings.TrimRight(to, "[]0123456789"))
		}
	}
	return nil
}

func TestWhatACommandIsAndSees(t *testing.T) {
	_, out, errs := run(t, probe(t, "inspect"))
	uid, processes := fmt.Sprint("Uid: ", UID, " ", UID, " ", UID, " ", UID), 1
	if os.Geteuid() != 0 {
		uid, processes = "Uid: 0 0 0 0", 2 // of a user namespace, as the first process
	}
	for _, want := range []string{uid, "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "CapAmb: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2",
		fmt.Sprint("/dev\n/proc\n/self\n", processes, " processes 2 others stager 1 variables\n0 /dev/null\n1 pipe:\n2 pipe:\n")} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, errs)
		}
	}
}

// escape tries to get out; what succeeds is printed.
func escape() error {
	tries := map[string]func() error{
		"read a file of the host":    func() error { _, err := os.ReadFile("/etc/passwd"); return err },
		"see the host through proc":  func() error { _, err := os.ReadDir("/proc/1/root/etc"); return err },
		"write the root":             func() error { return os.WriteFile("/x", nil, 0o600) },
		"write a read-only mount":    func() error { return os.WriteFile("/self/x", nil, 0o600) },
		"write a setting of kernel":  func() error { return os.WriteFile("/proc/sys/kernel/core_pattern", []byte("|/x"), 0) },
		"pull a trigger of kernel":   func() error { return os.WriteFile("/proc/sysrq-trigger", []byte("h"), 0) },
		"mount":                      func() error { return unix.Mount("tmpfs", "/proc", "tmpfs", 0, "") },
		"make a read-only writable":  func() error { return unix.Mount("", "/self", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"become root":                func() error { return unix.Setresuid(0, 0, UID) },
		"make a device":              func() error { return unix.Mknod("/tmp/disk", unix.S_IFBLK|0o600, 0xfe00) },
		"reach the network":          dial("192.0.2.1:80"),
		"reach the host's loopback":  dial("127.0.0.1:22"),
		"raw packets":                func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"trace the first process":    func() error { return unix.PtraceAttach(1) },
		"signal the first process":   func() error { return unix.Kill(1, unix.SIGKILL) },
		"rename the machine":         func() error { return unix.Sethostname([]byte("x")) },
		"enter the host's namespace": func() error { _, err := os.Open("/proc/1/ns/mnt"); return err },
	}
	for name, try := range tries {
		if try() == nil {
			fmt.Println(name)
		}
	}
	return nil
}

func dial(addr string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
}

func TestEscapes(t *testing.T) {
	status, out, errs := run(t, probe(t, "escape"))
	if os.Geteuid() != 0 {
		out = strings.ReplaceAll(out, "become root\n", "") // it is, of nothing
	}
	// The kernel does not deliver SIGKILL to the first process from inside; the
	// call alone succeeds for one of the same user (pid_namespaces(7)).
	out = strings.ReplaceAll(out, "signal the first process\n", "")
	if status != 0 || out != "" {
		t.Errorf("status %d; these succeeded:\n%s%s", status, out, errs)
	}
}

func writeFiles() error {
	if err := os.WriteFile("/w/a", []byte("written"), 0o644); err != nil {
		return err
	}
	return os.WriteFile("/w/large", make([]byte, 2<<20), 0o644)
}

// writable is a folder that a sandboxed command may write to.
func writable(t *testing.T) string {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, UID, UID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMountsAndFileSize(t *testing.T) {
	c := probe(t, "write")
	w := writable(t)
	c.Mounts = append(c.Mounts, Mount{Host: w, Inside: "/w", Writable: true})
	c.FileSize = 1 << 20
	status, _, errs := run(t, c)
	if status != 1 || !strings.Contains(errs, "file too large") {
		t.Errorf("status %d, %s: want the large file refused", status, errs)
	}
	if b, err := os.ReadFile(filepath.Join(w, "a")); string(b) != "written" {
		t.Errorf("%q, %v", b, err)
	}
}

func fetch() error {
	r, err := http.Get("http://" + Addr + "/x")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(os.Stdout, r.Body)
	return err
}

func TestHandlerIsReachedFromInside(t *testing.T) {
	c := probe(t, "fetch")
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "from outside ", r.URL.Path) })
	if status, out, errs := run(t, c); status != 0 || out != "from outside /x" {
		t.Errorf("status %d, %q, %s", status, out, errs)
	}
}

// orphan leaves a child behind that would live for ever.
func orphan() error {
	_, err := syscall.ForkExec("/proc/self/exe", []string{"x"}, &syscall.ProcAttr{Env: []string{"PROBE=hang"}, Files: []uintptr{0, 1, 2}})
	return err
}

func TestNothingOutlivesRun(t *testing.T) {
	// Run returns when the outputs are at their end: nobody has them any more.
	if status, _, _ := run(t, probe(t, "orphan")); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestContextEndsIt(t *testing.T) {
	c := probe(t, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	c.Stdout = writer(func(b []byte) (int, error) { cancel(); return len(b), nil })
	_, err := Run(ctx, c)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func flood() error {
	for range 1000 {
		if _, err := os.Stdout.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
	return nil
}

func TestAWriterThatFailsDoesNotStopIt(t *testing.T) {
	c := probe(t, "flood")
	c.Stdout = writer(func(b []byte) (int, error) { return 0, io.ErrShortWrite })
	status, err := Run(t.Context(), c)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if status != 0 || err != nil {
		t.Error(status, err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	run(t, probe(t, "exit"))
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}
