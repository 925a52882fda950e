package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The exchange is as small as an HTTP request and its answer are, and nothing
// parses it: what is measured is the way between.
const (
	questionSize = 120
	answerSize   = 200
	connections  = 64
	requestPort  = 8080
	bulkPort     = 5201
)

// serve answers questions on one port and swallows bytes on another.
type serve struct{}

// Run serves until it is killed.
func (*serve) Run() error {
	answers, err := net.Listen("tcp4", fmt.Sprintf(":%d", requestPort))
	if err != nil {
		return err
	}
	sink, err := net.Listen("tcp4", fmt.Sprintf(":%d", bulkPort))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go accept(sink, func(c net.Conn) { io.CopyBuffer(discard{}, struct{ io.Reader }{c}, make([]byte, 1<<18)) })
	accept(answers, func(c net.Conn) {
		q, a := make([]byte, questionSize), make([]byte, answerSize)
		for {
			if _, err := io.ReadFull(c, q); err != nil {
				return
			}
			if _, err := c.Write(a); err != nil {
				return
			}
		}
	})
	return nil
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func accept(l net.Listener, f func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			f(c)
		}()
	}
}

// request loads a server and prints one number: requests, connections or bytes
// a second.
type request struct {
	What    string  `arg:"" enum:"keep,new,bulk"`
	To      string  `arg:""`
	Seconds float64 `arg:""`
}

// Run loads the server.
func (r *request) Run() error {
	work := map[string]func(string, <-chan struct{}, *atomic.Int64) error{"keep": keep, "new": fresh, "bulk": bulk}[r.What]
	workers := connections
	if r.What == "bulk" {
		workers = 1
	}
	stop, count := make(chan struct{}), new(atomic.Int64)
	failed := make(chan error, workers)
	var all sync.WaitGroup
	start := time.Now()
	for range workers {
		all.Go(func() { failed <- work(r.To, stop, count) })
	}
	time.AfterFunc(time.Duration(r.Seconds*float64(time.Second)), func() { close(stop) })
	all.Wait()
	took := time.Since(start)
	for range workers {
		if err := <-failed; err != nil {
			return err
		}
	}
	fmt.Println(float64(count.Load()) / took.Seconds())
	return nil
}

func over(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func ask(c net.Conn) error {
	if _, err := c.Write(make([]byte, questionSize)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, answerSize))
	return err
}

func keep(to string, stop <-chan struct{}, n *atomic.Int64) error {
	c, err := net.Dial("tcp4", to)
	if err != nil {
		return err
	}
	defer c.Close()
	for !over(stop) {
		if err := ask(c); err != nil {
			return err
		}
		n.Add(1)
	}
	return nil
}

func fresh(to string, stop <-chan struct{}, n *atomic.Int64) error {
	for !over(stop) {
		c, err := net.Dial("tcp4", to)
		if err != nil {
			return err
		}
		err = ask(c)
		// Closed by reset: no port waits, so they do not run out.
		err = errors.Join(err, c.(*net.TCPConn).SetLinger(0), c.Close())
		if err != nil {
			return err
		}
		n.Add(1)
	}
	return nil
}

func bulk(to string, stop <-chan struct{}, n *atomic.Int64) error {
	c, err := net.Dial("tcp4", to)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 1<<17)
	for !over(stop) {
		size, err := c.Write(b)
		if err != nil {
			return err
		}
		n.Add(int64(size))
	}
	return nil
}

// shout writes frames to the tap that is descriptor 3 until it is killed, or
// only computes.
type shout struct {
	What string `arg:"" enum:"spin,datagrams,connections,denied,spoofed,large"`
	As   int    `arg:"" help:"number of the instance"`
}

// Run makes noise.
func (s *shout) Run() error {
	fmt.Println("ready")
	if s.What == "spin" {
		for n := uint64(1); n != 0; n++ {
		}
		return nil
	}
	raw, err := os.NewFile(3, "tap").SyscallConn()
	if err != nil {
		return err
	}
	frames := noise(s.What, s.As, 4096)
	return raw.Write(func(fd uintptr) bool {
		for i := 0; ; i++ {
			writeRaw(int(fd), frames[i%len(frames)])
		}
	})
}
