// Package acme gets the router its certificates from an ACME authority (RFC
// 8555), Let's Encrypt unless told otherwise, when a client first asks for a
// host.
//
// cmd/dew calls it and puts the result into router.Config.TLS. The work is
// certmagic's; this package decides: certificates are asked for hosts that
// have a route and for no others, so that a stranger with many names cannot
// use up the authority's limits; proof is TLS-ALPN-01 (RFC 8737) on the
// router's own TLS listener, so no other port is needed, or HTTP-01 (RFC 8555
// section 8.3) where Challenges is served on the plain one. Close stops the
// renewals, which are certmagic's goroutines.
//
// It refuses names without a route, wildcards (they need DNS-01) and
// addresses.
package acme
