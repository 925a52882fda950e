package inet

// Addr is an IPv4 endpoint address. The zero IP means any address.
type Addr struct {
	IP   [4]byte
	Port uint16 // host byte order
}
