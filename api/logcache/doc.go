// Package logcache keeps the newest log lines of apps, answers the reads that
// cf logs makes, and passes lines on to syslog drains.
//
// cmd opens a Cache, gives it as cf.Logs to everything that writes lines (cells,
// stager, router, API) and to api, which mounts its HTTP answers and tells it the
// drains. Writers never wait for readers, disks or drains: a line goes into the
// ring of its app and into bounded queues, and what does not fit is dropped and
// counted, oldest first in rings, newest in queues.
//
// What a drain may not have got is sent again (ADR 13). Of several APIs one
// sends: api decides which, and tells it by SetDrains.
//
// Bounds: lines and bytes of an app, bytes of all apps, apps, and the rate of an
// instance where its line has a limit. A ring is guarded by its own lock; the
// Cache's lock guards the map of rings and is taken before a ring's. One
// goroutine per drain, ended by SetDrains or Close; one for the files, if there
// is a folder, ended by Close.
//
// It refuses: unknown parameters and envelope types of reads (400), drains that
// are not TCP, TLS or HTTPS, and through egress drains that point at the
// platform itself.
//
// Specs: log-cache API 1.x and loggregator v2 envelopes as JSON, RFC 5424
// (syslog), RFC 6587 3.4.1 (octet counting), RFC 5425 (TLS).
package logcache
