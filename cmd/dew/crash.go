package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dewpaas/dew/tender"
)

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
	if stack := l.console.Stack(); stack != "" {
		fmt.Fprintf(w, "\nwhat the Go runtime said\n%s", stack)
	}
	fmt.Fprintf(w, "\nconsole, last lines\n%s", l.console.Tail())
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
