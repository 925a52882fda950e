// Package nflog hears what rules log: the first bytes of packets that the
// kernel hands to a netlink group of one network namespace.
//
// firewall listens with it for the flow log. It owns one socket and starts no
// goroutine; a group has one listener, and a second one is refused. Payloads are
// hostile: a guest wrote them. Parse refuses what is not a whole IPv4 header
// with a whole beginning of its transport header.
//
// Specs: Linux include/uapi/linux/netfilter/nfnetlink_log.h, RFC 791, 792, 9293,
// 768.
package nflog
