package netlink

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a netfilter socket in one network namespace.
type Conn struct {
	file *os.File
	seq  uint32
	in   []byte
}

// answerTime bounds how long the kernel may take for an answer: a commit waits
// for all CPUs, and a loaded machine is slow.
const answerTime = 30 * time.Second

// Dial opens a socket where in, which runs a function on a thread in some
// network namespace, puts it. A nil in is the namespace of the caller.
func Dial(in func(func() error) error) (*Conn, error) {
	if in == nil {
		in = func(f func() error) error { return f() }
	}
	fd := -1
	err := in(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		if err == nil {
			err = prepare(fd)
		}
		return err
	})
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	return &Conn{file: os.NewFile(uintptr(fd), "netfilter"), in: make([]byte, 1<<17)}, nil
}

// bufferSize bounds a batch, and what the kernel keeps for a slow reader.
const bufferSize = 64 << 20

func prepare(fd int) error {
	// Without privilege the system's bounds hold, and large batches fail with EMSGSIZE.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize)
	// Older kernels lack these; then errors come without words.
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// Close closes the socket.
func (c *Conn) Close() error { return c.file.Close() }

// Join makes a Conn that only reads hear a multicast group (enum
// nfnetlink_groups).
func (c *Conn) Join(group int) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
	})
	return errors.Join(err, failed)
}

// Receive waits for one datagram and calls f for its messages. It fails with
// os.ErrClosed once the Conn is closed, and with unix.ENOBUFS when the reader
// was too slow and something was lost.
func (c *Conn) Receive(f func(Reply) error) error {
	n, err := c.file.Read(c.in)
	if err != nil {
		return err
	}
	return Replies(c.in[:n], f)
}

// ReceiveWithin is Receive that fails with os.ErrDeadlineExceeded when nothing
// came in time.
func (c *Conn) ReceiveWithin(d time.Duration, f func(Reply) error) error {
	if err := c.file.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	return c.Receive(f)
}

func (c *Conn) next() uint32 {
	c.seq++
	return c.seq
}

// Do sends one request and waits until it is acknowledged. f, which may be nil,
// is called for every message of the answer.
func (c *Conn) Do(m Message, f func(Reply) error) error {
	seq := c.next()
	if m.Flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP {
		m.Flags |= unix.NLM_F_ACK
	}
	if _, err := c.file.Write(appendMessage(nil, m, seq)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return c.await(func(r Reply) (bool, error) {
		switch {
		case r.Seq != seq:
			return false, nil // of a request that was given up
		case r.Done:
			return true, r.Err
		case f == nil:
			return false, nil
		}
		return false, f(r)
	})
}

// await reads until f says that all is there, or fails.
func (c *Conn) await(f func(Reply) (done bool, err error)) error {
	c.file.SetReadDeadline(time.Now().Add(answerTime))
	defer c.file.SetReadDeadline(time.Time{})
	for {
		n, err := c.file.Read(c.in)
		if err != nil {
			return fmt.Errorf("wait for the kernel's answer: %w", err)
		}
		finished := false
		err = Replies(c.in[:n], func(r Reply) error {
			done, err := f(r)
			finished = finished || done
			return err
		})
		if err != nil || finished {
			return err
		}
	}
}

// BatchError says which message of a batch the kernel refused.
type BatchError struct {
	Index int // -1: the batch as a whole
	Err   error
}

func (e *BatchError) Error() string {
	if e.Index < 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("message %d: %v", e.Index, e.Err)
}

func (e *BatchError) Unwrap() error { return e.Err }

// Batch sends messages to a subsystem as one transaction: all happens, or
// nothing and the error is a *BatchError for the first message that was
// refused. With a generation other than 0 the transaction happens only if
// nobody changed anything since then; otherwise the cause is unix.ERESTART.
func (c *Conn) Batch(subsystem uint16, generation uint32, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	first := c.seq + 1
	c.seq += uint32(len(messages)) + 2
	last := first + uint32(len(messages))
	if _, err := c.file.Write(encodeBatch(subsystem, generation, messages, first)); err != nil {
		return fmt.Errorf("send a batch of %d messages: %w", len(messages), err)
	}
	var refused *BatchError
	err := c.await(func(r Reply) (bool, error) {
		if !r.Done || r.Seq < first || r.Seq > last {
			return false, nil
		}
		if r.Err != nil && refused == nil {
			refused = &BatchError{int(r.Seq-first) - 1, r.Err}
		}
		return r.Seq == last || r.Seq == first, nil
	})
	if err == nil && refused != nil {
		err = refused
	}
	return err
}

func encodeBatch(subsystem uint16, generation uint32, messages []Message, seq uint32) []byte {
	size := 64
	for _, m := range messages {
		size += headerSize + genericSize + len(m.Body) + 4
	}
	begin := Message{Kind: NFNL_MSG_BATCH_BEGIN, Resource: subsystem}
	if generation != 0 {
		var e Encoder
		e.U32(NFNL_BATCH_GENID, generation)
		begin.Body = e.Bytes()
	}
	b := appendMessage(make([]byte, 0, size), begin, seq)
	for i, m := range messages {
		if i == len(messages)-1 {
			m.Flags |= unix.NLM_F_ACK // said after the commit, for all
		}
		b = appendMessage(b, m, seq+1+uint32(i))
	}
	return appendMessage(b, Message{Kind: NFNL_MSG_BATCH_END, Resource: subsystem}, seq+1+uint32(len(messages)))
}
