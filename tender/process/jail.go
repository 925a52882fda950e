package process

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/tender/seccomp"
)

// namespaces of each guest, its own and empty. The cgroup namespace is made
// later, when the guest has joined its groups: its root is where one stands.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET

// jail is what a guest is locked into.
type jail struct {
	files   [abi.FDBoot + 1]*os.File // by number in the guest, nil is closed
	program *os.File
	procs   []*os.File // cgroup.procs of the groups to join
	argv    []string
	envp    []string
	id      uint32             // of user and group
	wall    []unix.SockFilter  // nil: none, for tests that prove what the wall is good for
	lastCap uintptr            // number of the kernel's last capability
	die     bool               // with the caller
	limits  map[int]uint64     // RLIMIT_* to value, soft and hard
	polled  map[uintptr]uint64 // descriptor to epoll events<<32 | tag
}

// script returns the jail as calls, in the order in which rights are given up:
// what needs a right comes before the right goes.
func (j *jail) script() *script {
	s := new(script)
	s.do("start a session", unix.SYS_SETSID)
	for _, f := range j.procs {
		s.do("join cgroup "+f.Name(), unix.SYS_WRITE, fd(f), s.text("0"), 1)
	}
	s.do("unshare cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	s.do("reset personality", unix.SYS_PERSONALITY, 0)
	s.do("set host name", unix.SYS_SETHOSTNAME, s.text("guest"), 5)
	s.emptyRoot()
	j.placeFiles(s)
	j.bound(s)
	j.dropRights(s)
	if j.die {
		s.do("die with the caller", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	}
	s.do("no new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	s.do("unblock signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, value(s, uint64(0)), 0, 8)
	argv, envp, empty := s.texts(j.argv), s.texts(j.envp), s.text("")
	if j.wall != nil {
		s.keep = append(s.keep, j.wall)
		s.do("raise the wall", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
			value(s, unix.SockFprog{Len: uint16(len(j.wall)), Filter: unsafe.SliceData(j.wall)}))
	}
	s.do("execute the droplet", unix.SYS_EXECVEAT, seccomp.FDProgram, empty, argv, envp, unix.AT_EMPTY_PATH)
	return s
}

// emptyRoot puts an empty read-only file system in the place of all mounts.
// /proc is only a folder to mount on that every host has.
func (s *script) emptyRoot() {
	s.do("make mounts private", unix.SYS_MOUNT, 0, s.text("/"), 0, unix.MS_REC|unix.MS_PRIVATE, 0)
	s.do("mount an empty root", unix.SYS_MOUNT, s.text("dew"), s.text("/proc"), s.text("tmpfs"),
		unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, s.text("size=4k,nr_inodes=2,mode=0555"))
	s.do("enter the empty root", unix.SYS_CHDIR, s.text("/proc"))
	s.do("pivot root", unix.SYS_PIVOT_ROOT, s.text("."), s.text("."))
	s.do("unmount the host", unix.SYS_UMOUNT2, s.text("."), unix.MNT_DETACH)
	s.do("stand in the root", unix.SYS_CHDIR, s.text("/"))
}

// placeFiles leaves the contract's descriptors and the program open, nothing
// else. Sources may stand on target numbers, so all move out of the way first.
func (j *jail) placeFiles(s *script) {
	high := uintptr(seccomp.FDProgram)
	for _, f := range append(j.files[:], j.program) {
		if f != nil {
			high = max(high, fd(f))
		}
	}
	high++
	for i, f := range append(j.files[:], j.program) {
		if f != nil {
			s.do("move "+f.Name(), unix.SYS_DUP3, fd(f), high+uintptr(i), 0)
		}
	}
	s.do("close what was inherited", unix.SYS_CLOSE_RANGE, 0, high-1, 0)
	for i, f := range j.files {
		if f != nil {
			s.do("place "+f.Name(), unix.SYS_DUP3, high+uintptr(i), uintptr(i), 0)
		}
	}
	s.do("place the program", unix.SYS_DUP3, high+uintptr(len(j.files)), seccomp.FDProgram, unix.O_CLOEXEC)
	s.do("close the sources", unix.SYS_CLOSE_RANGE, seccomp.FDProgram+1, 1<<32-1, 0)
	for _, n := range []uintptr{abi.FDPacket, abi.FDWake, abi.FDControl} {
		if ev, ok := j.polled[n]; ok {
			s.do("register with epoll", unix.SYS_EPOLL_CTL, abi.FDPoll, unix.EPOLL_CTL_ADD, n,
				value(s, unix.EpollEvent{Events: uint32(ev >> 32), Fd: int32(uint32(ev))}))
		}
	}
}

// bound sets resource limits, which the seccomp wall mostly makes moot.
func (j *jail) bound(s *script) {
	for resource := range 16 {
		if n, ok := j.limits[resource]; ok {
			s.do("set a resource limit", unix.SYS_PRLIMIT64, 0, uintptr(resource), value(s, unix.Rlimit{Cur: n, Max: n}), 0)
		}
	}
}

// dropRights leaves an identity without capabilities or any way to get one.
func (j *jail) dropRights(s *script) {
	const noRoot = 3 // SECBIT_NOROOT and its lock: user 0 is nobody special
	s.do("set secure bits", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0)
	s.do("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for c := range j.lastCap + 1 {
		s.do("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	id := uintptr(j.id)
	s.do("leave all groups", unix.SYS_SETGROUPS, 0, 0)
	s.do("set group", unix.SYS_SETRESGID, id, id, id)
	s.do("set user", unix.SYS_SETRESUID, id, id, id)
	s.do("clear capabilities", unix.SYS_CAPSET,
		value(s, unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}), value(s, [2]unix.CapUserData{}))
}

// fd returns the number of an open file. File.Fd would make it blocking, for
// the guest as well.
func fd(f *os.File) uintptr {
	var n uintptr
	if conn, err := f.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { n = fd })
	}
	return n
}
