package process

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// recordPatience is how long the record of a death is waited for: a thread of the
// kernel writes it, when it gets to run.
const recordPatience = time.Second

// refusedCall finds out which call the wall killed a process for. The kernel
// writes an audit record of it to its log (kernel/auditsc.c, audit_seccomp; then
// kernel/audit.c, kauditd_printk_skb), unless an audit daemon took it, there were
// ten such lines in the last 5 s, or the log is full: then it is -1.
func refusedCall(pid int) int {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	defer unix.Close(fd)
	call, late := -1, time.Now().Add(recordPatience)
	record := make([]byte, 8192) // one read is one record
	for range 1 << 16 {
		n, err := unix.Read(fd, record)
		switch {
		case err == unix.EPIPE: // overwritten while reading: the next is there
			continue
		case err == unix.EAGAIN && call < 0 && await(fd, late):
			continue
		case err != nil || n <= 0:
			return call
		}
		if c := callOf(record[:n], pid); c >= 0 {
			call = c // the last one: process numbers come again
		}
	}
	return call
}

// await tells whether there is something to read before it is late.
func await(fd int, late time.Time) bool {
	for {
		left := time.Until(late)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}

// callOf reads the call out of the audit record of a death by seccomp, -1 for
// any other line. The record also holds the process's name, which the guest
// cannot choose, in quotes.
func callOf(record []byte, pid int) int {
	const seccomp = "audit: type=1326 " // AUDIT_SECCOMP
	_, fields, ok := bytes.Cut(record, []byte(seccomp))
	if !ok {
		return -1
	}
	call, own := -1, false
	for _, f := range bytes.Fields(fields) {
		key, value, _ := bytes.Cut(f, []byte("="))
		n, err := strconv.Atoi(string(value))
		switch {
		case err != nil:
		case string(key) == "pid":
			own = n == pid
		case string(key) == "syscall":
			call = n
		}
	}
	if !own {
		return -1
	}
	return call
}
