// Command firewall measures the firewall: how long it takes to compile and to
// change, what its rules cost a connection, and what a flood costs a neighbour.
// It makes network namespaces of its own, and nothing lasts. The README beside
// it says how to run it and what was measured.
package main
