// Package metal boots small programs in ring 0 and looks at how they fare: the
// assembled counterpart of the unit tests in guest/cpu, mem, thread, virtio and
// kernel. It holds tests only.
//
// The programs are linked with guest/kernel and the library OS through the
// shadow GOROOT of stager/goroot, made entry points by stager/pvh and started
// by tender/qemu (microvm), or by a plain QEMU command line for the machines
// that the tender does not use (q35 and pc, with PCI devices). It needs QEMU,
// not KVM. What needs more of a network than a wire is in tests/network.
package metal
