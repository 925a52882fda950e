package proc

import (
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/guest/vfs"
)

// root is /proc. The only process is number 1.
func (w World) root() *vfs.Synthetic {
	self := w.self()
	files := []file{
		{"1", fixed(self)},
		{"cpuinfo", fixed(made(w.cpuinfo))},
		{"filesystems", fixed(text("nodev\tproc\nnodev\toverlay\n"))},
		{"loadavg", fixed(text("0.00 0.00 0.00 1/1 1\n"))},
		{"meminfo", fixed(made(w.meminfo))},
		{"mounts", fixed(text(mounts))},
		{"self", fixed(link(func() string { return "1" }))},
		{"stat", fixed(made(w.systemStat))},
		{"sys", fixed(w.sys())},
		{"thread-self", fixed(link(func() string { return "1" }))},
		{"uptime", fixed(made(w.uptimeText))},
		{"version", fixed(text("Linux version " + w.Release + " (dew) #1 Dew library OS\n"))},
	}
	return directory(func() []file { return files })
}

const mounts = "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n"

// self is /proc/self.
func (w World) self() *vfs.Synthetic {
	nul := func(list []string) *vfs.Synthetic {
		return made(func() string {
			if len(list) == 0 {
				return ""
			}
			return strings.Join(list, "\x00") + "\x00"
		})
	}
	files := []file{
		{"cgroup", fixed(text("0::/\n"))},
		{"cmdline", fixed(nul(w.Args))},
		{"comm", fixed(text(w.comm() + "\n"))},
		{"cwd", fixed(link(w.Cwd))},
		{"environ", fixed(nul(w.Env))},
		{"exe", fixed(link(w.exe))},
		{"fd", fixed(w.descriptors())},
		{"io", fixed(text("rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"))},
		{"limits", fixed(made(w.limits))},
		{"maps", fixed(text(""))},
		{"mountinfo", fixed(text("1 0 0:46 / / rw - overlay overlay rw\n2 1 0:5 / /proc rw - proc proc rw\n"))},
		{"mounts", fixed(text(mounts))},
		{"oom_adj", fixed(text("0\n"))},
		{"oom_score", fixed(text("0\n"))},
		{"oom_score_adj", fixed(text("0\n"))},
		{"root", fixed(link(func() string { return "/" }))},
		{"smaps", fixed(text(""))},
		{"stat", fixed(made(w.stat))},
		{"statm", fixed(made(w.statm))},
		{"status", fixed(made(w.status))},
	}
	return directory(func() []file { return files })
}

func (w World) exe() string {
	if len(w.Args) == 0 {
		return "/"
	}
	return w.Args[0]
}

// comm is the program's name, cut as the kernel cuts it (TASK_COMM_LEN).
func (w World) comm() string {
	name := w.exe()
	name = name[strings.LastIndexByte(name, '/')+1:]
	return name[:min(len(name), 15)]
}

// descriptors is /proc/self/fd.
func (w World) descriptors() *vfs.Synthetic {
	return &vfs.Synthetic{
		Mode: dirMode,
		List: func() []string {
			var names []string
			for _, n := range w.Numbers() {
				names = append(names, strconv.Itoa(n))
			}
			return names
		},
		Find: func(name string) (*vfs.Synthetic, bool) {
			n, err := strconv.Atoi(name)
			if err != nil || strconv.Itoa(n) != name {
				return nil, false
			}
			for _, open := range w.Numbers() {
				if open == n {
					return link(func() string { s, _ := w.Describe(n); return s }), true
				}
			}
			return nil, false
		},
	}
}

func (w World) cpuinfo() string {
	var b strings.Builder
	for i := range w.CPUs {
		b.WriteString("processor\t: " + strconv.Itoa(i) + "\nmodel name\t: dew\ncpu cores\t: " + strconv.Itoa(w.CPUs) + "\n\n")
	}
	return b.String()
}

func (w World) meminfo() string {
	line := func(name string, bytes uint64) string {
		return name + ":\t" + strconv.FormatUint(bytes/1024, 10) + " kB\n"
	}
	free := w.Memory - min(w.Memory, w.InUse())
	return line("MemTotal", w.Memory) + line("MemFree", free) + line("MemAvailable", free) +
		line("Buffers", 0) + line("Cached", 0) + line("SwapTotal", 0) + line("SwapFree", 0)
}

// ticks is a time in clock ticks of 10 ms.
func ticks(ns int64) string { return strconv.FormatInt(ns/int64(10*time.Millisecond), 10) }

func (w World) systemStat() string {
	idle := max(0, int64(w.Uptime())*int64(w.CPUs)-w.CPUTime())
	boot := time.Now().Add(-w.Uptime()).Unix()
	return "cpu  " + ticks(w.CPUTime()) + " 0 0 " + ticks(idle) + " 0 0 0 0 0 0\nctxt 0\nbtime " +
		strconv.FormatInt(boot, 10) + "\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
}

func (w World) uptimeText() string {
	s := strconv.FormatFloat(w.Uptime().Seconds(), 'f', 2, 64)
	return s + " " + s + "\n"
}

// stat is /proc/self/stat (proc_pid_stat(5)): field 14 is user time, 20 the
// number of threads, 22 the start, 23 and 24 memory.
func (w World) stat() string {
	pages := strconv.FormatUint(w.InUse()/4096, 10)
	return "1 (" + w.comm() + ") R 0 1 1 0 -1 4194304 0 0 0 0 " + ticks(w.CPUTime()) + " 0 0 0 20 0 1 0 0 " +
		strconv.FormatUint(w.InUse(), 10) + " " + pages + " 18446744073709551615" + strings.Repeat(" 0", 27) + "\n"
}

func (w World) statm() string {
	pages := strconv.FormatUint(w.InUse()/4096, 10)
	return pages + " " + pages + " 0 0 0 " + pages + " 0\n"
}

func (w World) status() string {
	kb := strconv.FormatUint(w.InUse()/1024, 10)
	return "Name:\t" + w.comm() + "\nState:\tR (running)\nTgid:\t1\nPid:\t1\nPPid:\t0\nTracerPid:\t0\n" +
		"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t" + strconv.Itoa(len(w.Numbers())) + "\n" +
		"VmPeak:\t" + kb + " kB\nVmSize:\t" + kb + " kB\nVmHWM:\t" + kb + " kB\nVmRSS:\t" + kb + " kB\nThreads:\t1\n" +
		"Cpus_allowed_list:\t0-" + strconv.Itoa(w.CPUs-1) + "\n"
}

// limits is /proc/self/limits (proc_pid_limits(5)).
func (w World) limits() string {
	var b strings.Builder
	row := func(cells ...string) {
		for i, c := range cells {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", max(1, []int{26, 21, 21, 10}[i]-len(c))))
		}
		b.WriteByte('\n')
	}
	row("Limit", "Soft Limit", "Hard Limit", "Units")
	for _, l := range []struct {
		n           int
		name, units string
	}{
		{0, "Max cpu time", "seconds"}, {1, "Max file size", "bytes"}, {2, "Max data size", "bytes"},
		{3, "Max stack size", "bytes"}, {4, "Max core file size", "bytes"}, {6, "Max processes", "processes"},
		{7, "Max open files", "files"}, {8, "Max locked memory", "bytes"}, {9, "Max address space", "bytes"},
	} {
		cur, most := w.Limit(l.n)
		row(l.name, amount(cur), amount(most), l.units)
	}
	return b.String()
}

func amount(n uint64) string {
	if n == ^uint64(0) {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// sys is /proc/sys: what programs read before they choose sizes.
func (w World) sys() *vfs.Synthetic {
	dir := func(files ...file) func() *vfs.Synthetic {
		return fixed(directory(func() []file { return files }))
	}
	t := func(name, content string) file { return file{name, fixed(text(content + "\n"))} }
	return directory(func() []file {
		return []file{
			{"fs", dir(t("file-max", "1048576"), t("nr_open", "1048576"))},
			{"kernel", dir(t("hostname", w.Hostname), t("osrelease", w.Release), t("ostype", "Linux"),
				t("pid_max", "1"), file{"random", dir(file{"uuid", fixed(made(w.uuid))}, file{"boot_id", fixed(made(w.uuid))})})},
			{"net", dir(file{"core", dir(t("somaxconn", "4096"))})},
			{"vm", dir(t("overcommit_memory", "1"), t("max_map_count", "65530"))},
		}
	})
}

// uuid is a random UUID of version 4 (RFC 9562 section 5.4).
func (w World) uuid() string {
	var b [16]byte
	w.Random(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	const digits = "0123456789abcdef"
	var s strings.Builder
	for i, v := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s.WriteByte('-')
		}
		s.WriteByte(digits[v>>4])
		s.WriteByte(digits[v&15])
	}
	return s.String() + "\n"
}
