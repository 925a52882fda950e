package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuRoot is where a machine with control groups of version 1 has CPU shares.
const cpuRoot = "/sys/fs/cgroup/cpu"

// first gives this run precedence over all else on the machine, and both sides
// the same place in it: a guest is in a group of its own, so the process is put
// into one too. Without version 1 it does nothing.
func first() (native func(pid int) error, undo func()) {
	own := filepath.Join(cpuRoot, fmt.Sprintf("bench-%d", os.Getpid()))
	write := func(dir, file, value string) error {
		return os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
	}
	if os.Mkdir(own, 0o755) != nil {
		return func(int) error { return nil }, func() {}
	}
	write(own, "cpu.shares", "262144")
	write(own, "cgroup.procs", "0")
	sub := filepath.Join(own, "dew", "native")
	native = func(pid int) error {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		return write(sub, "cgroup.procs", strconv.Itoa(pid))
	}
	return native, func() {
		write(cpuRoot, "cgroup.procs", "0")
		for _, dir := range []string{sub, filepath.Dir(sub), own} {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, pid := range strings.Fields(string(b)) {
				write(cpuRoot, "cgroup.procs", pid)
			}
			os.Remove(dir)
		}
	}
}
