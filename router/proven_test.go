package router

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// mortal is an app with an instance behind each of n addresses. /kill ends the
// instance that it reaches, and all its connections, without an answer.
func mortal(t *testing.T, n int) (addresses []string, killed *atomic.Int64) {
	killed = new(atomic.Int64)
	for range n {
		ln := listen(t)
		s := &http.Server{}
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/kill" {
				killed.Add(1)
				s.Close()
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, "ok")
		})
		go s.Serve(ln)
		t.Cleanup(func() { s.Close() })
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses, killed
}

// TestWhatKillsAnInstanceStaysThere: a request that ends its instance does not
// get the next one, whatever came before it on the connection and whoever asks.
func TestWhatKillsAnInstanceStaysThere(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("http2=", http2), func(t *testing.T) {
			l := newLab(t)
			addresses, killed := mortal(t, 3)
			l.route(addresses...)
			client := l.browser()
			if http2 {
				tr := client.Transport.(*http.Transport)
				tr.Protocols = new(http.Protocols)
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			ask := func(path string) int {
				p, err := client.Get("http://app.test" + path)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, p.Body)
				p.Body.Close()
				return p.StatusCode
			}
			for range 6 { // connections to each are there and idle
				if status := ask("/"); status != 200 {
					t.Fatal(status)
				}
			}
			for i := range 2 {
				if status := ask(fmt.Sprint("/kill?n=", i)); status != 502 || killed.Load() != int64(i+1) {
					t.Fatalf("%d, %d instances are dead of %d requests", status, killed.Load(), i+1)
				}
			}
			for range 6 {
				if status := ask("/"); status != 200 {
					t.Errorf("with one instance left: %d", status)
				}
			}
		})
	}
}

// TestBystandersOfADeath: requests under way to an instance that another one
// kills are answered by the next.
func TestBystandersOfADeath(t *testing.T) {
	l := newLab(t)
	addresses, killed := mortal(t, 2)
	l.route(addresses...)
	l.do(get)
	die := make(chan bool)
	load := l.crowd("http://app.test/?a=b", func() { close(die) })
	<-die
	p, _ := l.do("GET /kill HTTP/1.1\r\nHost: app.test\r\n\r\n")
	load.Wait()
	if p.StatusCode != 502 || killed.Load() != 1 {
		t.Errorf("the killer got %d, %d instances are dead", p.StatusCode, killed.Load())
	}
}

func TestProvenKinds(t *testing.T) {
	p := newProven()
	get, put := []byte("GET"), []byte("PUT")
	if p.has(get, []byte("/a")) {
		t.Error("known before it was answered")
	}
	p.note(get, []byte("/a?x=1"))
	for _, q := range []struct {
		method []byte
		target string
		want   bool
	}{{get, "/a", true}, {get, "/a?y", true}, {put, "/a", false}, {get, "/a/b", false}, {get, "/", false}} {
		if p.has(q.method, []byte(q.target)) != q.want {
			t.Errorf("%s %s: %v", q.method, q.target, !q.want)
		}
	}
	for i := range 100_000 { // of bounded size, whatever clients ask for
		p.note(get, fmt.Append(nil, "/", i))
	}
	p.note(get, []byte("/a"))
	if !p.has(get, []byte("/a")) {
		t.Error("what was answered last is forgotten")
	}
}
