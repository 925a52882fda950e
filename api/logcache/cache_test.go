package logcache

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

const app = "11111111-2222-4333-8444-555555555555"

func say(c *Cache, text string) {
	c.Log(cf.LogLine{AppGUID: app, Time: time.Unix(100, 0), Source: "APP/PROC/WEB", Instance: "0", Text: []byte(text)})
}

func read(t *testing.T, c *Cache, query string) (texts []string) {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseQuery(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Read(app, q) {
		texts = append(texts, string(e.Log.Payload))
	}
	return texts
}

func TestReadAsTheCLIDoes(t *testing.T) {
	c := New(DefaultBounds())
	for _, text := range []string{"a", "b", "c", "d"} {
		say(c, text) // all in the same nanosecond
	}
	for query, want := range map[string]string{
		"descending=true&envelope_types=LOG&limit=1000&start_time=-6795364578871345152": "d c b a", // cf logs --recent
		"descending=true&limit=1": "d",
		"limit=2":                 "a b",
		"start_time=100000000001": "b c d",
		"start_time=100000000001&end_time=100000000003": "b c",
		"envelope_types=GAUGE":                          "",
		"envelope_types=GAUGE&envelope_types=LOG":       "a b c d",
		"start_time=200000000000":                       "",
		"end_time=5&start_time=9":                       "",
	} {
		if got := strings.Join(read(t, c, query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// TestEnvelope: the client's decoder refuses fields that it does not know.
func TestEnvelope(t *testing.T) {
	c := New(DefaultBounds())
	say(c, "hi\xff")
	w := httptest.NewRecorder()
	if err := WriteEnvelopes(w, c.Read(app, Query{To: math.MaxInt64, Limit: 9, Logs: true}), map[string]string{"app_name": "x"}); err != nil {
		t.Fatal(err)
	}
	want := `{"envelopes":{"batch":[{"timestamp":"100000000000","source_id":"` + app + `","instance_id":"0","deprecated_tags":{},"tags":{"app_name":"x","origin":"rep","process_type":"web","source_type":"APP/PROC/WEB"},"log":{"payload":"aGn/","type":"OUT"}}]}}` + "\n"
	if w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
	w = httptest.NewRecorder()
	if err := WriteEnvelopes(w, c.Read("other", Query{Logs: true}), nil); err != nil || w.Body.String() != `{"envelopes":{"batch":[]}}`+"\n" {
		t.Errorf("nothing is %s, %v", w.Body, err)
	}
}

func TestBounds(t *testing.T) {
	c := New(Bounds{Lines: 100, Bytes: 20 * (lineOverhead + 10), Total: 50 * (lineOverhead + 10), Apps: 3})
	for i := range 1000 {
		c.Log(cf.LogLine{AppGUID: fmt.Sprint(i % 5), Text: []byte("0123456789")})
	}
	f := c.Figures()
	if f.Apps != 3 || f.Received != 1000 || f.Bytes > 50*(lineOverhead+10) {
		t.Errorf("%+v", f)
	}
	kept := int64(0)
	for app, m := range c.Meta(func(string) bool { return true }) {
		kept += m.Count * (lineOverhead + 10)
		if m.Count > 20 || m.Oldest > m.Newest {
			t.Errorf("%s: %+v", app, m)
		}
	}
	if kept != f.Bytes {
		t.Errorf("%d bytes are counted, %d are kept", f.Bytes, kept)
	}
	c = New(DefaultBounds())
	say(c, strings.Repeat("x", maxLine+1))
	if got := read(t, c, ""); len(got) != 2 || len(got[0]) != maxLine || got[1] != "x" {
		t.Errorf("a long line became %d", len(got))
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestLinesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	open := func() *Cache {
		c := New(DefaultBounds())
		if err := c.Keep(dir, 1<<20, quiet()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	say(c, "one")
	say(c, "two")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// A crash can cut the last record off.
	name := filepath.Join(dir, app+".log")
	text, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, append(text, 200, 1, 2), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c = open()
	defer c.Close()
	if got := read(t, c, "descending=true"); !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("after a restart: %q", got)
	}
	say(c, "three")
	if got := read(t, c, "descending=true&limit=1"); !slices.Equal(got, []string{"three"}) {
		t.Errorf("then: %q", got)
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	c := New(DefaultBounds())
	if err := c.Keep(dir, 2*fileSize, quiet()); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		for range 12 {
			c.Log(cf.LogLine{AppGUID: fmt.Sprintf("app-%d", i), Text: make([]byte, maxLine)})
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.files.trim(time.Now(), false)
	total := int64(0)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if err != nil || total > 2*fileSize || total == 0 {
		t.Errorf("%d bytes in %d files, %v", total, len(entries), err)
	}
	late := time.Now().Add(2 * keepFiles)
	c.files.trim(late, false)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		t.Errorf("a clock that was set removes logs, %v", err)
	}
	c.files.trim(late, true)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%d files of quiet apps are left, %v", len(entries), err)
	}
}

// TestConcurrentUse is for the race detector; every line is counted once.
func TestConcurrentUse(t *testing.T) {
	c := New(Bounds{Lines: 50, Bytes: 1 << 20, Total: 100_000, Apps: 5})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				c.Log(cf.LogLine{AppGUID: fmt.Sprint(i % 6), Text: []byte("text")})
				c.Read(fmt.Sprint(j%6), Query{To: math.MaxInt64, Limit: 10, Logs: true})
			}
		})
	}
	wg.Wait()
	if f := c.Figures(); f.Received != 4000 {
		t.Errorf("%+v", f)
	}
}

// FuzzParseQuery: nothing is ignored, and what passes is within bounds.
func FuzzParseQuery(f *testing.F) {
	f.Add("descending=true&envelope_types=LOG&limit=1000&start_time=-6795364578871345152")
	f.Add("limit=1001")
	f.Add("colour=red")
	f.Add("envelope_types=ANY,LOG")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, err := ParseQuery(v)
		if err != nil {
			return
		}
		if q.Limit < 1 || q.Limit > maxLimit || q.From < 0 || q.To < 0 {
			t.Fatalf("%q passed as %+v", text, q)
		}
		for name := range v {
			if !slices.Contains([]string{"start_time", "end_time", "limit", "descending", "envelope_types", "envelope_type"}, name) {
				t.Fatalf("%q: %q was ignored", text, name)
			}
		}
	})
}

// FuzzRecords: what is read from a file has rising times, and writes the same.
func FuzzRecords(f *testing.F) {
	l := line{at: 7, source: "APP", instance: "0", text: []byte("x")}
	f.Add(slices.Concat(l.record(), line{at: 8, err: true}.record()))
	f.Add([]byte{11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		last := int64(-1)
		var again []byte
		for _, l := range appendRecords(nil, data) {
			if l.at <= last {
				t.Fatalf("%d after %d", l.at, last)
			}
			last = l.at
			again = append(again, l.record()...)
		}
		if got := appendRecords(nil, again); len(got) != len(appendRecords(nil, data)) {
			t.Fatalf("%d lines became %d", len(appendRecords(nil, data)), len(got))
		}
	})
}

func TestMetaIsInStrings(t *testing.T) {
	c := New(DefaultBounds())
	say(c, "x")
	text, err := json.Marshal(c.Meta(func(id string) bool { return id == app }))
	if err != nil || string(text) != `{"`+app+`":{"count":"1","expired":"0","oldest_timestamp":"100000000000","newest_timestamp":"100000000000"}}` {
		t.Errorf("%s, %v", text, err)
	}
	if len(c.Meta(func(string) bool { return false })) != 0 {
		t.Error("what may not be seen is told")
	}
}
