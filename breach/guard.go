package breach

// The guards, and how each is left out. Where a guard stands behind others,
// these are left out with it, so that what is proven is that the attack works.

func wall() Guard {
	return Guard{Name: "seccomp", What: "22 system calls, with their arguments (tender/seccomp)", off: func(s *scene) { s.stand = wallOff }}
}

func jail() Guard {
	return Guard{Name: "jail", What: "namespaces, an empty root, a user of its own without capabilities, and seccomp in front of it (tender/process)",
		off: func(s *scene) { s.stand = bare }}
}

func readOnlyImage() Guard {
	return Guard{Name: "read-only image", What: "the image is open for reading only, and seccomp in front of it",
		off: func(s *scene) { s.stand, s.writable = wallOff, true }}
}

func sealedRecord() Guard {
	return Guard{Name: "sealed record", What: "the boot record is a sealed memory file, and seccomp in front of it",
		off: func(s *scene) { s.stand, s.unsealed = bare, true }}
}

func memoryLimit() Guard {
	return Guard{Name: "memory limit", What: "a control group, and in QEMU the machine's size",
		off: func(s *scene) { s.limits.Memory = 1 << 30 }}
}

func cpuLimit() Guard {
	return Guard{Name: "CPU limit", What: "a control group's quota", off: func(s *scene) { s.limits.CPUs = 0 }}
}

func threadLimit() Guard {
	return Guard{Name: "thread limit", What: "a control group's number of tasks", off: func(s *scene) { s.limits.PIDs = 2000 }}
}

func killing() Guard {
	return Guard{Name: "kill from outside", What: "the caretaker kills the host process, whatever runs in it",
		off: func(s *scene) { s.politeOnly = true }}
}

func pipe() Guard {
	return Guard{Name: "pipe", What: "the log is a pipe: who writes faster than it is read waits", off: func(s *scene) { s.toFile = true }}
}

func linkBounds() Guard {
	return Guard{Name: "control channel's bounds", What: "tender.Link keeps little, takes no long frame and shows no control characters",
		off: func(s *scene) { s.believe = true }}
}

func transience() Guard {
	return Guard{Name: "transience", What: "what a guest writes is memory of that guest",
		off: func(s *scene) { s.stand = bare }}
}
