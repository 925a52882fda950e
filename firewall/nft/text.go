package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Text is the ruleset as a file for `nft -f`.
func (r *Ruleset) Text() string {
	var b strings.Builder
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "table %s %s {\n", familyName(t.Family), t.Name)
		for _, o := range t.Timeouts {
			fmt.Fprintf(&b, "\tct timeout %s {\n\t\t%s\n\t}\n", o.Name, o.text())
		}
		for _, s := range t.Sets {
			s.write(&b)
		}
		for _, c := range t.Chains {
			c.write(&b)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func familyName(f uint8) string {
	switch f {
	case NFPROTO_IPV4:
		return "ip"
	case NFPROTO_IPV6:
		return "ip6"
	case NFPROTO_NETDEV:
		return "netdev"
	}
	return fmt.Sprintf("family-%d", f)
}

func (c *Chain) write(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.Name)
	if c.Base != nil {
		fmt.Fprintf(b, "\t\t%s\n", c.Base.text())
	}
	for _, r := range c.Rules {
		fmt.Fprintf(b, "\t\t%s\n", r.Text)
	}
	b.WriteString("\t}\n")
}

func (h *Base) text() string {
	policy := "accept"
	if h.Drop {
		policy = "drop"
	}
	if h.Device != "" {
		return fmt.Sprintf("type filter hook ingress device %q priority %d; policy %s;", h.Device, h.Priority, policy)
	}
	hook := []string{"prerouting", "input", "forward", "output", "postrouting"}[min(h.Hook, 4)]
	return fmt.Sprintf("type %s hook %s priority %d; policy %s;", h.kind(), hook, h.Priority, policy)
}

// declaration is a set without its elements: its kind, and what stands in its body.
func (s *Set) declaration() (kind string, body []string) {
	kind, data := "set", ""
	switch s.DataType {
	case 0:
	case unix.NFT_DATA_VERDICT:
		kind, data = "map", " : verdict"
	default:
		kind, data = "map", " : mark"
	}
	var names, flags []string
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	body = append(body, "type "+strings.Join(names, " . ")+data)
	if s.Size > 0 {
		body = append(body, fmt.Sprintf("size %d", s.Size))
	}
	if s.interval() {
		flags = append(flags, "interval")
	}
	if s.Flags&unix.NFT_SET_EVAL != 0 {
		flags = append(flags, "dynamic")
	}
	if s.Timeout > 0 {
		body = append(body, fmt.Sprintf("timeout %ds", s.Timeout))
		flags = append(flags, "timeout")
	}
	if flags != nil {
		body = append(body, "flags "+strings.Join(flags, ","))
	}
	return kind, body
}

func (s *Set) write(b *strings.Builder) {
	kind, body := s.declaration()
	fmt.Fprintf(b, "\t%s %s {\n\t\t%s\n", kind, s.Name, strings.Join(body, "\n\t\t"))
	for i, e := range s.Elements {
		glue := "\t\telements = { "
		if i > 0 {
			glue = ",\n\t\t\t"
		}
		b.WriteString(glue + s.elementText(e))
	}
	if len(s.Elements) > 0 {
		b.WriteString(" }\n")
	}
	b.WriteString("\t}\n")
}

func (s *Set) elementText(e Element) string {
	var fields []string
	at := 0
	for _, f := range s.Fields {
		text := f.text(e.Key[at:at+f.Size], s.interval())
		if e.End != "" && e.End[at:at+f.Size] != e.Key[at:at+f.Size] {
			text += "-" + f.text(e.End[at:at+f.Size], s.interval())
		}
		fields = append(fields, text)
		at += padded(f.Size)
	}
	text := strings.Join(fields, " . ")
	if e.Exprs != "" {
		text += " " + e.Text
	}
	switch s.DataType {
	case 0:
		return text
	case unix.NFT_DATA_VERDICT:
		return text + " : " + e.Verdict.String()
	}
	return fmt.Sprintf("%s : 0x%08x", text, e.Mark)
}

func (t Type) text(v string, ordered bool) string {
	switch t.Name {
	case "ifname":
		return fmt.Sprintf("%q", strings.TrimRight(v, "\x00"))
	case "ether_addr":
		return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", v[0], v[1], v[2], v[3], v[4], v[5])
	case "ipv4_addr":
		a, _ := netip.AddrFromSlice([]byte(v))
		return a.String()
	case "inet_proto":
		return fmt.Sprint(v[0])
	case "inet_service":
		return fmt.Sprint(binary.BigEndian.Uint16([]byte(v)))
	}
	if ordered {
		return fmt.Sprintf("0x%08x", binary.BigEndian.Uint32([]byte(v)))
	}
	return fmt.Sprintf("0x%08x", binary.NativeEndian.Uint32([]byte(v)))
}

func (v Verdict) String() string {
	switch v.Code {
	case NF_DROP:
		return "drop"
	case NF_ACCEPT:
		return "accept"
	case unix.NFT_JUMP:
		return "jump " + v.Chain
	case unix.NFT_GOTO:
		return "goto " + v.Chain
	case unix.NFT_RETURN:
		return "return"
	}
	return fmt.Sprintf("verdict %d", v.Code)
}
