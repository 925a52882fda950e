// Command summary reads `go test -json` on standard input and prints what a
// person wants of it: the output of what failed, every skipped test with what
// it needs, and a closing line "N passed, N failed, N skipped". It exits with
// 1 when something failed or when nothing ran at all.
package main
