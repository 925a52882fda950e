package firmware

// Words walks the words of a kernel command line, which ends at a zero byte or
// with the slice.
type Words struct{ rest []byte }

// CommandLine begins the walk.
func CommandLine(b []byte) Words {
	for i, c := range b {
		if c == 0 {
			return Words{b[:i]}
		}
	}
	return Words{b}
}

// Next returns the next word and what follows it.
func (w Words) Next() (word []byte, rest Words, ok bool) {
	b := w.rest
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	n := 0
	for n < len(b) && b[n] != ' ' {
		n++
	}
	return b[:n], Words{b[n:]}, n > 0
}

const (
	mmioKey  = "virtio_mmio.device="
	tscKey   = "dew.tsc_khz="
	lapicKey = "dew.lapic_khz="
)

// MMIO reads a word "virtio_mmio.device=<size>@<base>:<irq>".
func MMIO(word []byte) (base uint64, irq uint32, ok bool) {
	word, ok = after(word, mmioKey)
	if !ok {
		return 0, 0, false
	}
	_, word = number(word)
	for len(word) > 0 && word[0] != '@' { // the K or M of a size
		word = word[1:]
	}
	if len(word) == 0 {
		return 0, 0, false
	}
	base, word = number(word[1:])
	if len(word) == 0 || word[0] != ':' {
		return 0, 0, false
	}
	line, _ := number(word[1:])
	return base, uint32(line), base != 0 && base < 1<<32 && line < 256
}

// NextMMIO returns the device with the lowest address above another.
func NextMMIO(line Words, above uint64) (base uint64, irq uint32, ok bool) {
	for word, rest, more := line.Next(); more; word, rest, more = rest.Next() {
		b, i, is := MMIO(word)
		if is && b > above && (!ok || b < base) {
			base, irq, ok = b, i, true
		}
	}
	return base, irq, ok
}

// Clocks are the frequencies in kHz that a tender knows and so saves the guest
// from measuring; 0: not told.
type Clocks struct{ TSC, LAPIC uint64 }

// Clocks reads the words "dew.tsc_khz=<n>" and "dew.lapic_khz=<n>", the first
// believable one of each.
func (w Words) Clocks() (c Clocks) {
	for word, rest, ok := w.Next(); ok; word, rest, ok = rest.Next() {
		if c.TSC == 0 {
			c.TSC = frequency(word, tscKey)
		}
		if c.LAPIC == 0 {
			c.LAPIC = frequency(word, lapicKey)
		}
	}
	return c
}

func frequency(word []byte, key string) uint64 {
	word, ok := after(word, key)
	if !ok {
		return 0
	}
	khz, rest := number(word)
	if len(rest) > 0 || khz < 100_000 || khz >= 20_000_000 {
		return 0
	}
	return khz
}

func after(word []byte, key string) ([]byte, bool) {
	if len(word) < len(key) || string(word[:len(key)]) != key {
		return nil, false
	}
	return word[len(key):], true
}

// number reads a decimal or 0x number and returns what follows it.
func number(b []byte) (n uint64, rest []byte) {
	base := uint64(10)
	if len(b) > 2 && b[0] == '0' && b[1] == 'x' {
		base, b = 16, b[2:]
	}
	for ; len(b) > 0; b = b[1:] {
		d := digit(b[0])
		if d >= base || n > (1<<64-1-d)/base {
			break
		}
		n = n*base + d
	}
	return n, b
}

func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	}
	return 255
}
