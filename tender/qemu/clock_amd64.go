package qemu

// cycles reads the time stamp counter.
func cycles() uint64
