package seccomp

import (
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
)

// FDProgram is the descriptor of the droplet's ELF, close-on-exec: the one
// execveat that the wall lets through consumes it.
const FDProgram = 200

// Verdict is what the host kernel does with a call.
type Verdict int

const (
	Allow   Verdict = iota // do it, if the arguments are as the rule says
	Absent                 // answer ENOSYS
	Pretend                // answer 0 and do nothing
	Kill                   // end the process
)

// Rule is the verdict on one call. With alternatives, one of them must hold;
// otherwise the call is treated like one without a rule.
type Rule struct {
	Call         uint32
	Verdict      Verdict
	Alternatives [][]Condition
	Hot          bool // a busy guest makes it often
}

// Condition is on one argument: a value out of Among, or, where Among is
// empty, no bit outside Mask.
type Condition struct {
	Arg   int
	Among []uint32
	Mask  uint32
}

// goThread is how the Go runtime makes a thread (runtime/os_linux.go,
// cloneFlags; runtime/sys_linux_amd64.s adds CLONE_SETTLS). Without CLONE_THREAD there would be a second process.
const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD | unix.CLONE_SETTLS

// ArchSetFS is ARCH_SET_FS of arch_prctl(2).
const ArchSetFS = 0x1002

const (
	futexWait  = 0x80     // FUTEX_WAIT_PRIVATE: no futex in memory shared with others
	futexWake  = 0x80 | 1 // FUTEX_WAKE_PRIVATE
	anonymous  = 1<<32 - 1
	guestPID   = 1 // in a PID namespace of its own
	mapPrivate = unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANON | unix.MAP_NORESERVE
)

// one is a list of alternatives with a single member.
func one(c ...Condition) [][]Condition { return [][]Condition{c} }

// Among asks that an argument is one of the values.
func Among(arg int, values ...uint32) Condition { return Condition{Arg: arg, Among: values} }

// Within asks that an argument has no bit outside the mask.
func Within(arg int, mask uint32) Condition { return Condition{Arg: arg, Mask: mask} }

// Wall returns the table: 22 calls that the host kernel answers.
func Wall() []Rule {
	return []Rule{
		{Call: unix.SYS_FUTEX, Hot: true, Alternatives: one(Among(1, futexWait, futexWake))},
		{Call: unix.SYS_READ, Hot: true, Alternatives: one(Among(0, abi.FDPacket, abi.FDWake, abi.FDControl, abi.FDStdin))},
		{Call: unix.SYS_WRITEV, Hot: true, Alternatives: one(Among(0, abi.FDPacket, abi.FDStdout, abi.FDStderr))},
		{Call: unix.SYS_EPOLL_PWAIT, Hot: true, Alternatives: one(Among(0, abi.FDPoll))},
		{Call: unix.SYS_NANOSLEEP, Hot: true},
		{Call: unix.SYS_WRITE, Hot: true, Alternatives: one(Among(0, abi.FDWake, abi.FDStdout, abi.FDStderr, abi.FDControl, abi.FDPacket))},
		{Call: unix.SYS_MMAP, Alternatives: [][]Condition{
			// Memory: never executable, never shared. The kernel reads prot and
			// flags from the low half (mm/mmap.c).
			{Among(4, anonymous), Within(2, unix.PROT_READ|unix.PROT_WRITE), Within(3, mapPrivate)},
			// The state of the vDSO's getrandom, which says itself how to map it
			// (arch/x86/entry/vdso/vgetrandom.c, struct vgetrandom_opaque_params).
			{Among(4, anonymous), Among(2, unix.PROT_READ|unix.PROT_WRITE), Among(3, unix.MAP_DROPPABLE|unix.MAP_ANONYMOUS)},
			// The image and the boot record.
			{Among(4, abi.FDImage, abi.FDBoot), Among(2, unix.PROT_READ), Among(3, unix.MAP_PRIVATE)},
		}},
		{Call: unix.SYS_MUNMAP},
		{Call: unix.SYS_MADVISE, Alternatives: one(Among(2, unix.MADV_DONTNEED, unix.MADV_FREE,
			unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE))},
		{Call: unix.SYS_RT_SIGACTION},
		{Call: unix.SYS_RT_SIGPROCMASK},
		{Call: unix.SYS_RT_SIGRETURN},
		{Call: unix.SYS_SIGALTSTACK},
		{Call: unix.SYS_GETPID},
		{Call: unix.SYS_GETTID},
		{Call: unix.SYS_TGKILL, Alternatives: one(Among(0, guestPID))},
		// kernel/fork.c: lower_32_bits(clone_flags).
		{Call: unix.SYS_CLONE, Alternatives: one(Among(0, goThread))},
		{Call: unix.SYS_ARCH_PRCTL, Alternatives: one(Among(0, ArchSetFS))},
		{Call: unix.SYS_EXIT},
		{Call: unix.SYS_EXIT_GROUP},
		{Call: unix.SYS_GETRANDOM},
		{Call: unix.SYS_EXECVEAT, Alternatives: one(Among(0, FDProgram))},

		// The runtime tries these at start and goes on without them.
		{Call: unix.SYS_OPENAT, Verdict: Absent},            // transparent huge page size
		{Call: unix.SYS_PRCTL, Verdict: Absent},             // names for memory areas
		{Call: unix.SYS_PRLIMIT64, Verdict: Absent},         // raising RLIMIT_NOFILE
		{Call: unix.SYS_SCHED_GETAFFINITY, Verdict: Absent}, // the boot variable tells the CPUs
		{Call: unix.SYS_FCNTL, Verdict: Pretend},            // are 0, 1 and 2 open? They are
		{Call: unix.SYS_SCHED_YIELD, Verdict: Pretend},
	}
}
