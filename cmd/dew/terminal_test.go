package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"tab\tstays":        "tab\tstays",
		"ümläut 世界":         "ümläut 世界",
		"\x1b[2Jgone":       `\x1b[2Jgone`,
		"two\r\nlines":      `two\r\nlines`,
		"c1 \u009b31m":      `c1 \u009b31m`,
		"turned \u202e txt": `turned \u202e txt`,
		"bad \xff byte":     "bad \ufffd byte",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for in, want := range map[int64]string{0: "0B", 1023: "1023B", 1536: "1.5K", 12 << 20: "12.0M", 300 << 20: "300M", 3 << 30: "3.0G"} {
		if got := bytesOf(in); got != want {
			t.Errorf("%d bytes are %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0M", 64: "64M", 1024: "1G", 1536: "1536M"} {
		if got := mebibytes(in); got != want {
			t.Errorf("%d MiB are %s, want %s", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 47 * time.Hour: "47h", 49 * time.Hour: "2d"} {
		if got := age(in); got != want {
			t.Errorf("%v is %s, want %s", in, got, want)
		}
	}
	if got := size(1<<20 + 1).mebibytes(); got != 2 {
		t.Errorf("a byte more than a MiB is asked for as %d", got)
	}
}

func TestColumns(t *testing.T) {
	var b bytes.Buffer
	c := &console{out: &b}
	c.table([]string{"name", "state"}, [][]cell{{{"ü", cyan}, {text: "x"}}, {{"long\x1bname", 0}, {text: ""}}})
	if want := "name          state\nü             x\nlong\\x1bname\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	c.rich = true
	c.table([]string{"a", "b"}, [][]cell{{{"x", cyan}, {text: "y"}}})
	if want := "\x1b[1ma\x1b[0m  \x1b[1mb\x1b[0m\n\x1b[36mx\x1b[0m  y\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// TestAdvise: every common failure names what to do, and keeps a hint it has.
func TestAdvise(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{client.ErrNoTarget, "dew up"},
		{fmt.Errorf("x: %w", client.ErrNoLogin), "dew login"},
		{&client.MissingError{What: "app", Name: "a"}, "dew apps"},
		{&client.MissingError{What: "domain", Name: "a"}, "dew target"},
		{&client.UnreachableError{Host: "h", Err: errors.New("refused")}, "is it running"},
		{&client.Error{Status: 403}, "a role"},
		{withHint(client.ErrNoLogin, "mine"), "mine"},
		{fs.ErrNotExist, ""},
		{nil, ""},
	} {
		var h *hinted
		got := ""
		if errors.As(advise(c.err), &h) {
			got = h.hint
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%v: hint %q, want %q", c.err, got, c.want)
		}
	}
}

// lines is a writer that passes on each line.
type lines struct {
	to   chan<- string
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.to <- string(line)
		l.rest = rest
	}
}

// TestLogsFollow until they are interrupted, which is no error.
func TestLogsFollow(t *testing.T) {
	dir := t.TempDir()
	f, err := newFoundation(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	t.Setenv("CF_HOME", dir)
	t.Setenv("DEW_DATA", filepath.Join(dir, "data"))
	code, _, errOut := runForTest(t, "curl", "/v3/apps", "-d", `{"name":"app","relationships":{"space":{"data":{"guid":"`+spaceOf(t)+`"}}}}`)
	if code != 0 {
		t.Fatal(errOut)
	}
	_, guid, _ := runForTest(t, "app", "app", "--guid")
	ctx, interrupt := context.WithCancel(t.Context())
	seen, ended := make(chan string, 10), make(chan int, 1)
	var failed bytes.Buffer
	go func() {
		ended <- run(ctx, &console{in: strings.NewReader(""), out: &lines{to: seen}, err: &failed}, []string{"logs", "app"})
	}()
	if got := <-seen; !strings.Contains(got, "[API/0] OUT Created app") {
		t.Errorf("line %q", got)
	}
	f.logs.Log(cf.LogLine{AppGUID: strings.TrimSpace(guid), Time: time.Now(), Source: "APP/PROC/WEB", Instance: "1", Err: true, Text: []byte("new")})
	if got := <-seen; !strings.HasSuffix(got, "[APP/PROC/WEB/1] ERR new") {
		t.Errorf("line %q", got)
	}
	interrupt()
	if code := <-ended; code != 0 || failed.Len() > 0 {
		t.Errorf("ended with %d: %s", code, failed.String())
	}
}

// spaceOf targets the foundation of the test and tells its space.
func spaceOf(t *testing.T) string {
	t.Helper()
	if code, _, errOut := runForTest(t, "apps"); code != 0 {
		t.Fatal(errOut)
	}
	path, err := client.ConfigPath()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c.Space.GUID
}

// TestInterrupted: whoever presses Ctrl-C knows why it ends.
func TestInterrupted(t *testing.T) {
	var b bytes.Buffer
	if code := report(&b, fmt.Errorf("push app: %w", context.Canceled)); code != 130 || b.String() != "dew: interrupted\n" {
		t.Errorf("code %d, %q", code, b.String())
	}
}
