package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"time"
)

// Probe tells what can execute guests here. That /dev/kvm opens proves nothing
// (nested virtualisation may hang, or emulate only some instructions), so it
// runs a guest of a few and wants to see the value that these compute: once by
// itself, which says no at once, and only where that works in QEMU.
func Probe(ctx context.Context, binary string) Accel {
	if executes(ctx) && works(ctx, binary, KVM) {
		return KVM
	}
	return TCG
}

// probeTime is how long a working KVM may take for a few instructions.
const probeTime = 2 * time.Second

// probeValue is computed by the guest, 6*7-1, and written to probePort, where QEMU
// doubles it and adds one for its exit status.
const (
	probeValue = 41
	probePort  = 0xf4
)

// works runs the probe guest under one accelerator.
func works(ctx context.Context, path string, a Accel) bool {
	f, err := memfd("dew-probe")
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.Write(probeGuest()); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-M", "microvm,acpi=off,x-option-roms=off", "-accel", string(a), "-cpu", "max", "-m", "16M",
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", "/proc/self/fd/3", "-sandbox", "on,spawn=deny")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = complaint(cancel)
	err = cmd.Run()
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 2*probeValue+1
}

// complaint ends the probe when QEMU reports that KVM cannot execute the guest:
// it would stop the machine and wait to be looked at.
type complaint func()

func (c complaint) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("KVM internal error")) {
		c()
	}
	return len(p), nil
}

// probeCode is entered in 32-bit protected mode.
var probeCode = []byte{
	0x0f, 0x20, 0xe0, // mov eax, cr4
	0x66, 0x0d, 0x00, 0x02, // or ax, OSFXSR
	0x0f, 0x22, 0xe0, // mov cr4, eax
	0x0f, 0x57, 0xc0, // xorps xmm0, xmm0: a KVM that emulates every instruction stops here
	0xb8, 7, 0, 0, 0, // mov eax, 7
	0xb9, 6, 0, 0, 0, // mov ecx, 6
	0xf7, 0xe1, // mul ecx
	0x48,       // dec eax
	0xe6, 0xf4, // out 0xf4, al
	0xf4,       // hlt
	0xeb, 0xfd, // jmp .-1
}

// probeGuest is the smallest ELF that QEMU boots by PVH: one segment at 1 MiB
// that holds headers, note and code.
func probeGuest() []byte {
	const (
		base, header, phdr = 0x100000, 64, 56
		note               = header + 2*phdr
		code               = note + 12 + 4 + 4
	)
	le := binary.LittleEndian
	size := uint64(code + len(probeCode))
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []uint16{2, 62, 1, 0} { // executable, x86-64, version
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint64{base + code, header, 0} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{header, phdr, 2, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	segment := func(kind uint32, at, n uint64) {
		b = le.AppendUint32(le.AppendUint32(b, kind), 7)
		for _, v := range []uint64{at, base + at, base + at, n, n, 4} {
			b = le.AppendUint64(b, v)
		}
	}
	segment(1, 0, size)
	segment(4, note, code-note)
	for _, v := range []uint32{4, 4, 18} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, "Xen\x00"...)
	b = le.AppendUint32(b, base+code)
	return append(b, probeCode...)
}
