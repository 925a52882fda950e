package tender

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"
)

func TestConsoleKeepsTheEnd(t *testing.T) {
	var c Console
	for i := range 10_000 {
		c.Line(fmt.Appendf(nil, "line %d", i))
	}
	tail := c.Tail()
	if !strings.HasSuffix(tail, "line 9998\nline 9999\n") || !strings.HasPrefix(tail, "line ") || len(tail) > consoleTail || len(tail) < consoleTail/2 {
		t.Errorf("%d bytes, from %.20q", len(tail), tail)
	}
	if c.Stack() != "" || c.Dying() != "" {
		t.Errorf("a stack without a panic: %q", c.Stack())
	}
}

// TestConsoleKeepsTheBeginningOfAPanic: whatever comes behind it.
func TestConsoleKeepsTheBeginningOfAPanic(t *testing.T) {
	var c Console
	out, err := c.Stream(), c.Stream()
	fmt.Fprint(out, "half a li")
	fmt.Fprint(err, "2026/01/01 http: panic serving 1.2.3.4:5: not the end\n")
	fmt.Fprint(err, "panic: boom\x1b[31m\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:7")
	fmt.Fprint(out, "ne\n")
	fmt.Fprint(err, " +0x1")
	err.Close()
	for i := range 20_000 {
		c.Line(fmt.Appendf(nil, "goroutine %d [select]:", i))
	}
	stack := c.Stack()
	if !strings.HasPrefix(stack, "panic: boom\x1b[31m\n\ngoroutine 1 [running]:\nmain.main()\nhalf a line\n\t/app/main.go:7 +0x1\n") || len(stack) > consoleStack {
		t.Errorf("%d bytes: %.200q", len(stack), stack)
	}
	if got := c.Dying(); got != "panic: boom?[31m" {
		t.Errorf("%q", got)
	}
}

// TestConsoleHasBounds: whatever is written in whatever pieces.
func TestConsoleHasBounds(t *testing.T) {
	var c Console
	s := c.Stream()
	if err := quick.Check(func(b []byte, n uint16) bool {
		s.Write(b)
		s.Write([]byte(strings.Repeat("x", int(n))))
		return cap(c.tail) <= 4*consoleTail && len(c.stack) <= consoleStack && len(s.(*stream).rest) <= consoleLine
	}, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}
