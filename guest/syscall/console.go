package syscall

import (
	"strconv"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/host"
)

// console is one of the three descriptors that every program begins with: a
// line to the platform's log, or, for reading, its end.
type console struct{ number int }

var _ fd.File = console{}

func newConsole(number int) fd.File { return console{number} }

// Read implements fd.File: nobody types.
func (c console) Read(p []byte, off int64) (int, syscall.Errno) {
	if c.number != 0 {
		return 0, syscall.EBADF
	}
	return 0, 0
}

// Write implements fd.File.
func (c console) Write(p []byte, off int64) (int, syscall.Errno) {
	switch {
	case c.number == 0:
		return 0, syscall.EBADF
	case off != fd.AtPosition:
		return 0, syscall.ESPIPE
	}
	return host.Console(c.number, p)
}

// Stat implements fd.File: the log is a pipe to the program.
func (c console) Stat(st *syscall.Stat_t) syscall.Errno {
	*st = syscall.Stat_t{Ino: uint64(c.number) + 1, Mode: syscall.S_IFIFO | 0o600, Nlink: 1, Blksize: page}
	if c.number == 0 { // as /dev/null, so that nobody waits for input
		st.Mode, st.Rdev = syscall.S_IFCHR|0o666, 1<<8|3
	}
	return 0
}

// Close implements fd.File.
func (console) Close() {}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
