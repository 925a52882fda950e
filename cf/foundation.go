package cf

import (
	"net/netip"
	"strings"
)

// FoundationSetting is the guid of the setting in which APIs tell the other roles of
// the foundation.
const FoundationSetting = "foundation"

// protectedKey is what of that setting the addresses of its machines are, with
// commas between: "10.0.0.5/32 the ledger".
const protectedKey = "protected"

// Protect says which machines of the foundation no broad security group opens.
func (s *Setting) Protect(list []Protected) {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.Prefix.String() + " " + p.What
	}
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	s.Env[protectedKey] = strings.Join(words, ",")
}

// Protected is what Protect said. What is not understood is left out.
func (s *Setting) Protected() (list []Protected) {
	for _, word := range strings.Split(s.Env[protectedKey], ",") {
		prefix, what, _ := strings.Cut(word, " ")
		if p, err := netip.ParsePrefix(prefix); err == nil {
			list = append(list, Protected{Prefix: p, What: what})
		}
	}
	return list
}
