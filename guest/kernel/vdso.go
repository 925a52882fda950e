package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/guest/mem"
)

// vdsoBase is where the program finds the image; the page is ours and mapped
// read-only.
const vdsoBase = mem.High - mem.PageSize

// The runtime reads the clock through one function of the vDSO, which spares
// it a trap. The image is the least that it accepts: a loadable segment, a
// dynamic section, one symbol in a hash table of one bucket, and an empty
// version definition, which Go 1.26 reads unasked (runtime/vdso_linux.go).
const (
	vdsoDynamic = 0x100
	vdsoSymbols = 0x200
	vdsoHash    = 0x280
	vdsoStrings = 0x300
	vdsoVersion = 0x380
	vdsoName    = "__vdso_clock_gettime"
)

func (k *kernel) vdsoOn() {
	page := k.takePage()
	image := (*[mem.PageSize]byte)(direct.At(page))
	fillVDSO(image, clockAddr())
	_, err := k.space.Window(vdsoBase, mem.PageSize, page, true)
	k.must(err == mem.OK)
}

// fillVDSO writes the image for a routine at an absolute address.
func fillVDSO(p *[mem.PageSize]byte, routine uint64) {
	copy(p[:], "\x7fELF\x02\x01\x01")
	put64(p, 32, 64) // program headers
	put32(p, 56, 2)
	put32(p, 64, 1)  // PT_LOAD of offset 0 at 0
	put32(p, 120, 2) // PT_DYNAMIC
	put64(p, 128, vdsoDynamic)
	for i, v := range [...]uint64{5, vdsoStrings, 6, vdsoSymbols, 4, vdsoHash, 0x6ffffffc, vdsoVersion, 0, 0} {
		put64(p, vdsoDynamic+8*i, v)
	}
	put32(p, vdsoSymbols+24, 1)          // name
	put32(p, vdsoSymbols+28, 0x12|1<<16) // global function in section 1
	put64(p, vdsoSymbols+32, routine-vdsoBase)
	put32(p, vdsoHash, 1)   // buckets
	put32(p, vdsoHash+4, 2) // chains
	put32(p, vdsoHash+8, 1)
	copy(p[vdsoStrings+1:], vdsoName)
}

func put32(p *[mem.PageSize]byte, i int, v uint32) { *(*uint32)(unsafe.Pointer(&p[i])) = v }

func put64(p *[mem.PageSize]byte, i int, v uint64) { *(*uint64)(unsafe.Pointer(&p[i])) = v }
