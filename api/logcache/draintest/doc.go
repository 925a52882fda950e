// Package draintest is a syslog drain for tests: it reads what comes over TCP, plain
// or TLS, and hands each message on.
//
// Tests of api and api/logcache call Accept on a listener of their own. Its
// goroutines end with the listener and with the connections.
//
// A message whose length is no number ends the connection, and is told.
//
// Spec: RFC 6587 section 3.4.1, octet counting.
package draintest
