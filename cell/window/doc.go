// Package window is how who owns a cell looks into it: a Unix socket in the
// cell's folder, at which the cell shows the topology that is in force, hands
// out its network, and lends places in it. `dew reach`, `dew topology`, `dew
// tcpdump` and `dew breach` ask there.
//
// What is asked for is given as data and open descriptors, and the asker looks
// for himself: the rules that the kernel has now are read in the network, not
// told by the cell that made them. A connection is one question, one line of
// JSON each way; descriptors come with the first byte of the answer. A place is
// lent until the connection ends, however it ends.
//
// Serve owns one goroutine for each connection and ends them with its context.
// There are no locks. It refuses users other than the cell's own (SO_PEERCRED),
// questions longer than MaxQuestion, and more than MaxAtOnce at a time.
//
// Specs: unix(7).
package window
