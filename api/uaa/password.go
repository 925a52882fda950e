package uaa

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of one hash: OWASP's second choice for argon2id, 19 MiB and two
// passes, about 30 ms.
const (
	hashMemory = 19 << 10 // KiB
	hashTime   = 2
	hashLanes  = 1
	saltSize   = 16
	keySize    = 32
)

// maxPassword bounds what is hashed. UAA's own default is 255.
const maxPassword = 255

// hashes bounds how many passwords are hashed at once: logins of strangers may
// cost so much memory and no more.
type hashes chan struct{}

func (h hashes) enter() func() {
	h <- struct{}{}
	return func() { <-h }
}

// Hash returns the argon2id hash of secret in PHC form.
func (h hashes) Hash(secret string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails since Go 1.24
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashLanes,
		b64(salt), b64(h.key(secret, salt)))
}

func (h hashes) key(secret string, salt []byte) []byte {
	defer h.enter()()
	return argon2.IDKey([]byte(secret), salt, hashTime, hashMemory, hashLanes, keySize)
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// Match tells whether secret has this hash. A hash it cannot read, or made at
// another cost, matches nothing, but takes as long.
func (h hashes) Match(secret, hash string) bool {
	parts := strings.Split(hash, "$")
	var salt, want []byte
	if len(parts) == 6 {
		salt, _ = base64.RawStdEncoding.DecodeString(parts[4])
		want, _ = base64.RawStdEncoding.DecodeString(parts[5])
	}
	if len(secret) > maxPassword {
		secret = ""
		want = nil
	}
	got := h.key(secret, salt)
	return len(want) == keySize && subtle.ConstantTimeCompare(got, want) == 1
}
