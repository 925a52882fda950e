// Package breach proves what an attacker gets who owns a guest. Catalogue is
// the list of attacks as data; a Suite makes each of them against throw-away
// guests behind the walls, and again with the guard left out that is said to
// stop it, where it must succeed: an attack that fails anyway proves nothing.
// The same attacker in a container (breach/container) is the baseline that
// Table compares with. `dew breach` and the tests call it.
//
// Whether an attack succeeded is never taken from the attacker: each has a
// witness that looks from outside, at a random token that turns up where it
// could not without the breach, or at the state of the host, the neighbour and
// the wire. What the attacker prints only shows that it tried.
//
// The attacker (breach/attacker) is one program, built by the stager's means:
// the same ELF is a sealed process, boots in ring 0, and is an ordinary
// process in the container. Attacks are confined to namespaces that the suite
// makes and to processes that it starts; floods are bounded.
//
// Frames are sent on a street: a network of the scene's own, where the suite is
// every party but the attacker, laid as a cell's, without the firewall, as one
// cable, or as a bridge for the container. Behind each unlawful frame goes a
// lawful one: only when that has arrived is the absence of the other a verdict.
//
// What who has taken over QEMU gets is tried by its process, which is led by
// ptrace(2) from a process of its own: Lead, in the program that makes attacks.
//
// Names are asked of the cell's resolver, or of a relay that has no guard.
//
// Predict is the other half, and pure: from topology, environment and bindings
// to the report of what an attacker would get.
//
// Live puts both together: hostile twins of an app are started in its cell's
// network, one after the other, at places that the cell lends, and try what the
// topology allows and what it denies, and the catalogue. Every prediction is
// compared with what was seen. What would break in reaches places that are
// nobody's.
//
// A Suite owns a room: one thread in namespaces of its own, on which guests
// are started and targets are made. Run has a few attacks under way at a time,
// each on a goroutine of its own. Each scene, one run of one attack, has one
// goroutine that reads what its attacker says and one that waits for its end.
// Close ends all of it. There are no locks but those around what was said or
// delivered.
//
// It refuses to start without root. Attacks that need QEMU are skipped where
// it is not installed, and the result says so.
package breach
