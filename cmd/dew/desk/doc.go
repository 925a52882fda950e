// Package desk is how cells, routers and stagers ask the ledger and tell it, without
// having it: over the private address of an API, which knows by the certificate who
// asks. The questions are those of the rooms: cell.Ledger, feed.Ledger and
// staging.Ledger; a Desk answers each by the room's own Direct over what
// cmd/dew/grant lets that peer see and write. It takes their log lines and figures
// of use as well, so that they have no part in the bus.
//
// cmd/dew serves a Desk beside each API and gives other processes a Client. What is
// asked again and again is sent as differences (sheet.go): a Desk remembers what a
// peer got last, and sends all of it when the peer has something else. A stream of
// hints (hints.go) says which nouns changed; it is a hint as the bus's are, and
// whoever misses one looks by itself.
//
// Goroutines: a Client has one, Follow's caller; a Desk those of its HTTP server.
// Locks: Desk.mu guards its peers and who follows, peer.mu which apps a peer may
// write lines of; page.asking is held, at both ends, over a question to the ledger,
// one of a kind at a time.
//
// It refuses every question to roles that are not its rooms', bodies above their
// bounds, lines of apps that are not the peer's, and lines from sources that are not
// its role's.
package desk
