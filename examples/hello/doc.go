// Command hello is the smallest app worth pushing: it greets, serves a file
// that lies next to the source, and tells which instance answered.
package main
