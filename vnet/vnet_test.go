package vnet

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
)

func newNetwork(t *testing.T) *Network {
	t.Helper()
	n, err := New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

var guestNIC = VNIC{Name: "vnettest", Addr: netip.MustParseAddr("10.7.0.2"), MAC: [6]byte{2, 0xde, 0x77, 1, 0, 2}, MTU: DefaultMTU}

// TestFramesOfATap: a connection attempt arrives behind the header of package
// abi, from the gateway, without any ARP; a lawful answer gets back.
func TestFramesOfATap(t *testing.T) {
	n := newNetwork(t)
	tap, err := n.AddTap(guestNIC)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	tap.SetDeadline(time.Now().Add(time.Minute))
	refused := make(chan error, 1)
	go func() {
		_, err := n.DialTCP(t.Context(), netip.AddrPortFrom(guestNIC.Addr, 8080))
		refused <- err
	}()
	frame := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
	size, err := tap.Read(frame)
	if err != nil {
		t.Fatal(err)
	}
	header, eth := frame[:abi.VNetHeaderSize], frame[abi.VNetHeaderSize:size]
	if header[0]&1 == 0 {
		t.Errorf("header %x: want a checksum left to the receiver (VIRTIO_NET_HDR_F_NEEDS_CSUM)", header)
	}
	if [6]byte(eth[:6]) != guestNIC.MAC || [6]byte(eth[6:12]) != GatewayMAC || binary.BigEndian.Uint16(eth[12:]) != 0x0800 {
		t.Fatalf("frame %x", eth[:14])
	}
	if got := netip.AddrFrom4([4]byte(eth[26:30])); got != Gateway {
		t.Errorf("from %v", got)
	}
	if _, err := tap.Write(append(make([]byte, abi.VNetHeaderSize), reset(eth)...)); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
}

// reset answers a SYN by RST (RFC 9293 section 3.5.2).
func reset(syn []byte) []byte {
	r := append([]byte(nil), syn[:54]...)
	copy(r[0:6], syn[6:12])
	copy(r[6:12], syn[0:6])
	ip, tcp := r[14:34], r[34:54]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], 40)
	copy(ip[12:16], syn[30:34])
	copy(ip[16:20], syn[26:30])
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	copy(tcp[0:2], syn[36:38])
	copy(tcp[2:4], syn[34:36])
	binary.BigEndian.PutUint32(tcp[4:], 0)
	binary.BigEndian.PutUint32(tcp[8:], binary.BigEndian.Uint32(syn[38:])+1)
	tcp[12], tcp[13] = 0x50, 0x14
	binary.BigEndian.PutUint32(tcp[14:], 0)
	tcp[18], tcp[19] = 0, 0
	binary.BigEndian.PutUint16(tcp[16:], ^sum(uint32(sum(0, ip[12:20]))+6+20, tcp))
	return r
}

func sum(n uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// TestTapIsGoneWhenClosed: the name is free again.
func TestTapIsGoneWhenClosed(t *testing.T) {
	n := newNetwork(t)
	for range 2 {
		tap, err := n.AddTap(guestNIC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.AddTap(guestNIC); !errors.Is(err, unix.EBUSY) {
			t.Errorf("a second tap of that name: %v", err)
		}
		tap.Close()
	}
}

func TestHostIsNotTouched(t *testing.T) {
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t)
	tap, err := n.AddTap(guestNIC)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	after, err := net.Interfaces()
	if err != nil || len(after) != len(before) {
		t.Errorf("%d interfaces before, %d after, %v", len(before), len(after), err)
	}
}

// TestForwardKeepsHalfCloses: a request that ends by closing its direction gets
// its answer. The server stands on the network's own loopback.
func TestForwardKeepsHalfCloses(t *testing.T) {
	n := newNetwork(t)
	var server net.Listener
	if err := n.Within(func() (err error) {
		server, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			c.Write(append([]byte("got "), b...))
			c.Close()
		}
	}()
	f, err := n.Forward("127.0.0.1:0", server.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		c, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		c.Write([]byte("hello"))
		c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil || string(b) != "got hello" {
			t.Fatalf("%q, %v", b, err)
		}
	}
}

func TestForwardToNobodyResets(t *testing.T) {
	n := newNetwork(t)
	f, err := n.Forward("127.0.0.1:0", netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The reset may come before or after connect has returned.
	c, err := net.Dial("tcp", f.Addr().String())
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// TestTapIsPreparedBeforeItIsUp: what a guest sends before that has nowhere to go.
func TestTapIsPreparedBeforeItIsUp(t *testing.T) {
	n := newNetwork(t)
	down := false
	tap, err := n.AddTap(guestNIC, func() error {
		link, err := n.links.LinkByName(guestNIC.Name)
		down = err == nil && link.Attrs().Flags&net.FlagUp == 0
		return err
	})
	if err != nil || !down {
		t.Fatalf("down: %v, %v", down, err)
	}
	tap.Close()
	refused := errors.New("no")
	if _, err := n.AddTap(guestNIC, func() error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	if _, err := n.links.LinkByName(guestNIC.Name); err == nil {
		t.Error("a tap that could not be prepared is still there")
	}
}

// TestAdoptedNetworkIsTheSame: what was made through one is there for the other,
// also when the first has let go.
func TestAdoptedNetworkIsTheSame(t *testing.T) {
	first := newNetwork(t)
	tap, err := first.AddTap(guestNIC)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	f, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, err := Adopt(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.AddTap(guestNIC); !errors.Is(err, unix.EBUSY) {
		t.Errorf("the tap is not there: %v", err)
	}
	if _, err := Adopt(tap); err == nil {
		t.Error("a tap was adopted as a network")
	}
}

// TestBreak: who waits for a guest that is gone waits no longer, whoever talks to
// another one goes on.
func TestBreak(t *testing.T) {
	n := newNetwork(t)
	var here, there net.Listener
	if err := n.Within(func() (err error) {
		if here, err = net.Listen("tcp4", "127.0.0.1:0"); err == nil {
			there, err = net.Listen("tcp4", "127.0.0.2:0")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	defer there.Close()
	dial := func(l net.Listener) *net.TCPConn {
		c, err := n.DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(time.Minute))
		return c
	}
	whole, broken := dial(here), dial(there)
	err := n.Break(netip.MustParseAddr("127.0.0.2"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs a kernel with CONFIG_INET_DIAG_DESTROY")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from who is gone: %v", err)
	}
	c, err := here.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("x"))
	if _, err := whole.Read(make([]byte, 1)); err != nil {
		t.Errorf("read from another: %v", err)
	}
}

// TestDialsOfASilentGuest: however many wait for a guest that does not answer,
// they hold no threads.
func TestDialsOfASilentGuest(t *testing.T) {
	n := newNetwork(t)
	tap, err := n.AddTap(guestNIC) // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	const dials = 300
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, dials)
	for range dials {
		go func() {
			_, err := n.DialTCP(ctx, netip.AddrPortFrom(guestNIC.Addr, 8080))
			ended <- err
		}()
	}
	// All have begun when each has its socket; that is 300 descriptors more.
	for deadline := time.Now().Add(30 * time.Second); sockets(t) < dials; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d dials have begun", sockets(t), dials)
		}
	}
	if threads, err := os.ReadDir("/proc/self/task"); err != nil || len(threads) > dials/2 {
		t.Errorf("%d threads for %d dials, %v", len(threads), dials, err)
	}
	cancel()
	for range dials {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("dial: %v", err)
		}
	}
}

// sockets are those of this process.
func sockets(t *testing.T) (n int) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
