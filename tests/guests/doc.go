// Package guests proves the walls around a guest with guests that attack them:
// each test runs the attacker, a stock Go program without the library OS, with
// one attack under the process tender, and expects it to be stopped in the way
// the wall promises. Most attacks are also made outside the wall, where they
// must succeed: an attack that fails anyway proves nothing.
//
// The tests need root and are skipped, with that reason, without it. The
// package owns nothing but its tests; the attacker is built into a temporary
// folder.
package guests
