// Package router is the gate to the street: it sends HTTP requests to the
// instances that a route names.
//
// cmd/dew runs it, alone or inside `dew up`. The control plane (a bus in the
// same process, or NATS) is a Feed that Follow reads into a Table; when the
// feed fails the table stays as it was.
//
// A request travels in this order: server.go accepts, client.go reads heads
// through package http1, exchange.go finds an endpoint and retries,
// rewrite.go writes the head that the app gets, stream.go moves bodies,
// tunnel.go takes over after 101. HTTP/2 clients, and clients whose app wants
// HTTP/2, go through net/http instead (bridge.go), with the same table,
// balancing and headers; so do requests for the house itself (Config.House).
//
// Goroutines: one per client connection; one more while a request body that
// did not come with its head is sent, and one more per tunnel; one reaper,
// which owns every deadline; one per listener. Table.Apply may be called from
// any goroutine; readers take no lock. Locks: Table.mu > endpoint.mu;
// Server.mu > client.peerMu; reaper.mu stands alone. None is held while
// anything could block.
//
// It refuses whatever http1 refuses, CONNECT and TRACE, upgrades to h2c, more
// connections than it was allowed, heads above the limit and clients that
// send or read too slowly. Not there yet: route services, WebSocket over
// HTTP/2 (RFC 8441).
//
// Specs: RFC 9110 and RFC 9112 (June 2022), RFC 9113 through net/http; Cloud
// Foundry's gorouter for headers, cookies, errors and the access log.
package router
