package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

var handlers = map[string]http.HandlerFunc{
	"/hello":  func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello", r.Proto) },
	"/big":    long,
	"/sum":    sum,
	"/echo":   func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) },
	"/socket": socket,
	"/stats":  stats,
	"/file":   func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "/file") },
	"/links":  links,
	"/ask":    ask,
	"/wait":   func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"/spin":   spin,
	"/still":  func(w http.ResponseWriter, r *http.Request) { still.Store(true) },
}

// still ends the loops of spin.
var still atomic.Bool

// spin holds a P until another request stops it, in a loop that calls nothing.
func spin(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for !still.Load() {
	}
}

// pattern is byte i of every long answer.
type pattern struct{ i, n int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.i == p.n {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.n-p.i))
	for k := range b[:n] {
		v := p.i + int64(k)
		b[k] = byte(v ^ v>>8 ^ v>>16)
	}
	p.i += int64(n)
	return n, nil
}

func long(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	io.Copy(w, &pattern{n: n})
}

// sum answers with the digest of what was sent.
func sum(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		log.Print("sum: ", err)
		return
	}
	fmt.Fprintf(w, "%d %s\n", n, hex.EncodeToString(h.Sum(nil)))
}

// socket echoes the messages of a WebSocket.
func socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		log.Print("websocket: ", err)
		return
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, b); err != nil {
			return
		}
	}
}

// stats are what leaks: goroutines, descriptors, bytes of live memory.
func stats(w http.ResponseWriter, r *http.Request) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, _ := os.ReadDir("/proc/self/fd")
	json.NewEncoder(w).Encode(map[string]uint64{"goroutines": uint64(runtime.NumGoroutine()), "descriptors": uint64(len(fds)),
		"heap": m.HeapAlloc, "stacks": m.StackInuse, "total": m.Sys})
}

// links tells the interfaces as package net sees them.
func links(w http.ResponseWriter, r *http.Request) {
	all, err := net.Interfaces()
	if err != nil {
		fmt.Fprintln(w, err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		fmt.Fprintln(w, i.Index, i.Name, i.MTU, i.HardwareAddr, i.Flags, addrs, err)
	}
}

func serveTLS(addr string, h http.Handler) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"app.test"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	s := &http.Server{Addr: addr, Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	log.Fatal(s.ListenAndServeTLS("", ""))
}

func serveRPC(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	log.Fatal(s.Serve(l))
}
