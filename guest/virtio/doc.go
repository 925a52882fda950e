// Package virtio drives the devices of a guest on bare metal: split rings, the
// MMIO and PCI transports, the network card and the console. guest/kernel is
// its only caller and holds its one lock around every call.
//
// A queue owns one buffer for each descriptor, in memory that the device may
// see; data is copied between there and the program once. What the device
// writes into the used ring is an edge: an index that is out of range or was
// not given to the device, or a length beyond the buffer, makes the queue
// Broken, and a broken queue is never read again. The device cannot make the
// kernel read or write outside the queue's own memory.
//
// Nothing here allocates, blocks, or stores pointers. Memory is named by
// address and reached through view, the one door; the rings run on the host
// against ordinary memory, which is how they are tested and fuzzed.
//
// Source: VIRTIO 1.2 (OASIS, 2022-07-01): 2.7 split rings, 4.1 PCI, 4.2 MMIO,
// 5.1 network, 5.3 console.
package virtio
