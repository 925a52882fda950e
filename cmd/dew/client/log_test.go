package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// logServer is a log cache over lines that the test adds.
type logServer struct {
	mu    sync.Mutex
	lines []Line
	fails int
}

func (l *logServer) add(at time.Duration, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, Line{time.Unix(1000, 0).Add(at), "APP/PROC/WEB", "0", strings.HasPrefix(text, "!"), []byte(text)})
	slices.SortStableFunc(l.lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
}

func (l *logServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		w.WriteHeader(http.StatusNotFound)
		return
	}
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	start, _ := strconv.ParseInt(r.FormValue("start_time"), 10, 64)
	list := slices.Clone(l.lines)
	if r.FormValue("descending") == "true" {
		slices.Reverse(list)
	}
	var batch []string
	for _, line := range list {
		if line.Time.UnixNano() < start || len(batch) == limit {
			continue
		}
		kind := "OUT"
		if line.Err {
			kind = "ERR"
		}
		batch = append(batch, fmt.Sprintf(`{"timestamp":"%d","source_id":"app","instance_id":"%s","tags":{"source_type":"%s"},"log":{"payload":"%s","type":"%s"}}`,
			line.Time.UnixNano(), line.Instance, line.Source, base64.StdEncoding.EncodeToString(line.Text), kind))
	}
	io.WriteString(w, `{"envelopes":{"batch":[`+strings.Join(batch, ",")+`]}}`)
}

func logs(t *testing.T) (*Client, *logServer) {
	l := new(logServer)
	c, _ := serve(t, map[string]http.HandlerFunc{"GET /api/v1/read/app": l.ServeHTTP})
	return c, l
}

func texts(lines []Line) string {
	var list []string
	for _, l := range lines {
		list = append(list, string(l.Text))
	}
	return strings.Join(list, " ")
}

func TestRecentLines(t *testing.T) {
	c, l := logs(t)
	if lines, err := c.RecentLines(t.Context(), "app", 5); err != nil || len(lines) != 0 {
		t.Errorf("an empty log: %v, %v", lines, err)
	}
	for i := range 5 {
		l.add(time.Duration(i), strconv.Itoa(i))
	}
	l.add(9, "!\xff")
	lines, err := c.RecentLines(t.Context(), "app", 3)
	if err != nil || texts(lines) != "3 4 !\xff" || !lines[2].Err || lines[2].Source != "APP/PROC/WEB" {
		t.Errorf("%v, %v", lines, err)
	}
}

// TestTailSeesLateLines: each line once, also one that is younger by its time
// than what was read before.
func TestTailSeesLateLines(t *testing.T) {
	c, l := logs(t)
	l.add(0, "before")
	tail, err := c.Tail(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	read := func(want string) {
		t.Helper()
		lines, err := tail.Read(t.Context())
		if err != nil || texts(lines) != want {
			t.Errorf("%q, %v, want %q", texts(lines), err, want)
		}
	}
	read("")
	l.add(5*time.Second, "a")
	read("a")
	read("")
	l.add(4*time.Second, "late")
	l.add(5*time.Second, "same-time")
	read("late same-time")
	l.add(time.Second, "too-late")
	l.add(9*time.Second, "b")
	read("b")
	read("")
	if len(tail.seen) > 3 {
		t.Errorf("it remembers %d lines", len(tail.seen))
	}
}

// TestTailOfMuch: more lines at once than one read holds.
func TestTailOfMuch(t *testing.T) {
	c, l := logs(t)
	tail := c.TailFrom("app", time.Unix(0, 0))
	const n = 3*maxLines + 500
	for i := range n {
		l.lines = append(l.lines, Line{Time: time.Unix(1000, int64(i)*100), Text: []byte(strconv.Itoa(i))})
	}
	got := map[string]bool{}
	for range 20 {
		lines, err := tail.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if got[string(line.Text)] {
				t.Fatalf("line %s came twice", line.Text)
			}
			got[string(line.Text)] = true
		}
	}
	if len(got) != n {
		t.Errorf("%d lines of %d", len(got), n)
	}
}

func TestFollow(t *testing.T) {
	c, l := logs(t)
	l.fails = maxFailures - 1 // fewer than end it
	l.add(0, "first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, "app", time.Unix(0, 0), func(line Line) { seen <- string(line.Text) })
	}()
	if got := <-seen; got != "first" {
		t.Errorf("line %q", got)
	}
	l.add(time.Second, "second")
	if got := <-seen; got != "second" {
		t.Errorf("line %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("error %v", err)
	}
	l.mu.Lock()
	l.fails = 100
	l.mu.Unlock()
	if err := c.Follow(t.Context(), "app", time.Unix(0, 0), func(Line) {}); StatusOf(err) != http.StatusNotFound {
		t.Errorf("a log that cannot be read: %v", err)
	}
	c.Config.LogCache = ""
	if _, err := c.RecentLines(t.Context(), "app", 1); err == nil {
		t.Error("without a log cache there is no error")
	}
}
