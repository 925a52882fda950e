package host

import "github.com/dewpaas/dew/abi"

// bootLength reads the value of abi.BootEnv, "version:length:cpus", and
// returns the length in bytes of the boot record.
func bootLength(value string) (uint64, bool) {
	version, rest, ok := number(value)
	if !ok || version != abi.Version {
		return 0, false
	}
	length, _, ok := number(rest)
	return length, ok && length > 0
}

// number reads decimal digits up to a colon or the end.
func number(s string) (n uint64, rest string, ok bool) {
	for i := range len(s) {
		switch {
		case s[i] == ':':
			return n, s[i+1:], i > 0
		case s[i] < '0' || s[i] > '9' || n > 1<<40:
			return 0, "", false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, "", s != ""
}
