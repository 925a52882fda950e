// Package offload refuses frames of guests whose virtio header lies.
//
// In front of each frame a guest may leave two things to the host: a checksum,
// which whoever sends the frame on at last writes where the header says, and the
// cutting of a large TCP segment into small ones. The host's kernel checks that
// both stay within the frame and no more (include/linux/virtio_net.h). So a
// guest can have two bytes of its packet changed after every firewall has looked
// at it, the destination port for one; and it can have one frame become sixty
// thousand.
//
// A Guard is a small program that the kernel runs for each frame from a tap,
// before all else. It passes checksums only where TCP and UDP have theirs, and
// segments no shorter than MinSegment. vnet attaches it to taps of cells. It
// owns one loaded program and a map of counters; there is no lock and no
// goroutine. It refuses kernels that do not describe themselves
// (CONFIG_DEBUG_INFO_BTF) with an error that says so.
//
// Specs: VIRTIO 1.2 section 5.1.6.2, Linux include/linux/skbuff.h,
// bpf-helpers(7), tc-bpf(8).
package offload
