package stager

import (
	"fmt"
	"io"
	"sync"
)

// limitedLog passes on so many bytes and says when it stops.
type limitedLog struct {
	mu   sync.Mutex
	to   io.Writer
	left int64 // 0: unlimited, -1: used up
	last []byte
}

// lastBytes of the log are kept, to tell why a build failed.
const lastBytes = 64 << 10

// Write never fails: a reader that is gone must not fail the build.
func (l *limitedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last = append(l.last, b...); len(l.last) > 2*lastBytes {
		l.last = append(l.last[:0], l.last[len(l.last)-lastBytes:]...)
	}
	l.pass(b)
	return len(b), nil
}

func (l *limitedLog) pass(b []byte) {
	switch {
	case l.to == nil || l.left < 0:
	case l.left == 0:
		l.to.Write(b)
	case int64(len(b)) < l.left:
		l.left -= int64(len(b))
		l.to.Write(b)
	default:
		l.to.Write(b[:l.left])
		l.left = -1
		fmt.Fprintln(l.to, "\n[the rest of the log is cut off: it is too long]")
	}
}

// said is the end of what was written so far.
func (l *limitedLog) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.last)
}
