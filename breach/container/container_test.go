package container

import (
	"encoding/binary"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// judge runs Docker's default profile on a call. The VM reads numbers in network
// order, so that is how they are given to it.
func judge(t *testing.T, arch, call uint32, args ...uint64) int {
	t.Helper()
	profile, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		t.Fatal(err)
	}
	program, err := compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, arguments+6*8)
	binary.BigEndian.PutUint32(data[number:], call)
	binary.BigEndian.PutUint32(data[architecture:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[arguments+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[arguments+8*i+4:], uint32(a>>32))
	}
	verdict, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

// TestFilterIsDockers checks verdicts that Docker documents
// (docs.docker.com/engine/security/seccomp).
func TestFilterIsDockers(t *testing.T) {
	const allow, eperm, enosys = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | int(unix.EPERM), unix.SECCOMP_RET_ERRNO | int(unix.ENOSYS)
	for _, c := range []struct {
		name string
		call uint32
		args []uint64
		want int
	}{
		{"openat", unix.SYS_OPENAT, nil, allow},
		{"execve", unix.SYS_EXECVE, nil, allow},
		{"mount", unix.SYS_MOUNT, nil, eperm},
		{"setns", unix.SYS_SETNS, nil, eperm},
		{"bpf", unix.SYS_BPF, nil, eperm},
		{"keyctl", unix.SYS_KEYCTL, nil, eperm},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, nil, eperm},
		{"userfaultfd", unix.SYS_USERFAULTFD, nil, eperm},
		{"fork", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, allow},
		{"clone into a user namespace", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"clone3", unix.SYS_CLONE3, nil, enosys},
		{"ptrace", unix.SYS_PTRACE, nil, allow},
		{"socket inet", unix.SYS_SOCKET, []uint64{unix.AF_INET}, allow},
		{"socket alg", unix.SYS_SOCKET, []uint64{unix.AF_ALG}, eperm},
		{"socket vsock", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, eperm},
		{"personality default", unix.SYS_PERSONALITY, []uint64{0}, allow},
		{"personality that turns randomisation off", unix.SYS_PERSONALITY, []uint64{0x40000}, eperm},
		{"a 64-bit argument whose low half would do", unix.SYS_PERSONALITY, []uint64{1 << 32}, eperm},
		{"x32", 0x40000000 | unix.SYS_OPENAT, nil, eperm},
	} {
		if got := judge(t, unix.AUDIT_ARCH_X86_64, c.call, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if got := judge(t, unix.AUDIT_ARCH_I386, unix.SYS_OPENAT); got != eperm {
		t.Errorf("a 32-bit call: %#x", got)
	}
}

func TestTheMaskIsDockers(t *testing.T) {
	// cat /proc/1/status in a container of Docker's defaults: CapEff.
	if got := mask(defaults()); got != 0xa80425fb {
		t.Errorf("%#x", got)
	}
}
