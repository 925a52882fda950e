package router

import (
	"io"
	"net/http"
	"sync"
)

// countedWriter notes what went to the client.
type countedWriter struct {
	http.ResponseWriter
	status int
	n      int64
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
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

// countedBody counts the request's body.
type countedBody struct {
	io.ReadCloser
	n int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
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
