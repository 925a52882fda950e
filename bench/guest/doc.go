// Command guest compares a net/http server as a guest of the process tender
// with the same program as an ordinary process, in interleaved rounds: requests
// a second, bytes a second, CPU time per request, memory. wrk is the client, in
// a network namespace that holds the guest's tap and one end of a veth pair to
// the process's own namespace. The README beside it has the figures.
//
// It needs root, wrk, and a machine that does nothing else.
package main
