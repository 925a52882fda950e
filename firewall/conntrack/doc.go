// Package conntrack reads and deletes tracked connections of one network
// namespace.
//
// firewall calls it after a change: connections that are no longer allowed are
// deleted, so that their next packet is judged as a new one. It owns one netlink
// socket, starts no goroutine, and has one user at a time. It refuses IPv6:
// vNICs have none.
//
// Specs: Linux include/uapi/linux/netfilter/nfnetlink_conntrack.h,
// net/netfilter/nf_conntrack_netlink.c.
package conntrack
