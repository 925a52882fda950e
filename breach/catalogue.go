package breach

import (
	"slices"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

// Catalogue is every attack.
func Catalogue() []Attack {
	return slices.Concat(files(), neighbours(), privileges(), resources(), controls(), persistence(), machine(), hijacks(), wireAttacks(), reaches(), nameAttacks())
}

// sealed is an attack by system calls, which only a process tender's guest has.
func sealed(name string, class Class, goal string, g Guard, w Witness, steps ...string) Attack {
	return Attack{Name: name, Class: class, Goal: goal, Rows: []Row{{Tender: Process, Guard: g, Steps: steps, Witness: w}}}
}

// alone leaves the containers out of an attack.
func alone(a Attack) Attack {
	for i := range a.Rows {
		a.Rows[i].NoBaseline = true
	}
	return a
}

// both is an attack that is made in the same way behind both kinds of tender.
func both(name string, class Class, goal string, g Guard, w Witness, steps ...string) Attack {
	return Attack{Name: name, Class: class, Goal: goal, Rows: []Row{
		{Tender: Process, Guard: g, Steps: steps, Witness: w},
		{Tender: QEMU, Guard: g, Steps: steps, Witness: w},
	}}
}

func files() []Attack {
	return []Attack{
		sealed("read-file", Files, "the content of a file of the host that everyone may read", jail(), stolen(secretFile), "open {file}"),
		sealed("read-file-openat2", Files, "the same by a newer call", jail(), stolen(secretFile), "openat2 {file}"),
		sealed("read-file-int80", Files, "the same by the entry for 32-bit programs", jail(), stolen(secretFile), "open-int80 {file}"),
		sealed("read-file-io-uring", Files, "the same by requests in memory, past a filter of calls", jail(), stolen(secretFile), "open-ring {file}"),
		sealed("read-file-handle", Files, "the same by a file handle, past a root directory", jail(), stolen(secretFile), "open-handle {file}"),
		sealed("read-file-proc-root", Files, "the same through another process's root directory", jail(), stolen(secretFile, hostPID), "open /proc/{pid}/root{file}"),
		sealed("guess-descriptors", Files, "what is behind a descriptor that the starting process left open", jail(), stolen(inheritedFile), "descriptors"),
		alone(sealed("write-image", Files, "its image is changed, for all its instances", readOnlyImage(), changed(imagePath, ownImage), "write-image {token}")),
		alone(sealed("map-image", Files, "the same through a shared mapping", readOnlyImage(), changed(imagePath, ownImage), "map-image {token}")),
		alone(sealed("reopen-image", Files, "the same through /proc/self/fd", jail(), changed(imagePath, ownImage), "reopen-image {token}")),
		alone(sealed("write-boot-record", Files, "the record of what the guest was told is changed", sealedRecord(), recordChanged(), "write-record {token}")),
	}
}

func neighbours() []Attack {
	return []Attack{
		sealed("read-environment", Neighbours, "the environment of another instance", jail(), stolen(secretNeighbour), "open /proc/{pid}/environ"),
		sealed("read-memory-file", Neighbours, "the files of another instance, through /proc", jail(), stolen(secretNeighbour), "open /proc/{pid}/fd/6"),
		sealed("read-memory", Neighbours, "the memory of another instance, by process_vm_readv", jail(), stolen(secretNeighbour), "vm-read {pid} {at}"),
		sealed("write-memory", Neighbours, "the memory of another instance is changed, by process_vm_writev", jail(), overwritten(), "vm-write {pid} {at} {token}"),
		sealed("ptrace", Neighbours, "the memory of another instance, by ptrace", jail(), stolen(secretNeighbour), "ptrace {pid} {at}"),
		sealed("steal-descriptor", Neighbours, "an open file of another instance, by pidfd_getfd", jail(), stolen(secretNeighbour), "steal-file {pid}"),
		sealed("kill", Neighbours, "another instance ends", jail(), harmed(), "kill {pid}"),
		sealed("kill-thread", Neighbours, "the same by tgkill, which the wall lets through for the guest's own threads", jail(), harmed(), "tgkill {pid}"),
		sealed("kill-pidfd", Neighbours, "the same by pidfd_send_signal", jail(), harmed(), "pidfd-kill {pid}"),
		sealed("stop", Neighbours, "another instance stands still", jail(), harmed(), "stop {pid}"),
		sealed("join-network", Neighbours, "a place in another instance's network", jail(), joined(), "enter {pid}"),
		sealed("shared-memory", Neighbours, "System V shared memory of the host", jail(), stolen(segment), "shared-memory {key}"),
		sealed("session-key", Neighbours, "a key of the session that started the guest", wall(), stolen(sessionKey), "key {key}"),
		sealed("connect-loopback", Neighbours, "a word with a server on the host's loopback", jail(), heard(listener("tcp")), "tcp {port} {token}"),
		sealed("connect-unix", Neighbours, "a word with a server on an abstract Unix socket of the host", jail(), heard(listener("unix")), "abstract-unix {name} {token}"),
		sealed("sniff", Neighbours, "what others say on the host's loopback", jail(), stolen(traffic), "sniff"),
	}
}

func privileges() []Attack {
	return []Attack{
		sealed("fork", Privilege, "a second process", wall(), multiplied(), "fork"),
		sealed("fork-clone3", Privilege, "a second process, by the call whose flags a filter cannot see", wall(), multiplied(), "fork3"),
		sealed("exec-file", Privilege, "another program of the host runs", jail(), stolen(payloadImage), "exec {payload}"),
		sealed("exec-image", Privilege, "a program out of its image runs", wall(), stolen(payloadImage), "exec-image"),
		sealed("exec-memory", Privilege, "a program that was never a file runs", wall(), stolen(payloadImage), "exec-memory {n}"),
		sealed("new-user-space", Privilege, "all capabilities, in a user namespace of its own", wall(), newUserSpace(), "user-space"),
		sealed("become-root", Privilege, "the rights of the host's root", jail(), proc("status", "Uid:\t0\t0\t0\t0"), "root"),
		sealed("mount", Privilege, "a file system more", jail(), proc("mountinfo", " {dir} ", mountPoint), "mount {dir}"),
		sealed("new-link", Privilege, "a network interface more, by netlink", jail(), linked("dewbreach0"), "new-link dewbreach0"),
		sealed("host-name", Privilege, "the host's name is another", jail(), named(), "host-name {token}"),
		sealed("real-time", Privilege, "its threads run before all others", jail(), realTime(), "real-time"),
		sealed("kernel-log", Privilege, "what the kernel has said", jail(), stolen(kernelMessage), "kernel-log"),
		sealed("bpf", Privilege, "a BPF map", jail(), opened("anon_inode:bpf-map"), "bpf"),
		sealed("user-fault", Privilege, "a userfaultfd, which makes kernel races winnable", wall(), opened("anon_inode:[userfaultfd]"), "user-fault"),
		sealed("perf", Privilege, "a perf event", jail(), opened("anon_inode:[perf_event]"), "perf"),
		sealed("memory-file", Privilege, "a file in memory", wall(), opened("/memfd:dew-breach"), "memory-file"),
		sealed("map-code", Privilege, "memory that can be written and executed", wall(), proc("maps", " rwxp "), "rwx-memory"),
		sealed("data-to-code", Privilege, "data becomes code", wall(), proc("maps", " rwxp "), "make-rwx"),
	}
}

func resources() []Attack {
	return []Attack{
		both("take-memory", Resources, "more memory than its limit", memoryLimit(), took(memory, 150), "take-memory 160"),
		sealed("take-threads", Resources, "more threads than its limit", threadLimit(), took(threads, 150), "take-threads 200"),
		sealed("take-descriptors", Resources, "hundreds of descriptors", jail(), took(descriptors, 500), "take-descriptors 600"),
		{Name: "take-cpu", Class: Resources, Goal: "more CPU time than its quota", Rows: []Row{
			{Tender: Process, Guard: cpuLimit(), Steps: []string{"spin"}, Witness: spent(.03), Alone: true},
			{Tender: QEMU, Guard: cpuLimit(), Steps: []string{"spin"}, Witness: spent(.08), Alone: true},
		}},
		alone(both("unkillable", Resources, "it goes on when it is told to end", killing(), outlived(), "deaf")),
		alone(both("flood-log", Resources, "the host keeps more log than it reads", pipe(), piled(), "flood-console 4")),
	}
}

func controls() []Attack {
	marks := func(l *tender.Link) int { return len(l.Marks()) }
	reports := func(l *tender.Link) int { return len(l.Reports()) }
	ports := func(l *tender.Link) int { return len(l.Ports()) }
	return []Attack{
		alone(both("flood-marks", Control, "the caretaker remembers a timeline without end", linkBounds(), kept(control.Mark, marks, 1000), "flood-marks 4096")),
		alone(both("flood-reports", Control, "the caretaker's log is full of the guest's lines", linkBounds(), kept(control.Report, reports, 1000), "flood-reports 4096")),
		alone(both("flood-ports", Control, "the caretaker remembers ports without end", linkBounds(), kept(control.Listening, ports, 1000), "flood-ports 4096")),
		alone(both("huge-frame", Control, "the caretaker waits for a frame of 4 GiB, with memory for it", linkBounds(), suffered(
			func(c credulous) bool { return c.asked > 1<<30 },
			func(s *scene) bool { return !soonClosed(s.link().Done()) }), "huge-frame", "hold")),
		alone(both("terminal-codes", Control, "the operator's terminal obeys the guest", linkBounds(), suffered(
			func(c credulous) bool { return c.escape },
			func(s *scene) bool { return hasControls(s.link().Reports()) }), "escape-codes", "hold")),
		alone(both("wrong-clock", Control, "the platform's timeline is the guest's invention", linkBounds(), suffered(
			func(c credulous) bool { return c.future },
			func(s *scene) bool { return fromFuture(s.link().Marks()) }), "wrong-clock", "hold")),
		alone(both("endless-answer", Control, "the caretaker keeps an answer without end", linkBounds(), endless(), "flood-answers 80")),
		alone(both("early-answer", Control, "a question is answered by what was said before it was asked", linkBounds(), early(), "forge-answer {token}", "hold")),
	}
}

func persistence() []Attack {
	return []Attack{
		sealed("leave-file", Persist, "a file is there again at the next start", transience(), stolen(leftBehind), "find {where}"),
		sealed("replace-program", Persist, "the next start runs another program", jail(), changed(programPath, programFile), "replace {program} {token}"),
	}
}

// ring0 is an attack by the instructions of a kernel.
func ring0(name string, class Class, goal string, g Guard, w Witness, steps ...string) Attack {
	return Attack{Name: name, Class: class, Goal: goal, Rows: []Row{{Tender: QEMU, Guard: g, Steps: steps, Witness: w}}}
}

func machine() []Attack {
	const out = "QEMU is led out of the guest's memory, or ends"
	const circle = "QEMU goes in a circle, or ends"
	lie := func(name, goal string) Attack {
		return ring0("ring-"+name, Machine, goal, boundsChecks(), deceived(), "lie-in-the-ring "+name)
	}
	return []Attack{
		ring0("read-firmware", Machine, "files of QEMU's configuration device", fewDevices(firmwareFile), stolen(), "read-firmware"),
		ring0("write-ports", Machine, "bytes in a file of the host, by port I/O", fewDevices(secondSerial), changed((*scene).serialPath, serialFile), "write-ports {token}"),
		ring0("scan-pci", Machine, "memory of the host that a card shows, by PCI configuration", fewDevices(sharedCard), stolen(cardMemory), "scan-pci"),
		ring0("scan-beyond", Machine, "the same by looking at every address, with page tables of its own", fewDevices(sharedCard), stolen(cardMemory, machineSize), "scan-beyond {ram}"),
		ring0("scan-memory", Machine, "what others have left in its memory", ownMemory(), stolen(usedMemory, machineSize), "scan-memory {ram}"),
		ring0("leave-memory", Persist, "what it has left in memory is there at the next start", ownMemory(), stolen(filledMemory, machineSize), "scan-memory {ram}"),
		ring0("triple-fault", Persist, "the machine starts again by itself", noReset(), rebooted(), "triple-fault"),
		ring0("monopolize", Resources, "it goes on when it is told to end, with interrupts off on every CPU", killing(), outlived(), "monopolize"),
		ring0("forge-status", Control, "the host is blamed for its end", judgement(), blamed(), "forge-status 0"),
		lie("address", out), lie("length", out), lie("head", out), lie("next", out), lie("device", "QEMU writes into its own device's registers, or ends"),
		lie("tables", out), lie("index", out), lie("loop", circle), lie("nested", circle),
	}
}
