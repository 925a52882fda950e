// Package demo knows real programs of other people and how to talk to them:
// which version to fetch from the Go module proxy, how to start it, and a list
// of checks that a real client makes over the network. `dew demo` and the
// end-to-end tests run them; the package itself starts nothing and owns no
// goroutine beyond a check's call.
//
// A check gets the address where the program is reached and returns nil only
// when the answer was read to its end and was right.
package demo
