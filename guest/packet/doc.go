// Package packet is the door for frames: the layouts of virtio_net_hdr,
// Ethernet, IPv4, TCP, UDP and ICMP, and the checks that must come before any
// field is believed.
//
// Open takes a received frame and either refuses it or returns an IPv4 packet
// whose lengths hold; ParseTCP, ParseUDP and ParseICMP do the same one layer up.
// The types over []byte may be read only after that. What is sent is written
// through the same types. Package guest/inet is the only caller; nothing here
// allocates, keeps a slice or has state.
//
// It refuses what RFC 1122 and RFC 9293 let a host drop unseen: other ether
// types, wrong versions, lengths and checksums, source routes, and options that
// run over their end.
//
// Specs: RFC 791 (IPv4), RFC 792 (ICMP), RFC 768 (UDP), RFC 9293 (TCP), RFC
// 7323 and RFC 2018 (TCP options), RFC 1071 and RFC 1624 (checksums), VIRTIO
// 1.2 section 5.1.6 (header in front of each frame).
package packet
