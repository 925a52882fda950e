package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a group has used and uses.
type Usage struct {
	CPU    time.Duration // since it was made
	Memory uint64        // bytes that cannot be taken back at once
}

// Usage looks at the groups that a process is in, whoever made them:
// os.ErrNotExist when it has ended. What no controller of this machine counts
// is taken from the process itself.
func (h *Host) Usage(pid int) (u Usage, err error) {
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return u, err
	}
	paths := ownPaths(own)
	if c, ok := h.controllers["memory"]; ok {
		if u.Memory, err = memoryUse(c.of(paths, "memory"), c.v2); err != nil {
			return u, err
		}
	}
	if c, ok := h.controllers["cpu"]; ok {
		if u.CPU, err = cpuUse(c.of(paths, "cpu"), c.v2); err == nil {
			return u, nil
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	u.CPU = cpuOf(stat)
	return u, err
}

// of is the folder of a process's group. The one group of version 2 has no
// controller's name.
func (c controller) of(paths map[string]string, name string) string {
	if c.v2 {
		name = ""
	}
	return filepath.Join(c.mount, paths[name])
}

// memoryUse is the memory charged to a group without the part of the page
// cache that is not in use: a guest has no files of its own, and what it reads
// of its droplet belongs to all.
func memoryUse(dir string, v2 bool) (uint64, error) {
	file, idle := "memory.usage_in_bytes", "total_inactive_file"
	if v2 {
		file, idle = "memory.current", "inactive_file"
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	used := number(b)
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	return used - min(used, field(stat, idle)), nil
}

func cpuUse(dir string, v2 bool) (time.Duration, error) {
	if v2 {
		b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		return time.Duration(field(b, "usage_usec")) * time.Microsecond, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
	if err == nil {
		return time.Duration(number(b)), nil
	}
	return 0, err // cpuacct may be mounted apart from cpu
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 everywhere.
const tick = 10 * time.Millisecond

// cpuOf reads utime and stime, the 14th and 15th field of proc_pid_stat(5),
// counted behind the name, which may hold anything.
func cpuOf(stat []byte) time.Duration {
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	return time.Duration(number([]byte(f[11]))+number([]byte(f[12]))) * tick
}

func number(b []byte) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// field reads the line "NAME NUMBER".
func field(b []byte, name string) uint64 {
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return number([]byte(value))
		}
	}
	return 0
}
