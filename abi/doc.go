// Package abi is the contract between a tender and its guest: descriptor
// numbers, event tags, and the version that both sides must share. It holds
// constants only, so that either side can be read against it alone.
//
// A guest sees the same few Linux calls whether a process tender lets the host
// kernel answer them under seccomp, or the ring-0 kernel in guest/ answers
// them on bare metal. Everything the two hosts must agree on stands here and
// in the sub-packages: abi/boot (configuration), abi/control (debugging and
// signals from outside), abi/image (the read-only file system).
//
// Version is raised whenever a guest built before the change would misbehave
// under a tender built after it, or the other way round.
package abi

// Version of the whole contract. A tender refuses a droplet of another version.
const Version = 1

// Descriptors that a guest owns when its first instruction runs. Nothing else
// is open. The process tender arranges them with dup; the ring-0 kernel
// answers on the same numbers.
const (
	FDStdin   = 0 // reads end of file at once
	FDStdout  = 1 // write: console, line oriented, never read
	FDStderr  = 2 // write: as FDStdout, told apart by the log
	FDPacket  = 3 // read: one frame; writev: one frame; both behind a 12-byte virtio_net_hdr (VIRTIO 1.2 section 5.1.6.1); non-blocking
	FDWake    = 4 // eventfd, non-blocking: the runtime wakes its own poller
	FDPoll    = 5 // epoll with the three registrations below; epoll_pwait only
	FDImage   = 6 // mmap, read-only: the file-system image (abi/image); length in the boot record
	FDControl = 7 // read, write, non-blocking: framed messages (abi/control)
	FDBoot    = 8 // mmap, read-only: the boot record (abi/boot)
)

// Epoll user data of the registrations made by the tender before the guest
// runs. A guest cannot add others: epoll_ctl is not among its calls.
const (
	PollPacket  = 1 // FDPacket, EPOLLIN|EPOLLET
	PollWake    = 2 // FDWake, EPOLLIN
	PollControl = 3 // FDControl, EPOLLIN|EPOLLET
)

// BootEnv is the name of the first environment variable of a guest,
// "DEW_BOOT=<Version>:<bytes of the boot record>:<CPUs>", decimal. Its
// presence, in first place, is how the linked-in library OS knows that it is
// in a guest: without it the same ELF is an ordinary Linux program. The number
// of CPUs stands here too because the Go runtime wants it before it can read
// anything else.
const BootEnv = "DEW_BOOT"

// VNetHeaderSize is the length in bytes of the header in front of every frame.
const VNetHeaderSize = 12

// MaxFrame is the largest frame in bytes behind the header, segmentation
// offload included: 64 KiB of IP packet and an Ethernet header, rounded up.
const MaxFrame = 65536 + 14 + 50
