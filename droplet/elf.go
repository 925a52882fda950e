package droplet

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds of a program's addresses: above what Linux lets nobody map
// (vm.mmap_min_addr), and below 4 GiB, where a 32-bit entry reaches.
const (
	minAddress = 1 << 16
	maxAddress = 1 << 32
	page       = 4096
	maxNotes   = 1 << 16
)

// The ELF note that names a PVH entry, XEN_ELFNOTE_PHYS32_ENTRY of Xen's
// include/public/elfnote.h: its type and its owner.
const (
	PVHNote = 18
	PVHName = "Xen\x00"
)

// checkProgram refuses what is not a static x86-64 program that both kinds of
// host can load: behind a process wall and, by its PVH entry, on bare metal.
func checkProgram(r io.ReaderAt, size int64) (err error) {
	defer func() {
		if p := recover(); p != nil { // debug/elf parses what a tenant sends
			err = invalid("ELF: %v", p)
		}
	}()
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return invalid("ELF: %v", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return invalid("ELF: %v %v %v %v, want a static x86-64 program", f.Class, f.Data, f.Machine, f.Type)
	}
	loads, err := segments(f, uint64(size))
	if err != nil {
		return invalid("ELF: %v", err)
	}
	if !executable(loads, f.Entry) {
		return invalid("ELF: the entry %#x is not in executable memory", f.Entry)
	}
	entry, ok, err := PVHEntry(f)
	switch {
	case err != nil:
		return invalid("ELF: %v", err)
	case !ok:
		return invalid("ELF: it has no PVH entry, so it was not made by dew build")
	case !executable(loads, entry):
		return invalid("ELF: the PVH entry %#x is not in executable memory", entry)
	}
	return nil
}

// segments returns what is loaded, in order of addresses, if it can be loaded.
func segments(f *elf.File, size uint64) ([]*elf.Prog, error) {
	var loads []*elf.Prog
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP, elf.PT_DYNAMIC:
			return nil, errors.New("it wants a dynamic linker")
		case elf.PT_LOAD:
			if err := loadable(p, size); err != nil {
				return nil, err
			}
			loads = append(loads, p)
		}
	}
	slices.SortFunc(loads, func(a, b *elf.Prog) int { return int(int64(a.Vaddr) - int64(b.Vaddr)) })
	for i := 1; i < len(loads); i++ {
		if end := loads[i-1].Vaddr + loads[i-1].Memsz; end > loads[i].Vaddr {
			return nil, fmt.Errorf("segments overlap at %#x", loads[i].Vaddr)
		}
	}
	return loads, nil
}

func loadable(p *elf.Prog, size uint64) error {
	switch {
	case p.Filesz > p.Memsz || p.Off > size || p.Filesz > size-p.Off:
		return fmt.Errorf("a segment of %d bytes at %d reaches beyond the file", p.Filesz, p.Off)
	case p.Vaddr < minAddress || p.Vaddr > maxAddress || p.Memsz > maxAddress-p.Vaddr || p.Paddr != p.Vaddr:
		return fmt.Errorf("a segment of %d bytes at %#x lies outside of what may be used", p.Memsz, p.Vaddr)
	case p.Vaddr%page != p.Off%page:
		return fmt.Errorf("the segment at %#x cannot be mapped", p.Vaddr)
	case p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0:
		return fmt.Errorf("the segment at %#x is writable and executable", p.Vaddr)
	}
	return nil
}

func executable(loads []*elf.Prog, address uint64) bool {
	return slices.ContainsFunc(loads, func(p *elf.Prog) bool {
		return p.Flags&elf.PF_X != 0 && address >= p.Vaddr && address-p.Vaddr < p.Filesz
	})
}

// PVHEntry finds the note by which loaders of virtual machines enter a program,
// and returns the physical address that it names; ok is false where there is no
// such note. The notes of f are read as hostile.
func PVHEntry(f *elf.File) (entry uint64, ok bool, err error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		if p.Filesz > maxNotes {
			return 0, false, fmt.Errorf("%d bytes of notes", p.Filesz)
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return 0, false, fmt.Errorf("read notes: %w", err)
		}
		if entry, ok = findNote(b); ok {
			return entry, true, nil
		}
	}
	return 0, false, nil
}

// findNote walks Elf64_Nhdr records, each padded to 4 bytes.
func findNote(b []byte) (entry uint64, ok bool) {
	le := binary.LittleEndian
	for len(b) >= 12 {
		name, value, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		b = b[12:]
		padded := (name + 3) &^ 3
		if padded+value > uint64(len(b)) {
			return 0, false
		}
		if kind == PVHNote && string(b[:name]) == PVHName {
			switch value {
			case 4:
				return uint64(le.Uint32(b[padded:])), true
			case 8:
				return le.Uint64(b[padded:]), true
			}
			return 0, false
		}
		b = b[min(padded+(value+3)&^3, uint64(len(b))):]
	}
	return 0, false
}
