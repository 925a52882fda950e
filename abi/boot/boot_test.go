package boot

import (
	"bytes"
	"reflect"
	"testing"
)

func sample() *Config {
	return &Config{
		Args:     []string{"/app/web", "-v", ""},
		Env:      []string{"PORT=8080", "SECRET=a=b", "EMPTY="},
		Hostname: "web-0",
		Workdir:  "/app",
		NIC: NIC{MAC: [6]byte{2, 0xde, 0x77, 1, 2, 3}, GatewayMAC: [6]byte{2, 0xde, 0x77, 0, 0, 1},
			Addr: [4]byte{10, 7, 0, 2}, Gateway: [4]byte{169, 254, 0, 1}, MTU: 1500},
		MemoryLimit: 64 << 20, CPUs: 2, OverlayQuota: 16 << 20, ImageSize: 4096,
		WallClock: 1795000000123456789, Seed: [32]byte{31: 9},
		Resolvers: [][4]byte{{10, 0, 0, 53}, {10, 0, 1, 53}},
	}
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	for _, c := range []*Config{sample(), {}} {
		got, err := Decode(append(Encode(c), 1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v\nwant %+v", got, c)
		}
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	good := Encode(sample())
	for name, damage := range map[string]func(b []byte) []byte{
		"empty":        func(b []byte) []byte { return nil },
		"magic":        func(b []byte) []byte { b[0]++; return b },
		"version":      func(b []byte) []byte { b[8]++; return b },
		"length small": func(b []byte) []byte { put32(b[12:], 8); return b },
		"length large": func(b []byte) []byte { put32(b[12:], uint32(len(b)+1)); return b },
		"item large":   func(b []byte) []byte { put32(b[headerSize+4:], 1<<32-1); return b },
		"cut":          func(b []byte) []byte { put32(b[12:], uint32(len(b)-4)); return b[:len(b)-4] },
		"short number": func(b []byte) []byte {
			b = appendItem(b, TagMemory, "1234")
			put32(b[12:], uint32(len(b)))
			return b
		},
		"short resolver": func(b []byte) []byte {
			b = appendItem(b, TagResolver, "123")
			put32(b[12:], uint32(len(b)))
			return b
		},
		"short nic": func(b []byte) []byte {
			b = appendItem(b, TagNIC, "1234")
			put32(b[12:], uint32(len(b)))
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := Decode(damage(bytes.Clone(good))); err == nil {
				t.Errorf("decoded to %+v", c)
			}
		})
	}
}

func TestItemsDoesNotAllocate(t *testing.T) {
	b := Encode(sample())
	n := testing.AllocsPerRun(10, func() {
		it, _ := Open(b)
		for it.Next() {
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode: a record is either refused, or what was understood of it
// encodes to a record that is understood the same.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(sample()))
	f.Add(Encode(&Config{}))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		if err != nil {
			return
		}
		again, err := Decode(Encode(c))
		if err != nil {
			t.Fatal(err)
		}
		if !c.HasNIC() {
			c.NIC = NIC{}
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("first %+v\nagain %+v", c, again)
		}
	})
}
