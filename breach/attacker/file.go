package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

// fileSteps read and change files of the host and of other instances.
func fileSteps() map[string]step {
	return map[string]step{
		"open": func(a args) error { return show(try(syscall.SYS_OPENAT, atFDCWD, cString(a.text(0)), 0)) },
		"openat2": func(a args) error {
			return show(try(sysOpenat2, atFDCWD, cString(a.text(0)), address(&[3]uint64{}), 24))
		},
		"open-int80":   openInt80,
		"open-ring":    openRing,
		"open-handle":  openHandle,
		"descriptors":  descriptors,
		"write-image":  func(a args) error { return writeAt(6, a.text(0)) },
		"map-image":    mapImage,
		"reopen-image": reopenImage,
		"write-record": func(a args) error { return writeAt(8, a.text(0)) },
		"replace":      replace,
		"leave":        func(a args) error { return os.WriteFile(a.text(0), []byte(a.text(1)), 0o666) },
		"find":         find,
	}
}

// show prints what is behind a descriptor.
func show(fd uintptr, err error) error {
	if err != nil {
		return err
	}
	b, p := buffer(4096)
	n, err := try(syscall.SYS_PREAD64, fd, p, 4096, 0)
	if err != nil {
		n, err = try(syscall.SYS_READ, fd, p, 4096)
	}
	fmt.Printf("%s\n", b[:n])
	return err
}

// writeAt overwrites the start of what is behind a descriptor.
func writeAt(fd uintptr, text string) error {
	return only(try(syscall.SYS_PWRITE64, fd, cString(text), uintptr(len(text)), 0))
}

// low is memory that a 32-bit pointer reaches: the program is linked at 4 MiB.
var low [4096]byte

// openInt80 asks the 32-bit entry, which a filter for 64-bit numbers may not judge.
func openInt80(a args) error {
	copy(low[:], a.text(0)+"\x00")
	const open, read = 5, 3
	p := address(&low)
	fd := int80(open, p, 0, 0)
	if fd > ^uintptr(4095) {
		return &refusal{open, syscall.Errno(-fd)}
	}
	n := int80(read, fd, p, 4096)
	if n > 4096 {
		return &refusal{read, syscall.Errno(-n)}
	}
	fmt.Printf("%s\n", low[:n])
	return nil
}

// openHandle opens by a file handle, which knows of no roots: what let
// programs out of early containers.
func openHandle(a args) error {
	handle, h := buffer(8 + 128)
	mount := new(int32)
	root, err := try(syscall.SYS_OPENAT, atFDCWD, cString("/"), syscall.O_DIRECTORY)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(handle, 128)
	if err := only(try(sysNameToHandle, atFDCWD, cString(a.text(0)), h, address(mount), 0)); err != nil {
		return err
	}
	return show(try(sysHandleAt, root, h, 0))
}

// descriptors reads whatever is behind any number.
func descriptors(args) error {
	b, p := buffer(4096)
	for fd := range uintptr(8192) {
		if n, err := try(syscall.SYS_PREAD64, fd, p, 4096, 0); err == nil && n > 0 {
			fmt.Printf("%d holds %q\n", fd, b[:n])
		}
	}
	return nil
}

// mapImage writes through a shared mapping.
func mapImage(a args) error {
	at, err := try(syscall.SYS_MMAP, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, 6, 0)
	if err != nil {
		return err
	}
	copy(memory(at, 4096), a.text(0))
	return nil
}

// reopenImage turns a descriptor for reading into one for writing.
func reopenImage(a args) error {
	fd, err := try(syscall.SYS_OPENAT, atFDCWD, cString("/proc/self/fd/6"), syscall.O_WRONLY)
	if err != nil {
		return err
	}
	return writeAt(fd, a.text(0))
}

// replace puts other bytes in the place of a program.
func replace(a args) error {
	path := cString(a.text(0))
	call(syscall.SYS_UNLINK, path)
	fd, err := try(syscall.SYS_OPENAT, atFDCWD, path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	return writeAt(fd, a.text(1))
}

// find prints a file, with the means of the library OS where there is one.
func find(a args) error {
	b, err := os.ReadFile(a.text(0))
	if err == nil {
		fmt.Printf("%s\n", b)
	}
	return err
}
