package keeper

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"syscall"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

// relay speaks to a cell as the guest would: it repeats what the guest has told
// so far, passes on what it tells from now on, and carries questions and
// signals to it. It ends with ctx, with the guest or with the connection.
func relay(ctx context.Context, l *tender.Link, c net.Conn) {
	r := &replier{conn: c}
	defer c.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	go func() {
		defer stop()
		r.questions(ctx, l)
	}()
	var told said
	for {
		changed := l.Changed()
		if told.tell(r, l) != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-l.Done():
			told.tell(r, l)
			return
		}
	}
}

// said is how much of the guest's news a cell has.
type said struct {
	marks, ports, reports int
	exit                  bool
}

func (s *said) tell(r *replier, l *tender.Link) error {
	var b []byte
	marks, ports, reports := l.Marks(), l.Ports(), l.Reports()
	for _, m := range marks[s.marks:] {
		b = control.Append(b, control.Frame{Kind: control.Mark, Payload: append(binary.LittleEndian.AppendUint64(nil, uint64(m.Guest)), m.Name...)})
	}
	for _, p := range ports[s.ports:] {
		b = control.Append(b, control.Frame{Kind: control.Listening, Payload: append(binary.LittleEndian.AppendUint16(nil, p.Number), p.Protocol...)})
	}
	for _, t := range reports[s.reports:] {
		b = control.Append(b, control.Frame{Kind: control.Report, Payload: []byte(t)})
	}
	s.marks, s.ports, s.reports = len(marks), len(ports), len(reports)
	if status, told := l.ExitStatus(); told && !s.exit {
		s.exit = true
		b = control.Append(b, control.Frame{Kind: control.Exit, Payload: binary.LittleEndian.AppendUint32(nil, uint32(status))})
	}
	return r.write(b)
}

// replier writes whole frames, whoever writes.
type replier struct {
	mu   sync.Mutex // held while writing
	conn net.Conn
}

func (r *replier) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.conn.Write(b)
	return err
}

// questions carries what the cell asks to the guest. Questions are answered in
// whatever order the guest likes; signals go out in theirs.
func (r *replier) questions(ctx context.Context, l *tender.Link) {
	for {
		f, err := control.Read(r.conn)
		if err != nil {
			return
		}
		if f.Kind == control.Signal && len(f.Payload) == 4 {
			l.Signal(ctx, syscall.Signal(control.U32(f.Payload)))
			continue
		}
		go func() {
			text, err := l.Ask(ctx, f.Kind, f.Payload)
			if err != nil {
				r.write(control.Append(nil, control.Frame{Kind: control.Failed, ID: f.ID, Payload: []byte(err.Error())}))
				return
			}
			r.write(control.AppendReply(nil, f.ID, text))
		}()
	}
}
