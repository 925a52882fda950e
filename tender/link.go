package tender

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"github.com/dewpaas/dew/abi/control"
)

// Bounds on what a guest can make its caretaker keep.
const (
	maxAnswer  = 64 << 20 // bytes of one answer
	maxMarks   = 256
	maxReports = 64
	maxPorts   = 64
	maxText    = 256 // bytes of a mark's name or a report

	// Frames a second, and at once: reading one costs the caretaker more than
	// writing it costs the guest, and is not counted to the guest's CPU time. The
	// longest answer comes in 1024 frames.
	framesPerSecond = 500
	framesAtOnce    = 2048
)

// ErrLinkClosed is returned for questions to a guest that has ended, or has
// lost its control channel by breaking the framing.
var ErrLinkClosed = errors.New("the guest's control channel is closed")

// Mark is a step of the guest's boot timeline.
type Mark struct {
	Guest time.Duration // the guest's monotonic clock, as it says
	Seen  time.Time     // when it reached the tender
	Name  string
}

// Port is where the program accepts connections.
type Port struct {
	Number   uint16
	Protocol string // "tcp" or "udp"
	Seen     time.Time
}

// Link talks to the guest over its control channel.
type Link struct {
	conn io.ReadWriteCloser
	done chan struct{}
	send chan struct{} // holds a token while nobody writes
	pace *rate.Limiter
	over context.Context // done when the guest has ended: no pace then
	end  context.CancelFunc

	mu       sync.Mutex // guards all below
	err      error      // why the link closed
	next     uint32
	asked    map[uint32]*question
	marks    []Mark
	ports    []Port
	reports  []string
	exit     int // by an Exit frame, -1 before
	announce chan struct{}
}

type question struct {
	answer []byte
	err    error
	done   chan struct{}
}

// NewLink reads conn until it fails or Close. The link owns conn.
func NewLink(conn io.ReadWriteCloser) *Link {
	l := &Link{conn: conn, done: make(chan struct{}), send: make(chan struct{}, 1), pace: rate.NewLimiter(framesPerSecond, framesAtOnce),
		asked: map[uint32]*question{}, exit: -1, announce: make(chan struct{})}
	l.over, l.end = context.WithCancel(context.Background())
	l.send <- struct{}{}
	go l.read()
	return l
}

// Close ends the link. Questions in flight fail.
func (l *Link) Close() error {
	err := l.conn.Close()
	l.end()
	<-l.done
	return err
}

// Finish ends the link of a guest that has ended, when all that it said is read.
func (l *Link) Finish() {
	l.end()
	<-l.done // the guest's end of the channel is closed
}

// Done is closed when the link is.
func (l *Link) Done() <-chan struct{} { return l.done }

func (l *Link) read() {
	var err error
	for err == nil {
		var f control.Frame
		if f, err = control.Read(l.conn); err == nil {
			err = l.take(f)
		}
		l.pace.Wait(l.over) // a guest that is faster fills its channel, and waits or loses frames
	}
	l.end()
	l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	for id, q := range l.asked {
		l.finish(id, q, ErrLinkClosed)
	}
	l.changed()
	close(l.done)
}

// take is the one door for what guests say. An error cuts the guest off.
func (l *Link) take(f control.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed()
	switch f.Kind {
	case control.Reply, control.Failed:
		return l.takeAnswer(f)
	case control.Mark:
		if len(f.Payload) < 8 {
			return fmt.Errorf("mark of %d bytes", len(f.Payload))
		}
		if len(l.marks) < maxMarks {
			at := time.Duration(binary.LittleEndian.Uint64(f.Payload))
			l.marks = append(l.marks, Mark{Guest: at, Seen: time.Now(), Name: printable(f.Payload[8:])})
		}
	case control.Report:
		if len(l.reports) < maxReports {
			l.reports = append(l.reports, printable(f.Payload))
		}
	case control.Exit:
		if len(f.Payload) < 4 {
			return fmt.Errorf("exit of %d bytes", len(f.Payload))
		}
		l.exit = int(control.U32(f.Payload) & 0xff)
	case control.Listening:
		return l.takePort(f.Payload)
	}
	return nil // kinds of a newer guest are skipped
}

func (l *Link) takeAnswer(f control.Frame) error {
	q := l.asked[f.ID]
	switch {
	case q == nil: // its asker has given up
		return nil
	case f.Kind == control.Failed:
		l.finish(f.ID, q, fmt.Errorf("the guest answered: %s", printable(f.Payload)))
		return nil
	case len(q.answer)+len(f.Payload) > maxAnswer:
		return fmt.Errorf("answer longer than %d bytes", maxAnswer)
	}
	q.answer = append(q.answer, f.Payload...)
	if f.Flags&control.FlagMore == 0 {
		l.finish(f.ID, q, nil)
	}
	return nil
}

func (l *Link) finish(id uint32, q *question, err error) {
	q.err = err
	delete(l.asked, id)
	close(q.done)
}

func (l *Link) takePort(b []byte) error {
	if len(b) < 5 || string(b[2:]) != "tcp" && string(b[2:]) != "udp" {
		return fmt.Errorf("listening frame of %d bytes", len(b))
	}
	if len(l.ports) < maxPorts {
		l.ports = append(l.ports, Port{binary.LittleEndian.Uint16(b), string(b[2:]), time.Now()})
	}
	return nil
}

// changed wakes who waits for news. Its caller holds the mutex.
func (l *Link) changed() {
	close(l.announce)
	l.announce = make(chan struct{})
}

// Ask sends a question and waits for the whole answer.
func (l *Link) Ask(ctx context.Context, kind control.Kind, payload []byte) ([]byte, error) {
	q := &question{done: make(chan struct{})}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return nil, ErrLinkClosed
	}
	l.next++
	id := l.next
	l.asked[id] = q
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.asked, id)
		l.mu.Unlock()
	}()
	if err := l.write(ctx, control.Frame{Kind: kind, ID: id, Payload: payload}); err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Signal delivers a signal to the program as kill(2) would. That it was sent
// does not mean that the program has seen it.
func (l *Link) Signal(ctx context.Context, sig syscall.Signal) error {
	return l.write(ctx, control.Frame{Kind: control.Signal, Payload: binary.LittleEndian.AppendUint32(nil, uint32(sig))})
}

// write sends one frame. A guest that does not read makes it wait for ctx, and
// a frame that was cut short closes the link: its rest would be misread.
func (l *Link) write(ctx context.Context, f control.Frame) error {
	select {
	case <-l.send:
	case <-l.done:
		return ErrLinkClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	result := make(chan error, 1)
	go func() {
		_, err := l.conn.Write(control.Append(nil, f))
		if err != nil {
			l.conn.Close()
		}
		l.send <- struct{}{}
		result <- err
	}()
	select {
	case err := <-result:
		if err != nil {
			return ErrLinkClosed
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Marks returns the boot timeline so far.
func (l *Link) Marks() []Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Mark(nil), l.marks...)
}

// Ports returns where the program said that it accepts.
func (l *Link) Ports() []Port {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Port(nil), l.ports...)
}

// Reports returns the library OS's lines for the platform's log.
func (l *Link) Reports() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.reports...)
}

// ExitStatus returns what an Exit frame told, for kernels that have no other
// way to tell it.
func (l *Link) ExitStatus() (status int, told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exit, l.exit >= 0
}

// Changed is closed at the next news from the guest, or when the link closes.
func (l *Link) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.announce
}

// printable cuts guest text to a bound and takes the sting out of what is not
// text: it will be shown on terminals.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "?")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
