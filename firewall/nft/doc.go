// Package nft is a model of nftables: tables, chains, rules, sets and their
// elements as values, which can be read as text, sent to the kernel, read back
// from it, compared, and evaluated without a kernel.
//
// firewall compiles a topology to a Ruleset and hands it here. A Ruleset is
// data: it knows no apps. Diff makes the shortest list of messages from one to
// another; Conn sends it as one transaction and reads what the kernel has.
// Eval is an interpreter of the same bytecode, written from the kernel's
// documentation and not from the compiler: what it says of a packet is an
// independent check of what the compiler meant.
//
// Each rule and set has a text, the nft(8) statement of the same meaning. The
// tests load the texts with nft and compare what the kernel then holds with
// what our messages made it hold.
//
// The package starts no goroutine; a Conn has one user at a time. It refuses
// nothing that the kernel would: expressions of others are kept as opaque
// bytes, equal only to themselves.
//
// Specs: Linux include/uapi/linux/netfilter/nf_tables.h (6.12), nft(8) 1.0.6.
package nft
