package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dewpaas/dew/tender"
)

// tailSize is how much of the console a crash record keeps, in bytes.
const tailSize = 64 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > tailSize {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// lines returns the last tailSize bytes, from the start of a line.
func (t *tail) lines() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buf
	if over := len(b) - tailSize; over > 0 {
		b = b[over:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return b
}

// recordCrash keeps what is known of a guest that ended badly. That it cannot
// be kept must not change how the run ends.
func (l *launch) recordCrash(e tender.Exit, i tender.Instance) {
	path, err := l.writeCrash(e, i)
	if err != nil {
		fmt.Fprintf(l.out.err, "dew: cannot keep a crash record: %v\n", err)
		return
	}
	fmt.Fprintf(l.out.err, "dew: crash record: %s\n", path)
}

func (l *launch) writeCrash(e tender.Exit, i tender.Instance) (string, error) {
	dir, err := stateDir("crash")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s-%s.txt", l.begun.UTC().Format("20060102T150405Z"), l.name)
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	l.describe(f, e, i)
	return f.Name(), f.Close()
}

// describe writes the record. The environment is left out: it holds secrets.
func (l *launch) describe(w io.Writer, e tender.Exit, i tender.Instance) {
	fmt.Fprintf(w, "droplet   %s\ntender    %s\nbegan     %s\nended     %s\nreason    %s\nstatus    %d\ncpu time  %v\npeak RSS  %d bytes\n",
		l.run.Droplet, l.run.Tender, l.begun.UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339Nano),
		e, e.Code(), e.CPUTime, e.MaxRSS)
	fmt.Fprintf(w, "\ntimeline\n")
	writeTimeline(w, l.begun, l.steps, i.Link())
	fmt.Fprintf(w, "\nreports of the library OS\n")
	for _, line := range i.Link().Reports() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "\nconsole, last lines (a panic's stack is at its end)\n")
	w.Write(l.tail.lines())
}

// stateDir returns a folder of the user's for what outlives a command
// (XDG Base Directory Specification 0.8).
func stateDir(name string) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(base, "dew", name)
	return dir, os.MkdirAll(dir, 0o700)
}
