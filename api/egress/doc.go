// Package egress dials out on behalf of tenants, and never into the platform.
//
// Whoever may write a URL (of a syslog drain, of a service broker of one space)
// makes the control plane open connections. api/logcache and api/broker dial
// through a Guard, which looks at the address that a name has resolved to, when
// the connection is made, so that a name that changes its address gains nothing.
//
// It refuses loopback but for the router's ports, link-local (with the metadata services of clouds),
// unspecified and multicast addresses and what the operator adds, except what he
// allows. It owns nothing and starts no goroutine.
//
// Specs: RFC 6890 (special-purpose addresses).
package egress
