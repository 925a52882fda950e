package syscall

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/guest/control"
	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/host"
	"github.com/dewpaas/dew/guest/ipc"
	"github.com/dewpaas/dew/guest/proc"
	"github.com/dewpaas/dew/guest/vfs"
)

// init makes this process a guest when the tender says so. It runs before all
// code of the program, because package os imports this package.
func init() {
	record := host.Boot()
	if record == nil {
		return
	}
	c, err := boot.Decode(record)
	if err != nil {
		host.Console(abi.FDStderr, []byte("dew: the tender's boot record: "+err.Error()+"\n"))
		host.Exit(exitBoot)
	}
	started = time.Now()
	config = c
	syscall.Unsetenv(abi.BootEnv)
	umask.Store(0o022)
	for n := range 3 {
		Files.Install(newConsole(n), []int{syscall.O_RDONLY, syscall.O_WRONLY, syscall.O_WRONLY}[n], n)
	}
	RegisterFamily(syscall.AF_UNIX, func(typ, proto int) (fd.Socket, syscall.Errno) { return unixNet().Open(typ, proto) })
	host.SetPollHooks(openPoll, closePoll)
	host.SetSyscallHook(Answer)
	control.Start()
}

// exitBoot is EX_CONFIG of sysexits.h.
const exitBoot = 78

func openPoll(number uintptr, desc unsafe.Pointer, seq uintptr) uintptr {
	return uintptr(Files.OpenPoll(int(number), desc, seq))
}

func closePoll(number uintptr) uintptr {
	Files.ClosePoll(int(number))
	return 0
}

// defaultQuota is the overlay's size where the boot record names none.
const defaultQuota = 64 << 20

// files and unix are made when they are first asked for.
var (
	files struct {
		once sync.Once
		fs   *vfs.FS
	}
	unix struct {
		once sync.Once
		net  *ipc.UnixNet
	}
)

// tree is the file system. Its first use makes it and enters the working
// directory: a server that opens no file starts without.
func tree() *vfs.FS {
	files.once.Do(func() {
		files.fs = newTree()
		if config != nil {
			enterWorkdir(files.fs, config.Workdir)
		}
	})
	return files.fs
}

// enterWorkdir makes the working directory the program's, where it exists.
func enterWorkdir(f *vfs.FS, path string) {
	if path == "" || path == "/" {
		return
	}
	if n, err := f.Find(f.Root(), path, true); err == 0 {
		enter(n)
	}
}

func newTree() *vfs.FS {
	quota := uint64(defaultQuota)
	var img *image.Reader
	if config != nil {
		if config.OverlayQuota > 0 {
			quota = config.OverlayQuota
		}
		img = openImage(config.ImageSize)
	}
	f := vfs.New(img, quota)
	control.CountDisk(func() uint64 { used, _ := f.Usage(); return used })
	proc.Mount(f, world())
	return f
}

// openImage maps the image. A damaged one leaves the program an empty file
// system and the log a line.
func openImage(size uint64) *image.Reader {
	if size == 0 {
		return nil
	}
	b, errno := host.Map(abi.FDImage, size)
	if errno != 0 {
		control.Report("the file-system image cannot be mapped: " + errno.Error())
		return nil
	}
	img, err := image.Open(b)
	if err != nil {
		control.Report(err.Error())
		return nil
	}
	return img
}

// world is what /proc tells about this guest.
func world() proc.World {
	w := proc.World{
		Hostname: hostname(), Release: Release, CPUs: cpus(), Memory: memoryLimit(),
		InUse: host.MemoryInUse, CPUTime: host.CPUTime, Uptime: uptime,
		Numbers: Files.Numbers, Describe: describe,
		Cwd:    func() string { p, _ := workdir().Path(); return p },
		Random: host.Random, Limit: func(n int) (uint64, uint64) { l := limit(n); return l.Cur, l.Max },
	}
	if config != nil {
		w.Args, w.Env, w.Resolvers = config.Args, config.Env, config.Resolvers
		if config.HasNIC() {
			w.Addr, w.Gateway = config.NIC.Addr, config.NIC.Gateway
		}
	}
	return w
}

// describe is the target of /proc/self/fd/n.
func describe(n int) (string, bool) {
	r, ok := Files.Get(n)
	if !ok {
		return "", false
	}
	defer r.Put()
	if h, ok := r.File.(*vfs.Handle); ok {
		p, linked := h.Node().Path()
		if !linked {
			p += " (deleted)"
		}
		return p, true
	}
	var st syscall.Stat_t
	r.Stat(&st)
	kind := map[uint32]string{syscall.S_IFIFO: "pipe:[", syscall.S_IFSOCK: "socket:["}[st.Mode&syscall.S_IFMT]
	if kind == "" {
		return "anon_inode:[dew]", true
	}
	return kind + decimal(st.Ino) + "]", true
}

// unixNet is the guest's Unix sockets.
func unixNet() *ipc.UnixNet {
	unix.once.Do(func() { unix.net = ipc.NewUnixNet(unixNames{}) })
	return unix.net
}

func unixPair(typ, proto int) (a, b fd.Socket, err syscall.Errno) { return unixNet().Pair(typ, proto) }

// unixNames names sockets in the file system.
type unixNames struct{}

func (unixNames) Bind(path string) (any, syscall.Errno) {
	n, err := tree().MakeSocket(workdir(), path, 0o777&^umask.Load())
	return n, err
}

func (unixNames) Find(path string) (any, syscall.Errno) {
	n, err := tree().FindSocket(workdir(), path)
	return n, err
}
