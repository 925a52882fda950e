package proc

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/guest/vfs"
)

func mounted(t *testing.T) *vfs.FS {
	t.Helper()
	f := vfs.New(nil, 1<<20)
	Mount(f, World{
		Hostname: "web-0", Release: "6.18.0-dew", CPUs: 2, Memory: 64 << 20,
		Args: []string{"/app/web", "-v"}, Env: []string{"HOME=/app", "PORT=8080"},
		Addr: [4]byte{10, 0, 0, 2}, Gateway: [4]byte{10, 0, 0, 1},
		InUse: func() uint64 { return 3 << 20 }, CPUTime: func() int64 { return int64(2 * time.Second) },
		Uptime: func() time.Duration { return 10 * time.Second }, Cwd: func() string { return "/app" },
		Numbers:  func() []int { return []int{0, 1, 2, 7} },
		Describe: func(n int) (string, bool) { return "/some/file", n == 7 },
		Limit:    func(n int) (uint64, uint64) { return 1024, ^uint64(0) },
		Random:   func(p []byte) syscall.Errno { clear(p); return 0 },
	})
	return f
}

func TestFilesSayWhatProgramsLookFor(t *testing.T) {
	f := mounted(t)
	for path, want := range map[string]string{
		"/etc/hosts":                      `(?m)^10\.0\.0\.2\tweb-0$`,
		"/etc/resolv.conf":                `^nameserver 10\.0\.0\.1\n$`,
		"/etc/passwd":                     `(?m)^root:x:0:0:root:/app:`,
		"/proc/self/cmdline":              "^/app/web\x00-v\x00$",
		"/proc/self/environ":              "PORT=8080\x00$",
		"/proc/self/status":               `(?m)^VmRSS:\t3072 kB$`,
		"/proc/self/stat":                 `^1 \(web\) R( [-0-9]+){49}\n$`,
		"/proc/self/limits":               `(?m)^Max open files +1024 +unlimited +files +$`,
		"/proc/self/cgroup":               `^0::/\n$`,
		"/proc/meminfo":                   `(?m)^MemTotal:\t65536 kB$`,
		"/proc/uptime":                    `^10\.00 `,
		"/proc/stat":                      `^cpu  200 0 0 1800 `,
		"/proc/cpuinfo":                   `(?s)processor\t: 0\n.*processor\t: 1\n`,
		"/proc/sys/net/core/somaxconn":    `^4096\n$`,
		"/proc/sys/kernel/random/boot_id": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`,
	} {
		h, err := f.Open(f.Root(), path, syscall.O_RDONLY, 0)
		if err != 0 {
			t.Errorf("%s: %v", path, err)
			continue
		}
		b := make([]byte, 4096)
		n, _ := h.Read(b, 0)
		h.Close()
		if !regexp.MustCompile(want).Match(b[:n]) {
			t.Errorf("%s is %q, want %s", path, b[:n], want)
		}
	}
}

func TestLinksAndDevices(t *testing.T) {
	f := mounted(t)
	for path, want := range map[string]string{
		"/proc/self": "1", "/proc/self/exe": "/app/web", "/proc/self/cwd": "/app",
		"/proc/self/fd/7": "/some/file", "/dev/fd": "/proc/self/fd",
	} {
		if got, err := f.Readlink(f.Root(), path); err != 0 || got != want {
			t.Errorf("%s leads to %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]syscall.Errno{
		"/dev/null": 0, "/dev/urandom": 0, "/dev/tty": syscall.ENXIO, "/dev/sda": syscall.ENOENT,
		"/proc/2": syscall.ENOENT, "/proc/self/mem": syscall.ENOENT, "/proc/kcore": syscall.ENOENT,
	} {
		h, err := f.Open(f.Root(), path, syscall.O_RDWR, 0)
		if err != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err == 0 {
			h.Close()
		}
	}
	full, _ := f.Open(f.Root(), "/dev/full", syscall.O_WRONLY, 0)
	if _, err := full.Write([]byte("x"), 0); err != syscall.ENOSPC {
		t.Errorf("/dev/full: %v", err)
	}
}

func TestNothingIsMadeInProc(t *testing.T) {
	f := mounted(t)
	if err := f.Mkdir(f.Root(), "/proc/x", 0o755); err != syscall.EACCES {
		t.Errorf("mkdir: %v", err)
	}
	if _, err := f.Open(f.Root(), "/proc/uptime", syscall.O_RDWR, 0); err != syscall.EACCES {
		t.Errorf("write: %v", err)
	}
	if err := f.Unlink(f.Root(), "/proc/uptime", false); err != syscall.EPERM {
		t.Errorf("unlink: %v", err)
	}
	if used, _ := f.Usage(); used > 64<<10 {
		t.Errorf("the synthetic files take %d bytes", used)
	}
	if strings.Contains(mounts, "cgroup") {
		t.Error("a file system is named that is not there")
	}
}

func TestResolversAreThoseOfTheBootRecord(t *testing.T) {
	w := World{Gateway: [4]byte{169, 254, 0, 1}}
	if got := w.resolvConf(); got != "nameserver 169.254.0.1\n" {
		t.Errorf("by default %q", got)
	}
	w.Resolvers = [][4]byte{{10, 0, 0, 53}, {10, 0, 1, 53}, {10, 0, 2, 53}, {10, 0, 3, 53}}
	if got := w.resolvConf(); got != "nameserver 10.0.0.53\nnameserver 10.0.1.53\nnameserver 10.0.2.53\n" {
		t.Errorf("of four %q", got)
	}
	if got := (World{}).resolvConf(); got != "" {
		t.Errorf("without a vNIC %q", got)
	}
	if got := (World{Hostname: "web-0"}).hosts(); got != "127.0.0.1\tlocalhost web-0\n" {
		t.Errorf("hosts without a vNIC: %q", got)
	}
}
