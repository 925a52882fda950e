// Package proc makes the files that describe the guest to its program: /proc,
// /dev, and what programs expect in /etc where the image has none. Their
// contents are made when they are opened.
//
// Package guest/syscall mounts them when the file system is first used. What
// a container would show of its host is not there: other processes, the
// kernel's settings, the machine's devices. Numbers that a guest does not
// know (load, page faults) are 0 as on an idle machine; nothing is invented.
//
// It owns no state and no locks. Formats are those of proc_pid_stat(5) and its
// neighbours, man-pages 6.9.
package proc
