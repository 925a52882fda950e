package container

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// capability is a number of capabilities(7) and its name.
type capability struct {
	number uint
	name   string
}

// defaults are the capabilities that Docker leaves to a container's root.
func defaults() []capability {
	return []capability{
		{unix.CAP_CHOWN, "CAP_CHOWN"}, {unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}, {unix.CAP_FOWNER, "CAP_FOWNER"},
		{unix.CAP_FSETID, "CAP_FSETID"}, {unix.CAP_KILL, "CAP_KILL"}, {unix.CAP_SETGID, "CAP_SETGID"},
		{unix.CAP_SETUID, "CAP_SETUID"}, {unix.CAP_SETPCAP, "CAP_SETPCAP"}, {unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}, {unix.CAP_MKNOD, "CAP_MKNOD"},
		{unix.CAP_AUDIT_WRITE, "CAP_AUDIT_WRITE"}, {unix.CAP_SETFCAP, "CAP_SETFCAP"},
	}
}

func mask(caps []capability) (m uint64) {
	for _, c := range caps {
		m |= 1 << c.number
	}
	return m
}

// filter is Docker's default profile for these capabilities, as the bytes of
// struct sock_filter.
func filter(caps []capability) ([]byte, error) {
	names := []string{}
	for _, c := range caps {
		names = append(names, c.name)
	}
	profile, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: names}}})
	if err != nil {
		return nil, fmt.Errorf("container filter: %w", err)
	}
	program, err := compile(profile)
	if err != nil {
		return nil, fmt.Errorf("container filter: %w", err)
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("container filter: %w", err)
	}
	var b bytes.Buffer
	for _, i := range raw {
		binary.Write(&b, binary.LittleEndian, unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	return b.Bytes(), nil
}

// Offsets of struct seccomp_data (include/uapi/linux/seccomp.h).
const (
	number       = 0
	architecture = 4
	arguments    = 16 // 8 bytes each, little endian
	x32          = 0x40000000
)

// compile tests the calls one after the other: the first rule that fits
// decides. Names of other architectures are left out.
func compile(profile *specs.LinuxSeccomp) ([]bpf.Instruction, error) {
	refuse := bpf.RetConstant{Val: refusal(profile.DefaultErrnoRet)}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: architecture, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: number, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32, SkipFalse: 1},
		refuse,
	}
	for _, rule := range profile.Syscalls {
		conditions, err := conditionsOf(&rule)
		if err != nil {
			return nil, err
		}
		for _, name := range rule.Names {
			if n, ok := arch.X86_64.SyscallNames[name]; ok {
				program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(n), SkipFalse: uint8(len(conditions))})
				program = append(program, conditions...)
			}
		}
	}
	return append(program, refuse), nil
}

func refusal(errno *uint) uint32 {
	if errno == nil {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	}
	return unix.SECCOMP_RET_ERRNO | uint32(*errno)
}

// conditionsOf is what follows when the number fits: the arguments' tests, the
// action, and, where a test failed, the number again for the next rule.
func conditionsOf(rule *specs.LinuxSyscall) ([]bpf.Instruction, error) {
	var action uint32
	switch rule.Action {
	case specs.ActAllow:
		action = unix.SECCOMP_RET_ALLOW
	case specs.ActErrno:
		action = refusal(rule.ErrnoRet)
	default:
		return nil, fmt.Errorf("action %s is not expected", rule.Action)
	}
	if len(rule.Args) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: action}}, nil
	}
	var body []bpf.Instruction
	const each = 4 // instructions of a test
	for i, a := range rule.Args {
		left := uint8(each*(len(rule.Args)-i-1)) + 1 // behind this test: the others and the action
		test, err := testOf(a, left)
		if err != nil {
			return nil, err
		}
		body = append(body, test...)
	}
	return append(body, bpf.RetConstant{Val: action}, bpf.LoadAbsolute{Off: number, Size: 4}), nil
}

// testOf compares both halves of an argument and jumps over left instructions
// where it fails.
func testOf(a specs.LinuxSeccompArg, left uint8) ([]bpf.Instruction, error) {
	load := func(half uint32) bpf.Instruction {
		return bpf.LoadAbsolute{Off: arguments + 8*uint32(a.Index) + 4*half, Size: 4}
	}
	high, low := uint32(a.Value>>32), uint32(a.Value)
	switch {
	case a.Op == specs.OpEqualTo:
		return []bpf.Instruction{
			load(1), bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: left + 2},
			load(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: low, SkipFalse: left},
		}, nil
	case a.Op == specs.OpNotEqual:
		return []bpf.Instruction{
			load(1), bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: 2},
			load(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: low, SkipTrue: left},
		}, nil
	case a.Op == specs.OpLessThan && high == 0:
		return []bpf.Instruction{
			load(1), bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: left + 2},
			load(0), bpf.JumpIf{Cond: bpf.JumpLessThan, Val: low, SkipFalse: left},
		}, nil
	case a.Op == specs.OpGreaterThan && high == 0:
		return []bpf.Instruction{
			load(1), bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: 2},
			load(0), bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: low, SkipFalse: left},
		}, nil
	case a.Op == specs.OpMaskedEqual && a.ValueTwo == 0: // no bit of the mask
		return []bpf.Instruction{
			load(1), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: high, SkipTrue: left + 2},
			load(0), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: low, SkipTrue: left},
		}, nil
	}
	return nil, fmt.Errorf("comparison %s is not expected", a.Op)
}
