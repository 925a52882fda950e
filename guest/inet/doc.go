// Package inet is the guest's TCP/IP: one Stack per guest, with TCP and UDP
// endpoints over the vNIC and over a loopback that never leaves the guest.
//
// Package guest/socket puts descriptors and sockaddrs in front of it. Endpoints
// never block: what cannot go on returns EAGAIN, what takes time EINPROGRESS,
// and Notifier tells when to look at Ready again. Slices handed in are used by
// the calling goroutine only and not kept.
//
// IPv4 alone. The wire is point to point: whatever is not the guest's own
// address or 127.0.0.0/8 goes to the gateway's MAC.
package inet
