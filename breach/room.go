package breach

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// room is a thread in namespaces of its own, where targets and attackers are
// started, so that what a child inherits is the suite's and not the host's.
type room struct {
	work chan func()
	done chan struct{}
}

// keyName is under what the room's session keyring holds the token.
const keyName = "dew-breach"

// newRoom makes one. It stays until close.
func newRoom() (*room, error) {
	r := &room{work: make(chan func()), done: make(chan struct{})}
	made := make(chan error)
	go func() {
		defer close(r.done)
		runtime.LockOSThread() // and never unlocked: the thread dies with its namespaces
		err := furnish()
		made <- err
		for f := range r.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		r.close()
		return nil, fmt.Errorf("make namespaces for the suite: %w", err)
	}
	return r, nil
}

// furnish makes the namespaces: a loopback network, System V IPC, host name,
// and a session keyring that does not reach the user's.
func furnish() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if _, err := unix.KeyctlJoinSessionKeyring(keyName); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("join a session keyring: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// do runs f in the room.
func (r *room) do(f func() error) error {
	result := make(chan error, 1)
	r.work <- func() { result <- f() }
	return <-result
}

func (r *room) close() {
	close(r.work)
	<-r.done
}

// listen on an address of the room.
func (r *room) listen(network, address string) (l net.Listener, err error) {
	err = r.do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// sharedMemory makes a System V segment that holds text, and returns its key.
func (r *room) sharedMemory(key int, text string) (id int, err error) {
	err = r.do(func() error {
		id, err = unix.SysvShmGet(key, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
		if err != nil {
			return err
		}
		b, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return err
		}
		copy(b, text)
		return unix.SysvShmDetach(b)
	})
	return id, err
}

func (r *room) forgetMemory(id int) error {
	return r.do(func() error { _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); return err })
}

// addKey puts text into the session keyring.
func (r *room) addKey(text string) error {
	return r.do(func() error {
		_, err := unix.AddKey("user", keyName, []byte(text), unix.KEY_SPEC_SESSION_KEYRING)
		return err
	})
}

// hostName of the room.
func (r *room) hostName() (name string, err error) {
	err = r.do(func() error {
		var u unix.Utsname
		err := unix.Uname(&u)
		name = unix.ByteSliceToString(u.Nodename[:])
		return err
	})
	return name, err
}

// hasLink tells whether the room's network has an interface of that name.
func (r *room) hasLink(name string) (has bool, err error) {
	err = r.do(func() error {
		_, err := net.InterfaceByName(name)
		has = err == nil
		return nil
	})
	return has, err
}

func (r *room) removeLink(name string) {
	r.do(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkDel(l)
		}
		return err
	})
}

// policyOf is the scheduling policy of a process (sched(7)).
func policyOf(pid int) int {
	n, _, errno := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, uintptr(pid), 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// readMemory reads another process's.
func readMemory(pid int, at uintptr, n int) ([]byte, error) {
	b := make([]byte, n)
	local := []unix.Iovec{{Base: unsafe.SliceData(b), Len: uint64(n)}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: at, Len: n}}, 0)
	return b, err
}

// linksOf are what a process's open descriptors are, as /proc tells.
func linksOf(pid int) (links []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			links = append(links, to)
		}
	}
	return links
}

// waiting is how many bytes of a pipe are not read yet.
func waiting(f *os.File) (n int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { n, failed = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n, errors.Join(err, failed)
}
