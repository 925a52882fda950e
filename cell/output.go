package cell

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
)

// maxLine is where longer lines are cut in two, in bytes, as Diego does.
const maxLine = 61440

// maxLines is how many lines of one output are taken in a second, whatever its
// limit in bytes. An empty line costs a guest one byte of a write, and us, whose
// CPU time nobody limits, a thousand times as much; what is over is not looked at.
const maxLines = 10_000

// output turns what a guest writes into log lines.
type output struct {
	logs  cf.Logs
	kept  *tender.Console
	line  cf.LogLine // of which time, Err and text change
	rate  int64      // bytes a second; negative: no limit
	clock func() time.Time

	limited *atomic.Uint64 // the cell's count of lines over a limit

	mu     sync.Mutex // guards what follows: both outputs share the rate
	second int64      // the one that spent is of, Unix time
	spent  int64      // bytes let through in it
	last   int64      // of the second before, for people
	told   bool       // that lines were dropped in this second
}

// read logs all of r's lines until it ends. It never waits for who reads the
// log.
func (o *output) read(r io.Reader, isErr bool) {
	in := &lineReader{r: r}
	var second int64
	for n := 0; ; n++ {
		text, err := in.next()
		now := o.clock()
		if now.Unix() != second {
			second, n = now.Unix(), 0
		} else if n >= maxLines {
			if n == maxLines {
				o.say(now, "app instance exceeded log rate limit (%d lines/sec)", maxLines)
			}
			o.limited.Add(uint64(min(1, len(text)) + in.skip()))
			text = nil
		}
		if n := len(text); n > 0 && text[n-1] == '\n' {
			text = text[:n-1]
		}
		if text != nil && (err == nil || len(text) > 0) {
			o.kept.Line(text)
		}
		if len(text) > 0 {
			o.log(now, text, isErr)
		}
		if err != nil {
			return
		}
	}
}

func (o *output) log(now time.Time, text []byte, isErr bool) {
	if !o.admit(now, int64(len(text))) {
		return
	}
	l := o.line
	l.Time, l.Err, l.Text = now, isErr, append([]byte(nil), text...)
	o.logs.Log(l)
}

// admit spends a line's bytes. The first line over the limit in a second is
// replaced by a word about it, the others are dropped in silence.
func (o *output) admit(now time.Time, n int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := now.Unix(); s != o.second {
		o.last = 0
		if s == o.second+1 {
			o.last = o.spent
		}
		o.second, o.spent, o.told = s, 0, false
	}
	if o.rate < 0 || o.spent+n <= o.rate {
		o.spent += n
		return true
	}
	o.limited.Add(1)
	if !o.told {
		o.told = true
		o.say(now, "app instance exceeded log rate limit (%d bytes/sec)", o.rate)
	}
	return false
}

// say logs a line of our own.
func (o *output) say(now time.Time, format string, args ...any) {
	l := o.line
	l.Time, l.Err, l.Text = now, true, fmt.Appendf(nil, format, args...)
	o.logs.Log(l)
}

// perSecond is how much was logged in the last whole second.
func (o *output) perSecond(now time.Time) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch now.Unix() {
	case o.second:
		return o.last
	case o.second + 1:
		return o.spent
	}
	return 0
}
