package uaa

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost of one argon2id hash.
type Cost struct {
	MemoryKiB, Passes uint32
}

// DefaultCost is OWASP's second choice for argon2id, about 30 ms.
func DefaultCost() Cost { return Cost{19 << 10, 2} }

const (
	saltSize = 16
	keySize  = 32
	// A hash whose own cost is larger is not computed: a ledger that somebody
	// wrote into must not stop the server.
	maxMemoryKiB = 256 << 10
	maxPasses    = 16
)

// maxPassword bounds what is hashed. UAA's own default is 255.
const maxPassword = 255

// hashes makes and compares hashes. Its channel bounds how many are computed at
// once: logins of strangers may cost so much memory and no more.
type hashes struct {
	slots chan struct{}
	cost  Cost // of new hashes
}

// Hash returns the argon2id hash of secret in PHC form.
func (h hashes) Hash(secret string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails since Go 1.24
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, b64(salt), b64(h.key(secret, salt, h.cost)))
}

func (h hashes) key(secret string, salt []byte, c Cost) []byte {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(secret), salt, c.Passes, c.MemoryKiB, 1, keySize)
}

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// Match tells whether secret has this hash, at whatever cost the hash was made.
// A hash that it cannot read matches nothing, but takes as long as a new one.
func (h hashes) Match(secret, hash string) bool {
	salt, want, cost, ok := parseHash(hash)
	if !ok {
		cost = h.cost
	}
	if len(secret) > maxPassword {
		secret, ok = "", false
	}
	got := h.key(secret, salt, cost)
	return ok && subtle.ConstantTimeCompare(got, want) == 1
}

func parseHash(hash string) (salt, want []byte, c Cost, ok bool) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, c, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &c.MemoryKiB, &c.Passes); n != 2 || err != nil {
		return nil, nil, c, false
	}
	salt, bad := base64.RawStdEncoding.DecodeString(parts[4])
	want, worse := base64.RawStdEncoding.DecodeString(parts[5])
	fine := c.MemoryKiB >= 8 && c.MemoryKiB <= maxMemoryKiB && c.Passes >= 1 && c.Passes <= maxPasses
	return salt, want, c, bad == nil && worse == nil && fine && len(want) == keySize
}
