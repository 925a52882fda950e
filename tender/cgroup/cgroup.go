package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// parent is the group of all instances' groups.
const parent = "dew"

// Limits of one group; zero values are no limit.
type Limits struct {
	Memory uint64  // bytes
	CPUs   float64 // of the host's CPUs
	Shares int     // of the CPUs when they are all wanted: twice as many, twice the time
	PIDs   int     // tasks, which are threads
}

// controller is where one controller of this machine is.
type controller struct {
	dir   string // below which groups are made
	mount string // where its tree begins
	v2    bool
}

// Host is this machine's controllers. It is read once.
type Host struct {
	controllers map[string]controller // "memory", "cpu", "pids"
}

var wanted = []string{"memory", "cpu", "pids"}

// Probe finds out where the controllers are.
func Probe() (*Host, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("probe cgroups: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("probe cgroups: %w", err)
	}
	return probe(mounts, own, func(dir string) string {
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		return string(b)
	}), nil
}

// probe reads the texts of /proc/self/mounts and /proc/self/cgroup. A group of
// version 1 is made below the caller's own, so that its limits hold too; in
// version 2 a group with processes cannot have children with controllers, so
// it is made below the root that the caller sees.
func probe(mounts, own []byte, controllersOf func(dir string) string) *Host {
	h := &Host{controllers: map[string]controller{}}
	paths := ownPaths(own)
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 {
			continue
		}
		switch f[2] {
		case "cgroup":
			for _, name := range strings.Split(f[3], ",") {
				if slices.Contains(wanted, name) {
					h.controllers[name] = controller{dir: filepath.Join(f[1], paths[name]), mount: f[1]}
				}
			}
		case "cgroup2":
			for _, name := range strings.Fields(controllersOf(f[1])) {
				if _, v1 := h.controllers[name]; !v1 && slices.Contains(wanted, name) {
					h.controllers[name] = controller{dir: f[1], mount: f[1], v2: true}
				}
			}
		}
	}
	return h
}

// ownPaths maps a version 1 controller to the caller's group.
func ownPaths(b []byte) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, name := range strings.Split(f[1], ",") {
			paths[name] = f[2]
		}
	}
	return paths
}

// Group is the control groups of one instance.
type Group struct {
	name  string
	dirs  []string          // without duplicates
	where map[string]string // controller to dir
	v2    map[string]bool   // by controller
}

// Create makes the group and sets its limits. A group of that name is an error
// wrapping fs.ErrExist.
func (h *Host) Create(name string, l Limits) (*Group, error) {
	g := &Group{name: name, where: map[string]string{}, v2: map[string]bool{}}
	if err := g.make(h); err != nil {
		g.Remove()
		return nil, fmt.Errorf("make cgroup %s: %w", name, err)
	}
	if err := g.limit(l); err != nil {
		g.Remove()
		return nil, fmt.Errorf("limit cgroup %s: %w", name, err)
	}
	return g, nil
}

func (g *Group) make(h *Host) error {
	for _, name := range wanted {
		c, ok := h.controllers[name]
		if !ok {
			continue
		}
		if c.v2 {
			delegate(c.dir, name)
		}
		above := filepath.Join(c.dir, parent)
		if err := os.Mkdir(above, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if name == "cpu" && !c.v2 {
			weigh(above)
		}
		if c.v2 {
			delegate(above, name)
		}
		dir := filepath.Join(above, g.name)
		g.where[name], g.v2[name] = dir, c.v2
		if slices.Contains(g.dirs, dir) {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		g.dirs = append(g.dirs, dir)
	}
	return nil
}

// delegate hands a version 2 controller to the children of dir. Whether it
// worked shows when the limit is written.
func delegate(dir, name string) {
	os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
}

// weigh gives all guests together the weight of one busy thread a CPU, as they
// would have without groups. A new group of version 1 weighs as much as a single
// thread beside it, so that a client of two threads on the same CPUs stopped a
// guest for each of its answers. What somebody has set already stays. In version 2
// groups compete with groups alone.
func weigh(above string) {
	const oneThread = 1024 // NICE_0_LOAD (kernel/sched/sched.h)
	file := filepath.Join(above, "cpu.shares")
	if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(oneThread) {
		os.WriteFile(file, []byte(strconv.Itoa(oneThread*runtime.NumCPU())), 0)
	}
}

const quotaPeriod = 100_000 // microseconds, the kernel's default

func (g *Group) limit(l Limits) error {
	if l.Memory > 0 {
		if err := g.limitMemory(strconv.FormatUint(l.Memory, 10)); err != nil {
			return err
		}
	}
	if l.CPUs > 0 {
		if err := g.limitCPU(strconv.Itoa(max(1000, int(l.CPUs*quotaPeriod)))); err != nil {
			return err
		}
	}
	if l.Shares > 0 {
		if err := g.Share(l.Shares); err != nil {
			return err
		}
	}
	if l.PIDs > 0 {
		return g.write("pids", "pids.max", strconv.Itoa(l.PIDs))
	}
	return nil
}

func (g *Group) limitMemory(n string) error {
	if g.v2["memory"] {
		g.write("memory", "memory.swap.max", "0") // absent without swap
		return g.write("memory", "memory.max", n)
	}
	err := g.write("memory", "memory.limit_in_bytes", n)
	if err == nil {
		g.write("memory", "memory.memsw.limit_in_bytes", n) // absent without swap accounting
	}
	return err
}

func (g *Group) limitCPU(quota string) error {
	if g.v2["cpu"] {
		return g.write("cpu", "cpu.max", quota+" "+strconv.Itoa(quotaPeriod))
	}
	return g.write("cpu", "cpu.cfs_quota_us", quota)
}

// Share sets what Limits calls Shares, at any time: a weight among the groups beside
// this one, 2 to 262144 in version 1, 1 to 10000 in version 2 (cgroup-v1/cpu
// shares; cgroup-v2.rst, cpu.weight).
func (g *Group) Share(n int) error {
	if g.v2["cpu"] {
		return g.write("cpu", "cpu.weight", strconv.Itoa(min(max(n/8, 1), 10_000)))
	}
	return g.write("cpu", "cpu.shares", strconv.Itoa(min(max(n, 2), 262_144)))
}

func (g *Group) write(controller, file, value string) error {
	dir, ok := g.where[controller]
	if !ok {
		return fmt.Errorf("this machine has no %s controller: %w", controller, errors.ErrUnsupported)
	}
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
}

// Procs opens the files to which a process of one thread writes "0" to join
// the group. In version 1 that is tasks: a thread that moves itself needs not
// wait for the lock that keeps thread groups stable, which costs an RCU grace
// period of about 10 ms (kernel/cgroup/cgroup.c, cgroup_procs_write_start).
func (g *Group) Procs() ([]*os.File, error) {
	var files []*os.File
	for _, dir := range g.dirs {
		name := "tasks"
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			name = "cgroup.procs"
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("open cgroup %s: %w", g.name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// OOMKilled tells whether the kernel killed in this group for want of memory.
func (g *Group) OOMKilled() bool {
	file := "memory.oom_control"
	if g.v2["memory"] {
		file = "memory.events"
	}
	b, err := os.ReadFile(filepath.Join(g.where["memory"], file))
	return err == nil && oomKills(b) > 0
}

// oomKills reads the line "oom_kill N".
func oomKills(b []byte) int {
	for line := range strings.Lines(string(b)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == "oom_kill" {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// PeakMemory is the group's high-water mark in bytes, 0 where the kernel does
// not tell.
func (g *Group) PeakMemory() uint64 {
	file := "memory.max_usage_in_bytes"
	if g.v2["memory"] {
		file = "memory.peak"
	}
	b, _ := os.ReadFile(filepath.Join(g.where["memory"], file))
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// Remove removes the group of processes that have ended. The kernel lets go of
// the last one a little after it was waited for.
func (g *Group) Remove() error {
	var first error
	for _, dir := range g.dirs {
		if err := removeDir(dir); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func removeDir(dir string) error {
	pause := 100 * time.Microsecond
	for {
		err := syscall.Rmdir(dir)
		if err == nil || err == syscall.ENOENT {
			return nil
		}
		if err != syscall.EBUSY || pause > 200*time.Millisecond {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// Reap kills and removes the groups whose name dead reports as left behind.
func (h *Host) Reap(dead func(name string) bool) error {
	var errs []error
	for _, c := range h.controllers {
		above := filepath.Join(c.dir, parent)
		entries, err := os.ReadDir(above)
		if err != nil {
			continue // nobody has run a guest yet
		}
		for _, e := range entries {
			if !e.IsDir() || !dead(e.Name()) {
				continue
			}
			dir := filepath.Join(above, e.Name())
			killAll(dir)
			errs = append(errs, removeDir(dir))
		}
	}
	return errors.Join(errs...)
}

// Sweep removes the groups without processes that are older than an age: their
// instances have ended, and so has whoever should have removed them. One that is
// being made is younger; the kernel refuses to remove one that is in use.
func (h *Host) Sweep(age time.Duration) { h.sweep(age, func(string) bool { return true }) }

func (h *Host) sweep(age time.Duration, concerns func(name string) bool) {
	for _, c := range h.controllers {
		above := filepath.Join(c.dir, parent)
		entries, _ := os.ReadDir(above)
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && e.IsDir() && concerns(e.Name()) && time.Since(info.ModTime()) >= age {
				syscall.Rmdir(filepath.Join(above, e.Name()))
			}
		}
	}
}

func killAll(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, s := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 1 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
