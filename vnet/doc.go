// Package vnet wires guests: a network namespace of Dew's own, one tap per
// guest in it, ways in from the host's network, and one way out. `dew run` makes
// one Network per run, a cell one for all its guests. Of the host's own network
// only Uplink and SetForwarding change anything.
//
// Routed, not bridged: every vNIC is a point-to-point /32 behind one fixed
// gateway address and MAC, with a permanent neighbour entry on both sides, so
// there is no broadcast domain and no ARP to spoof. Reverse-path filtering drops
// frames with an address that is not the vNIC's; IPv6 is off. In cells,
// GuardOffloads refuses virtio headers that would change a packet after it was
// checked; who may talk to whom is package firewall's.
//
// A Network has no name: it lives while its file is open, in this process or in
// one that got it passed, and is gone with the last, also after SIGKILL. Taps
// live while a guest or its caller holds them. Forward owns one goroutine per
// listener and two per connection, ForwardDatagrams one and one per client, ended
// by closing them. No locks but theirs, which guard open connections.
//
// It refuses to guess: without root or without /dev/net/tun it says what to do.
//
// Specs: Linux Documentation/networking/tuntap.rst, VIRTIO 1.2 section 5.1.6.
package vnet
