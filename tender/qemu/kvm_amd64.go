package qemu

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of /dev/kvm: Linux include/uapi/linux/kvm.h.
const (
	kvmCreateVM    = 0xae01
	kvmMmapSize    = 0xae04
	kvmCreateVCPU  = 0xae41
	kvmSetMemory   = 0x4020ae46
	kvmSetTSS      = 0xae47
	kvmRun         = 0xae80
	kvmSetRegs     = 0x4090ae82
	kvmGetSregs    = 0x8138ae83
	kvmSetSregs    = 0x4138ae84
	kvmExitIO      = 2
	kvmRunReason   = 8  // offset in struct kvm_run
	kvmRunPort     = 34 // of the exit's port
	kvmRunDataAt   = 40 // of the place of what was written
	kvmRegsRIP     = 16 * 8
	kvmRegsFlags   = 17 * 8
	kvmSregsCR0    = 8*24 + 2*16
	kvmRegsSize    = 18 * 8
	kvmSregsSize   = 312
	kvmSegmentSize = 24
)

// executes tells whether /dev/kvm executes the instructions of the probe here
// and now. It asks the kernel itself, in a millisecond, where a QEMU that finds
// out takes fifty; what fails here cannot work there. A virtual CPU that comes
// to no end is interrupted.
func executes(ctx context.Context) bool {
	done := make(chan bool, 1)
	tid := make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: it was interrupted
		tid <- unix.Gettid()
		done <- runOnKVM(probeCode)
	}()
	thread := <-tid
	limit := time.NewTimer(probeTime)
	defer limit.Stop()
	select {
	case is := <-done:
		return is
	case <-limit.C:
	case <-ctx.Done():
	}
	for range 100 { // one that comes before the request interrupts nothing
		unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // package runtime takes it for its own
		select {
		case <-done:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// runOnKVM runs the code in a virtual machine of one page.
func runOnKVM(code []byte) bool {
	kvm, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(kvm)
	vm, ok := value(kvm, kvmCreateVM, 0)
	if !ok {
		return false
	}
	defer unix.Close(vm)
	value(vm, kvmSetTSS, 0xfffb_d000) // Intel's wants it, in a place without memory; others refuse
	memory, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	defer unix.Munmap(memory)
	copy(memory, code)
	region := [4]uint64{0, 0, uint64(len(memory)), uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if !structure(vm, kvmSetMemory, unsafe.Pointer(&region)) {
		return false
	}
	size, ok := value(kvm, kvmMmapSize, 0)
	cpu, ok2 := value(vm, kvmCreateVCPU, 0)
	if !ok || !ok2 {
		return false
	}
	defer unix.Close(cpu)
	run, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return false
	}
	defer unix.Munmap(run)
	return protected(cpu) && computes(cpu, run)
}

// protected puts a virtual CPU at the probe's code at 0, in 32-bit protected
// mode with flat segments, as a PVH loader would.
func protected(cpu int) bool {
	var sregs [kvmSregsSize]byte
	var regs [kvmRegsSize]byte
	if !structure(cpu, kvmGetSregs, unsafe.Pointer(&sregs)) {
		return false
	}
	le := binary.LittleEndian
	for i := range 6 { // code, data, four more
		s := sregs[i*kvmSegmentSize:][:kvmSegmentSize]
		clear(s)
		le.PutUint32(s[8:], 1<<32-1)
		copy(s[12:], []byte{16, 0, 3, 1, 0, 1, 1, 0, 1}) // selector, data, present, ring 0, 32 bit, no system segment, no long mode, pages
		if i == 0 {
			s[12], s[14] = 8, 11 // code
		}
	}
	le.PutUint64(sregs[kvmSregsCR0:], le.Uint64(sregs[kvmSregsCR0:])|1) // PE
	le.PutUint64(regs[kvmRegsFlags:], 2)
	return structure(cpu, kvmSetSregs, unsafe.Pointer(&sregs)) && structure(cpu, kvmSetRegs, unsafe.Pointer(&regs))
}

// computes runs the CPU until it writes the probe's value to its port.
func computes(cpu int, run []byte) bool {
	le := binary.LittleEndian
	if _, ok := value(cpu, kvmRun, 0); !ok || le.Uint32(run[kvmRunReason:]) != kvmExitIO || le.Uint16(run[kvmRunPort:]) != probePort {
		return false
	}
	at := le.Uint64(run[kvmRunDataAt:])
	return at < uint64(len(run)) && run[at] == probeValue
}

// value and structure are ioctl(2) with a number and with the address of a structure.
func value(fd int, request, arg uintptr) (int, bool) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	return int(r), errno == 0
}

func structure(fd int, request uintptr, arg unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno == 0
}
