// Package socket is the socket half of the library OS: the address families
// AF_INET (streams and datagrams, on package guest/inet) and AF_NETLINK (what
// rtnetlink(7) tells about interfaces, addresses and routes).
//
// Package net imports it, so that a program without package net carries no
// TCP/IP. Its init gives the families to package guest/syscall, which answers
// the calls; the stack is made when the first socket is. Outside a guest init
// does nothing.
//
// AF_INET6 is not there (EAFNOSUPPORT), upon which package net speaks IPv4
// only; AF_PACKET and SOCK_RAW are refused with EPERM: frames and headers are
// the library OS's, and the vNIC's guard outside would drop what is forged.
//
// The table in option.go is what setsockopt(2) and getsockopt(2) know, and
// docs/socket-options.md is generated from it. An option that is not there is
// answered ENOPROTOOPT and reported once on the control channel.
//
// It owns no goroutine. Locks: each socket's own mu guards what is kept beside
// the endpoint, and is not held while an endpoint or a Notifier is called;
// Netlink.mu is held while its own Notifier is.
//
// Semantics follow socket(7), ip(7), tcp(7), udp(7), netlink(7), netdevice(7)
// and the sources of Linux 6.18.
package socket
