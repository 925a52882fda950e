package main

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"
)

// ringParams is struct io_uring_params (include/uapi/linux/io_uring.h).
type ringParams struct {
	_  [10]uint32 // sizes, flags, features
	sq struct {
		_, tail, mask, _, _, _, array, _ uint32 // offsets into the area at 0
		_                                uint64
	}
	cq struct {
		head, _, mask, _, _, cqes, _, _ uint32 // offsets into the area at 0x8000000
		_                               uint64
	}
}

// openRing opens and reads by requests in memory, which a filter of calls does
// not see.
func openRing(a args) error {
	r := new(ring)
	var err error
	if r.fd, err = try(sysRingSetup, 4, address(&r.params)); err != nil {
		return err
	}
	if err := r.mapped(); err != nil {
		return err
	}
	const openat, read = 18, 22
	file, err := r.request(openat, -100, cString(a.text(0)), 0)
	if err != nil {
		return err
	}
	b, at := buffer(4096)
	n, err := r.request(read, file, at, 4096)
	fmt.Printf("%s\n", b[:max(n, 0)])
	return err
}

type ring struct {
	params       ringParams
	fd           uintptr
	sq, cq, sqes uintptr // addresses of the three areas
}

func (r *ring) mapped() (err error) {
	area := func(offset uintptr) uintptr {
		var at uintptr
		if err == nil {
			at, err = try(syscall.SYS_MMAP, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, r.fd, offset)
		}
		return at
	}
	r.sq, r.cq, r.sqes = area(0), area(0x8000000), area(0x10000000)
	return err
}

func word(at uintptr) *uint32 { return (*uint32)(unsafe.Add(nil, at)) }

// request makes one and waits for its result.
func (r *ring) request(op byte, fd int32, addr uintptr, n uint32) (int32, error) {
	tail := word(r.sq + uintptr(r.params.sq.tail))
	slot := *tail & *word(r.sq + uintptr(r.params.sq.mask))
	entry := memory(r.sqes+64*uintptr(slot), 64)
	clear(entry)
	entry[0] = op
	binary.LittleEndian.PutUint32(entry[4:], uint32(fd))
	binary.LittleEndian.PutUint64(entry[16:], uint64(addr))
	binary.LittleEndian.PutUint32(entry[24:], n)
	*word(r.sq + uintptr(r.params.sq.array) + 4*uintptr(slot)) = slot
	*tail++
	if err := only(try(sysRingEnter, r.fd, 1, 1, 1, 0, 0)); err != nil {
		return -1, err
	}
	head := word(r.cq + uintptr(r.params.cq.head))
	done := r.cq + uintptr(r.params.cq.cqes) + 16*uintptr(*head&*word(r.cq + uintptr(r.params.cq.mask)))
	*head++
	result := int32(*word(done + 8))
	if result < 0 {
		return result, fmt.Errorf("request %d: %w", op, syscall.Errno(-result))
	}
	return result, nil
}
