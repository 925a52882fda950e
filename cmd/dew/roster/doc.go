// Package roster is where the APIs of a foundation are, as other processes reach
// them: their private addresses, and which of them did not answer of late.
//
// cmd/dew makes one per process and gives it to all that ask APIs: the house of a
// router, cmd/dew/depot and cmd/dew/desk. It owns no goroutine; one mutex guards who
// was found down, and is held for no I/O. It refuses addresses that are not
// https://HOST:PORT.
package roster
