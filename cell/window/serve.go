package window

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// Bounds.
const (
	MaxQuestion = 1 << 20 // bytes
	MaxAtOnce   = 64      // connections
)

// answerTime bounds the question and the answer, not how long a place is lent.
const answerTime = 30 * time.Second

// File is the name of the socket in a cell's folder.
const File = "window.sock"

// Host is what is looked into: a cell.Cell.
type Host interface {
	Topology() cf.Topology
	Apps() map[string]string
	Network() *vnet.Network
	Tenders() []string
	Lend(ctx context.Context, wishes []cell.Wish, policies []cf.NetworkPolicy) (places []cell.Place, giveBack func(), err error)
}

// question is what a connection asks: for a view, or for places.
type question struct {
	Ask      string
	Wishes   []cell.Wish
	Policies []cf.NetworkPolicy
}

const (
	askView = "view"
	askLend = "lend"
)

// answer is its answer. Error is for people.
type answer struct {
	Error  string
	View   View
	Places []cell.Place
}

// View is what a cell shows.
type View struct {
	Topology cf.Topology       // in force
	Apps     map[string]string // names of all apps of the ledger by GUID
	Tenders  []string          // kinds of tender that it has, the one for who does not choose first
}

// Listen opens the socket of a cell's folder. One that is there is left over:
// whoever has the folder is alone in it.
func Listen(folder string) (*net.UnixListener, error) {
	os.Remove(filepath.Join(folder, File))
	var l *net.UnixListener
	err := within(folder, func(path string) (err error) {
		if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path}); err == nil {
			err = os.Chmod(path, 0o600)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen at the window: %w", err)
	}
	l.SetUnlinkOnClose(false) // its path was for this moment only
	return l, nil
}

// within runs f with a path of the socket that is short enough for one, however
// long the folder's is.
func within(folder string, f func(path string) error) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), File))
}

// Serve answers until ctx ends, and takes back what is lent then.
func Serve(ctx context.Context, l *net.UnixListener, h Host) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	places := make(chan struct{}, MaxAtOnce)
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve at the window: %w", err)
		}
		select {
		case places <- struct{}{}:
			all.Go(func() {
				defer func() { <-places }()
				serve(ctx, c, h)
			})
		default:
			c.Close()
		}
	}
}

// serve answers one connection.
func serve(ctx context.Context, c *net.UnixConn, h Host) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(answerTime))
	var q question
	err := owns(c)
	if err == nil {
		q, err = readQuestion(c)
	}
	if err != nil {
		write(c, answer{Error: err.Error()}, nil)
		return
	}
	switch q.Ask {
	case askView:
		show(c, h)
	case askLend:
		lend(ctx, c, h, q)
	default:
		write(c, answer{Error: fmt.Sprintf("the cell has no answer to %q: is it of another version of dew?", q.Ask)}, nil)
	}
}

// owns refuses everybody but the cell's own user and root.
func owns(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("ask who is asking: %w", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return errors.New("only the owner of the cell may look into it")
	}
	return nil
}

func readQuestion(r io.Reader) (q question, err error) {
	line, err := bufio.NewReader(io.LimitReader(r, MaxQuestion)).ReadBytes('\n')
	if err != nil {
		return q, fmt.Errorf("read the question: %w", err)
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return question{}, fmt.Errorf("read the question: %w", err)
	}
	return q, nil
}

func show(c *net.UnixConn, h Host) {
	f, err := h.Network().File()
	if err != nil {
		write(c, answer{Error: err.Error()}, nil)
		return
	}
	defer f.Close()
	write(c, answer{View: View{h.Topology(), h.Apps(), h.Tenders()}}, []*os.File{f})
}

// lend gives places until the other end is closed.
func lend(ctx context.Context, c *net.UnixConn, h Host, q question) {
	places, giveBack, err := h.Lend(ctx, q.Wishes, q.Policies)
	if err != nil {
		write(c, answer{Error: err.Error()}, nil)
		return
	}
	defer giveBack()
	var taps []*os.File
	for _, p := range places {
		taps = append(taps, p.Tap)
	}
	if write(c, answer{Places: places}, taps) != nil {
		return
	}
	c.SetDeadline(time.Time{})
	c.Read(make([]byte, 1)) // nothing comes but the end
}

// write sends an answer, and descriptors with its first byte.
func write(c *net.UnixConn, a answer, files []*os.File) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if len(files) == 0 {
		_, err = c.Write(b)
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if _, _, err := c.WriteMsgUnix(b[:1], unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	_, err = c.Write(b[1:])
	return err
}
