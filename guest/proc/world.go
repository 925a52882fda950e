package proc

import (
	"strconv"
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/vfs"
)

// World is what there is to tell.
type World struct {
	Hostname string
	Release  string
	CPUs     int
	Memory   uint64 // bytes
	Args     []string
	Env      []string
	Addr     [4]byte // zero: no vNIC
	Gateway  [4]byte
	// Resolvers are the DNS servers; none: the gateway is one.
	Resolvers [][4]byte

	InUse    func() uint64 // bytes
	CPUTime  func() int64  // ns
	Uptime   func() time.Duration
	Cwd      func() string
	Numbers  func() []int                // open descriptors
	Describe func(int) (string, bool)    // what a descriptor is
	Limit    func(int) (cur, max uint64) // RLIMIT_ by number
	Random   func([]byte) syscall.Errno
}

const (
	dirMode  = syscall.S_IFDIR | 0o555
	fileMode = syscall.S_IFREG | 0o444
	linkMode = syscall.S_IFLNK | 0o777
	charMode = syscall.S_IFCHR | 0o666
)

// Mount puts the files into a file system. Nothing is written over that the
// image has, but /proc and /dev.
func Mount(f *vfs.FS, w World) {
	f.Place("/proc", w.root())
	f.Place("/dev", w.devices())
	f.Place("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text("2097152\n"))
	f.Mkdir(f.Root(), "/etc", 0o755)
	for path, content := range w.etc() {
		write(f, path, content)
	}
	if _, err := f.Find(f.Root(), "/tmp", true); err == syscall.ENOENT {
		f.Mkdir(f.Root(), "/tmp", 0o1777)
	}
}

// write makes an ordinary file, unless something has the name already.
func write(f *vfs.FS, path, content string) {
	h, err := f.Open(f.Root(), path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o644)
	if err != 0 {
		return
	}
	h.Write([]byte(content), fd.AtPosition)
	h.Close()
}

func text(s string) *vfs.Synthetic { return made(func() string { return s }) }

func made(f func() string) *vfs.Synthetic {
	return &vfs.Synthetic{Mode: fileMode, Text: func() []byte { return []byte(f()) }}
}

func link(f func() string) *vfs.Synthetic { return &vfs.Synthetic{Mode: linkMode, Target: f} }

// file is one name in a synthetic directory. make is called for each lookup,
// so that a directory costs nothing until it is used.
type file struct {
	name string
	make func() *vfs.Synthetic
}

func directory(files func() []file) *vfs.Synthetic {
	return &vfs.Synthetic{
		Mode: dirMode,
		List: func() []string {
			var names []string
			for _, f := range files() {
				names = append(names, f.name)
			}
			return names
		},
		Find: func(name string) (*vfs.Synthetic, bool) {
			for _, f := range files() {
				if f.name == name {
					return f.make(), true
				}
			}
			return nil, false
		},
	}
}

func fixed(s *vfs.Synthetic) func() *vfs.Synthetic { return func() *vfs.Synthetic { return s } }

func (w World) etc() map[string]string {
	files := map[string]string{
		"/etc/hosts":         w.hosts(),
		"/etc/hostname":      w.Hostname + "\n",
		"/etc/passwd":        "root:x:0:0:root:" + w.home() + ":/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":         "root:x:0:\nnobody:x:65534:\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/os-release":    "ID=dew\nNAME=Dew\nPRETTY_NAME=\"Dew droplet\"\n",
	}
	if conf := w.resolvConf(); conf != "" {
		files["/etc/resolv.conf"] = conf
	}
	return files
}

// hosts has no ::1: a guest speaks IPv4 alone.
func (w World) hosts() string {
	if w.Addr == [4]byte{} {
		return "127.0.0.1\tlocalhost " + w.Hostname + "\n"
	}
	return "127.0.0.1\tlocalhost\n" + dotted(w.Addr) + "\t" + w.Hostname + "\n"
}

// maxResolvers is MAXNS of resolver(5): programs look at no more.
const maxResolvers = 3

func (w World) resolvConf() string {
	resolvers := w.Resolvers[:min(len(w.Resolvers), maxResolvers)]
	if len(resolvers) == 0 && w.Gateway != [4]byte{} {
		resolvers = [][4]byte{w.Gateway}
	}
	conf := ""
	for _, a := range resolvers {
		conf += "nameserver " + dotted(a) + "\n"
	}
	return conf
}

// home is $HOME of the program's environment.
func (w World) home() string {
	for _, kv := range w.Env {
		if len(kv) > 5 && kv[:5] == "HOME=" {
			return kv[5:]
		}
	}
	return "/"
}

func dotted(a [4]byte) string {
	s := strconv.Itoa(int(a[0]))
	for _, b := range a[1:] {
		s += "." + strconv.Itoa(int(b))
	}
	return s
}

// devices is /dev.
func (w World) devices() *vfs.Synthetic {
	device := func(major, minor uint64, open func(int) (fd.File, syscall.Errno)) func() *vfs.Synthetic {
		return fixed(&vfs.Synthetic{Mode: charMode, Device: major<<8 | minor, Open: open})
	}
	to := func(target string) func() *vfs.Synthetic { return fixed(link(func() string { return target })) }
	files := []file{
		{"fd", to("/proc/self/fd")},
		{"full", device(1, 7, opens(device1{kind: full}))},
		{"null", device(1, 3, opens(device1{kind: null}))},
		{"random", device(1, 8, opens(device1{random: w.Random}))},
		{"shm", fixed(&vfs.Synthetic{Mode: dirMode, List: func() []string { return nil }, Find: func(string) (*vfs.Synthetic, bool) { return nil, false }})},
		{"stderr", to("/proc/self/fd/2")},
		{"stdin", to("/proc/self/fd/0")},
		{"stdout", to("/proc/self/fd/1")},
		{"tty", device(5, 0, func(int) (fd.File, syscall.Errno) { return nil, syscall.ENXIO })},
		{"urandom", device(1, 9, opens(device1{random: w.Random}))},
		{"zero", device(1, 5, opens(device1{kind: zero}))},
	}
	return directory(func() []file { return files })
}

func opens(d device1) func(int) (fd.File, syscall.Errno) {
	return func(int) (fd.File, syscall.Errno) { return d, 0 }
}

// Kinds of memory devices; one with random is a source of random bytes.
const (
	null = iota
	zero
	full
)

// device1 is one of the memory devices, major number 1 (mem(4), random(4)).
type device1 struct {
	kind   int
	random func([]byte) syscall.Errno
}

func (d device1) Read(p []byte, off int64) (int, syscall.Errno) {
	switch {
	case d.random != nil:
		return len(p), d.random(p)
	case d.kind == null:
		return 0, 0
	}
	clear(p)
	return len(p), 0
}

func (d device1) Write(p []byte, off int64) (int, syscall.Errno) {
	if d.kind == full {
		return 0, syscall.ENOSPC
	}
	return len(p), 0
}

func (d device1) Stat(st *syscall.Stat_t) syscall.Errno {
	minor := uint64([]int{3, 5, 7}[d.kind])
	if d.random != nil {
		minor = 9
	}
	*st = syscall.Stat_t{Mode: charMode, Nlink: 1, Rdev: 1<<8 | minor, Blksize: 4096}
	return 0
}

func (device1) Close() {}

// SeekTo lets programs seek, as the kernel's memory devices do, to no effect.
func (device1) SeekTo(int64, int) (int64, syscall.Errno) { return 0, 0 }
