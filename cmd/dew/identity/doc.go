// Package identity is how the processes of a foundation know each other: a CA of
// the foundation's own, and for each process one file with its certificate, its
// key and the CA's certificate. The certificate names a role and a name in it,
// as the URI dew://ROLE/NAME.
//
// cmd/dew makes the files (dew identity) and gives each role's listeners and
// connections their TLS configuration. Both ends prove who they are, by TLS 1.3;
// host names and addresses prove nothing here, so a process may move to another
// machine with its file. The package owns the folder of the CA, and starts no
// goroutine. One lock guards what was read of a file; a file that was renewed is
// read at the next handshake.
//
// It refuses peers of other foundations, of roles that are not expected, and
// certificates that have ended.
//
// Specs: RFC 5280 (certificates), RFC 8446 (TLS 1.3).
package identity
