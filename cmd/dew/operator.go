package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

// program is a question of the operator's socket only: the path of the ELF. It
// is above all numbers of the guest's channel.
const program control.Kind = 1 << 15

// answerTimeout bounds how long a guest may think about a question.
const answerTimeout = 30 * time.Second

// operator lets the verbs on the other side of a Unix socket ask the guest. The
// socket speaks the frames of abi/control; only its owner may connect.
type operator struct {
	listener *net.UnixListener
	instance tender.Instance
	elf      string
	ctx      context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu       sync.Mutex
	sampling context.CancelFunc // nil: no CPU profile is being taken
}

// serveOperator listens on a new socket. One that is left over from a run that
// died is replaced.
func serveOperator(path string, i tender.Instance, elf string) (*operator, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("control socket %s is in use by another run", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	elf, err = filepath.Abs(elf)
	if err != nil {
		l.Close()
		return nil, err
	}
	o := &operator{listener: l, instance: i, elf: elf}
	o.ctx, o.stop = context.WithCancel(context.Background())
	o.done.Go(o.accept)
	return o, nil
}

func (o *operator) close() {
	o.stop()
	o.listener.Close()
	o.done.Wait()
}

func (o *operator) accept() {
	for {
		c, err := o.listener.AcceptUnix()
		if err != nil {
			return
		}
		o.done.Go(func() { o.serve(c) })
	}
}

// serve answers the questions of one connection, one after the other.
func (o *operator) serve(c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(o.ctx, func() { c.Close() })()
	for {
		f, err := control.Read(c)
		if err != nil {
			return
		}
		answer, err := o.answer(f)
		b := control.AppendReply(nil, f.ID, answer)
		if err != nil {
			b = control.Append(nil, control.Frame{Kind: control.Failed, ID: f.ID, Payload: []byte(err.Error())})
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func (o *operator) answer(f control.Frame) ([]byte, error) {
	ctx, cancel := context.WithTimeout(o.ctx, answerTimeout)
	defer cancel()
	switch f.Kind {
	case program:
		return []byte(o.elf), nil
	case control.Stacks, control.Heap, control.Metrics, control.CollectGC:
		return o.instance.Link().Ask(ctx, f.Kind, nil)
	case control.CPUStart:
		return o.startCPU(ctx, f.Payload)
	case control.CPUStop:
		o.stopSampling()
		return o.instance.Link().Ask(ctx, f.Kind, nil)
	}
	return nil, fmt.Errorf("the control socket has no question %d", f.Kind)
}

func (o *operator) startCPU(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) != 4 {
		return nil, errors.New("a CPU profile needs the samples a second")
	}
	answer, err := o.instance.Link().Ask(ctx, control.CPUStart, payload)
	if err != nil {
		return nil, err
	}
	if s, ok := o.instance.(tender.Sampler); ok {
		sampling, stop := context.WithCancel(o.ctx)
		o.mu.Lock()
		o.sampling = stop
		o.mu.Unlock()
		o.done.Go(func() { s.Sample(sampling, int(binary.LittleEndian.Uint32(payload))) })
	}
	return answer, nil
}

func (o *operator) stopSampling() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sampling != nil {
		o.sampling()
		o.sampling = nil
	}
}
