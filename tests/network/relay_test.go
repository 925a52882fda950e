package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dewpaas/dew/vnet"
	"golang.org/x/sys/unix"
)

// Odds of a packet's fates, each way.
const (
	lossOdds    = 0.01
	doubleOdds  = 0.01
	reorderOdds = 0.02
	// heldBack is how long a packet is held that none overtakes.
	heldBack = 3 * time.Millisecond
)

// direction carries packets one way, badly.
type direction struct {
	send func(frame []byte)

	mu                       sync.Mutex
	fate                     *rand.Rand
	held                     []byte
	passed                   atomic.Int64
	lost, doubled, reordered atomic.Int64
}

// carry decides a frame's fate. The frame is not kept.
func (d *direction) carry(frame []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passed.Add(1)
	switch f := d.fate.Float64(); {
	case f < lossOdds:
		d.lost.Add(1)
	case f < lossOdds+doubleOdds:
		d.doubled.Add(1)
		d.send(frame)
		d.send(frame)
	case f < lossOdds+doubleOdds+reorderOdds && d.held == nil:
		d.reordered.Add(1)
		d.held = append([]byte(nil), frame...)
		time.AfterFunc(heldBack, d.release)
		return
	default:
		d.send(frame)
	}
	d.releaseHeld()
}

func (d *direction) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.releaseHeld()
}

func (d *direction) releaseHeld() {
	if d.held != nil {
		d.send(d.held)
		d.held = nil
	}
}

// badWire puts two bad directions between the network's tap and one for the
// guest, which it returns.
func badWire(t *testing.T, outer *os.File) *os.File {
	seed := uint64(time.Now().UnixNano())
	t.Logf("the relay's seed is %d", seed)
	control(t, outer, func(fd int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0) }) // packets come whole
	inner, packets := innerTap(t)
	in := &direction{fate: rand.New(rand.NewPCG(seed, 1)), send: func(frame []byte) { packets.Write(append(make([]byte, packetHeader), frame...)) }}
	out := &direction{fate: rand.New(rand.NewPCG(seed, 2)), send: func(frame []byte) { outer.Write(append(make([]byte, tapHeader), frame...)) }}
	var both sync.WaitGroup
	both.Go(func() { pump(t, outer, func(b []byte) { in.carry(b[tapHeader:]) }) })
	both.Go(func() { pump(t, packets, func(b []byte) { split(b, out.carry) }) })
	t.Cleanup(func() {
		outer.Close()
		packets.Close()
		both.Wait()
		for name, d := range map[string]*direction{"in": in, "out": out} {
			t.Logf("%s: %d packets, %d lost, %d doubled, %d reordered", name, d.passed.Load(), d.lost.Load(), d.doubled.Load(), d.reordered.Load())
		}
	})
	return inner
}

const (
	tapHeader    = 12 // of package abi
	packetHeader = 10 // struct virtio_net_hdr, PACKET_VNET_HDR of packet(7)
)

func control(t *testing.T, f *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := f.SyscallConn()
	check(t, err)
	var failed error
	check(t, raw.Control(func(fd uintptr) { failed = do(int(fd)) }))
	check(t, failed)
}

// pump reads frames until the file is closed.
func pump(t *testing.T, f *os.File, to func([]byte)) {
	b := make([]byte, 1<<17)
	for {
		n, err := f.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			t.Errorf("relay: %v", err)
			return
		}
		to(b[:n])
	}
}

// innerTap is a tap in a namespace of its own, and a packet socket at the
// tap's other end: what is written there the guest receives.
func innerTap(t *testing.T) (tap, packets *os.File) {
	type result struct {
		tap     *os.File
		packets int
		err     error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is left inside and dies
		var r result
		r.tap, r.packets, r.err = openInner()
		made <- r
	}()
	r := <-made
	check(t, r.err)
	t.Cleanup(func() { r.tap.Close() })
	return r.tap, os.NewFile(uintptr(r.packets), "packets")
}

func openInner() (*os.File, int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, 0, err
	}
	os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	tap, err := vnet.Attach("inner0")
	if err != nil {
		return nil, 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	r, err := unix.NewIfreq("inner0")
	if err != nil {
		return nil, 0, err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_NOARP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return nil, 0, fmt.Errorf("up: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return nil, 0, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return nil, 0, fmt.Errorf("PACKET_VNET_HDR: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
	return tap, fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(r.Uint32())})
}

// split does what a card with offloads does: it cuts a frame that is larger
// than the wire takes, and finishes checksums (VIRTIO 1.2 section 5.1.6.2).
func split(b []byte, to func(frame []byte)) {
	const needsChecksum, tcp4 = 1, 1
	flags, gso := b[0], b[1]&^0x80
	size := int(binary.LittleEndian.Uint16(b[4:]))
	start, offset := int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	frame := b[packetHeader:]
	if gso != tcp4 {
		if flags&needsChecksum != 0 {
			binary.BigEndian.PutUint16(frame[start+offset:], ^sum(0, frame[start:]))
		}
		to(frame)
		return
	}
	const ip = 14
	tcp := ip + int(frame[ip]&15)*4
	headers := tcp + int(frame[tcp+12]>>4)*4
	payload := frame[headers:]
	for n := 0; len(payload) > 0; n++ {
		k := min(size, len(payload))
		piece := append(append([]byte(nil), frame[:headers]...), payload[:k]...)
		payload = payload[k:]
		binary.BigEndian.PutUint16(piece[ip+2:], uint16(len(piece)-ip))
		binary.BigEndian.PutUint16(piece[ip+4:], binary.BigEndian.Uint16(frame[ip+4:])+uint16(n))
		binary.BigEndian.PutUint32(piece[tcp+4:], binary.BigEndian.Uint32(frame[tcp+4:])+uint32(n*size))
		if len(payload) > 0 {
			piece[tcp+13] &^= 0x09 // FIN and PSH go with the last
		}
		binary.BigEndian.PutUint16(piece[ip+10:], 0)
		binary.BigEndian.PutUint16(piece[ip+10:], ^sum(0, piece[ip:tcp]))
		binary.BigEndian.PutUint16(piece[tcp+16:], 0)
		pseudo := uint32(sum(0, piece[ip+12:ip+20])) + 6 + uint32(len(piece)-tcp)
		binary.BigEndian.PutUint16(piece[tcp+16:], ^sum(pseudo, piece[tcp:]))
		to(piece)
	}
}

// sum is the one's complement sum of RFC 1071.
func sum(n uint32, b []byte) uint16 {
	for len(b) > 1 {
		n += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
