package syscall

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/host"
)

// A guest is one process without relatives: number 1 of its world, leader of
// its group and session, with nobody above it. Its user is root of this world.
const pid = 1

func one(Call) (uintptr, syscall.Errno)  { return pid, 0 }
func zero(Call) (uintptr, syscall.Errno) { return 0, 0 }

// Refusals.
func deny(Call) (uintptr, syscall.Errno)         { return 0, syscall.EPERM }
func noProcesses(Call) (uintptr, syscall.Errno)  { return 0, syscall.ENOSYS }
func noChildren(Call) (uintptr, syscall.Errno)   { return 0, syscall.ECHILD }
func noAttributes(Call) (uintptr, syscall.Errno) { return 0, syscall.EOPNOTSUPP }
func noSplice(Call) (uintptr, syscall.Errno)     { return 0, syscall.EINVAL }
func noMemory(Call) (uintptr, syscall.Errno)     { return 0, syscall.ENOMEM }

func uname(c Call) (uintptr, syscall.Errno) {
	u := at[syscall.Utsname](&c, 0)
	if u == nil {
		return 0, syscall.EFAULT
	}
	*u = syscall.Utsname{}
	for _, f := range []struct {
		to    *[65]int8
		value string
	}{
		{&u.Sysname, "Linux"}, {&u.Nodename, hostname()}, {&u.Release, Release},
		{&u.Version, "#1 Dew library OS"}, {&u.Machine, "x86_64"}, {&u.Domainname, "(none)"},
	} {
		for i := range min(len(f.value), len(f.to)-1) {
			f.to[i] = int8(f.value[i])
		}
	}
	return 0, 0
}

// Release is the Linux release whose calls the table describes.
const Release = "6.18.0-dew"

func hostname() string {
	if config == nil || config.Hostname == "" {
		return "localhost"
	}
	return config.Hostname
}

func cpus() int {
	if config == nil {
		return 1
	}
	return int(max(1, min(config.CPUs, 1024)))
}

func memoryLimit() uint64 {
	if config == nil || config.MemoryLimit == 0 {
		return 1 << 30
	}
	return config.MemoryLimit
}

// sysinfoResult is struct sysinfo (include/uapi/linux/sysinfo.h).
func sysinfo(c Call) (uintptr, syscall.Errno) {
	s := at[syscall.Sysinfo_t](&c, 0)
	if s == nil {
		return 0, syscall.EFAULT
	}
	*s = syscall.Sysinfo_t{Uptime: int64(uptime() / time.Second), Totalram: memoryLimit(),
		Freeram: memoryLimit() - min(memoryLimit(), used()), Procs: 1, Unit: 1}
	return 0, 0
}

// started is when the guest's library OS began.
var started time.Time

func uptime() time.Duration { return time.Since(started) }

func schedGetaffinity(c Call) (uintptr, syscall.Errno) {
	need := uintptr((cpus() + 63) / 64 * 8)
	if c.A[1] < need {
		return 0, syscall.EINVAL
	}
	mask, err := c.bytes(2, need)
	if err != 0 {
		return 0, err
	}
	clear(mask)
	for i := range cpus() {
		mask[i/8] |= 1 << (i % 8)
	}
	return need, 0
}

func getcpu(c Call) (uintptr, syscall.Errno) {
	for n := range 2 {
		if p := at[uint32](&c, n); p != nil {
			*p = 0
		}
	}
	return 0, 0
}

// getIDs is getresuid(2) and getresgid(2).
func getIDs(c Call) (uintptr, syscall.Errno) {
	for n := range 3 {
		p := at[uint32](&c, n)
		if p == nil {
			return 0, syscall.EFAULT
		}
		*p = 0
	}
	return 0, 0
}

// setIDs allows to become who one is.
func setIDs(c Call) (uintptr, syscall.Errno) {
	for _, a := range c.A[:3] {
		if int32(a) > 0 {
			return 0, syscall.EPERM
		}
	}
	return 0, 0
}

// setID is setuid(2) and the like, with one argument.
func setID(c Call) (uintptr, syscall.Errno) {
	if int32(c.A[0]) > 0 {
		return 0, syscall.EPERM
	}
	return 0, 0
}

// limits are the resource limits of the guest by RLIMIT_ number
// (include/uapi/asm-generic/resource.h), as far as the program set them.
var limits [16]atomic.Pointer[syscall.Rlimit]

const infinity = ^uint64(0)

func limit(n int) syscall.Rlimit {
	const (
		stack, core, nproc, nofile, memlock = 3, 4, 6, 7, 8
	)
	if l := limits[n].Load(); l != nil {
		return *l
	}
	switch n {
	case stack:
		return syscall.Rlimit{Cur: 8 << 20, Max: infinity}
	case core, memlock:
		return syscall.Rlimit{}
	case nproc:
		return syscall.Rlimit{Cur: 1, Max: 1}
	case nofile:
		return syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	}
	return syscall.Rlimit{Cur: infinity, Max: infinity}
}

func getrlimit(c Call) (uintptr, syscall.Errno) { return 0, doLimit(&c, 0, -1, 1) }
func setrlimit(c Call) (uintptr, syscall.Errno) { return 0, doLimit(&c, 0, 1, -1) }

func prlimit64(c Call) (uintptr, syscall.Errno) {
	if c.int(0) != 0 && c.int(0) != pid {
		return 0, syscall.ESRCH
	}
	return 0, doLimit(&c, 1, 2, 3)
}

// doLimit reads the limit named by one argument into that which old points to,
// and sets it to what next points to. The limits are kept, not enforced: the
// tender's are.
func doLimit(c *Call, which, next, old int) syscall.Errno {
	n := c.int(which)
	if n < 0 || n >= len(limits) {
		return syscall.EINVAL
	}
	now := limit(n)
	if next >= 0 && c.P[next] != nil {
		wanted := *at[syscall.Rlimit](c, next)
		if wanted.Cur > wanted.Max {
			return syscall.EINVAL
		}
		if wanted.Max > now.Max {
			return syscall.EPERM
		}
		limits[n].Store(&wanted)
	}
	if old >= 0 && c.P[old] != nil {
		*at[syscall.Rlimit](c, old) = now
	}
	return 0
}

// used is what the Go runtime has from the tender, in bytes.
func used() uint64 { return host.MemoryInUse() }

func getrusage(c Call) (uintptr, syscall.Errno) {
	r := at[syscall.Rusage](&c, 1)
	if r == nil {
		return 0, syscall.EFAULT
	}
	cpu := host.CPUTime()
	*r = syscall.Rusage{Utime: syscall.NsecToTimeval(cpu), Maxrss: int64(used() / 1024)}
	return 0, 0
}

func times(c Call) (uintptr, syscall.Errno) {
	const tick = int64(time.Second) / 100
	if t := at[syscall.Tms](&c, 0); t != nil {
		*t = syscall.Tms{Utime: host.CPUTime() / tick}
	}
	return uintptr(int64(uptime()) / tick), 0
}

// Clocks (include/uapi/linux/time.h).
const (
	clockRealtime = 0
	clockProcess  = 2
	clockThread   = 3
	clockTAI      = 11
)

func clockNow(id int) (int64, syscall.Errno) {
	switch {
	case id < 0 || id > clockTAI || id == 10:
		return 0, syscall.EINVAL
	case id == clockRealtime || id == 5 || id == 8 || id == clockTAI:
		return time.Now().UnixNano(), 0
	case id == clockProcess || id == clockThread:
		return host.CPUTime(), 0
	}
	return host.Nanotime(), 0
}

func clockGettime(c Call) (uintptr, syscall.Errno) {
	now, err := clockNow(c.int(0))
	ts := at[syscall.Timespec](&c, 1)
	if err != 0 {
		return 0, err
	}
	if ts == nil {
		return 0, syscall.EFAULT
	}
	*ts = syscall.NsecToTimespec(now)
	return 0, 0
}

func clockGetres(c Call) (uintptr, syscall.Errno) {
	if _, err := clockNow(c.int(0)); err != 0 {
		return 0, err
	}
	if ts := at[syscall.Timespec](&c, 1); ts != nil {
		*ts = syscall.Timespec{Nsec: 1}
	}
	return 0, 0
}

func gettimeofday(c Call) (uintptr, syscall.Errno) {
	if tv := at[syscall.Timeval](&c, 0); tv != nil {
		*tv = syscall.NsecToTimeval(time.Now().UnixNano())
	}
	return 0, 0
}

func timeCall(c Call) (uintptr, syscall.Errno) {
	now := time.Now().Unix()
	if t := at[int64](&c, 0); t != nil {
		*t = now
	}
	return uintptr(now), 0
}

func nanosleep(c Call) (uintptr, syscall.Errno) {
	ts := at[syscall.Timespec](&c, 0)
	if ts == nil {
		return 0, syscall.EFAULT
	}
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return 0, syscall.EINVAL
	}
	time.Sleep(time.Duration(ts.Nano()))
	return 0, 0
}

func clockNanosleep(c Call) (uintptr, syscall.Errno) {
	const absolute = 1
	ts := at[syscall.Timespec](&c, 2)
	if ts == nil {
		return 0, syscall.EFAULT
	}
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return 0, syscall.EINVAL
	}
	d := ts.Nano()
	if c.A[1]&absolute != 0 {
		now, err := clockNow(c.int(0))
		if err != 0 {
			return 0, err
		}
		d -= now
	}
	time.Sleep(time.Duration(d))
	return 0, 0
}

func getrandom(c Call) (uintptr, syscall.Errno) {
	p, err := c.bytes(0, c.A[1])
	if err != 0 {
		return 0, err
	}
	return uintptr(len(p)), host.Random(p)
}

// prctl answers the requests that have an answer without another process.
func prctl(c Call) (uintptr, syscall.Errno) {
	const (
		setPdeathsig, getDumpable, setDumpable = 1, 3, 4
		setName, getName, setNoNewPrivs        = 15, 16, 38
		getNoNewPrivs                          = 39
	)
	switch c.A[0] {
	case setPdeathsig, setName, setNoNewPrivs:
		return 0, 0
	case setDumpable:
		if c.A[1] != 0 {
			return 0, syscall.EPERM
		}
		return 0, 0
	case getDumpable:
		return 0, 0
	case getNoNewPrivs:
		return 1, 0
	}
	return 0, syscall.EINVAL
}

// exitGroup ends the guest.
func exitGroup(c Call) (uintptr, syscall.Errno) {
	host.Exit(c.int(0) & 0xff)
	return 0, 0
}
