// Package profile turns the raw records that a guest answers on its control
// channel into pprof's profile.proto, symbolised with the droplet's ELF. The
// verbs `dew pprof` call it; the guest needs no symbol table, no pprof and no
// port. The layouts are those of guest/control.
//
// It owns nothing. What it reads comes from a guest and is hostile: lengths are
// checked against what is there, and a record that does not fit is an error.
package profile
