package virtio

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"
)

// rig is a queue over ordinary memory and the device's side of it.
type rig struct {
	q      *Queue
	rings  []byte
	bufs   []byte
	seen   uint16    // available entries the device has taken
	answer uint16    // used index
	bells  [512]byte // registers that ignore what is written
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// setup keeps the memory alive until the test's end: a queue knows only its address.
func setup(t testing.TB, q *Queue, writes, eventIdx bool) *rig {
	words := make([]uint64, (RingBytes(q.Size)+7)/8)
	r := &rig{q: q, rings: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), RingBytes(q.Size))}
	r.bufs = make([]byte, int(q.Size)*int(q.BufSize))
	q.Setup(address(r.rings), address(r.bufs), 0x100000, writes, eventIdx)
	t.Cleanup(func() { runtime.KeepAlive(r) })
	return r
}

func (r *rig) avail() []byte { return r.rings[r.q.availAt()-r.q.memory:] }
func (r *rig) used() []byte  { return r.rings[r.q.usedAt()-r.q.memory:] }

// take is how a device gets the next chain.
func (r *rig) take() (head uint16, ok bool) {
	if binary.LittleEndian.Uint16(r.avail()[2:]) == r.seen {
		return 0, false
	}
	head = binary.LittleEndian.Uint16(r.avail()[4+2*(r.seen%r.q.Size):])
	r.seen++
	return head, true
}

// chain collects what a transmitted chain holds.
func (r *rig) chain(head uint16) (b []byte) {
	for range r.q.Size {
		d := r.rings[16*int(head):]
		at := binary.LittleEndian.Uint64(d) - 0x100000
		b = append(b, r.bufs[at:at+uint64(binary.LittleEndian.Uint32(d[8:]))]...)
		if binary.LittleEndian.Uint16(d[12:])&descNext == 0 {
			break
		}
		head = binary.LittleEndian.Uint16(d[14:])
	}
	return b
}

// give is how a device gives a chain back.
func (r *rig) give(id, n uint32) {
	e := r.used()[4+8*(r.answer%r.q.Size):]
	binary.LittleEndian.PutUint32(e, id)
	binary.LittleEndian.PutUint32(e[4:], n)
	r.answer++
	binary.LittleEndian.PutUint16(r.used()[2:], r.answer)
}

func newNet(t testing.TB, eventIdx bool) (*Net, *rig, *rig) {
	n := &Net{In: Queue{Number: 0, Size: 128, BufSize: receiveSize}, Out: Queue{Number: 1, Size: 64, BufSize: transmitSize}}
	in, out := setup(t, &n.In, true, eventIdx), setup(t, &n.Out, false, eventIdx)
	n.registers = address(in.bells[:]) // in lives as long as its test
	n.In.Fill()
	return n, in, out
}

func TestLayoutIsThatOfTheSpecification(t *testing.T) {
	q := &Queue{Size: 256, memory: 1 << 20}
	if q.availAt()-q.memory != 4096 || q.usedAt()-q.memory != 4096+520 || RingBytes(256) != 4096+520+6+2048 {
		t.Errorf("avail %d used %d bytes %d", q.availAt()-q.memory, q.usedAt()-q.memory, RingBytes(256))
	}
}

// frame is a header with the number of buffers and a payload.
func frame(buffers uint16, size int) []byte {
	b := make([]byte, netHeader+size)
	binary.LittleEndian.PutUint16(b[headerCount:], buffers)
	for i := range size {
		b[netHeader+i] = byte(i * 7)
	}
	return b
}

// receive lets the device deliver b in merged buffers.
func (r *rig) receive(t *testing.T, b []byte) {
	for first := true; first || len(b) > 0; first = false {
		head, ok := r.take()
		if !ok {
			t.Fatal("the device got no buffer")
		}
		n := copy(r.bufs[int(head)*receiveSize:][:receiveSize], b)
		b = b[n:]
		r.give(uint32(head), uint32(n))
	}
}

func TestFramesArriveWhole(t *testing.T) {
	n, in, _ := newNet(t, true)
	to := make([]byte, 70000)
	for round := range 300 {
		size := []int{0, 60, 1500, 2036, 2037, 9000, 65000}[round%7]
		b := frame(uint16((netHeader+size+receiveSize-1)/receiveSize), size)
		in.receive(t, b)
		got := n.Receive(address(to), uint64(len(to)))
		binary.LittleEndian.PutUint16(b[headerCount:], 1)
		if !bytes.Equal(to[:got], b) {
			t.Fatalf("round %d: %d bytes of %d, or others", round, got, len(b))
		}
		if n.Receive(address(to), 70000) != 0 {
			t.Fatal("a frame of nothing")
		}
		n.In.Fill()
	}
}

func TestALongFrameIsCutLikeATapDoes(t *testing.T) {
	n, in, _ := newNet(t, true)
	in.receive(t, frame(2, 3000))
	to := make([]byte, 200)
	if got := n.Receive(address(to), 100); got != 100 || to[100] != 0 || n.In.Broken {
		t.Errorf("%d bytes, broken %v", got, n.In.Broken)
	}
	in.receive(t, frame(1, 50))
	if got := n.Receive(address(to), 200); got != 62 {
		t.Errorf("the next frame has %d bytes", got)
	}
}

func TestADeviceThatLiesIsNeverReadAgain(t *testing.T) {
	for name, lie := range map[string]func(*rig){
		"an index out of range":  func(r *rig) { r.give(128, 100) },
		"a huge index":           func(r *rig) { r.give(1<<31, 100) },
		"a length out of range":  func(r *rig) { r.give(0, receiveSize+1) },
		"a buffer twice":         func(r *rig) { r.give(0, 12); r.give(0, 12) },
		"more than there are":    func(r *rig) { binary.LittleEndian.PutUint16(r.used()[2:], 1000) },
		"no header":              func(r *rig) { r.give(0, 5) },
		"no buffers in a frame":  func(r *rig) { r.bufs[headerCount] = 0; r.give(0, 100) },
		"too many in a frame":    func(r *rig) { r.bufs[headerCount] = 200; r.give(0, 100) },
		"fewer than it promised": func(r *rig) { r.bufs[headerCount] = 2; r.give(0, 100) },
	} {
		n, in, _ := newNet(t, true)
		if name == "a buffer twice" || name == "an index out of range" {
			in.bufs[headerCount] = 1
		}
		lie(in)
		to := make([]byte, 70000)
		for range 3 {
			n.Receive(address(to), 70000)
		}
		runtime.KeepAlive(to)
		if !n.In.Broken {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestFramesLeaveWhole(t *testing.T) {
	n, _, out := newNet(t, true)
	for round := range 200 {
		size := []int{60, 1500, 4084, 4085, 64000}[round%5]
		b := frame(0, size)
		if !n.BeginFrame(uint64(len(b))) {
			t.Fatal("no room")
		}
		n.Append(address(b), 12)
		n.Append(address(b)+12, 40)
		n.Append(address(b)+52, uint64(len(b)-52))
		n.Send()
		head, ok := out.take()
		if !ok || !bytes.Equal(out.chain(head), b) {
			t.Fatalf("round %d: the device sees another frame", round)
		}
		out.give(uint32(head), 0)
	}
}

func TestAFullRingRefusesAndRecovers(t *testing.T) {
	n, _, out := newNet(t, true)
	b := frame(0, 60000)
	sent := 0
	for n.BeginFrame(uint64(len(b))) {
		n.Append(address(b), uint64(len(b)))
		n.Send()
		sent++
	}
	if sent != 4 || n.Dropped != 1 {
		t.Errorf("sent %d, dropped %d", sent, n.Dropped)
	}
	for head, ok := out.take(); ok; head, ok = out.take() {
		out.give(uint32(head), 0)
	}
	if !n.BeginFrame(uint64(len(b))) {
		t.Error("no room though all was sent")
	}
}

func TestTheDeviceIsToldOnlyWhenItWants(t *testing.T) {
	n, _, out := newNet(t, true)
	event := out.used()[4+8*64:]
	send := func() bool {
		b := frame(0, 60)
		n.BeginFrame(72)
		n.Append(address(b), 72)
		n.Send()
		return n.Out.Kick()
	}
	if !send() { // avail_event 0, index passes it
		t.Error("not told of the first frame")
	}
	if send() {
		t.Error("told though it did not ask")
	}
	binary.LittleEndian.PutUint16(event, 2)
	if !send() {
		t.Error("not told though it asked")
	}
}

func TestInterruptsAreAskedForOnlyWhenIdle(t *testing.T) {
	n, in, _ := newNet(t, true)
	in.receive(t, frame(1, 100))
	if !n.In.Arm() {
		t.Error("a frame that is there already was not noticed")
	}
	to := make([]byte, 2048)
	n.Receive(address(to), 2048)
	if n.In.Arm() {
		t.Error("a frame of nothing")
	}
	if got := binary.LittleEndian.Uint16(in.avail()[4+2*128:]); got != 1 {
		t.Errorf("used_event %d", got)
	}
}

func TestConsoleCarriesBytesBothWays(t *testing.T) {
	c := &Console{In: Queue{Size: 16, BufSize: consoleBuffer}, Out: Queue{Number: 1, Size: 16, BufSize: consoleBuffer}}
	in, out := setup(t, &c.In, true, true), setup(t, &c.Out, false, true)
	c.registers = address(in.bells[:])
	c.In.Fill()
	text := bytes.Repeat([]byte("0123456789"), 10000)
	if done := c.Write(address(text), uint64(len(text))); done != 16*consoleBuffer || !c.Full() {
		t.Errorf("wrote %d", done)
	}
	var got []byte
	for head, ok := out.take(); ok; head, ok = out.take() {
		got = append(got, out.chain(head)...)
		out.give(uint32(head), 0)
	}
	if !bytes.Equal(got, text[:16*consoleBuffer]) || !c.Drained() {
		t.Error("other bytes left")
	}
	for _, part := range []string{"abc", "defghij"} {
		head, _ := in.take()
		in.give(uint32(head), uint32(copy(in.bufs[int(head)*consoleBuffer:], part)))
	}
	to := make([]byte, 8)
	if n := c.Read(address(to), 5); n != 5 || string(to[:5]) != "abcde" {
		t.Errorf("read %q", to[:n])
	}
	if n := c.Read(address(to), 8); n != 5 || string(to[:5]) != "fghij" || c.Read(address(to), 8) != 0 {
		t.Errorf("read %q", to[:n])
	}
}

// FuzzDevice lets the device write anything into the used ring and the
// buffers. The invariant: nothing is read or written outside the queue's and
// the caller's memory, and what is counted as free never exceeds the queue.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 0, 100, 0, 1, 0, 1, 0, 12, 0, 2, 1})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 2, 0, 0, 8, 3, 0})
	f.Fuzz(func(t *testing.T, tape []byte) {
		n, in, _ := newNet(t, true)
		to := make([]byte, 70000+64)
		for ; len(tape) >= 6; tape = tape[6:] {
			id := uint32(tape[0]) | uint32(tape[1])<<8
			in.bufs[int(id)%128*receiveSize+headerCount] = tape[4]
			in.give(id, uint32(tape[2])|uint32(tape[3])<<8)
			if tape[5]&1 != 0 {
				in.answer += uint16(tape[5])
			}
			size := n.Receive(address(to), 70000)
			if size > 70000 || n.In.Spare() > n.In.Size {
				t.Fatalf("received %d, %d spare", size, n.In.Spare())
			}
			if tape[5]&2 != 0 {
				n.In.Fill()
			}
		}
		if !bytes.Equal(to[70000:], make([]byte, 64)) {
			t.Fatal("written behind the buffer")
		}
	})
}
