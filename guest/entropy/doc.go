// Package entropy is the random number generator behind getrandom(2) of the
// ring-0 kernel, its only caller. A Generator is a ChaCha20 key that replaces
// itself after every answer, so that a stolen state tells nothing about
// numbers given out before ("fast key erasure").
//
// What is trusted: the 32 bytes of seed in the boot record, which the tender
// took from the host kernel, are enough by themselves. RDRAND and the time
// stamp counter are mixed in, so that a bad seed alone, or a bad RDRAND alone,
// does not make the numbers guessable. A Generator that was never mixed
// answers nothing.
//
// It does not allocate or store pointers; the caller holds its lock.
//
// Sources: RFC 8439 section 2.3 (ChaCha20 block); D. J. Bernstein, "Fast-key-
// erasure random-number generators", 2017.
package entropy
