package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// resourceSteps take more than their share. Each is bounded, for the runs
// without the guard.
func resourceSteps() map[string]step {
	return map[string]step{
		"take-memory":      takeMemory,
		"take-threads":     takeThreads,
		"take-descriptors": takeDescriptors,
		"spin":             spin,
		"flood-console":    floodConsole,
		"deaf":             deaf,
	}
}

// takeMemory touches so many MiB.
func takeMemory(a args) error {
	n := a.number(0) << 20
	at, err := try(syscall.SYS_MMAP, 0, n, 3, syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	if err != nil {
		return err
	}
	for b := memory(at, int(n)); len(b) > 0; b = b[4096:] {
		b[0] = 1
	}
	return hold(nil)
}

// takeThreads makes so many threads.
func takeThreads(a args) error {
	for range a.number(0) {
		go func() {
			runtime.LockOSThread()
			hold(nil)
		}()
		runtime.Gosched()
	}
	return hold(nil)
}

// takeDescriptors opens so many.
func takeDescriptors(a args) error {
	for range a.number(0) {
		if err := only(try(syscall.SYS_DUP, 1)); err != nil {
			return err
		}
	}
	return hold(nil)
}

// spin uses all the CPUs that it gets.
func spin(args) error {
	fmt.Println("holding")
	turn := func() {
		for n := 1; n != 0; n |= 1 {
		}
	}
	for range runtime.NumCPU() {
		go turn()
	}
	turn()
	return nil
}

// floodConsole writes so many MiB.
func floodConsole(a args) error {
	fmt.Println("holding")
	b := make([]byte, 1<<16)
	for i := range b {
		b[i] = 'x'
	}
	for range a.number(0) << 4 {
		os.Stdout.Write(b)
	}
	return hold(nil)
}

// deaf ignores whoever asks it to end.
func deaf(args) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return hold(nil)
}
