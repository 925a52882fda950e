package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress shows the steps of a build on a terminal, and passes on what tools
// say. Where stderr is no terminal only the tools are heard.
type progress struct {
	mu    sync.Mutex
	to    io.Writer
	live  bool
	name  string // of the step under way
	begun time.Time
	clean bool // the cursor stands behind the step's name
}

func newProgress(c *console) *progress { return &progress{to: c.err, live: isTerminal(c.err)} }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// step ends the step before and begins one.
func (p *progress) step(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done()
	p.name, p.begun = name, time.Now()
	if p.live {
		fmt.Fprintf(p.to, "%s ... ", name)
		p.clean = true
	}
}

func (p *progress) done() {
	switch {
	case !p.live || p.name == "":
	case p.clean:
		fmt.Fprintf(p.to, "%.2f s\n", time.Since(p.begun).Seconds())
	default:
		fmt.Fprintf(p.to, "%s: %.2f s\n", p.name, time.Since(p.begun).Seconds())
	}
	p.name, p.clean = "", false
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done()
}

// Write passes on what a tool says.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clean {
		fmt.Fprintln(p.to)
		p.clean = false
	}
	return p.to.Write(b)
}

// note tells something on a terminal.
func (p *progress) note(text string) {
	if p.live {
		fmt.Fprintln(p, text)
	}
}
