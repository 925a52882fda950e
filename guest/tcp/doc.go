// Package tcp is one TCP connection as a state machine, and the memory that
// all connections of a guest share.
//
// A Conn has no goroutine, no lock and no clock: package guest/inet owns it,
// hands it segments, the program's calls and the time, and sends what it gives
// to its Env. So every story of a connection can be told in a test, step by
// step. Only Memory may be used by many goroutines at once.
//
// What costs: nothing is allocated per segment; an idle connection holds no
// buffers; data is copied once on its way out (the program's slice belongs to
// it) and once or twice on its way in; up to 64 KiB leave in one call, cut into
// segments by the host.
//
// It holds these bounds whatever the peer sends. All queued bytes, in chunks
// with their unused parts, and all notes about what is in flight, are taken from
// Memory before they are allocated. There are at most maxRuns gaps in what was
// received and maxRecords notes about what was sent. Each connection has paid
// for one small chunk in each direction when it is made, so it can go on when
// the rest is taken.
//
// Specs: RFC 9293 (TCP), 7323 (timestamps, window scale, PAWS), 2018 and 2883
// (SACK), 6298 (RTO), 8985 (RACK-TLP), 6937 (PRR), 3522 and 3708 (undoing),
// 6582 (NewReno, for peers without SACK), 9438 (CUBIC), 9406 (HyStart++), 6928
// (initial window), 7661 in part (unused windows), 5961 (blind attacks), 5927
// (ICMP), 6691 (MSS). Where Linux differs from a SHOULD we follow Linux and say
// so. Not here: urgent data as its own stream, ECN, TCP Fast Open, MD5 and AO.
package tcp
