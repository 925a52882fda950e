package inet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/vnet"
)

// tapLink is the packet descriptor of a guest, as a host process has it.
type tapLink struct {
	fd     int
	closed atomic.Bool
	bad    atomic.Int64 // the last error of the kernel, and how many before
}

func (l *tapLink) Send(pieces []syscall.Iovec) syscall.Errno {
	if l.closed.Load() {
		return 0
	}
	_, _, e := syscall.Syscall(syscall.SYS_WRITEV, uintptr(l.fd), uintptr(unsafe.Pointer(&pieces[0])), uintptr(len(pieces)))
	if e != 0 {
		l.bad.Add(1000)
		l.bad.Store(l.bad.Load()/1000*1000 + int64(e))
	}
	return e
}

// bench is a stack of ours on a tap, and a network of Linux behind it.
type bench struct {
	t       testing.TB
	stack   *Stack
	network *vnet.Network
	link    *tapLink
}

var benchAddr = netip.MustParseAddr("10.7.0.2")

func newBench(t testing.TB, mtu int) *bench {
	t.Helper()
	n, err := vnet.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	mac := [6]byte{2, 0xde, 0x77, 1, 0, 2}
	tap, err := n.AddTap(vnet.VNIC{Name: "inettest", Addr: benchAddr, MAC: mac, MTU: mtu})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tap.SyscallConn()
	link := &tapLink{}
	raw.Control(func(fd uintptr) { link.fd = int(fd) })
	s := New(Config{NIC: boot.NIC{MAC: mac, GatewayMAC: vnet.GatewayMAC, Addr: benchAddr.As4(), Gateway: vnet.Gateway.As4(), MTU: uint16(mtu)},
		Link: link, Memory: 32 << 20})
	s.begin()
	done := make(chan struct{})
	go func() { // the pump of a test
		defer close(done)
		frame := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
		for {
			size, err := tap.Read(frame)
			if err != nil {
				return
			}
			s.Deliver(frame[:size])
		}
	}()
	t.Cleanup(func() {
		tap.SetReadDeadline(time.Unix(1, 0))
		<-done
		link.closed.Store(true)
		tap.Close()
		n.Close()
		if k := link.bad.Load(); k > 0 {
			t.Errorf("the kernel refused %d frames, the last with %v", k/1000, syscall.Errno(k%1000))
		}
	})
	return &bench{t, s, n, link}
}

// stream is an endpoint as a blocking reader and writer.
type stream struct{ *TCP }

// pollable lets fd.Wait wait for an endpoint.
type pollable struct{ *TCP }

func (pollable) Read(p []byte, off int64) (int, syscall.Errno)  { return 0, syscall.ENOSYS }
func (pollable) Write(p []byte, off int64) (int, syscall.Errno) { return 0, syscall.ENOSYS }
func (pollable) Stat(st *syscall.Stat_t) syscall.Errno          { return syscall.ENOSYS }

func (s stream) wait(e fd.Events) { fd.Wait(pollable(s), e) }

func (s stream) Read(p []byte) (int, error) {
	for {
		n, err := s.Receive(p, 0)
		switch {
		case err == syscall.EAGAIN:
			s.wait(fd.Readable)
		case err != 0:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := s.Send(p[done:], 0)
		done += n
		switch {
		case err == syscall.EAGAIN:
			s.wait(fd.Writable)
		case err != 0:
			return done, err
		}
	}
	return done, nil
}

// serve accepts connections and runs f on each, until the listener is closed.
func (b *bench) serve(port uint16, f func(s stream)) *TCP {
	b.t.Helper()
	l := b.stack.NewTCP()
	if err := l.Bind(Addr{Port: port}); err != 0 {
		b.t.Fatal(err)
	}
	if err := l.Listen(128); err != 0 {
		b.t.Fatal(err)
	}
	b.t.Cleanup(l.Close)
	go func() {
		for {
			c, err := l.Accept()
			switch err {
			case 0:
				c.Set(NoDelay, 1)
				go f(stream{c})
			case syscall.EAGAIN:
				fd.Wait(pollable{l}, fd.Readable)
			default:
				return
			}
		}
	}()
	return l
}

func (b *bench) dial(port uint16) *net.TCPConn {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := b.network.DialTCP(ctx, netip.AddrPortFrom(benchAddr, port))
	if err != nil {
		b.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// connect connects our endpoint to Linux.
func (b *bench) connect(port uint16) (stream, error) {
	c := b.stack.NewTCP()
	if err := c.Connect(Addr{vnet.Gateway.As4(), port}); err != syscall.EINPROGRESS {
		return stream{}, err
	}
	fd.Wait(pollable{c}, fd.Writable)
	if err := c.TakeError(); err != 0 {
		c.Close()
		return stream{}, err
	}
	return stream{c}, nil
}

func echo(s stream) {
	io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
	s.Close()
}

func TestLinuxTalksToUs(t *testing.T) {
	for _, mtu := range []int{1500, 9000, 576} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			b := newBench(t, mtu)
			b.serve(80, echo)
			c := b.dial(80)
			defer c.Close()
			data := randomBytes(rand.New(rand.NewPCG(1, 2)), 8<<20)
			go func() {
				c.Write(data)
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes came back, %v", len(got), len(data), err)
			}
		})
	}
}

func TestWeTalkToLinux(t *testing.T) {
	b := newBench(t, 1500)
	packets, l, err := b.network.ListenGateway(8080)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	s, err := b.connect(8080)
	if err != nil {
		t.Fatal(err)
	}
	data := randomBytes(rand.New(rand.NewPCG(3, 4)), 8<<20)
	go func() {
		s.Write(data)
		s.Shutdown(syscall.SHUT_WR)
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(data), err)
	}
	s.Close()
	if _, err := b.connect(8081); err != syscall.ECONNREFUSED {
		t.Errorf("a port nobody listens on: %v", err)
	}
}
