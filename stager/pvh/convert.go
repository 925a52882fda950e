package pvh

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dewpaas/dew/droplet"
)

// noteSize is {name size, value size, type}, the name and an 8-byte value.
const noteSize = 12 + 4 + 8

const (
	headerPage = 4096
	maxELF     = 1 << 30
	tableBytes = 6 * 4096
)

// magic opens the anchor of guest/kernel.
const magic = "\x7fdew.pvh" + "kernel.1"

const anchorSize = len(magic) + 16

var (
	// ErrNoAnchor is told of a program without guest/kernel.
	ErrNoAnchor = errors.New("pvh: the program holds no dew kernel. Remedy: build it with dew build")
	errTwice    = errors.New("pvh: the program has a PVH entry already")
	errRoom     = errors.New("pvh: no room in the ELF header page")
	errKind     = errors.New("pvh: not a static x86-64 ELF of the Go linker")
)

// layout is what Convert must know of a program.
type layout struct {
	base     uint64 // address of the ELF header
	note     uint64 // offset of the first note
	noteHead uint64 // offset of its program header
	free     uint64 // end of the headers
	target   target
}

// Convert returns a copy of the program with a PVH entry.
func Convert(program []byte) ([]byte, error) {
	l, err := read(program)
	if err != nil {
		return nil, err
	}
	out := bytes.Clone(program)
	if err := l.write(out); err != nil {
		return nil, err
	}
	if err := verify(out, l.target.self); err != nil {
		return nil, err
	}
	return out, nil
}

// open parses the ELF; debug/elf may panic on hostile files of old versions.
func open(program []byte) (f *elf.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pvh: read ELF: %v", p)
		}
	}()
	if len(program) < headerPage || len(program) > maxELF {
		return nil, errKind
	}
	f, err = elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("pvh: read ELF: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return nil, errKind
	}
	return f, nil
}

func read(program []byte) (l layout, err error) {
	f, err := open(program)
	if err != nil {
		return l, err
	}
	if err := l.headers(program, f); err != nil {
		return l, err
	}
	if err := l.anchor(program, f); err != nil {
		return l, err
	}
	return l, l.place()
}

// Offsets in Elf64_Ehdr and Elf64_Phdr.
const (
	ehPhoff     = 32
	ehShoff     = 40
	ehPhentsize = 54
	ehShentsize = 58
	ehSize      = 64
	phSize      = 56
	shSize      = 64

	phOffset = 8
	phVaddr  = 16
	phPaddr  = 24
	phFilesz = 32
	phMemsz  = 40
)

// headers finds the one PT_NOTE and the end of what the header page holds.
func (l *layout) headers(program []byte, f *elf.File) error {
	le := binary.LittleEndian
	phoff, shoff := le.Uint64(program[ehPhoff:]), le.Uint64(program[ehShoff:])
	if phoff != ehSize || le.Uint16(program[ehPhentsize:]) != phSize {
		return errKind
	}
	l.free = phoff + uint64(len(f.Progs))*phSize
	if shoff != 0 && shoff < headerPage {
		if le.Uint16(program[ehShentsize:]) != shSize {
			return errKind
		}
		l.free = max(l.free, shoff+uint64(len(f.Sections))*shSize)
	}
	notes := 0
	for i, p := range f.Progs {
		switch {
		case p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC:
			return errKind
		case p.Type == elf.PT_NOTE:
			notes++
			l.note, l.noteHead = p.Off, phoff+uint64(i)*phSize
		case p.Type == elf.PT_LOAD && p.Off == 0:
			l.base = p.Vaddr
			if p.Paddr != p.Vaddr || p.Vaddr%headerPage != 0 || p.Filesz < headerPage || p.Vaddr > 1<<31 {
				return errKind
			}
		}
	}
	if notes != 1 || l.base == 0 || l.note >= headerPage {
		return errKind
	}
	return l.others(f)
}

// others makes sure that no section lies between the headers and the notes.
func (l *layout) others(f *elf.File) error {
	for _, s := range f.Sections {
		switch {
		case s.Type == elf.SHT_NULL || s.Type == elf.SHT_NOBITS || s.Offset >= headerPage:
		case s.Offset < l.note:
			l.free = max(l.free, s.Offset+s.FileSize)
		}
	}
	return nil
}

// anchor finds where the kernel is entered.
func (l *layout) anchor(program []byte, f *elf.File) error {
	at := -1
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W != 0 || p.Off > uint64(len(program)) || p.Filesz > uint64(len(program))-p.Off {
			continue
		}
		part := program[p.Off : p.Off+p.Filesz]
		i := bytes.Index(part, []byte(magic))
		if i < 0 || len(part)-i < anchorSize {
			continue
		}
		if at >= 0 || bytes.Contains(part[i+1:], []byte(magic)) {
			return errors.New("pvh: the program holds two dew kernels")
		}
		at = int(p.Off) + i
	}
	if at < 0 {
		return ErrNoAnchor
	}
	entry := binary.LittleEndian.Uint64(program[at+len(magic):])
	tables := binary.LittleEndian.Uint64(program[at+len(magic)+8:])
	tables = (tables + 4095) &^ 4095
	if !inside(f, entry, 1, elf.PF_X) || !inside(f, tables, tableBytes, elf.PF_W) {
		return errors.New("pvh: the kernel's anchor points outside the program")
	}
	l.target.entry, l.target.tables = uint32(entry), uint32(tables)
	return nil
}

// inside tells whether an address range is loaded below 4 GiB with a right.
func inside(f *elf.File, addr, size uint64, right elf.ProgFlag) bool {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&right != 0 && addr >= p.Vaddr && size <= p.Memsz &&
			addr-p.Vaddr <= p.Memsz-size && addr+size <= 1<<32 {
			return true
		}
	}
	return false
}

// place chooses the stub's address in the gap.
func (l *layout) place() error {
	at := (l.free + 15) &^ 15
	l.target.self = uint32(l.base + at)
	if l.note < noteSize || at+uint64(len(l.target.assemble())) > l.note-noteSize {
		return errRoom
	}
	return nil
}

// write puts the stub and the note into b.
func (l *layout) write(b []byte) error {
	stub := l.target.assemble()
	at := uint64(l.target.self) - l.base
	first := l.note - noteSize
	for _, c := range b[at:l.note] {
		if c != 0 {
			return errTwice
		}
	}
	copy(b[at:], stub)
	copy(b[first:], note(l.target.self))
	for _, field := range []uint64{phOffset, phVaddr, phPaddr} {
		add(b, l.noteHead+field, -noteSize)
	}
	add(b, l.noteHead+phFilesz, noteSize)
	add(b, l.noteHead+phMemsz, noteSize)
	return nil
}

func note(entry uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(droplet.PVHName)))
	b = le.AppendUint32(b, 8)
	b = le.AppendUint32(b, droplet.PVHNote)
	b = append(b, droplet.PVHName...)
	return le.AppendUint64(b, uint64(entry))
}

func add(b []byte, at uint64, n int64) {
	v := binary.LittleEndian.Uint64(b[at:])
	binary.LittleEndian.PutUint64(b[at:], v+uint64(n))
}

// verify reads the result back.
func verify(out []byte, want uint32) error {
	f, err := open(out)
	if err != nil {
		return err
	}
	entry, ok, err := droplet.PVHEntry(f)
	if err != nil {
		return fmt.Errorf("pvh: %w", err)
	}
	if !ok || entry != uint64(want) {
		return fmt.Errorf("pvh: the written note reads back as %#x, not %#x", entry, want)
	}
	return nil
}
