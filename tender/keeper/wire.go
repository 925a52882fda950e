package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
)

// protocol is raised when a message changes its meaning.
const protocol = 1

// version is what both sides must agree on.
const version = protocol<<16 | abi.Version

// Bounds of one message.
const (
	maxMessage = 64 << 10 // bytes
	maxFiles   = 8
	maxSpec    = 16 << 20 // bytes, in a file of its own
)

// The operations of a request.
const (
	opStart  = "start"  // files: spec, program and those of spec.Has. The connection becomes the guest's
	opAdopt  = "adopt"  // the connection becomes the guest's
	opList   = "list"   // the answer has one file: the list
	opKeep   = "keep"   // one file, to be kept by a name
	opFile   = "file"   // the answer has that file
	opKill   = "kill"   // on a guest's connection
	opForget = "forget" // on a guest's connection, after its end
)

// request is a question to the keeper.
type request struct {
	Version int
	Op      string
	Name    string
	Kind    string // of tender, to start
}

// answer is the keeper's, or its news of a guest's end.
type answer struct {
	Error   string       `json:",omitempty"`
	Absent  bool         `json:",omitempty"` // there is nothing of that name
	PID     int          `json:",omitempty"`
	Backlog [2]int       `json:",omitzero"` // bytes of stdout and stderr in the last file
	Exit    *tender.Exit `json:",omitempty"`
}

// spec is a tender.Spec without its files.
type spec struct {
	Boot             boot.Config
	Limits           tender.Limits
	Label            []byte
	HasImage, HasTap bool
}

// Kept is a guest that a keeper has.
type Kept struct {
	Name  string
	Label []byte // as given to Start
}

// send writes one message with files.
func send(c *net.UnixConn, message any, files ...*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("message of %d bytes", len(b))
	}
	fds := make([]int, 0, len(files))
	for _, f := range files {
		fds = append(fds, int(fd(f)))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive reads one message and the files that came with it, which are the
// caller's to close.
func receive(c *net.UnixConn, message any) ([]*os.File, error) {
	size, err := await(c)
	if err != nil {
		return nil, err
	}
	b := make([]byte, max(1, min(size, maxMessage)))
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, rn, flags, _, err := c.ReadMsgUnix(b, rights)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(rights[:rn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("the message is too long")
	}
	if err == nil {
		err = json.Unmarshal(b[:n], message)
	}
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("read message: %w", err)
	}
	return files, nil
}

// await returns the size of the next message when it is there. Most who receive
// wait for the end of a guest: they hold no memory for as long as it lives.
func await(c *net.UnixConn) (size int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		size, _, failed = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	return size, errors.Join(err, failed)
}

func filesOf(rights []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, n := range fds {
			files = append(files, os.NewFile(uintptr(n), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// fd is the number of an open file. File.Fd would make it blocking, for the
// other side as well.
func fd(f *os.File) uintptr {
	var n uintptr
	if conn, err := f.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { n = fd })
	}
	return n
}

// memory is a file in memory that holds b.
func memory(b []byte) (*os.File, error) {
	n, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memory file: %w", err)
	}
	f := os.NewFile(uintptr(n), "message")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// content reads what memory wrote.
func content(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSpec {
		return nil, fmt.Errorf("memory file of %d bytes", info.Size())
	}
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// socketName is the keeper's socket in its folder. A socket's path is at most
// 107 bytes long, so it is reached through the folder's descriptor.
const socketName = "keeper.sock"

func socketPath(dir *os.File) string {
	return filepath.Join("/proc/self/fd", fmt.Sprint(fd(dir)), socketName)
}

// dial connects to the keeper of a folder.
func dial(folder string) (*net.UnixConn, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socketPath(dir), Net: "unixpacket"})
}
