package modproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
)

// Config of one build's relay.
type Config struct {
	// Upstream is a list as in GOPROXY: URLs of proxies, https or file, each
	// followed by a comma (the next is asked after 404 and 410) or a bar (after
	// any error). "direct" and "off" end it.
	Upstream string
	// Folders hold what Cache holds, but are only read: GOMODCACHE/cache/download.
	Folders []string
	Cache   string // folder for downloads; "": nothing is kept
	Limit   int64  // bytes that may be answered; 0: no limit
}

// Relay answers the protocol over HTTP.
type Relay struct {
	c      Config
	steps  []step
	client *http.Client
	used   atomic.Int64
}

// step is one proxy of a list.
type step struct {
	base     *url.URL
	anyError bool // go on after any error
}

// New makes a relay.
func New(c Config) (*Relay, error) {
	r := &Relay{c: c, client: &http.Client{Timeout: 10 * time.Minute}}
	for rest := c.Upstream; rest != ""; {
		end := strings.IndexAny(rest+",", ",|")
		item := strings.TrimSpace(rest[:end])
		bar := end < len(rest) && rest[end] == '|'
		rest = rest[min(end+1, len(rest)):]
		if item == "direct" || item == "off" {
			break
		}
		if item == "" {
			continue
		}
		u, err := url.Parse(item)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file" {
			return nil, fmt.Errorf("module proxy %q: want a URL with https or file", item)
		}
		r.steps = append(r.steps, step{u, bar})
	}
	return r, nil
}

// errGone is the answer that lets the go command ask elsewhere.
var errGone = errors.New("no proxy has it")

// ServeHTTP answers one request.
func (r *Relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	// Decoded: the go command asks for the "!" of an upper-case letter as "%21".
	name := strings.TrimPrefix(q.URL.Path, "/")
	keep, ok := classify(name)
	if q.Method != http.MethodGet && q.Method != http.MethodHead || !ok {
		http.Error(w, "not of the module proxy protocol", http.StatusForbidden)
		return
	}
	if r.c.Limit > 0 && r.used.Load() > r.c.Limit {
		http.Error(w, fmt.Sprintf("this build has downloaded more than the %d bytes that it may", r.c.Limit), http.StatusForbidden)
		return
	}
	body, err := r.find(q.Context(), name, keep)
	switch {
	case errors.Is(err, errGone):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer body.Close()
	io.Copy(w, counted{body, r}) // a cut answer fails the client's checksum
}

// counted counts what is read, and ends with an error at the limit.
type counted struct {
	io.Reader
	r *Relay
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if used := c.r.used.Add(int64(n)); c.r.c.Limit > 0 && used > c.r.c.Limit {
		panic(http.ErrAbortHandler) // so that the client does not take it for the end
	}
	return n, err
}

// classify tells whether a path is of the protocol, and whether what it names
// never changes.
func classify(name string) (keep, ok bool) {
	if rest, found := strings.CutPrefix(name, "sumdb/"); found {
		return false, rest != "" && plain(rest)
	}
	if mod, found := strings.CutSuffix(name, "/@latest"); found {
		return false, goodModule(mod)
	}
	mod, file, found := strings.Cut(name, "/@v/")
	if !found || !goodModule(mod) {
		return false, false
	}
	if file == "list" {
		return false, true
	}
	ext := filepath.Ext(file)
	version, err := module.UnescapeVersion(strings.TrimSuffix(file, ext))
	if err != nil || ext != ".info" && ext != ".mod" && ext != ".zip" {
		return false, false
	}
	return module.CanonicalVersion(version) == version, plain(file)
}

func goodModule(escaped string) bool {
	_, err := module.UnescapePath(escaped)
	return err == nil
}

// plain tells whether a path has only harmless letters and leads nowhere else.
func plain(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!+/@"
	return strings.Trim(name, letters) == "" && filepath.IsLocal(name) && filepath.Clean(name) == name
}

func (r *Relay) find(ctx context.Context, name string, keep bool) (io.ReadCloser, error) {
	if keep {
		for _, dir := range append([]string{r.c.Cache}, r.c.Folders...) {
			if f, err := open(dir, name); err == nil {
				return f, nil
			}
		}
	}
	for _, s := range r.steps {
		body, err := r.ask(ctx, s, name)
		if err == nil && keep && r.c.Cache != "" {
			return r.keep(name, body)
		}
		if err == nil || !s.anyError && !errors.Is(err, errGone) {
			return body, err
		}
	}
	return nil, fmt.Errorf("%w: %s", errGone, name)
}

func open(dir, name string) (*os.File, error) {
	if dir == "" {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}

func (r *Relay) ask(ctx context.Context, s step, name string) (io.ReadCloser, error) {
	if s.base.Scheme == "file" {
		f, err := open(filepath.FromSlash(s.base.Path), name)
		if err != nil {
			return nil, errGone
		}
		return f, nil
	}
	// The path is escaped as the protocol wants it, and was checked.
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.base.String(), "/")+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	a, err := r.client.Do(q)
	if err != nil {
		return nil, fmt.Errorf("module proxy: %w", err)
	}
	if a.StatusCode == http.StatusOK {
		return a.Body, nil
	}
	defer a.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(a.Body, 1<<10))
	if a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusGone {
		return nil, fmt.Errorf("%w: %s", errGone, why)
	}
	return nil, fmt.Errorf("module proxy: %s: %s", a.Status, why)
}

// keep stores an answer and returns it from there.
func (r *Relay) keep(name string, body io.ReadCloser) (io.ReadCloser, error) {
	defer body.Close()
	path := filepath.Join(r.c.Cache, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("keep a module: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "download-")
	if err != nil {
		return nil, fmt.Errorf("keep a module: %w", err)
	}
	_, err = io.Copy(f, body)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, fmt.Errorf("keep a module: %w", err)
	}
	return f, nil
}
