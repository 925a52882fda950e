// Package capture records the frames of a guest's tap from outside, as a file
// that Wireshark and tcpdump read, or as a line of text each.
//
// `dew tcpdump` calls it. A Source sees what the guest writes before any lock
// has looked at it, and what the guest is given; nothing is put on the wire, and
// the guest cannot tell. It owns one packet socket, starts no goroutine, and has
// one user. When its reader is slow the kernel drops frames and counts them; the
// guest never waits.
//
// Frames are hostile. They are copied, not interpreted; only Line reads them,
// within bounds. It refuses a device that is not there.
//
// Specs: packet(7), draft-ietf-opsawg-pcapng-03 (blocks and options by number),
// RFC 791, 792, 826, 768, 9293.
package capture
