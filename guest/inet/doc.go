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
//
//	goroutine       started by       does
//	pump            first endpoint   reads frames, runs connections with them, wakes readers
//	clock           first endpoint   runs what is due (hostClock)
//	a program's     itself           sends from its own call; delivers on the loopback
//
// Locks, in the order in which they may be taken: Stack.receiving; an
// endpoint's mu, of one endpoint at a time; then, none of them while another
// of them is held, Stack.mu, listener.mu, timers.mu, loop.mu, backlog.mu. Frames
// are sent under the endpoint's mu, so that segments keep their order; those to
// the guest itself wait in the loop until no endpoint's mu is held. Waiters are
// woken after it is given back. Frames do not wait for a TCP endpoint's mu: they
// go to its backlog, which whoever holds the endpoint works off.
//
// What a peer can make the guest hold is bounded by Config.Memory: queues,
// notes, connections and those in TIME-WAIT take from it before anything is
// allocated, and what finds no room is dropped like a lost frame. Handshakes
// that are not complete are bounded per listener; beyond that SYN cookies are
// sent, which cost nothing.
//
// Specs: RFC 1122 (hosts), 791, 792, 768, 9293 and those of package guest/tcp,
// 6528 (initial sequence numbers), 6056 (ports), 4987 (SYN cookies), 6191
// (reuse of TIME-WAIT), 1191 and 5927 (path MTU), 1337.
package inet
