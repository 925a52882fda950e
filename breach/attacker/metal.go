package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"
)

func outB(port uint16, v uint8)
func outW(port uint16, v uint16)
func inB(port uint16) (v uint8)
func outL(port uint16, v uint32)
func inL(port uint16) (v uint32)

// outString writes n bytes to a port.
func outString(port uint16, text *byte, n uintptr)

// tables is where this CPU's page tables are.
func tables() (cr3 uintptr)
func loadTables(cr3 uintptr)

// monopolize turns interrupts off and stays.
func monopolize()
func tripleFault()

// load32 and store32 access device registers, which want whole words.
func load32(at uintptr) (v uint32)
func store32(at uintptr, v uint32)

// metalSteps are made in ring 0 of a virtual machine.
func metalSteps() map[string]step {
	return map[string]step{
		"write-ports":     writePorts,
		"read-firmware":   readFirmware,
		"scan-memory":     scanMemory,
		"scan-beyond":     scanBeyond,
		"fill-memory":     fillMemory,
		"scan-pci":        scanPCI,
		"monopolize":      func(args) error { fmt.Println("holding"); everywhere(monopolize); return nil },
		"triple-fault":    func(args) error { fmt.Println("up again\nholding"); settle(); tripleFault(); return nil },
		"forge-status":    forgeStatus,
		"lie-in-the-ring": lieInTheRing,
	}
}

// settle gives the console time to take what was printed.
func settle() { time.Sleep(20 * time.Millisecond) }

// everywhere runs f on every CPU, and does not come back.
func everywhere(f func()) {
	for range runtime.NumCPU() - 1 {
		go f()
	}
	f()
}

// Ports that would end the machine, and those whose data is the console's.
const (
	debugExit = 0xf4
	fwSelect  = 0x510
	fwEnd     = 0x520
)

// writePorts writes a text to every port of the machine but those of its own
// timer and interrupt controller.
func writePorts(a args) error {
	text := []byte(a.text(0))
	for port := 0x100; port < 0x10000; port++ {
		if port < fwSelect || port >= fwEnd {
			outString(uint16(port), &text[0], uintptr(len(text)))
		}
	}
	return hold(nil)
}

// readFirmware prints every file of QEMU's configuration device
// (docs/specs/fw_cfg.rst).
func readFirmware(args) error {
	read := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = inB(fwSelect + 1)
		}
		return b
	}
	const directory = 0x19
	outW(fwSelect, directory)
	count := binary.BigEndian.Uint32(read(4))
	entries := read(64 * int(min(count, 100)))
	for e := range slicesOf(entries, 64) {
		name, _, _ := bytes.Cut(e[8:], []byte{0})
		outW(fwSelect, binary.BigEndian.Uint16(e[4:]))
		content := read(int(min(binary.BigEndian.Uint32(e), 4096)))
		fmt.Printf("%s: %q\n", name, content)
	}
	return nil
}

// slicesOf cuts b into pieces.
func slicesOf(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) >= n; b = b[n:] {
			if !yield(b[:n]) {
				return
			}
		}
	}
}

// direct is where the guest's kernel shows all RAM, and where the attacker's
// own tables show all that has a physical address at all.
const (
	direct = 0xffff_8000_0000_0000
	all    = 0xffff_c800_0000_0000
	slot   = 400 // of the top table
)

// mapAll writes the kernel's page tables, so that 512 GiB of physical addresses
// can be read and written.
func mapAll() {
	const giant = 1<<7 | 3 // 1 GiB, present, writable
	page := alignedPage()
	for i := range 512 {
		binary.LittleEndian.PutUint64(page[8*i:], uint64(i)<<30|giant)
	}
	top := tables() &^ 0xfff
	*(*uint64)(unsafe.Add(nil, uintptr(direct)+top+8*slot)) = uint64(physicalOf(address(&page[0]))) | 3
	loadTables(tables())
}

// alignedPage is a page of the program's memory, which is there: what was never
// touched has no physical address.
func alignedPage() []byte {
	b, at := buffer(8192)
	clear(b)
	skip := -at & 4095
	return b[skip : skip+4096]
}

// physicalOf walks the page tables.
func physicalOf(at uintptr) uintptr {
	table := tables() &^ 0xfff
	for shift := 39; ; shift -= 9 {
		entry := *(*uintptr)(unsafe.Add(nil, uintptr(direct)+table+8*(at>>shift&511)))
		frame := entry & 0x000f_ffff_ffff_f000
		if shift == 12 || entry&(1<<7) != 0 {
			mask := uintptr(1)<<shift - 1
			return frame&^mask | at&mask
		}
		table = frame
	}
}

var mark = []byte("loot-")

// scanMemory prints every secret in so many MiB of physical memory.
func scanMemory(a args) error {
	mapAll()
	found := 0
	for mib := uintptr(1); mib < a.number(0); mib++ {
		b := memory(all+mib<<20, 1<<20)
		for at := 0; found < 100; {
			i := bytes.Index(b[at:], mark)
			if i < 0 {
				break
			}
			at += i
			fmt.Printf("%#x: %q\n", mib<<20+uintptr(at), b[at:min(at+40, len(b))])
			at += len(mark)
			found++
		}
	}
	return nil
}

// scanBeyond looks at the start of every 64 KiB behind so many MiB, below
// 4 GiB, and of every MiB up to 64 GiB.
func scanBeyond(a args) error {
	mapAll()
	look := func(at uintptr) {
		if load32(all+at) != binary.LittleEndian.Uint32(mark) {
			return
		}
		b := []byte{}
		for i := range uintptr(10) {
			b = binary.LittleEndian.AppendUint32(b, load32(all+at+4*i))
		}
		fmt.Printf("%#x: %q\n", at, b)
	}
	for at := a.number(0) << 20; at < 4<<30; at += 64 << 10 {
		look(at)
	}
	for at := uintptr(4 << 30); at < 64<<30; at += 1 << 20 {
		look(at)
	}
	return nil
}

// fillMemory writes a text into so many MiB of memory.
func fillMemory(a args) error {
	b := make([]byte, a.number(0)<<20)
	for at := 0; at < len(b); at += 4096 {
		copy(b[at:], a.text(1))
	}
	runtime.KeepAlive(b)
	return nil
}

// scanPCI prints what the memory of every PCI device begins with (PCI Local Bus
// 3.0 section 6.1).
func scanPCI(args) error {
	mapAll()
	for function := range uint32(1 << 16) {
		config := func(at uint32) uint32 {
			outL(0xcf8, 1<<31|function<<8|at)
			return inL(0xcfc)
		}
		id := config(0)
		if id == 1<<32-1 || id == 0 {
			continue
		}
		fmt.Printf("%04x: %04x:%04x\n", function, id&0xffff, id>>16)
		for bar := uint32(0x10); bar < 0x28; bar += 4 {
			low := config(bar)
			at := uintptr(low &^ 15)
			if low&1 != 0 || at == 0 { // ports, or none
				continue
			}
			if low&6 == 4 {
				bar += 4
				at |= uintptr(config(bar)) << 32
			}
			if load32(all+at) == binary.LittleEndian.Uint32(mark) {
				fmt.Printf("%#x: %q\n", at, memory(all+at, 40))
			}
		}
	}
	return nil
}

// forgeStatus ends the machine with a status of its own choice.
func forgeStatus(a args) error {
	fmt.Println("forge-status: now")
	settle()
	outB(debugExit, byte(a.number(0)))
	return errors.New("still here")
}
