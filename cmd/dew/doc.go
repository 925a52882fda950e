// Command dew is the whole platform in one binary: every role and every verb
// of the client. This package parses the command line, wires the rooms
// together and speaks to the user; it is the only one that prints errors or
// exits.
//
// Voice: results go to stdout. Errors go to stderr as "dew: error: what went
// wrong", in lower case and without a final stop, followed where there is a
// remedy by "dew: hint: what to do". Exit status 0 is success, 1 a failure,
// 2 a wrong command line, 130 an interrupt; `dew run` passes on the program's
// own status. What comes from elsewhere, names and log lines too, is printed so
// that it cannot move the cursor of a terminal.
//
// The scripts in testdata/verbs run the verbs that use a foundation against the
// real API, one script for each sort of behaviour.
package main
