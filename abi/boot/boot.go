package boot

import (
	"errors"

	"github.com/dewpaas/dew/abi"
)

// Magic opens every boot record.
const Magic = "DEWBOOT\n"

const headerSize = 16

// Tag names one item of a boot record. Numbers are never used again.
type Tag uint32

const (
	TagArg       Tag = 1  // one element of argv; repeated, in order
	TagEnv       Tag = 2  // one K=V; repeated, in order
	TagHostname  Tag = 3  // what uname and os.Hostname answer
	TagWorkdir   Tag = 4  // absolute path of the first working directory
	TagNIC       Tag = 5  // NIC, 24 bytes, see appendNIC; absent: no vNIC
	TagMemory    Tag = 6  // u64, bytes
	TagCPUs      Tag = 7  // u64, count
	TagOverlay   Tag = 8  // u64, bytes
	TagImage     Tag = 9  // u64, bytes
	TagWallClock Tag = 10 // u64, nanoseconds since 1970 UTC
	TagSeed      Tag = 11 // 32 bytes of entropy
	TagResolver  Tag = 12 // 4 bytes, IPv4 address of a DNS server; repeated, in order; absent: the gateway is one
)

// NIC is the guest's one virtual network card. The wire is point to point:
// every packet, also to an address of the same subnet, goes to the gateway.
type NIC struct {
	MAC        [6]byte
	GatewayMAC [6]byte // a permanent neighbour: the guest never has to ask
	Addr       [4]byte // IPv4
	Gateway    [4]byte
	MTU        uint16 // bytes of IP packet
}

// Config is a decoded boot record.
type Config struct {
	Args         []string // Args[0] is the program's path in the image
	Env          []string // K=V
	Hostname     string
	Workdir      string
	NIC          NIC // zero MAC: no vNIC, loopback only
	MemoryLimit  uint64
	CPUs         uint64 // GOMAXPROCS, at least 1
	OverlayQuota uint64 // bytes of files that the guest may keep in memory
	ImageSize    uint64 // bytes at abi.FDImage; 0: no image
	WallClock    int64  // ns since 1970 at start, for a kernel without a clock of its own; 0 on a process tender
	Seed         [32]byte
	Resolvers    [][4]byte // DNS servers, best first; none: the NIC's gateway
}

// HasNIC tells whether the guest has a network card.
func (c *Config) HasNIC() bool { return c.NIC.MAC != [6]byte{} }

var (
	errMagic   = errors.New("boot record: wrong magic")
	errVersion = errors.New("boot record: another version of the contract")
	errShort   = errors.New("boot record: a length points outside the record")
	errItem    = errors.New("boot record: an item has a wrong length")
)

// Encode returns the record of c. Equal configurations give equal bytes.
func Encode(c *Config) []byte {
	b := make([]byte, headerSize, 1024)
	copy(b, Magic)
	put32(b[8:], abi.Version)
	for _, s := range c.Args {
		b = appendItem(b, TagArg, s)
	}
	for _, s := range c.Env {
		b = appendItem(b, TagEnv, s)
	}
	b = appendItem(b, TagHostname, c.Hostname)
	b = appendItem(b, TagWorkdir, c.Workdir)
	if c.HasNIC() {
		b = appendItem(b, TagNIC, nicBytes(&c.NIC))
	}
	b = appendU64(b, TagMemory, c.MemoryLimit)
	b = appendU64(b, TagCPUs, c.CPUs)
	b = appendU64(b, TagOverlay, c.OverlayQuota)
	b = appendU64(b, TagImage, c.ImageSize)
	b = appendU64(b, TagWallClock, uint64(c.WallClock))
	b = appendItem(b, TagSeed, string(c.Seed[:]))
	for _, a := range c.Resolvers {
		b = appendItem(b, TagResolver, string(a[:]))
	}
	put32(b[12:], uint32(len(b)))
	return b
}

// Decode reads a record that may have trailing bytes behind it.
func Decode(b []byte) (*Config, error) {
	it, err := Open(b)
	if err != nil {
		return nil, err
	}
	c := new(Config)
	for it.Next() {
		if err := c.set(it.Tag, it.Value); err != nil {
			return nil, err
		}
	}
	if it.Err != nil {
		return nil, it.Err
	}
	return c, nil
}

func (c *Config) set(t Tag, v []byte) error {
	switch t {
	case TagArg:
		c.Args = append(c.Args, string(v))
	case TagEnv:
		c.Env = append(c.Env, string(v))
	case TagHostname:
		c.Hostname = string(v)
	case TagWorkdir:
		c.Workdir = string(v)
	case TagNIC:
		return c.NIC.set(v)
	case TagSeed:
		if len(v) != len(c.Seed) {
			return errItem
		}
		copy(c.Seed[:], v)
	case TagResolver:
		if len(v) != 4 {
			return errItem
		}
		c.Resolvers = append(c.Resolvers, [4]byte(v))
	case TagMemory, TagCPUs, TagOverlay, TagImage, TagWallClock:
		if len(v) != 8 {
			return errItem
		}
		c.setNumber(t, U64(v))
	}
	return nil
}

func (c *Config) setNumber(t Tag, n uint64) {
	switch t {
	case TagMemory:
		c.MemoryLimit = n
	case TagCPUs:
		c.CPUs = n
	case TagOverlay:
		c.OverlayQuota = n
	case TagImage:
		c.ImageSize = n
	case TagWallClock:
		c.WallClock = int64(n)
	}
}

// Items walks the items of a record. It holds slices of the record and never
// allocates.
type Items struct {
	Tag   Tag
	Value []byte
	Err   error // why Next returned false, nil at the end

	rest []byte
}

// Open checks the header of the record at the start of b.
func Open(b []byte) (Items, error) {
	if len(b) < headerSize || string(b[:8]) != Magic {
		return Items{}, errMagic
	}
	if u32(b[8:]) != abi.Version {
		return Items{}, errVersion
	}
	n := u32(b[12:])
	if n < headerSize || uint64(n) > uint64(len(b)) {
		return Items{}, errShort
	}
	return Items{rest: b[headerSize:n]}, nil
}

// Next moves to the next item.
func (it *Items) Next() bool {
	if len(it.rest) == 0 || it.Err != nil {
		return false
	}
	if len(it.rest) < 8 {
		it.Err = errShort
		return false
	}
	n := uint64(u32(it.rest[4:]))
	padded := (n + 7) &^ 7
	if 8+padded > uint64(len(it.rest)) {
		it.Err = errShort
		return false
	}
	it.Tag = Tag(u32(it.rest))
	it.Value = it.rest[8 : 8+n : 8+n]
	it.rest = it.rest[8+padded:]
	return true
}

// Length returns the length in bytes of the record that starts b, as its
// header tells it, or 0 where b does not start with one.
func Length(b []byte) uint32 {
	if _, err := Open(b); err != nil {
		return 0
	}
	return u32(b[12:])
}

const nicSize = 24

func nicBytes(n *NIC) string {
	b := make([]byte, nicSize)
	copy(b, n.MAC[:])
	copy(b[6:], n.GatewayMAC[:])
	copy(b[12:], n.Addr[:])
	copy(b[16:], n.Gateway[:])
	b[20], b[21] = byte(n.MTU), byte(n.MTU>>8)
	return string(b)
}

func (n *NIC) set(v []byte) error {
	if len(v) != nicSize {
		return errItem
	}
	copy(n.MAC[:], v)
	copy(n.GatewayMAC[:], v[6:])
	copy(n.Addr[:], v[12:])
	copy(n.Gateway[:], v[16:])
	n.MTU = uint16(v[20]) | uint16(v[21])<<8
	return nil
}

func appendItem(b []byte, t Tag, v string) []byte {
	var h [8]byte
	put32(h[:], uint32(t))
	put32(h[4:], uint32(len(v)))
	b = append(append(b, h[:]...), v...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendU64(b []byte, t Tag, n uint64) []byte {
	var v [8]byte
	put32(v[:], uint32(n))
	put32(v[4:], uint32(n>>32))
	return appendItem(b, t, string(v[:]))
}

// U64 reads the value of a number item.
func U64(v []byte) uint64 { return uint64(u32(v)) | uint64(u32(v[4:]))<<32 }

func u32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}
