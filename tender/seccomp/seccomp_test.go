package seccomp

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden program")

func compiled(t testing.TB) []unix.SockFilter {
	t.Helper()
	code, err := Compile(Wall(), Kill)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// TestProgramIsAsReviewed: a change of the wall shows in the diff.
func TestProgramIsAsReviewed(t *testing.T) {
	var b strings.Builder
	for i, in := range disassembled(t, compiled(t)) {
		fmt.Fprintf(&b, "%3d %v\n", i, in)
	}
	name := filepath.Join("testdata", "wall.txt")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the wall's program changed: read it, then run go test -update\n%s", b.String())
	}
}

func TestWallLetsThroughFewCalls(t *testing.T) {
	n := 0
	for _, r := range Wall() {
		if r.Verdict == Allow {
			n++
		}
	}
	if n > 22 {
		t.Errorf("%d calls are answered by the host kernel", n)
	}
}

func disassembled(t testing.TB, code []unix.SockFilter) []bpf.Instruction {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(code))
	for i, c := range code {
		raw[i] = bpf.RawInstruction{Op: c.Code, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	in, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("an instruction is not understood")
	}
	return in
}

// machine runs the program as the kernel would.
func machine(t testing.TB, code []unix.SockFilter) func(arch, call uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(disassembled(t, code))
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, call uint32, args ...uint64) uint32 {
		var data [64]byte // struct seccomp_data; the machine loads big-endian words, the kernel native ones
		binary.BigEndian.PutUint32(data[offCall:], call)
		binary.BigEndian.PutUint32(data[offArch:], arch)
		for i, a := range args {
			binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
			binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
		}
		n, err := vm.Run(data[:])
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
}

const none = 1<<64 - 1 // -1

func TestVerdicts(t *testing.T) {
	run := machine(t, compiled(t))
	for _, c := range []struct {
		name string
		want uint32
		call uint32
		args []uint64
	}{
		{"futex wait", retAllow, unix.SYS_FUTEX, []uint64{4096, 128}},
		{"futex wake", retAllow, unix.SYS_FUTEX, []uint64{4096, 129}},
		{"futex shared", retKill, unix.SYS_FUTEX, []uint64{4096, 0}},
		{"futex requeue", retKill, unix.SYS_FUTEX, []uint64{4096, 128 | 3}},
		{"read packet", retAllow, unix.SYS_READ, []uint64{3}},
		{"read wake", retAllow, unix.SYS_READ, []uint64{4}},
		{"read control", retAllow, unix.SYS_READ, []uint64{7}},
		{"read stdout", retKill, unix.SYS_READ, []uint64{1}},
		{"read image", retKill, unix.SYS_READ, []uint64{6}},
		{"read 64-bit alias of packet", retAllow, unix.SYS_READ, []uint64{1<<32 | 3}}, // unsigned int to the kernel
		{"write console", retAllow, unix.SYS_WRITE, []uint64{1}},
		{"write control", retAllow, unix.SYS_WRITE, []uint64{7}},
		{"write poll", retKill, unix.SYS_WRITE, []uint64{5}},
		{"write program", retKill, unix.SYS_WRITE, []uint64{FDProgram}},
		{"writev packet", retAllow, unix.SYS_WRITEV, []uint64{3}},
		{"writev control", retKill, unix.SYS_WRITEV, []uint64{7}},
		{"poll", retAllow, unix.SYS_EPOLL_PWAIT, []uint64{5}},
		{"poll another", retKill, unix.SYS_EPOLL_PWAIT, []uint64{4}},
		{"memory", retAllow, unix.SYS_MMAP, []uint64{0, 4096, 3, 0x22, none}},
		{"memory, 32-bit -1", retAllow, unix.SYS_MMAP, []uint64{0, 4096, 0, 0x32, 0xffffffff}},
		{"memory, executable", retKill, unix.SYS_MMAP, []uint64{0, 4096, 7, 0x22, none}},
		{"memory of the vDSO's getrandom", retAllow, unix.SYS_MMAP, []uint64{0, 4096, 3, 0x28, none}},
		{"memory of the vDSO's getrandom, executable", retKill, unix.SYS_MMAP, []uint64{0, 4096, 7, 0x28, none}},
		{"droppable image", retKill, unix.SYS_MMAP, []uint64{0, 4096, 1, 8, 6}},
		{"memory, shared", retKill, unix.SYS_MMAP, []uint64{0, 4096, 3, 0x21, none}},
		{"memory, huge pages", retKill, unix.SYS_MMAP, []uint64{0, 4096, 3, 0x40022, none}},
		{"image", retAllow, unix.SYS_MMAP, []uint64{0, 4096, 1, 2, 6}},
		{"boot record", retAllow, unix.SYS_MMAP, []uint64{0, 4096, 1, 2, 8}},
		{"image, writable", retKill, unix.SYS_MMAP, []uint64{0, 4096, 3, 2, 6}},
		{"image, executable", retKill, unix.SYS_MMAP, []uint64{0, 4096, 5, 2, 6}},
		{"image, shared", retKill, unix.SYS_MMAP, []uint64{0, 4096, 1, 1, 6}},
		{"map the console", retKill, unix.SYS_MMAP, []uint64{0, 4096, 1, 2, 1}},
		{"free pages", retAllow, unix.SYS_MADVISE, []uint64{0, 0, 4}},
		{"madvise remove", retKill, unix.SYS_MADVISE, []uint64{0, 0, 9}},
		{"madvise merge", retKill, unix.SYS_MADVISE, []uint64{0, 0, 12}},
		{"thread", retAllow, unix.SYS_CLONE, []uint64{goThread}},
		{"fork", retKill, unix.SYS_CLONE, []uint64{17}},
		{"thread in new namespace", retKill, unix.SYS_CLONE, []uint64{goThread | unix.CLONE_NEWUSER}},
		{"own thread", retAllow, unix.SYS_TGKILL, []uint64{1, 2, 23}},
		{"another process", retKill, unix.SYS_TGKILL, []uint64{2, 2, 9}},
		{"FS base", retAllow, unix.SYS_ARCH_PRCTL, []uint64{0x1002}},
		{"GS base", retKill, unix.SYS_ARCH_PRCTL, []uint64{0x1001}},
		{"program", retAllow, unix.SYS_EXECVEAT, []uint64{200}},
		{"another program", retKill, unix.SYS_EXECVEAT, []uint64{6}},
		{"exec", retKill, unix.SYS_EXECVE, nil},
		{"open", retAbsent, unix.SYS_OPENAT, nil},
		{"prctl", retAbsent, unix.SYS_PRCTL, nil},
		{"fcntl", retPretend, unix.SYS_FCNTL, nil},
		{"yield", retPretend, unix.SYS_SCHED_YIELD, nil},
		{"nanosleep", retAllow, unix.SYS_NANOSLEEP, nil},
		{"exit", retAllow, unix.SYS_EXIT_GROUP, nil},
		{"mprotect", retKill, unix.SYS_MPROTECT, nil},
	} {
		if got := run(unix.AUDIT_ARCH_X86_64, c.call, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// TestEverythingElseIsDeath: all numbers, the x32 ones and 32-bit entry included.
func TestEverythingElseIsDeath(t *testing.T) {
	run := machine(t, compiled(t))
	known := map[uint32]bool{}
	for _, r := range Wall() {
		known[r.Call] = true
	}
	for call := range uint32(1024) {
		if !known[call] && run(unix.AUDIT_ARCH_X86_64, call) != retKill {
			t.Errorf("call %d lives", call)
		}
		if run(unix.AUDIT_ARCH_X86_64, call|0x40000000, 3) != retKill {
			t.Errorf("x32 call %d lives", call)
		}
		if run(unix.AUDIT_ARCH_I386, call, 3) != retKill {
			t.Errorf("32-bit call %d lives", call)
		}
	}
}

func TestTwoRulesForOneCallAreRefused(t *testing.T) {
	if _, err := Compile(append(Wall(), Rule{Call: unix.SYS_READ}), Kill); err == nil {
		t.Error("compiled")
	}
}

// FuzzCompile: the program of any table decides as the table itself does.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{0, 1, 0, 3, 5, 1, 2, 9}, uint8(5), uint8(9), false)
	f.Add([]byte{202, 0, 1, 128, 39, 1, 0, 0, 72, 2, 1, 1}, uint8(202), uint8(128), true)
	f.Fuzz(func(t *testing.T, table []byte, call, arg uint8, mild bool) {
		rules, others := tableOf(table), Kill
		if mild {
			others = Absent
		}
		code, err := Compile(rules, others)
		if err != nil {
			t.Skip()
		}
		got := machine(t, code)(unix.AUDIT_ARCH_X86_64, uint32(call), uint64(arg))
		if want := decide(rules, others, uint32(call), uint32(arg)); got != want {
			t.Fatalf("%+v: call %d(%d): %#x, want %#x", rules, call, arg, got, want)
		}
	})
}

// tableOf makes a table of any bytes, four a rule.
func tableOf(b []byte) []Rule {
	var rules []Rule
	seen := map[byte]bool{}
	for ; len(b) >= 4 && len(rules) < 20; b = b[4:] {
		if seen[b[0]] {
			continue
		}
		seen[b[0]] = true
		r := Rule{Call: uint32(b[0]), Verdict: Verdict(b[1] % 3), Hot: b[2]&1 != 0}
		if b[2]&2 != 0 {
			r.Alternatives = append(r.Alternatives, []Condition{Among(0, uint32(b[3]), uint32(b[3])+2)})
		}
		if b[2]&4 != 0 {
			r.Alternatives = append(r.Alternatives, []Condition{Within(0, uint32(b[3]))})
		}
		rules = append(rules, r)
	}
	return rules
}

// decide is the meaning of a table, said without jumps.
func decide(rules []Rule, others Verdict, call, arg uint32) uint32 {
	for _, r := range rules {
		if r.Call != call {
			continue
		}
		ok := r.Alternatives == nil
		for _, a := range r.Alternatives {
			for _, v := range a[0].Among {
				ok = ok || v == arg
			}
			ok = ok || len(a[0].Among) == 0 && arg&^a[0].Mask == 0
		}
		if ok {
			return verdicts[r.Verdict]
		}
	}
	return verdicts[others]
}
