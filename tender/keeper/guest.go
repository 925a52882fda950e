package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender"
)

// maxBacklog bounds what is kept of each output while there is no cell, bytes.
const maxBacklog = 64 << 10

// guest is a guest in its keeper.
type guest struct {
	label    []byte
	instance tender.Instance
	outputs  [2]*os.File   // read ends of stdout and stderr
	gone     func()        // takes it from the keeper's table
	over     chan struct{} // closed when it has ended
	exit     tender.Exit   // written before

	mu       sync.Mutex    // guards who its cell is
	cell     *net.UnixConn // nil: none
	left     chan struct{} // closed when that cell's connection is done with
	draining sync.WaitGroup
	backlog  [2][]byte
}

// newGuest starts a guest from the files of a start request. Its outputs wait in
// their pipes for the cell that asked: what was read for it here would be lost
// with a cell that is killed before it has written that down.
func newGuest(ctx context.Context, t tender.Tender, name string, files []*os.File) (*guest, error) {
	sp, ts, err := specOf(name, files)
	if err != nil {
		return nil, err
	}
	g := &guest{label: sp.Label, over: make(chan struct{})}
	for i, end := range []**os.File{&ts.Stdout, &ts.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			g.closeOutputs()
			return nil, err
		}
		defer w.Close()
		g.outputs[i], *end = r, w
	}
	if g.instance, err = t.Start(ctx, ts); err != nil {
		g.closeOutputs()
		return nil, err
	}
	go func() {
		g.exit, _ = g.instance.Wait(context.Background()) // it has no other error than that of its context
		close(g.over)
	}()
	return g, nil
}

func specOf(name string, files []*os.File) (*spec, *tender.Spec, error) {
	if len(files) < 2 {
		return nil, nil, errors.New("a spec and a program are wanted")
	}
	b, err := content(files[0])
	if err != nil {
		return nil, nil, err
	}
	var s spec
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, nil, fmt.Errorf("read spec: %w", err)
	}
	// A guest without its keeper could not be asked to end, and nobody would
	// know: it ends with it.
	ts := &tender.Spec{Name: name, Program: files[1], Boot: s.Boot, Limits: s.Limits, DieWithCaller: true}
	rest := files[2:]
	for _, want := range []struct {
		has  bool
		into **os.File
	}{{s.HasImage, &ts.Image}, {s.HasTap, &ts.Tap}} {
		if !want.has {
			continue
		}
		if len(rest) == 0 {
			return nil, nil, errors.New("a file is missing")
		}
		*want.into, rest = rest[0], rest[1:]
	}
	if ts.Tap != nil {
		unix.SetNonblock(int(fd(ts.Tap)), true)
	}
	return &s, ts, nil
}

func (g *guest) closeOutputs() { closeAll(g.outputs[:]) }

// drain reads the outputs for want of a cell.
func (g *guest) drain() {
	for i, f := range g.outputs {
		f.SetReadDeadline(time.Time{})
		g.draining.Go(func() {
			b := make([]byte, 16<<10)
			for {
				n, err := f.Read(b)
				kept := append(g.backlog[i], b[:n]...)
				g.backlog[i] = kept[max(0, len(kept)-maxBacklog):]
				if err != nil {
					return
				}
			}
		})
	}
}

// undrain stops that and returns what was read.
func (g *guest) undrain() (backlog [2][]byte) {
	for _, f := range g.outputs {
		f.SetReadDeadline(time.Unix(1, 0))
	}
	g.draining.Wait()
	backlog, g.backlog = g.backlog, [2][]byte{}
	return backlog
}

// attend makes the caller the guest's cell until the connection ends. One that
// is still there has been replaced: its connection is closed first.
func (g *guest) attend(c *net.UnixConn) error {
	for {
		g.mu.Lock()
		if g.cell == nil {
			break
		}
		g.cell.Close()
		left := g.left
		g.mu.Unlock()
		<-left
	}
	g.cell, g.left = c, make(chan struct{})
	backlog := g.undrain()
	g.mu.Unlock()
	forgotten := g.serve(c, backlog)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cell = nil
	close(g.left)
	if forgotten {
		g.closeOutputs()
		g.gone()
		return nil
	}
	g.drain()
	return nil
}

// serve hands the guest over, tells its end and does what the cell says. It
// returns when the cell is gone, or is done with a guest that has ended.
func (g *guest) serve(c *net.UnixConn, backlog [2][]byte) (forgotten bool) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ours, theirs, err := pair()
	if err != nil {
		send(c, answer{Error: err.Error()})
		return false
	}
	var relays sync.WaitGroup
	relays.Go(func() { relay(ctx, g.instance.Link(), ours) })
	defer relays.Wait()
	defer ours.Close()
	defer stop()
	old, err := memory(append(backlog[0], backlog[1]...))
	if err == nil {
		err = send(c, answer{PID: g.instance.PID(), Backlog: [2]int{len(backlog[0]), len(backlog[1])}}, g.outputs[0], g.outputs[1], theirs, old)
		old.Close()
	}
	theirs.Close()
	if err != nil {
		return false
	}
	relays.Go(func() {
		select {
		case <-g.over:
			send(c, answer{Exit: &g.exit})
		case <-ctx.Done():
		}
	})
	for {
		var r request
		files, err := receive(c, &r)
		if err != nil {
			return false
		}
		closeAll(files)
		switch r.Op {
		case opKill:
			g.instance.Kill()
		case opForget:
			select {
			case <-g.over:
				return true
			default:
			}
		}
	}
}

// pair makes the two ends of a cell's control channel.
func pair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "control")
	end := os.NewFile(uintptr(fds[0]), "control")
	defer end.Close()
	if ours, err = net.FileConn(end); err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	return ours, theirs, nil
}
