package router

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// progress is the time limit on one direction of a request on the bridge: a
// client that neither sends nor reads within it is cut off. It ends before the
// connection goes on to another request, whose limits are net/http's.
type progress struct {
	set  func(time.Time) error
	idle time.Duration

	mu   sync.Mutex // guards over
	over bool
}

func (p *progress) begin() { p.at(time.Now().Add(p.idle)) }
func (p *progress) lift()  { p.at(time.Time{}) }

func (p *progress) at(limit time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.set(limit)
	}
}

// end leaves the limit as it is for good.
func (p *progress) end() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
}

// countedWriter notes what went to the client.
type countedWriter struct {
	http.ResponseWriter
	status int
	n      int64
	limit  progress
}

func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) WriteHeader(status int) {
	if w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(b []byte) (int, error) {
	if w.status < 200 {
		w.status = 200
	}
	w.limit.begin()
	n, err := w.ResponseWriter.Write(b)
	w.limit.lift()
	w.n += int64(n)
	return n, err
}

// FlushError is what http.ResponseController looks for.
func (w *countedWriter) FlushError() error {
	w.limit.begin()
	defer w.limit.lift()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// countedBody counts the request's body.
type countedBody struct {
	io.ReadCloser
	n     int64
	limit progress
}

func (b *countedBody) Read(p []byte) (int, error) {
	b.limit.begin()
	n, err := b.ReadCloser.Read(p)
	b.limit.lift()
	b.n += int64(n)
	return n, err
}

// unclosed keeps a transport from closing a body that another may need.
type unclosed struct{ io.Reader }

func (unclosed) Close() error { return nil }

// watchBody calls done once when the app's body is closed. The body of a 101
// can be written, and must stay so.
func watchBody(body io.ReadCloser, done func()) io.ReadCloser {
	w := &watched{ReadCloser: body, done: done}
	if rw, ok := body.(io.ReadWriteCloser); ok {
		return &watchedTunnel{watched: w, Writer: rw}
	}
	return w
}

type watched struct {
	io.ReadCloser
	once sync.Once
	done func()
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.once.Do(w.done)
	return err
}

type watchedTunnel struct {
	*watched
	io.Writer
}
