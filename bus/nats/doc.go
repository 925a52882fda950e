// Package nats is the bus over NATS: a server in this process without a port
// (Embed), or one or more elsewhere (Connect). The server and the client
// library own their goroutines; a subscription's function runs in one of the
// client's. There are no locks of ours.
//
// Nothing is kept: no JetStream. A connection that breaks is made again without
// end; what is published meanwhile is lost, as the contract allows.
package nats
