package staging

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
)

// maxLine is where a line without an end is cut.
const maxLine = 16 << 10

// lines turns what a build writes into lines of its app's log.
type lines struct {
	to  cf.Logs
	app string

	mu   sync.Mutex
	rest []byte // the line that is being written
}

// Write takes output of the go command.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		switch room := maxLine - len(l.rest); {
		case i < 0 && len(b) < room:
			l.rest = append(l.rest, b...)
			return n, nil
		case i < 0 || i > room:
			l.rest = append(l.rest, b[:room]...)
			b = b[room:]
		default:
			l.rest = append(l.rest, b[:i]...)
			b = b[i+1:]
		}
		l.emit()
	}
	return n, nil
}

func (l *lines) emit() {
	l.send(true, l.rest)
	l.rest = nil // the log may keep it
}

func (l *lines) send(isErr bool, text []byte) {
	l.to.Log(cf.LogLine{AppGUID: l.app, Time: time.Now(), Source: "STG", Instance: "0", Err: isErr, Text: text})
}

// flush writes a last line that has no end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.emit()
	}
}

func (l *lines) say(text string) { l.send(false, []byte(text)) }

// fail tells why a build failed, which may have several lines.
func (l *lines) fail(text string) {
	for line := range strings.Lines(text) {
		l.send(true, []byte(strings.TrimSuffix(line, "\n")))
	}
}

// step tells what begins.
func (l *lines) step(name string) { l.say("-----> " + name) }
