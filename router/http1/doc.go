// Package http1 is the router's one door for HTTP/1.1 bytes: it reads request
// and response heads and message bodies, and refuses whatever two readers
// could understand differently.
//
// Package router calls it, for the client's side and for the app's side. It
// owns no goroutine, no lock and no memory: what it returns points into the
// caller's buffer and is valid until the caller overwrites that.
//
// It refuses: bare CR or LF, obs-fold, white space around field names, control
// characters, two Host or Content-Length fields, Content-Length beside
// Transfer-Encoding, codings other than one "chunked", chunk sizes with signs
// or padding, framing or routing fields among trailers. Each refusal names the
// status a server answers (Error.Status).
//
// Specs: RFC 9112 (HTTP/1.1, June 2022), RFC 9110 (HTTP semantics, June 2022).
package http1
