package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/mem"
)

// user is the one door to the program's memory: it makes [addr, addr+n)
// present with the right to read or write it.
func (k *kernel) user(addr, n uint64, write bool) (b []byte, ok bool) {
	use := mem.Read
	if write {
		use |= mem.Write
	}
	switch k.space.Touch(addr, n, use) {
	case mem.OK:
		return unsafe.Slice((*byte)(at(addr)), n), true
	case mem.Exhausted:
		k.outOfMemory(addr)
	}
	return nil, false
}

// load and store move one word.
func (k *kernel) load(addr uint64) (v uint64, ok bool) {
	if _, ok = k.user(addr, 8, false); ok {
		v = *(*uint64)(at(addr))
	}
	return v, ok
}

func (k *kernel) store(addr, v uint64) bool {
	_, ok := k.user(addr, 8, true)
	if ok {
		*(*uint64)(at(addr)) = v
	}
	return ok
}

// mmap(2): Linux include/uapi/asm-generic/mman-common.h.
const (
	mapFixed     = 0x10
	mapAnonymous = 0x20
	mapAllowed   = 0x4032 // PRIVATE, FIXED, ANONYMOUS, NORESERVE

	madvDontNeed = 4
	madvFree     = 8
)

func (k *kernel) mmap(addr, size, prot, flags, fd, offset uint64) uint64 {
	if flags&^mapAllowed != 0 || mem.Prot(prot)&^(mem.Read|mem.Write) != 0 {
		k.forbid(sysMmap) // memory that is shared or executable
	}
	var place uint64
	var err mem.Err
	if flags&mapAnonymous != 0 {
		place, err = k.space.Map(addr, size, mem.Prot(prot), flags&mapFixed != 0)
	} else {
		phys, room := k.module.window(uint32(fd))
		if offset%mem.PageSize != 0 || offset > room || size > room-offset || mem.Prot(prot) != mem.Read {
			return fail(EINVAL)
		}
		place, err = k.space.Window(addr, size, phys+offset, flags&mapFixed != 0)
	}
	k.settle()
	return result(place, err)
}

// window is what a descriptor shows of the module, in whole pages.
func (m *moduleInfo) window(fd uint32) (phys, size uint64) {
	switch fd {
	case abi.FDBoot:
		return m.phys, m.image
	case abi.FDImage:
		return m.phys + m.image, (m.imageSize + mem.PageSize - 1) &^ (mem.PageSize - 1)
	}
	return 0, 0
}

func result(v uint64, err mem.Err) uint64 {
	switch err {
	case mem.OK:
		return v
	case mem.Exhausted:
		return fail(ENOMEM)
	case mem.Denied:
		return fail(EFAULT)
	}
	return fail(EINVAL)
}

func (k *kernel) munmap(addr, size uint64) uint64 {
	err := k.space.Unmap(addr, size)
	k.settle()
	return result(0, err)
}

// madvise gives memory back. Huge pages are refused, which the runtime takes
// as a kernel without them.
func (k *kernel) madvise(addr, size, advice uint64) uint64 {
	if advice != madvDontNeed && advice != madvFree {
		return fail(EINVAL)
	}
	err := k.space.Discard(addr, size)
	k.settle()
	return result(0, err)
}
