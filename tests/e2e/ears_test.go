package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// ears listen to the logs of apps while scripts go on.
type ears struct {
	cf string             // the program
	mu sync.Mutex         // guards to
	to map[string]*memory // of logs, by the script's folder
}

// memory is what was heard of a log, and what is to come of it.
type memory struct {
	lines <-chan string
	heard []string
}

// follow APP reads its log as it comes.
func (e *ears) follow(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.Getenv("WORK")
	c := exec.Command(e.cf, "logs", args[0])
	c.Dir, c.Env = work, append(os.Environ(), "CF_HOME="+ts.Getenv("CF_HOME"), "HOME="+work)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		ts.Fatalf("cf logs %s: %v", args[0], err)
	}
	ts.Defer(func() { c.Process.Kill(); c.Wait() })
	lines := make(chan string, 10000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	e.mu.Lock()
	e.to[work] = &memory{lines: lines}
	e.mu.Unlock()
	e.hears(ts, false, []string{"Retrieving logs"})
}

// hears PATTERN: the log that the script follows has said it, or does soon.
func (e *ears) hears(ts *testscript.TestScript, _ bool, args []string) {
	e.mu.Lock()
	m := e.to[ts.Getenv("WORK")]
	e.mu.Unlock()
	want, deadline := regexp.MustCompile(args[0]), time.After(patience)
	if slices.ContainsFunc(m.heard, want.MatchString) {
		return
	}
	for {
		select {
		case line, more := <-m.lines:
			m.heard = append(m.heard, line)
			switch {
			case want.MatchString(line):
				return
			case !more:
				ts.Fatalf("hears %s: the log ended, after\n%s", args[0], strings.Join(m.heard, "\n"))
			}
		case <-deadline:
			ts.Fatalf("hears %s: never, but\n%s", args[0], strings.Join(m.heard, "\n"))
		}
	}
}
