package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dewpaas/dew/vnet/capture"
)

// tcpdumpCmd is `dew tcpdump`.
type tcpdumpCmd struct {
	Instance string `arg:"" placeholder:"APP/INDEX" help:"Instance to listen at: APP, APP/INDEX or APP/TYPE/INDEX."`
	Write    string `short:"w" placeholder:"FILE" help:"Write pcapng, for Wireshark and tcpdump, to a file; - is the standard output."`
	Count    int    `short:"c" help:"End after so many frames."`
	Snaplen  int    `short:"s" help:"Keep so many bytes of each frame; all unless given."`
	cellFlag
}

func (tcpdumpCmd) Help() string {
	return "Frames are seen at the host's end of the instance's vNIC: what the guest sends before any rule has looked at it, and what it is given. The guest is not asked and cannot tell. Only who owns the cell may listen. Ctrl-C ends it."
}

// Run listens until it is interrupted.
func (t *tcpdumpCmd) Run(ctx context.Context, c *console) error {
	s, err := t.look(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	e, err := s.instance(ctx, t.Instance)
	if err != nil {
		return err
	}
	source, err := capture.Open(s.network.Within, e.VNIC, t.Snaplen)
	if err != nil {
		return err
	}
	defer source.Close()
	fmt.Fprintf(c.err, "dew: listening at %s, instance %d of %s, %s\n", e.VNIC, e.Index, printable(e.AppName), e.Addr)
	put, end, err := t.sink(c, e.VNIC, fmt.Sprintf("%s/%s/%d %s", e.AppName, e.ProcessType, e.Index, e.GUID))
	if err != nil {
		return err
	}
	n := 0
	err = source.Each(ctx, func(f capture.Frame) error {
		if err := put(f); err != nil {
			return err
		}
		if n++; n == t.Count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	dropped, lost := source.Dropped()
	fmt.Fprintf(c.err, "dew: %s, %d dropped by the kernel\n", plural(n, "frame"), dropped)
	return errors.Join(err, lost, end(dropped))
}

// errEnough ends a capture that has as many frames as were asked for.
var errEnough = errors.New("enough frames")

// sink is where frames go: lines for people, or pcapng.
func (t *tcpdumpCmd) sink(c *console, device, comment string) (put func(capture.Frame) error, end func(dropped uint64) error, err error) {
	if t.Write == "" {
		return func(f capture.Frame) error { _, err := fmt.Fprintln(c.out, f.Line()); return err }, func(uint64) error { return nil }, nil
	}
	out, finish := c.out, func() error { return nil }
	if t.Write != "-" {
		f, err := os.OpenFile(t.Write, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // what others said is in it
		if err != nil {
			return nil, nil, err
		}
		out, finish = f, f.Close
	} else if c.screen {
		return nil, nil, withHint(errors.New("pcapng is not for a terminal"), "name a file with -w, or leave -w out to read lines")
	}
	buffered := bufio.NewWriterSize(out, 64<<10)
	w, err := capture.NewWriter(flushing{buffered, t.Write == "-"}, device, comment, t.Snaplen)
	if err != nil {
		return nil, nil, errors.Join(err, finish())
	}
	return w.Write, func(dropped uint64) error {
		return errors.Join(w.Close(time.Now(), dropped), buffered.Flush(), finish())
	}, nil
}

// flushing passes on at once what goes to a reader that waits.
type flushing struct {
	*bufio.Writer
	always bool
}

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil && f.always {
		err = f.Flush()
	}
	return n, err
}

var _ io.Writer = flushing{}
