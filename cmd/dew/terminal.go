package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// attach finds out what the console is attached to. https://no-color.org and
// CF_COLOR, which cf users know, turn colours off.
func (c *console) attach() *console {
	f, ok := c.in.(*os.File)
	c.asks = ok && term.IsTerminal(int(f.Fd())) && isTerminal(c.err)
	c.screen = isTerminal(c.out)
	obeys := os.Getenv("TERM") != "dumb"
	c.rich = c.screen && obeys && os.Getenv("NO_COLOR") == "" && os.Getenv("CF_COLOR") != "false"
	c.moves = obeys && isTerminal(c.err)
	return c
}

// colour is a parameter of SGR (ECMA-48, 8.3.117).
type colour int

const (
	bold   colour = 1
	faint  colour = 2
	red    colour = 31
	green  colour = 32
	yellow colour = 33
	cyan   colour = 36
)

// paint colours a text if the console is a terminal.
func (c *console) paint(k colour, text string) string {
	if !c.rich || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", int(k), text)
}

// cell is a field of a table.
type cell struct {
	text   string
	colour colour // 0: none
}

func plainCells(texts ...string) []cell {
	list := make([]cell, len(texts))
	for i, t := range texts {
		list[i] = cell{text: t}
	}
	return list
}

// table prints rows under a head, columns aligned.
func (c *console) table(head []string, rows [][]cell) {
	top := plainCells(head...)
	for i := range top {
		top[i].colour = bold
	}
	c.columns(append([][]cell{top}, rows...), "")
}

// columns prints rows with aligned columns, behind an indent.
func (c *console) columns(rows [][]cell, indent string) {
	var widths []int
	for _, row := range rows {
		for i, f := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(printable(f.text)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		b.WriteString(indent)
		for i, f := range row {
			text := printable(f.text)
			pad := widths[i] - utf8.RuneCountInString(text)
			if f.colour != 0 {
				text = c.paint(f.colour, text)
			}
			b.WriteString(text)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", pad+2))
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(b.String(), " "))
	}
}

// json prints a value for machines. A nil slice must be made empty before.
func (c *console) json(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable makes a text from elsewhere safe for a terminal: control
// characters, with which a name or log line could move the cursor or retitle
// the window, become visible.
func printable(text string) string {
	if strings.IndexFunc(text, isControl) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == utf8.RuneError:
			b.WriteRune(r)
		case isControl(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isControl also finds what changes the direction of a text (Unicode Cf).
func isControl(r rune) bool {
	return unicode.IsControl(r) && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}

// mebibytes writes a number of MiB as cf does: 64M, 1G.
func mebibytes(n int64) string {
	if n != 0 && n%1024 == 0 {
		return strconv.FormatInt(n>>10, 10) + "G"
	}
	return strconv.FormatInt(n, 10) + "M"
}

// bytesOf writes a number of bytes for people.
func bytesOf(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"K", "M", "G", "T"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" || value >= 100 {
		return strconv.FormatFloat(value, 'f', 0, 64) + unit
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + unit
}

// age writes how long something lasts: 5s, 3m, 2h, 4d.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// confirm asks a question whose answer is no unless it is yes. Nobody can answer
// where there is no terminal: then the flag has to be there.
func (c *console) confirm(question, flag string) error {
	if !c.asks {
		return withHint(fmt.Errorf("%s: there is nobody to ask", question), "say it with "+flag)
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, err := c.line()
	if err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		fmt.Fprintln(c.err, "dew: left as it is")
		return exitStatus(1)
	}
	return nil
}

// line reads one line, byte by byte: what follows is somebody else's.
func (c *console) line() (string, error) {
	var b []byte
	one := make([]byte, 1)
	for len(b) < 64<<10 {
		n, err := c.in.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		b = append(b, one[:n]...)
		if err == io.EOF && len(b) > 0 {
			break
		}
		if err != nil {
			return "", err
		}
	}
	return strings.TrimRight(string(b), "\r"), nil
}

// secret reads a line that is not shown while it is typed.
func (c *console) secret(prompt string) (string, error) {
	if f, ok := c.in.(*os.File); ok && c.asks {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		return string(b), err
	}
	return c.line()
}
