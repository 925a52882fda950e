package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// status is one line that tells how far something is: rewritten in place on a
// terminal, a line for each change elsewhere.
type status struct {
	c    *console
	mu   sync.Mutex
	last string
}

func (c *console) status() *status { return &status{c: c} }

func (s *status) tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.last {
		return
	}
	s.last = text
	if s.c.moves {
		// CR and EL: to the line's begin, and rub it out (ECMA-48, 8.3.41).
		fmt.Fprintf(s.c.err, "\r\x1b[K%s", printable(text))
		return
	}
	fmt.Fprintf(s.c.err, "dew: %s\n", printable(text))
}

// end leaves the last text in its place.
func (s *status) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c.moves && s.last != "" {
		fmt.Fprintln(s.c.err)
	}
	s.last = ""
}

// bar shows how much of a number of bytes is done. Where nothing moves it tells
// once how much there is to do.
type bar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
}

func (c *console) bar(name string, total int64) *bar {
	if !c.moves {
		fmt.Fprintf(c.err, "dew: %s %s\n", name, bytesOf(total))
		return new(bar)
	}
	p := mpb.New(mpb.WithOutput(c.err), mpb.WithWidth(40), mpb.WithAutoRefresh())
	b := p.AddBar(total, mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	return &bar{p, b}
}

func (b *bar) set(n int64) {
	if b.bar != nil {
		b.bar.SetCurrent(n)
	}
}

// end waits until the bar has been drawn for the last time, wherever it stands.
func (b *bar) end() {
	if b.bar != nil {
		b.bar.Abort(false)
		b.progress.Wait()
	}
}

// indented writes every line behind an indent, safe for a terminal.
func indented(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "   %s\n", printable(strings.TrimRight(line, "\r\n")))
	}
}
