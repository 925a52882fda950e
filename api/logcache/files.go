package logcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Each app has two files: GUID.log, to which lines are appended, and GUID.old,
// which GUID.log becomes when it is full. A record is its length (uvarint), then
// time (8 bytes), kind (1 byte), source and instance (each with its length in one
// byte) and the text.
const (
	fileSize    = 512 << 10
	flushEvery  = time.Second
	queuedLines = 4096
	keepFiles   = 7 * 24 * time.Hour // since the app last wrote
)

type files struct {
	dir   string
	most  int64 // bytes of all files
	log   *slog.Logger
	queue chan filed
	done  chan struct{}
	lost  atomic.Uint64
	ended atomic.Bool
}

type filed struct {
	app string
	line
}

// Keep makes the cache write lines into the folder, at most so many bytes, and
// read them back after a restart. Call it before anything is logged.
func (c *Cache) Keep(dir string, most int64, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	f := &files{dir: dir, most: most, log: log, queue: make(chan filed, queuedLines), done: make(chan struct{})}
	f.trim(c.now(), false)
	c.files = f
	go f.write(c.now)
	return nil
}

// pass hands a line to the writer, unless it is behind.
func (f *files) pass(app string, l line) {
	if f == nil || f.ended.Load() {
		return
	}
	select {
	case f.queue <- filed{app, l}:
	default:
		f.lost.Add(1)
	}
}

func (f *files) close() error {
	if f == nil || f.ended.Swap(true) {
		return nil
	}
	f.queue <- filed{} // the writer takes what came before, then ends
	<-f.done
	return nil
}

// write gathers lines and appends them about once a second, app by app.
func (f *files) write(now func() time.Time) {
	defer close(f.done)
	pending := map[string][]byte{}
	size := 0
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var clock cf.ClockWatch
	trimmed := now()
	for {
		select {
		case l := <-f.queue:
			if l.app == "" {
				f.flush(pending)
				return
			}
			record := l.record()
			pending[l.app] = append(pending[l.app], record...)
			if size += len(record); size < fileSize {
				continue
			}
		case <-tick.C:
		}
		f.flush(pending)
		clear(pending)
		size = 0
		if now().Sub(trimmed) > time.Minute {
			trimmed = now()
			f.trim(trimmed, clock.Settled(trimmed, trimmed))
		}
	}
}

func (f *files) flush(pending map[string][]byte) {
	for app, records := range pending {
		if err := f.append(app, records); err != nil {
			f.lost.Add(1)
			f.log.Warn("log lines are not kept on disk", "app", app, "err", err)
		}
	}
}

var appForm = regexp.MustCompile(`^[0-9a-zA-Z][0-9a-zA-Z-]{0,63}$`)

func (f *files) path(app, ending string) string { return filepath.Join(f.dir, app+ending) }

func (f *files) append(app string, records []byte) error {
	if !appForm.MatchString(app) {
		return errors.New("the guid cannot be a file name")
	}
	info, err := os.Stat(f.path(app, ".log"))
	if err == nil && info.Size() > fileSize {
		err = os.Rename(f.path(app, ".log"), f.path(app, ".old"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(f.path(app, ".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(records)
	return errors.Join(err, out.Close())
}

func (f *files) has(app string) bool {
	if f == nil || !appForm.MatchString(app) {
		return false
	}
	_, err := os.Stat(f.path(app, ".log"))
	return err == nil
}

// load reads the lines of an app. A record that a crash cut off ends its file.
func (f *files) load(app string) []line {
	if f == nil || !appForm.MatchString(app) {
		return nil
	}
	var out []line
	for _, ending := range []string{".old", ".log"} {
		data, err := os.ReadFile(f.path(app, ending))
		if err != nil {
			continue // there is none: the app is new, or has written little
		}
		out = appendRecords(out, data)
	}
	return out
}

func (l line) record() []byte {
	source, instance := l.source[:min(len(l.source), 255)], l.instance[:min(len(l.instance), 255)]
	b := binary.AppendUvarint(nil, uint64(8+1+1+len(source)+1+len(instance)+len(l.text)))
	b = binary.BigEndian.AppendUint64(b, uint64(l.at))
	kind := byte(0)
	if l.err {
		kind = 1
	}
	b = append(b, kind, byte(len(source)))
	b = append(b, source...)
	b = append(b, byte(len(instance)))
	b = append(b, instance...)
	return append(b, l.text...)
}

// appendRecords reads records until the end or the first that is broken. Times
// rise, whatever the file says.
func appendRecords(out []line, data []byte) []line {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) || size < 11 {
			return out
		}
		l, ok := parseRecord(data[n : n+int(size)])
		if !ok || len(out) > 0 && l.at <= out[len(out)-1].at {
			return out
		}
		out = append(out, l)
		data = data[n+int(size):]
	}
	return out
}

func parseRecord(b []byte) (line, bool) {
	l := line{at: int64(binary.BigEndian.Uint64(b)), err: b[8] == 1}
	rest := b[9:]
	for _, into := range []*string{&l.source, &l.instance} {
		if len(rest) == 0 || len(rest) <= int(rest[0]) {
			return l, false
		}
		*into, rest = string(rest[1:1+rest[0]]), rest[1+rest[0]:]
	}
	l.text = rest
	return l, l.at >= 0
}

// trim removes the files of apps that have been quiet for long, if the clock can be
// believed, and the oldest ones while there are too many bytes.
func (f *files) trim(now time.Time, believed bool) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.log.Warn("kept logs cannot be trimmed", "err", err)
		return
	}
	var infos []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			infos = append(infos, info)
			total += info.Size()
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range infos {
		if total <= f.most && (!believed || now.Sub(info.ModTime()) < keepFiles) {
			return
		}
		if err := os.Remove(filepath.Join(f.dir, info.Name())); err != nil {
			f.log.Warn("a kept log cannot be removed", "err", err)
		}
		total -= info.Size()
	}
}
