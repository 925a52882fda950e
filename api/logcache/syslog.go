package logcache

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Facility user, severity informational and error (RFC 5424 6.2.1).
const (
	priorityOut = 1<<3 | 6
	priorityErr = 1<<3 | 3
)

func lineOf(source string, text []byte) cf.LogLine {
	return cf.LogLine{Source: source, Instance: "0", Text: text}
}

// message is a line as RFC 5424 has it. The text goes as it is but for line
// ends, which would end the message for receivers that do not count.
func message(d Drain, l line) []byte {
	priority := priorityOut
	if l.err {
		priority = priorityErr
	}
	at := time.Unix(0, l.at).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s %s %s - - ", priority, at, field(d.Host, 255), field(d.App, 48), field("["+l.source+"/"+l.instance+"]", 128))
	b.Write(bytes.ReplaceAll(bytes.ReplaceAll(l.text, []byte("\r"), nil), []byte("\n"), []byte(" ")))
	b.WriteByte('\n')
	return b.Bytes()
}

// field is a header field: printable ASCII without spaces, of bounded length,
// never empty (RFC 5424 6).
func field(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// appendFrame adds a message with its length in front (RFC 6587 3.4.1).
func appendFrame(b []byte, d Drain, l line) []byte {
	m := message(d, l)
	b = strconv.AppendInt(b, int64(len(m)), 10)
	b = append(b, ' ')
	return append(b, m...)
}
