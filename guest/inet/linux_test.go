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
	"sync"
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

// TestShortConnections: one request each, many at once; whoever closes first.
func TestShortConnections(t *testing.T) {
	b := newBench(t, 1500)
	b.serve(80, func(s stream) {
		buf := make([]byte, 100)
		n, _ := s.Read(buf)
		s.Write(append(buf[:n], " answered"...))
		s.Close()
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 60 {
				c := b.dial(80)
				fmt.Fprintf(c, "%d", i)
				if i%2 == 0 {
					c.CloseWrite()
				}
				got, err := io.ReadAll(c)
				if err != nil || string(got) != fmt.Sprintf("%d answered", i) {
					t.Errorf("%q, %v", got, err)
				}
				c.Close()
			}
		})
	}
	all.Wait()
}

// TestLinuxResets: a reader of ours learns of it.
func TestLinuxResets(t *testing.T) {
	b := newBench(t, 1500)
	failed := make(chan error, 1)
	b.serve(80, func(s stream) {
		_, err := io.ReadAll(s)
		failed <- err
		s.Close()
	})
	c := b.dial(80)
	c.Write([]byte("hello"))
	c.SetLinger(0)
	c.Close()
	if err := <-failed; err != syscall.ECONNRESET {
		t.Errorf("%v", err)
	}
}

// TestManyStreams at once, in both directions, with small and large writes.
func TestManyStreams(t *testing.T) {
	b := newBench(t, 1500)
	b.serve(80, echo)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			c := b.dial(80)
			defer c.Close()
			r := rand.New(rand.NewPCG(uint64(i), 0))
			data := randomBytes(r, 200_000+r.IntN(400_000))
			go func() {
				for rest := data; len(rest) > 0; {
					n := min(1+r.IntN(20_000), len(rest))
					c.Write(rest[:n])
					rest = rest[n:]
				}
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("stream %d: %d of %d bytes, %v", i, len(got), len(data), err)
			}
		})
	}
	all.Wait()
}

// TestDatagramsWithLinux of all sizes, both ways; and a port nobody has.
func TestDatagramsWithLinux(t *testing.T) {
	b := newBench(t, 1500)
	packets, l, err := b.network.ListenGateway(53)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer packets.Close()
	packets.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		buf := make([]byte, 70000)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo(buf[:n], from)
		}
	}()
	u := b.stack.NewUDP()
	defer u.Close()
	u.Set(ReceiveBuffer, 1<<20)
	for _, n := range []int{0, 1, 1472, 1473, 9000, 65507} {
		data := randomBytes(rand.New(rand.NewPCG(uint64(n), 0)), n)
		if _, err := u.SendTo(data, Addr{vnet.Gateway.As4(), 53}, 0); err != 0 {
			t.Fatalf("%d bytes: %v", n, err)
		}
		fd.Wait(datagrams{u}, fd.Readable)
		buf := make([]byte, 70000)
		k, _, from, err := u.Receive(buf, 0)
		if err != 0 || !bytes.Equal(buf[:k], data) || from.Port != 53 {
			t.Errorf("%d bytes: %d came back, %v", n, k, err)
		}
	}
	v := b.stack.NewUDP()
	defer v.Close()
	v.Connect(Addr{vnet.Gateway.As4(), 54})
	v.Send([]byte("x"), 0)
	fd.Wait(datagrams{v}, fd.Readable)
	if err := v.TakeError(); err != syscall.ECONNREFUSED {
		t.Errorf("a port nobody has: %v", err)
	}
}

// datagrams lets fd.Wait wait for a UDP endpoint.
type datagrams struct{ *UDP }

func (datagrams) Read(p []byte, off int64) (int, syscall.Errno)  { return 0, syscall.ENOSYS }
func (datagrams) Write(p []byte, off int64) (int, syscall.Errno) { return 0, syscall.ENOSYS }
func (datagrams) Stat(st *syscall.Stat_t) syscall.Errno          { return syscall.ENOSYS }
