// Package netlink speaks to the kernel's netfilter subsystems: nftables,
// connection tracking and packet logging, each in the network namespace in
// which its socket was opened.
//
// firewall and its sub-packages call it. It knows frames, attributes, batches,
// dumps and acknowledgements, and nothing of what they mean. A Conn has one
// user at a time and starts no goroutine; a Conn that only reads may be closed
// from another goroutine, which ends the read.
//
// Replies are bounds-checked as hostile input would be: a length that does not
// fit ends the parse with an error, never with a panic. Decoders refuse what
// they do not know; encoders refuse nothing, their callers are ours.
//
// Specs: Linux Documentation/userspace-api/netlink, RFC 3549; kernel files
// net/netfilter/nfnetlink.c (batches, generations), net/netlink/af_netlink.c.
package netlink
