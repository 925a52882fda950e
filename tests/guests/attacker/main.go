package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// fail ends with a status that says that the attack was made and had no effect.
func fail(e syscall.Errno) {
	if e != 0 {
		fmt.Println("failed:", e.Error())
		os.Exit(7)
	}
}

func raw(n uintptr, a ...uintptr) uintptr {
	var v [6]uintptr
	copy(v[:], a)
	r, _, e := syscall.RawSyscall6(n, v[0], v[1], v[2], v[3], v[4], v[5])
	fail(e)
	return r
}

func text(s string) uintptr {
	b := append([]byte(s), 0)
	return uintptr(unsafe.Pointer(&b[0]))
}

func main() {
	attack, ok := attacks[os.Args[1]]
	if !ok {
		os.Exit(9)
	}
	attack()
	fmt.Println("done")
}

var attacks = map[string]func(){
	"none":         func() {},
	"status":       func() { os.Exit(3) },
	"nil":          func() { fmt.Println(*(*int)(nil)) },
	"open":         func() { raw(syscall.SYS_OPENAT, ^uintptr(99), text("/etc/passwd"), 0) },
	"open-old":     func() { raw(syscall.SYS_OPEN, text("/etc/passwd"), 0) },
	"openat2":      func() { raw(437, ^uintptr(99), text("/etc/passwd"), uintptr(unsafe.Pointer(new([3]uint64))), 24) },
	"socket":       func() { raw(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 0) },
	"netlink":      func() { raw(syscall.SYS_SOCKET, syscall.AF_NETLINK, syscall.SOCK_RAW, 0) },
	"userns":       func() { raw(syscall.SYS_UNSHARE, syscall.CLONE_NEWUTS) },
	"mount":        func() { raw(syscall.SYS_MOUNT, text("x"), text("/proc"), text("tmpfs"), 0, 0) },
	"exec":         func() { raw(syscall.SYS_EXECVE, text("/bin/true"), 0, 0) },
	"exec-image":   func() { raw(322, 6, text(""), 0, 0, 0x1000) },
	"exec-again":   func() { raw(322, 200, text(""), 0, 0, 0x1000) },
	"fork":         func() { fork(uintptr(syscall.SIGCHLD)) },
	"ptrace":       func() { raw(syscall.SYS_PTRACE, 0) },
	"vm-read":      func() { raw(310, raw(syscall.SYS_GETPID), 0, 0, 0, 0, 0) },
	"kill":         func() { raw(syscall.SYS_KILL, raw(syscall.SYS_GETPID), 0) },
	"tgkill-other": func() { raw(syscall.SYS_TGKILL, 2, 2, 0) },
	"prctl":        func() { raw(syscall.SYS_PRCTL, 4, 0) },
	"setuid":       func() { raw(syscall.SYS_SETUID, 0) },
	"mmap-exec":    func() { raw(syscall.SYS_MMAP, 0, 4096, 7, 0x22, ^uintptr(0), 0) },
	"mmap-shared":  func() { raw(syscall.SYS_MMAP, 0, 4096, 3, 0x21, ^uintptr(0), 0) },
	"mprotect":     func() { raw(syscall.SYS_MPROTECT, raw(syscall.SYS_MMAP, 0, 4096, 3, 0x22, ^uintptr(0), 0), 4096, 7) },
	"read-foreign": func() { raw(syscall.SYS_READ, 1, uintptr(unsafe.Pointer(new([1]byte))), 0) },
	"write-poll":   func() { raw(syscall.SYS_WRITE, 5, text("x"), 1) },
	"write-image":  func() { raw(syscall.SYS_WRITE, 6, text("x"), 1) },
	"epoll-add":    func() { raw(syscall.SYS_EPOLL_CTL, 5, 1, 1, uintptr(unsafe.Pointer(new([12]byte)))) },
	"dup":          func() { raw(syscall.SYS_DUP, 1) },
	"fds":          fds,
	"memfd":        func() { raw(319, text("x"), 0) },
	"uname":        func() { raw(syscall.SYS_UNAME, uintptr(unsafe.Pointer(new([390]byte)))) },
	"x32":          func() { raw(0x40000000 | syscall.SYS_GETPID) },
	"write-text":   writeText,
	"memory":       memory,
	"threads":      threads,
	"root":         root,
	"wait":         func() { select {} },
	"spin":         spin,
}

func spin() {
	for spinning := true; spinning; {
	}
}

// fork must not run Go code in the child: it exits at once if at all.
func fork(flags uintptr) {
	pid := raw(syscall.SYS_CLONE, flags, 0, 0, 0, 0)
	if pid == 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// writeText overwrites instructions.
func writeText() {
	f := spin
	code := **(***byte)(unsafe.Pointer(&f)) // a func value points to its code's address
	*code = 0
}

// memory takes and touches more than any limit of the tests.
func memory() {
	var kept [][]byte
	for range 512 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	runtime.KeepAlive(kept)
}

// threads makes more than any limit of the tests.
func threads() {
	for range 300 {
		go func() {
			runtime.LockOSThread()
			select {}
		}()
		runtime.Gosched()
	}
}

// fds tells which descriptors are open, by asking fstat; outside the wall's
// verdicts only.
func fds() {
	var open []string
	for n := range uintptr(1024) {
		if _, _, e := syscall.RawSyscall(syscall.SYS_FSTAT, n, uintptr(unsafe.Pointer(new([144]byte))), 0); e == 0 {
			open = append(open, strconv.Itoa(int(n)))
		}
	}
	fmt.Println(strings.Join(open, " "))
}

// root tells what the process is and sees; outside the wall's verdicts only.
func root() {
	names, err := os.ReadDir("/")
	fmt.Println("root:", len(names), err)
	fmt.Println("write:", os.WriteFile("/x", nil, 0o600) != nil)
	_, err = os.Stat("/proc/self")
	fmt.Println("proc:", err == nil)
	fmt.Println("pid:", os.Getpid(), "ppid:", os.Getppid())
	fmt.Println("uid0:", os.Getuid() == 0, "gid0:", os.Getgid() == 0)
	caps := [2][3]uint32{}
	raw(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&[2]uint32{0x20080522, 0})), uintptr(unsafe.Pointer(&caps)))
	fmt.Println("caps:", caps)
	bounding := uintptr(0)
	for c := range uintptr(41) {
		bounding += raw(syscall.SYS_PRCTL, 23, c)
	}
	fmt.Println("bounding:", bounding, "nnp:", raw(syscall.SYS_PRCTL, 39, 0, 0, 0, 0))
	fmt.Println("socket:", interfaces())
	host, _ := os.Hostname()
	fmt.Println("host:", host)
}

// interfaces counts the network interfaces that are up, by SIOCGIFCONF.
func interfaces() int {
	fd := raw(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	var buf [4096]byte
	conf := struct {
		n int32
		_ int32
		p *byte
	}{n: int32(len(buf)), p: &buf[0]}
	raw(syscall.SYS_IOCTL, fd, 0x8912, uintptr(unsafe.Pointer(&conf)))
	return int(conf.n) / 40
}
