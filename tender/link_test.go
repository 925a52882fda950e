package tender

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dewpaas/dew/abi/control"
)

// guestEnd returns a link and the other end of its wire.
func guestEnd(t *testing.T) (*Link, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := NewLink(ours)
	theirs.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { l.Close(); theirs.Close() })
	return l, theirs
}

func say(t *testing.T, w io.Writer, f control.Frame) {
	t.Helper()
	if _, err := w.Write(control.Append(nil, f)); err != nil {
		t.Fatal(err)
	}
}

// until waits for news from the guest that make ok true.
func until(t *testing.T, l *Link, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		news := l.Changed()
		if ok() {
			return
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatal("no news from the guest in 10 s")
		}
	}
}

func TestAskJoinsTheParts(t *testing.T) {
	l, guest := guestEnd(t)
	go func() {
		q, err := control.Read(guest)
		if err != nil || q.Kind != control.Stacks {
			return
		}
		guest.Write(control.Append(nil, control.Frame{Kind: control.Reply, ID: q.ID + 1, Payload: []byte("nobody asked")}))
		guest.Write(control.Append(nil, control.Frame{Kind: control.Reply, ID: q.ID, Flags: control.FlagMore, Payload: []byte("gorou")}))
		guest.Write(control.Append(nil, control.Frame{Kind: control.Reply, ID: q.ID, Payload: []byte("tine 1")}))
	}()
	got, err := l.Ask(t.Context(), control.Stacks, nil)
	if err != nil || string(got) != "goroutine 1" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestAskFails(t *testing.T) {
	for name, story := range map[string]struct {
		guest func(net.Conn, control.Frame)
		want  string
	}{
		"refused": {func(c net.Conn, q control.Frame) {
			c.Write(control.Append(nil, control.Frame{Kind: control.Failed, ID: q.ID, Payload: []byte("no\x1b[31mred")}))
		}, "the guest answered: no?[31mred"},
		"hung up":     {func(c net.Conn, q control.Frame) { c.Close() }, ErrLinkClosed.Error()},
		"bad framing": {func(c net.Conn, q control.Frame) { c.Write(bytes.Repeat([]byte{0xff}, 12)) }, ErrLinkClosed.Error()},
		"short mark": {func(c net.Conn, q control.Frame) {
			c.Write(control.Append(nil, control.Frame{Kind: control.Mark, Payload: []byte("1234567")}))
		}, ErrLinkClosed.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			l, guest := guestEnd(t)
			go func() {
				if q, err := control.Read(guest); err == nil {
					story.guest(guest, q)
				}
			}()
			if _, err := l.Ask(t.Context(), control.Heap, nil); err == nil || err.Error() != story.want {
				t.Errorf("error %v, want %s", err, story.want)
			}
		})
	}
}

func TestAskGivesUpOnASilentGuest(t *testing.T) {
	l, guest := guestEnd(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		control.Read(guest)
		cancel()
	}()
	if _, err := l.Ask(ctx, control.Metrics, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.asked) != 0 {
		t.Errorf("%d questions are still kept", len(l.asked))
	}
}

func TestWriteToAGuestThatDoesNotRead(t *testing.T) {
	l, _ := guestEnd(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Signal(ctx, syscall.SIGTERM); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestSignalReachesTheGuest(t *testing.T) {
	l, guest := guestEnd(t)
	go l.Signal(t.Context(), syscall.SIGTERM)
	f, err := control.Read(guest)
	if err != nil || f.Kind != control.Signal || binary.LittleEndian.Uint32(f.Payload) != uint32(syscall.SIGTERM) {
		t.Fatalf("%+v, %v", f, err)
	}
}

func TestWhatTheGuestTellsIsBounded(t *testing.T) {
	l, guest := guestEnd(t)
	for range 300 {
		say(t, guest, control.Frame{Kind: control.Mark, Payload: []byte("\x01\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("n", 1000))})
		say(t, guest, control.Frame{Kind: control.Report, Payload: []byte("line\r\n")})
		say(t, guest, control.Frame{Kind: control.Listening, Payload: []byte("\x90\x1ftcp")})
	}
	say(t, guest, control.Frame{Kind: control.Kind(999)})
	say(t, guest, control.Frame{Kind: control.Exit, Payload: []byte{3, 0, 0, 0}})
	until(t, l, func() bool { _, told := l.ExitStatus(); return told })
	marks, reports, ports := l.Marks(), l.Reports(), l.Ports()
	if len(marks) != maxMarks || len(marks[0].Name) != maxText || marks[0].Guest != 1 {
		t.Errorf("%d marks, first %+v", len(marks), marks[0])
	}
	if len(reports) != maxReports || reports[0] != "line??" {
		t.Errorf("%d reports, first %q", len(reports), reports[0])
	}
	if len(ports) != maxPorts || ports[0].Number != 8080 || ports[0].Protocol != "tcp" {
		t.Errorf("%d ports, first %+v", len(ports), ports[0])
	}
	if status, _ := l.ExitStatus(); status != 3 {
		t.Errorf("status %d", status)
	}
}

// flood is a guest that hardly ever stops talking. It counts what is taken.
type flood struct {
	frame []byte
	taken int // bytes; the link's until it is done
	over  atomic.Bool
}

func (f *flood) Read(b []byte) (int, error) {
	if f.over.Load() || f.taken > 1e6 {
		return 0, io.EOF
	}
	n := copy(b, f.frame[f.taken%len(f.frame):])
	f.taken += n
	return n, nil
}
func (*flood) Write(p []byte) (int, error) { return len(p), nil }
func (f *flood) Close() error              { f.over.Store(true); return nil }

// TestAFloodIsReadAtOurPace: reading frames costs a caretaker, whose CPU time
// nobody limits, more than writing them costs a guest.
func TestAFloodIsReadAtOurPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guest := &flood{frame: control.Append(nil, control.Frame{Kind: control.Report})}
		l := NewLink(guest)
		const seconds = 10
		time.Sleep(seconds * time.Second)
		l.Close()
		taken := guest.taken / len(guest.frame)
		if most := framesAtOnce + seconds*framesPerSecond + 1; taken > most || taken < framesAtOnce {
			t.Errorf("%d frames were read in %d s, want %d at most", taken, seconds, most)
		}
	})
}

// wire plays the bytes of a guest to a link.
type wire struct{ io.Reader }

func (wire) Write(p []byte) (int, error) { return len(p), nil }
func (wire) Close() error                { return nil }

// FuzzLink: whatever a guest sends, what is kept of it is bounded and fit for
// a terminal, and the link ends.
func FuzzLink(f *testing.F) {
	mark := control.Append(nil, control.Frame{Kind: control.Mark, Payload: []byte("12345678runtime\x1b")})
	f.Add(mark)
	f.Add(control.Append(mark, control.Frame{Kind: control.Listening, Payload: []byte("\x90\x1ftcp")}))
	f.Add(control.Append(nil, control.Frame{Kind: control.Reply, ID: 1, Flags: control.FlagMore, Payload: []byte("a")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := NewLink(wire{bytes.NewReader(b)})
		<-l.Done()
		if len(l.Marks()) > maxMarks || len(l.Ports()) > maxPorts || len(l.Reports()) > maxReports {
			t.Fatal("more was kept than allowed")
		}
		for _, m := range l.Marks() {
			if strings.ContainsAny(m.Name, "\x1b\n\r\x00") || len(m.Name) > 3*maxText {
				t.Fatalf("mark %q", m.Name)
			}
		}
	})
}
