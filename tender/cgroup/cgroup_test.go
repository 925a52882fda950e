package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	const v1 = `tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
`
	for name, c := range map[string]struct {
		mounts, own, controllers string
		want                     string
	}{
		"v1": {v1, "4:memory:/box\n3:cpu,cpuacct:/\n2:pids:/user/1\n0::/\n", "",
			"cpu:/sys/fs/cgroup/cpu,cpuacct memory:/sys/fs/cgroup/memory/box pids:/sys/fs/cgroup/pids/user/1"},
		"v2": {"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/user.slice\n", "cpuset cpu io memory pids",
			"cpu:/sys/fs/cgroup:2 memory:/sys/fs/cgroup:2 pids:/sys/fs/cgroup:2"},
		"hybrid": {v1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "", "hugetlb",
			"cpu:/sys/fs/cgroup/cpu,cpuacct memory:/sys/fs/cgroup/memory pids:/sys/fs/cgroup/pids"},
		"mixed": {"cgroup /c/memory cgroup rw,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n", "", "cpu memory pids",
			"cpu:/c/unified:2 memory:/c/memory pids:/c/unified:2"},
		"none": {"proc /proc proc rw 0 0\n", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := probe([]byte(c.mounts), []byte(c.own), func(string) string { return c.controllers })
			var got []string
			for _, name := range []string{"cpu", "memory", "pids"} {
				if c, ok := h.controllers[name]; ok {
					s := name + ":" + c.dir
					if c.v2 {
						s += ":2"
					}
					got = append(got, s)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestV2Files: what is written where, in a folder that stands for cgroup2.
func TestV2Files(t *testing.T) {
	root := t.TempDir()
	h := &Host{controllers: map[string]controller{}}
	for _, name := range wanted {
		h.controllers[name] = controller{dir: root, v2: true}
	}
	g, err := h.Create("a", Limits{Memory: 64 << 20, CPUs: 0.5, PIDs: 9})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "67108864", "cpu.max": "50000 100000", "pids.max": "9"} {
		b, err := os.ReadFile(filepath.Join(root, parent, "a", file))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", file, b, err, want)
		}
	}
	os.WriteFile(filepath.Join(root, parent, "a", "memory.events"), []byte("oom 2\noom_kill 1\noom_group_kill 0\n"), 0o600)
	if !g.OOMKilled() {
		t.Error("the kill is not seen")
	}
}

// TestWeightOfAllGuests: as many threads as there are CPUs, unless somebody has
// said otherwise.
func TestWeightOfAllGuests(t *testing.T) {
	root := t.TempDir()
	h := &Host{controllers: map[string]controller{"cpu": {dir: root}}}
	file := filepath.Join(root, parent, "cpu.shares")
	if err := os.Mkdir(filepath.Join(root, parent), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ was, want string }{
		"new": {"1024\n", strconv.Itoa(1024 * runtime.NumCPU())}, "set": {"300\n", "300\n"},
	} {
		if err := os.WriteFile(file, []byte(c.was), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Create(name, Limits{}); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(file); string(b) != c.want {
			t.Errorf("%s: %q, want %q", name, b, c.want)
		}
	}
}

func TestLimitWithoutController(t *testing.T) {
	h := &Host{controllers: map[string]controller{}}
	if _, err := h.Create("a", Limits{}); err != nil {
		t.Error(err)
	}
	if _, err := h.Create("a", Limits{Memory: 1}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

// TestThisMachine makes, limits, reaps a group of the real kernel.
func TestThisMachine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes control groups")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	if len(h.controllers) != len(wanted) {
		t.Skipf("needs the controllers %v, this machine has %v", wanted, h.controllers)
	}
	name := fmt.Sprintf("cgrouptest-%d", os.Getpid())
	limits := Limits{Memory: 32 << 20, CPUs: 1, PIDs: 20}
	g, err := h.Create(name, limits)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Remove()
	if _, err := h.Create(name, limits); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second group of that name: %v", err)
	}
	files, err := g.Procs()
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		f.Close()
	}
	if g.OOMKilled() {
		t.Error("nobody was killed")
	}
	if err := h.Reap(func(n string) bool { return n == name }); err != nil {
		t.Error(err)
	}
	for _, dir := range g.dirs {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
}

// TestSweep: what has no process and is old goes, and nothing else.
func TestSweep(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes control groups")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	there := func(g *Group) bool {
		_, err := os.Stat(g.dirs[0])
		return err == nil
	}
	var groups []*Group
	for _, name := range []string{"empty", "used"} {
		g, err := h.Create(fmt.Sprintf("sweep-test-%d-%s", os.Getpid(), name), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(g.dirs) == 0 {
			t.Skip("needs control groups")
		}
		defer g.Remove()
		groups = append(groups, g)
	}
	sleeper := exec.Command("/bin/sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleeper.Wait()
	defer sleeper.Process.Kill()
	files, err := groups[1].Procs()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := fmt.Fprint(f, sleeper.Process.Pid); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	h.Sweep(time.Hour)
	if !there(groups[0]) {
		t.Error("a young group is gone")
	}
	h.sweep(0, func(name string) bool { return strings.HasPrefix(name, fmt.Sprintf("sweep-test-%d-", os.Getpid())) })
	if there(groups[0]) {
		t.Error("the empty group is still there")
	}
	if !there(groups[1]) {
		t.Error("a group in use is gone")
	}
}

// TestUsage: a process of our own in a group of our own uses memory and time.
func TestUsage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes control groups")
	}
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	if len(h.controllers) < len(wanted) {
		t.Skip("needs the controllers memory, cpu and pids")
	}
	g, err := h.Create(fmt.Sprintf("usage-test-%d", os.Getpid()), Limits{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	busy := exec.Command("/bin/sh", "-c", `read go; x=$(head -c 1000000 /dev/zero | tr '\0' x); while :; do :; done`)
	start, err := busy.StdinPipe()
	if err == nil {
		err = busy.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		busy.Process.Kill()
		busy.Wait()
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}()
	files, err := g.Procs()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := fmt.Fprint(f, busy.Process.Pid); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	fmt.Fprintln(start, "go")
	for deadline := time.Now().Add(2 * time.Minute); ; runtime.Gosched() {
		u, err := h.Usage(busy.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU > 50*time.Millisecond && u.Memory > 0 && u.Memory < 64<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", u)
		}
	}
}

func TestUsageOfNobody(t *testing.T) {
	h, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Usage(1 << 22); !errors.Is(err, fs.ErrNotExist) { // above the kernel's pid_max
		t.Error(err)
	}
}

func TestCPUOf(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 12 30 0 0 20 0": 420 * time.Millisecond, "7 (a) S 1": 0, "": 0,
	} {
		if got := cpuOf([]byte(stat)); got != want {
			t.Errorf("%q: %v, want %v", stat, got, want)
		}
	}
}
