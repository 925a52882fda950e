// Package network is one program with everything that talks (HTTP/1.1, HTTP/2
// over TLS, WebSocket, gRPC, TCP, UDP, DNS), run as the same file behind the
// process wall and in ring 0 (QEMU microvm and q35), and spoken to over its
// vNIC from a network namespace. It holds tests only.
//
// The soak puts a relay of its own between the vNIC and the namespace, which
// loses, doubles and reorders packets, and wants exact bytes and nothing
// leaked. Its length is the flag -soak: seconds in an ordinary run.
//
// It needs root, for the namespace and its taps, and QEMU, not KVM.
package network
