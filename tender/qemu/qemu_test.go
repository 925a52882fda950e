package qemu

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
	"golang.org/x/arch/x86/x86asm"
)

func installed(t *testing.T) string {
	path, err := exec.LookPath(Name)
	if err != nil {
		t.Skipf("needs %s", Name)
	}
	return path
}

func TestProbeGuestIsWhatItsCommentsSay(t *testing.T) {
	b := probeGuest()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Progs[0].Memsz != uint64(len(b)) {
		t.Fatal(err, f)
	}
	entry := f.Entry
	note := b[f.Progs[1].Off:][:f.Progs[1].Filesz]
	if string(note[:16]) != "\x04\x00\x00\x00\x04\x00\x00\x00\x12\x00\x00\x00Xen\x00" || binary.LittleEndian.Uint32(note[16:]) != uint32(entry) {
		t.Fatalf("note % x, entry %#x", note, entry)
	}
	want := []string{"mov eax, cr4", "or ax, 0x200", "mov cr4, eax", "xorps xmm0, xmm0", "mov eax, 0x7", "mov ecx, 0x6", "mul ecx", "dec eax", "out 0xf4, al", "hlt", "jmp .-0x3"}
	code := b[entry-0x100000:]
	for _, text := range want {
		i, err := x86asm.Decode(code, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ToLower(x86asm.IntelSyntax(i, 0, nil)); got != text {
			t.Errorf("%q, want %q", got, text)
		}
		code = code[i.Len:]
	}
	if len(code) != 0 {
		t.Errorf("% x is left", code)
	}
}

func TestEmulationWorks(t *testing.T) {
	if !works(t.Context(), installed(t), TCG) {
		t.Error("the probe guest did not run, though emulation needs nothing")
	}
	if works(t.Context(), "/bin/false", TCG) {
		t.Error("a program that is not QEMU passed")
	}
}

// TestProbeBelievesNobody: whatever the answer, an accelerator that was chosen
// ran the guest.
func TestProbeBelievesNobody(t *testing.T) {
	path := installed(t)
	if a := Probe(t.Context(), path); !works(t.Context(), path, a) {
		t.Errorf("%s was chosen and does not work", a)
	}
}

func TestFindMakesTheJailReachable(t *testing.T) {
	installed(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it there is no jail")
	}
	private, err := os.MkdirTemp("", "jail-") // 0700
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(private)
	dir := private + "/jail"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "chmod o+x "+private) {
		t.Errorf("a jail that nobody's uid can reach: %v", err)
	}
	if err := os.Chmod(private, 0o711); err != nil {
		t.Fatal(err)
	}
	found, err := Find(t.Context(), dir)
	if err != nil || found.Jail != dir || found.groups == nil {
		t.Fatalf("%+v, %v", found, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Find(t.Context(), dir+"/absent"); err == nil {
		t.Error("a jail that is not there was taken")
	}
}

func TestModuleIsRecordThenImage(t *testing.T) {
	image, err := memfd("image")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	image.WriteString(strings.Repeat("image", 1000))
	c := &boot.Config{Args: []string{"/app"}, Env: []string{"SECRET=x"}, ImageSize: 5000}
	f, err := moduleFile(c, image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 20000)
	n, _ := f.ReadAt(b, 0)
	got, err := boot.Decode(b[:n])
	if err != nil || got.Env[0] != "SECRET=x" || n != 4096+5000 || string(b[4096:4101]) != "image" {
		t.Errorf("%d bytes, %v, %+v", n, err, got)
	}
	c.ImageSize = 6000
	if _, err := moduleFile(c, image); err == nil {
		t.Error("an image shorter than announced was taken")
	}
}

func spec(t *testing.T, program []byte) *tender.Spec {
	f, err := os.CreateTemp(t.TempDir(), "program")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(program)
	f.Chmod(0o755)
	t.Cleanup(func() { f.Close() })
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return &tender.Spec{Name: fmt.Sprintf("metal-%d", os.Getpid()), Program: f, Stdout: null,
		Boot: boot.Config{Args: []string{"/app"}, Env: []string{"SECRET=hunter2"}}, DieWithCaller: true}
}

func TestCompleteFillsInWhatIsMissing(t *testing.T) {
	s := spec(t, nil)
	s.Limits = tender.Limits{Memory: 144 << 20, CPUs: 1.5}
	if err := complete(s); err != nil {
		t.Fatal(err)
	}
	if b := s.Boot; b.MemoryLimit != 64<<20 || b.CPUs != 2 || b.Seed == [32]byte{} || time.Since(time.Unix(0, b.WallClock)) > time.Minute {
		t.Errorf("%+v", b)
	}
	if last := s.Boot.Env[len(s.Boot.Env)-1]; last != "GOMEMLIMIT=56203674" {
		t.Errorf("%s: want the machine's 64 MiB less a tenth, 4 MiB and the program", last)
	}
	for name, spoil := range map[string]func(*tender.Spec){
		"a limit below QEMU's own":  func(s *tender.Spec) { s.Limits.Memory = 64 << 20 },
		"a machine of one megabyte": func(s *tender.Spec) { s.Boot.MemoryLimit = 1 << 20 },
	} {
		s := spec(t, nil)
		spoil(s)
		if complete(s) == nil {
			t.Errorf("%s was taken for enough", name)
		}
	}
}

func TestSecretsAreOnNoCommandLine(t *testing.T) {
	s := spec(t, nil)
	complete(s)
	m, err := (&Tender{Binary: "qemu", Accel: TCG, Jail: "/empty"}).machine(s)
	if err != nil {
		t.Fatal(err)
	}
	defer m.closeInherited()
	defer m.abandon()
	line := strings.Join(m.args, " ")
	for _, banned := range []string{"hunter2", "SECRET", s.Program.Name(), "-netdev", "-qmp", "0.0.0.0"} {
		if strings.Contains(line, banned) {
			t.Errorf("%q is on the command line %s", banned, line)
		}
	}
	for _, wanted := range []string{"-nodefaults", "-no-user-config", "-monitor none", "-sandbox on,", "spawn=deny", "-chroot /empty", "-runas 1:1", "-m 256M", "-no-reboot"} {
		if !strings.Contains(line, wanted) {
			t.Errorf("%q is missing on %s", wanted, line)
		}
	}
}

// TestAlteredChangesOneTenderOnly: what tests leave out, guests keep.
func TestAlteredChangesOneTenderOnly(t *testing.T) {
	s := spec(t, nil)
	complete(s)
	whole := &Tender{Binary: "qemu", Accel: TCG}
	open := whole.Altered(func(args []string) []string {
		return slices.DeleteFunc(args, func(a string) bool { return a == "-no-reboot" })
	})
	for td, want := range map[*Tender]bool{whole: true, open: false} {
		m, err := td.machine(s)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(m.args, "-no-reboot") != want {
			t.Errorf("want %v: %v", want, m.args)
		}
		m.closeInherited()
		m.abandon()
	}
}

func TestUIDsAreApart(t *testing.T) {
	seen := map[int]bool{}
	for i := range 1000 {
		id := uidOf(fmt.Sprint("app-", i))
		if id < 1_600_000_000 || id+1 >= 1_800_000_000 || id%2 != 0 || seen[id] {
			t.Fatalf("%d", id)
		}
		seen[id] = true
	}
}

// endless is a guest that does nothing for ever.
func endless() []byte {
	b := probeGuest()
	at := bytes.Index(b, probeCode)
	copy(b[at:], []byte{0xfa, 0xf4, 0xeb, 0xfc}) // cli; hlt; jmp .-2
	return b
}

func start(t *testing.T, program []byte) tender.Instance {
	path := installed(t)
	tend := &Tender{Binary: path, Accel: TCG}
	if os.Geteuid() == 0 {
		tend.Jail = emptyDir(t)
		groups, err := cgroup.Probe()
		if err != nil {
			t.Fatal(err)
		}
		tend.groups = groups
	}
	i, err := tend.Start(t.Context(), spec(t, program))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.Kill()
		wait(t, i)
	})
	return i
}

// emptyDir is one that nobody's uid can reach, unlike t.TempDir.
func emptyDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "metal-jail-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wait(t *testing.T, i tender.Instance) tender.Exit {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	e, err := i.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAKilledGuestSaysSo(t *testing.T) {
	i := start(t, endless())
	if err := i.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, i); e.Reason != tender.Killed || e.Signal != syscall.SIGKILL {
		t.Errorf("%v", e)
	}
	if err := i.Kill(); err != nil {
		t.Errorf("killing the dead: %v", err)
	}
}

// TestAGuestThatTellsNothingIsNotBelieved: the verdict "exited" needs a status
// on the control channel. Nor is the host blamed: a guest can end QEMU with any
// status.
func TestAGuestThatTellsNothingIsNotBelieved(t *testing.T) {
	e := wait(t, start(t, probeGuest()))
	if e.Reason != tender.Crashed || e.Code() != 134 || !strings.Contains(e.Detail, fmt.Sprint("exit status ", 2*probeValue+1)) {
		t.Errorf("%v", e)
	}
}

func TestAProgramWithoutEntryIsTheHostsFailure(t *testing.T) {
	e := wait(t, start(t, []byte("no ELF at all")))
	if e.Reason != tender.HostFailed || !strings.Contains(e.Detail, "QEMU") {
		t.Errorf("%+v", e)
	}
}

// TestTheJail looks at a running QEMU from outside.
func TestTheJail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it there is only QEMU's own sandbox")
	}
	i := start(t, endless())
	proc := fmt.Sprintf("/proc/%d/", i.PID())
	deadline := time.Now().Add(time.Minute)
	for seccomp := ""; seccomp != "2" || field(proc, "CapEff") != "0000000000000000"; seccomp = field(proc, "Seccomp") {
		if time.Now().After(deadline) {
			t.Fatalf("QEMU did not confine itself in a minute: seccomp %q, capabilities %q", seccomp, field(proc, "CapEff"))
		}
	}
	uids := strings.Fields(field(proc, "Uid"))
	id := uidOf(fmt.Sprintf("metal-%d", os.Getpid())) + 1
	for _, u := range uids {
		if u != fmt.Sprint(id) {
			t.Errorf("uids %v, want %d", uids, id)
		}
	}
	if field(proc, "NoNewPrivs") != "1" || field(proc, "CapPrm") != "0000000000000000" {
		t.Errorf("no_new_privs %s, permitted %s", field(proc, "NoNewPrivs"), field(proc, "CapPrm"))
	}
	if root, err := os.ReadDir(proc + "root"); err != nil || len(root) != 0 {
		t.Errorf("root holds %v, %v", root, err)
	}
	if group, err := os.ReadFile(proc + "cgroup"); err != nil || !strings.Contains(string(group), fmt.Sprintf("metal-%d", os.Getpid())) {
		t.Errorf("control groups %s, %v", group, err)
	}
	for _, ns := range []string{"user", "net", "ipc", "uts", "pid", "mnt"} {
		theirs, err := os.Readlink(proc + "ns/" + ns)
		ours, _ := os.Readlink("/proc/self/ns/" + ns)
		if err != nil || theirs == ours {
			t.Errorf("namespace %s is %s, ours %s, %v", ns, theirs, ours, err)
		}
	}
}

// field reads a line of /proc/pid/status; of all threads the weakest counts,
// and here the first one is where confinement happens last.
func field(proc, name string) string {
	f, err := os.Open(proc + "status")
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
