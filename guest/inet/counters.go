package inet

import "sync/atomic"

// Counters tell what happened to packets, with the names that /proc/net/snmp
// and /proc/net/netstat have for it.
type Counters struct {
	FramesIn, FramesOut atomic.Uint64
	Malformed           atomic.Uint64 // refused at the door, or not ours
	Checksums           atomic.Uint64 // behind a sound IP header: TCP, UDP or ICMP refused
	NoPort              atomic.Uint64
	ResetsOut           atomic.Uint64
	SynDropped          atomic.Uint64 // the backlog was full
	CookiesOut          atomic.Uint64
	CookiesIn           atomic.Uint64
	CookiesBad          atomic.Uint64
	NoMemory            atomic.Uint64
	LinkFull            atomic.Uint64
	Reassembled         atomic.Uint64
	ReassemblyFailed    atomic.Uint64
}
