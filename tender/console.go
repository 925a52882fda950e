package tender

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

// Bounds of what a Console keeps, in bytes.
const (
	consoleTail  = 32 << 10
	consoleStack = 32 << 10
	consoleLine  = 4 << 10 // longer lines are cut
)

// Console keeps what a crash record wants of a guest's outputs: the newest lines,
// and everything from the line on with which the Go runtime begins to say why it
// ends the program, since with many goroutines that is longer than any tail and
// its beginning says most. The zero value is ready. It is safe for concurrent
// use.
type Console struct {
	mu    sync.Mutex // guards all below
	tail  []byte
	stack []byte
	dying bool
}

// dyingWords begin what the Go runtime writes last (runtime/panic.go,
// printpanics, fatalthrow; runtime/signal_unix.go, sighandler).
var dyingWords = [][]byte{[]byte("panic: "), []byte("fatal error: "), []byte("runtime: goroutine stack exceeds "), []byte("unexpected fault address "),
	[]byte("SIGSEGV: "), []byte("SIGBUS: "), []byte("SIGILL: "), []byte("SIGFPE: "), []byte("SIGABRT: "), []byte("SIGQUIT: "), []byte("SIGTRAP: "), []byte("SIGSYS: ")}

// Line takes one line, without its end.
func (c *Console) Line(text []byte) {
	text = text[:min(len(text), consoleLine)]
	begins := slices.ContainsFunc(dyingWords, func(w []byte) bool { return bytes.HasPrefix(text, w) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(append(c.tail, text...), '\n')
	if over := len(c.tail) - consoleTail; over > consoleTail {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	if begins && !c.dying {
		c.dying, c.stack = true, c.stack[:0]
	}
	if c.dying && len(c.stack)+len(text) < consoleStack {
		c.stack = append(append(c.stack, text...), '\n')
	}
}

// Stream is a writer that gives its lines to the console: one for each output.
// Close gives it a last line that has no end.
func (c *Console) Stream() io.WriteCloser { return &stream{console: c} }

type stream struct {
	console *Console
	rest    []byte
}

func (s *stream) Close() error {
	if len(s.rest) > 0 {
		s.console.Line(s.rest)
		s.rest = nil
	}
	return nil
}

func (s *stream) Write(p []byte) (int, error) {
	for rest := p; ; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		if !whole {
			s.rest = append(s.rest, line[:min(len(line), max(0, consoleLine-len(s.rest)))]...)
			return len(p), nil
		}
		if len(s.rest) > 0 {
			line = append(s.rest, line...)
			s.rest = s.rest[:0]
		}
		s.console.Line(line)
		rest = after
	}
}

// Tail is the newest lines.
func (c *Console) Tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.tail
	if over := len(b) - consoleTail; over > 0 {
		b = b[over:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return strings.ToValidUTF8(string(b), "?")
}

// Stack is what the Go runtime said when it ended the program, "" if it did not.
func (c *Console) Stack() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ToValidUTF8(string(c.stack), "?")
}

// Dying is the first line of Stack, fit for a terminal.
func (c *Console) Dying() string {
	line, _, _ := strings.Cut(c.Stack(), "\n")
	return printable([]byte(line))
}
