package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// logsCmd is `dew logs`.
type logsCmd struct {
	App    string `arg:"" help:"Name of the app."`
	Recent bool   `help:"Print what the foundation keeps, and end."`
	Lines  int    `short:"n" help:"How many of the kept lines; 1000 with --recent and 20 before following unless given."`
	JSON   bool   `name:"json" help:"Print a JSON object per line."`
}

func (l *logsCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, l.App)
	if err != nil {
		return err
	}
	lines := l.Lines
	switch {
	case lines > 0:
	case l.Recent:
		lines = 1000
	default:
		lines = 20
	}
	kept, err := s.RecentLines(ctx, app.GUID, lines)
	if err != nil {
		return err
	}
	from := time.Unix(0, 0)
	for _, line := range kept {
		l.print(c, line)
		from = line.Time.Add(1)
	}
	if l.Recent {
		return nil
	}
	return s.Follow(ctx, app.GUID, from, func(line client.Line) { l.print(c, line) })
}

func (l *logsCmd) print(c *console, line client.Line) {
	if l.JSON {
		e := json.NewEncoder(c.out)
		e.SetEscapeHTML(false)
		e.Encode(struct {
			Time     time.Time `json:"time"`
			Source   string    `json:"source"`
			Instance string    `json:"instance"`
			Stream   string    `json:"stream"`
			Text     string    `json:"text"`
		}{line.Time.UTC(), line.Source, line.Instance, stream(line), strings.ToValidUTF8(string(line.Text), "\ufffd")})
		return
	}
	colour := cyan
	if line.Err {
		colour = red
	}
	fmt.Fprintf(c.out, "%s %s %s %s\n", c.paint(faint, line.Time.Local().Format("2006-01-02T15:04:05.00-0700")),
		c.paint(colour, "["+printable(line.Source)+"/"+printable(line.Instance)+"]"), stream(line), c.logText(line.Text))
}

func stream(line client.Line) string {
	if line.Err {
		return "ERR"
	}
	return "OUT"
}

// colours are the sequences that an app may send to a terminal: SGR, and
// nothing else (ECMA-48, 8.3.117).
var colours = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// logText is a line as it was written, except on a terminal: there an app may
// colour its lines, but not rule the screen.
func (c *console) logText(text []byte) string {
	s := string(text)
	if !c.screen {
		return s
	}
	var b strings.Builder
	last, coloured := 0, false
	for _, at := range colours.FindAllStringIndex(s, -1) {
		b.WriteString(printable(s[last:at[0]]))
		if c.rich {
			b.WriteString(s[at[0]:at[1]])
		}
		last, coloured = at[1], true
	}
	b.WriteString(printable(s[last:]))
	if coloured && c.rich {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
