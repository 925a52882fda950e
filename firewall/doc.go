// Package firewall puts locks on the wiring of guests: who may talk to whom is
// computed from the topology of apps, and enforced outside the guests.
//
// A cell opens one Wall on its network and hands it a cf.Topology whenever
// something changed. Compile, which is pure, turns the topology into nftables
// rules; Wall.Apply brings the kernel there in one transaction of minimal
// difference, then cuts connections that are no longer allowed. Reach answers
// "can A reach B, and by which rule" from the same compiled form. Simulate sends
// a packet through rules without a kernel, also through those that the kernel
// has now.
//
// The way of a frame from a guest: the lock (its own MAC and address, IPv4 in
// one piece and without options, or ARP for the gateway; then a token bucket);
// connection tracking, which passes what belongs to an accepted connection; for
// the first packet a bucket for new connections, a bound on open ones, and then
// resolver, network policies (towards instances) or security groups (towards
// all else). Everything is a lookup by key, so the number of rules does not
// matter. What nothing allows is refused, counted and logged.
//
// What leaves does so by the uplink, in its name; on its other end, in the host's
// network, stands a Gate.
//
// A Wall has one mutex and starts no goroutine; Watch and Flows run in their
// caller's. It refuses topologies that contradict themselves in part: the part
// is denied and named as a Problem, the rest is in force.
//
// Specs: RFC 791, 792, 826, 9293; Cloud Foundry security groups and network
// policies as in Cloud Controller API V3.
package firewall
