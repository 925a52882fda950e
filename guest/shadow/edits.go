package shadow

// Edit replaces Old, which stands exactly once in File, by New.
type Edit struct {
	File string // below GOROOT/src
	Old  string
	New  string
}

// GoVersions are the releases whose sources the edits were made for: the
// version must have one of these as its prefix, followed by a dot or nothing.
func GoVersions() []string { return []string{"go1.26"} }

// Edits returns all edits, file by file.
func Edits() []Edit {
	var all []Edit
	for _, part := range [][]Edit{syscallEdits, runtimeEdits, monitorEdits, timelineEdits, importEdits, bootEdits, knownEdits, zoneEdits} {
		all = append(all, part...)
	}
	return all
}

var syscallEdits = []Edit{
	intoHook("func RawSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n", "trap, a1, a2, a3, a4, a5, a6"),
	intoHook("func Syscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n", "trap, a1, a2, a3, 0, 0, 0"),
	intoHook("func Syscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n", "trap, a1, a2, a3, a4, a5, a6"),
	// The assembly stays reachable under another name; a Go function that asks
	// the library OS first takes its place (see _std/syscall).
	{"syscall/syscall_linux.go", "func rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr)\n", ""},
	{"syscall/asm_linux_amd64.s", "TEXT ·rawSyscallNoError(SB)", "TEXT ·dewRawSyscallNoError(SB)"},
	// A guest has no threads of its own making that a call could be repeated on.
	refuse("syscall/syscall_linux.go", "func AllThreadsSyscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n", "minus1, minus1, ENOSYS"),
	refuse("syscall/syscall_linux.go", "func AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n", "minus1, minus1, ENOSYS"),
	// One program per guest: there is nothing to fork into and nothing to exec.
	refuse("syscall/exec_unix.go", "func forkExec(argv0 string, argv []string, attr *ProcAttr) (pid int, err error) {\n", "0, dewNoProcesses{}"),
	refuse("syscall/exec_linux.go", "func os_checkClonePidfd() error {\n", "ENOSYS"),
	// This one reaches the runtime's fcntl, past package syscall.
	{"internal/syscall/unix/fcntl_unix.go", "\tval, errno := fcntl(int32(fd), int32(cmd), int32(arg))\n",
		"\tif runtime.GOOS == \"linux\" {\n\t\tr, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg))\n" +
			"\t\tif e != 0 {\n\t\t\treturn -1, e\n\t\t}\n\t\treturn int(r), nil\n\t}\n" +
			"\tval, errno := fcntl(int32(fd), int32(cmd), int32(arg))\n"},
	{"internal/syscall/unix/fcntl_unix.go", "import (\n", "import (\n\t\"runtime\"\n"},
}

func intoHook(signature, arguments string) Edit {
	return Edit{"syscall/syscall_linux.go", signature, signature + "\tif dewHook != nil {\n\t\treturn dewCall(" + arguments + ")\n\t}\n"}
}

func refuse(file, signature, results string) Edit {
	return Edit{file, signature, signature + "\tif dewHook != nil {\n\t\treturn " + results + "\n\t}\n"}
}

var runtimeEdits = []Edit{
	// The poller waits on the descriptors that the tender made (package abi).
	{"runtime/netpoll_epoll.go", "func netpollinit() {\n\tvar errno uintptr\n",
		"func netpollinit() {\n\tif dewGuest {\n\t\tepfd, netpollEventFd = dewFDPoll, dewFDWake\n\t\treturn\n\t}\n\tvar errno uintptr\n"},
	{"runtime/netpoll_epoll.go", "func netpollopen(fd uintptr, pd *pollDesc) uintptr {\n",
		"func netpollopen(fd uintptr, pd *pollDesc) uintptr {\n\tif dewGuest {\n\t\treturn dewPollOpen(fd, unsafe.Pointer(pd), pd.fdseq.Load())\n\t}\n"},
	{"runtime/netpoll_epoll.go", "func netpollclose(fd uintptr) uintptr {\n",
		"func netpollclose(fd uintptr) uintptr {\n\tif dewGuest {\n\t\treturn dewPollClose(fd)\n\t}\n"},
	{"runtime/netpoll_epoll.go", "\t\tif *(**uintptr)(unsafe.Pointer(&ev.Data)) == &netpollEventFd {\n",
		"\t\tif dewGuest {\n\t\t\tdelta += dewEvent(&ev, delay, &toRun)\n\t\t\tcontinue\n\t\t}\n" +
			"\t\tif *(**uintptr)(unsafe.Pointer(&ev.Data)) == &netpollEventFd {\n"},
	// A guest's descriptors are the library OS's: 4 and 5 are the poller's on the
	// host side only.
	{"runtime/netpoll_epoll.go", "\treturn fd == uintptr(epfd) || fd == netpollEventFd\n",
		"\treturn !dewGuest && (fd == uintptr(epfd) || fd == netpollEventFd)\n"},
	// sched_getaffinity is not among a guest's calls.
	{"runtime/os_linux.go", "func getCPUCount() int32 {\n",
		"func getCPUCount() int32 {\n\tif n := dewStart(); n > 0 {\n\t\treturn n\n\t}\n"},
	// Samples for a CPU profile come from outside, as SIGPROF: the handler is
	// installed, no timer is started.
	{"runtime/os_linux.go", "func setThreadCPUProfiler(hz int32) {\n",
		"func setThreadCPUProfiler(hz int32) {\n\tif dewGuest {\n\t\tgetg().m.profilehz = hz\n\t\treturn\n\t}\n"},
	{"runtime/signal_unix.go", "\t\tsetitimer(_ITIMER_PROF, &it, nil)\n",
		"\t\tif !dewGuest {\n\t\t\tsetitimer(_ITIMER_PROF, &it, nil)\n\t\t}\n"},
	{"runtime/signal_unix.go", "\t\tsetitimer(_ITIMER_PROF, &itimerval{}, nil)\n",
		"\t\tif !dewGuest {\n\t\t\tsetitimer(_ITIMER_PROF, &itimerval{}, nil)\n\t\t}\n"},
}

// monitorEdits make sysmon, the runtime's watching thread, cost nothing per
// packet. It looks every 20 us for threads that the kernel holds in a system
// call, sleeps when all Ps are idle and is woken by the next system call. A
// guest's calls do not block, but for a write to a full log: looking every few
// milliseconds is enough to preempt loops, and a server that idles between two
// requests is not idle.
var monitorEdits = []Edit{
	{"runtime/proc.go", "\t\tif delay > 10*1000 { // up to 10ms\n", "\t\tdelay = dewMonitorDelay(delay)\n\t\tif delay > 10*1000 { // up to 10ms\n"},
	{"runtime/proc.go", "\t\tif debug.schedtrace <= 0 && (sched.gcwaiting.Load() || sched.npidle.Load() == gomaxprocs) {\n",
		"\t\tif debug.schedtrace <= 0 && dewMayRest() && (sched.gcwaiting.Load() || sched.npidle.Load() == gomaxprocs) {\n"},
	// No system call tells sysmon that work has come: the poller does.
	{"runtime/netpoll_epoll.go", "\tvar toRun gList\n\tdelta := int32(0)\n\tfor i := int32(0); i < n; i++ {\n",
		"\tif dewGuest && delay != 0 && n > 0 {\n\t\tdewWakeMonitor()\n\t}\n" +
			"\tvar toRun gList\n\tdelta := int32(0)\n\tfor i := int32(0); i < n; i++ {\n"},
}

var timelineEdits = []Edit{
	{"runtime/proc.go", "\tfn := main_main // make an indirect call", "\tdewMain()\n\tfn := main_main // make an indirect call"},
	{"runtime/sigqueue.go", "\t\tsig.inuse = true // enable reception of signals; cannot disable\n",
		"\t\tsig.inuse = true // enable reception of signals; cannot disable\n\t\tdewAwaitSignals()\n"},
}

var importEdits = []Edit{
	// The kernel is reached from here so that every program links it; in a
	// process nothing of it runs.
	{"os/file_unix.go", "import (\n", "import (\n\t_ \"internal/dew/guest/kernel\"\n\t_ \"internal/dew/guest/syscall\"\n"},
	{"net/net.go", "import (\n", "import (\n\t_ \"internal/dew/guest/socket\"\n"},
}

// bootEdits spare a guest on bare metal 32 MiB of zeroed memory and a third of
// its start: a loader of virtual machines writes all of a program's BSS, where
// Linux only maps it. The buffer is for FIPS mode, which allocates it now.
var bootEdits = []Edit{
	{"crypto/internal/fips140/drbg/entropy_fips140.go", "\nvar memory entropy.ScratchBuffer\n", "\n"},
	{"crypto/internal/fips140/drbg/entropy_fips140.go", "seed, err := entropy.Seed(&memory)", "seed, err := entropy.Seed(new(entropy.ScratchBuffer))"},
	{"crypto/internal/fips140/drbg/entropy_fips140.go", "seed, err = entropy.Seed(&memory)", "seed, err = entropy.Seed(new(entropy.ScratchBuffer))"},
}

// knownEdits answer what package net would find out of the kernel below by
// trying, before it listens for the first time: six calls, among them the making
// of a file system to read one number from. An emulated CPU translates each
// instruction before it runs it once; these are a tenth of all that a server's
// start executes.
var knownEdits = []Edit{
	{"net/sock_linux.go", "import (\n", "import (\n\t\"internal/dew/guest/host\"\n\t\"internal/dew/guest/inet\"\n"},
	{"net/sock_linux.go", "func maxListenerBacklog() int {\n", "func maxListenerBacklog() int {\n\tif host.Active() {\n\t\treturn inet.MaxBacklog\n\t}\n"},
	// IPv4, and no other family of the Internet.
	{"net/ipsock_posix.go", "\t\"net/netip\"\n", "\t\"internal/dew/guest/host\"\n\t\"net/netip\"\n"},
	{"net/ipsock_posix.go", "\ts, err := sysSocket(syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_TCP)\n",
		"\tif host.Active() {\n\t\tp.ipv4Enabled = true\n\t\treturn\n\t}\n\ts, err := sysSocket(syscall.AF_INET, syscall.SOCK_STREAM, syscall.IPPROTO_TCP)\n"},
	// TCP of many paths has one here.
	{"net/mptcpsock_linux.go", "import (\n", "import (\n\t\"internal/dew/guest/host\"\n"},
	{"net/mptcpsock_linux.go", "func initMPTCPavailable() {\n", "func initMPTCPavailable() {\n\tif host.Active() {\n\t\treturn\n\t}\n"},
}

// zoneEdits let time find the zones where the stager puts them: in one file, as
// Go ships them. Unpacked, each of 600 zones would fill a page of the image.
var zoneEdits = []Edit{
	{"time/zoneinfo_unix.go", "\t\"/usr/share/zoneinfo/\",\n", "\t\"/usr/share/zoneinfo/\",\n\t\"/usr/share/zoneinfo.zip\",\n"},
}
