package kernel

import "github.com/dewpaas/dew/guest/thread"

// linked returns the address of the anchor by which package stager/pvh finds
// the entry in a linked ELF. That something calls it keeps the kernel linked.
func linked() uintptr

// Importing this package is enough.
var _ = linked()

func self() uint64
func syscallAddr() uint64
func vectorsAddr() uint64
func idleAddr() uint64
func processorAddr() uint64
func clockAddr() uint64

// What assembly alone uses, named so that tools see it in use.
var _, _, _, _, _ = start, startProcessor, onSyscall, onTrap, &hasXSave

// start is called once by the entry code with the address of the start
// information; the thread it returns is the program's first.
func start(info uint64) *thread.Thread { return k.boot(info) }

// startProcessor is called once on each further CPU.
func startProcessor() *thread.Thread { return k.join(here()) }

// onSyscall is called for each SYSCALL instruction.
func onSyscall(t *thread.Thread) *thread.Thread {
	k.lock()
	if k.features.Emulated {
		here().refresh()
	}
	next := k.syscall(t)
	k.unlock()
	return next
}

// onTrap is called for each exception and interrupt.
func onTrap(t *thread.Thread, place, err, address, nested uint64) *thread.Thread {
	vector := place/vectorStep - 1
	if nested != 0 {
		k.nested(t, vector, err, address)
	}
	k.lock()
	next := k.trap(t, vector, err, address)
	k.unlock()
	return next
}
