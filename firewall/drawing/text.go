package drawing

import (
	"fmt"
	"strings"
	"unicode"
)

// Text is the drawing in words.
func (d Drawing) Text() string {
	var b strings.Builder
	space := "\x00"
	for i := range d.Apps {
		a := &d.Apps[i]
		if a.Space != space {
			space = a.Space
			fmt.Fprintf(&b, "space %s\n", plain(orNone(space)))
		}
		a.text(&b)
	}
	for _, g := range d.Groups {
		g.text(&b)
	}
	for _, r := range d.Resolvers {
		fmt.Fprintf(&b, "every instance reaches its resolver at %s\n", r)
	}
	for _, z := range d.Protected {
		fmt.Fprintf(&b, "%s is protected: %s\n", z.Prefix, plain(z.What))
	}
	b.WriteString("all else is denied\n")
	return b.String()
}

func orNone(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

func (a *App) text(b *strings.Builder) {
	fmt.Fprintf(b, "  app %s: %s\n", plain(a.Name), plain(a.counts()))
	for _, p := range a.Processes {
		for _, i := range p.Instances {
			fmt.Fprintf(b, "    %s/%d at %s%s\n", plain(p.Type), i.Index, i.Address, i.remarks())
		}
	}
	for _, r := range a.Routes {
		port := "the first port"
		if r.Port != 0 {
			port = fmt.Sprintf("tcp %d", r.Port)
		}
		fmt.Fprintf(b, "    <- route %s, %s of %s\n", plain(r.URL), port, plain(r.Type))
	}
	for _, p := range a.From {
		fmt.Fprintf(b, "    <- app %s, %s %s: network policy\n", plain(p.Peer), p.Protocol, p.Ports)
	}
	for _, p := range a.To {
		fmt.Fprintf(b, "    -> app %s, %s %s: network policy\n", plain(p.Peer), p.Protocol, p.Ports)
	}
	for _, g := range a.Groups {
		fmt.Fprintf(b, "    -> security group %s\n", plain(g))
	}
	for _, n := range a.Names {
		fmt.Fprintf(b, "    is named %s\n", plain(n))
	}
}

func (i Instance) remarks() string {
	text := ""
	if !i.Ready {
		text += ", not ready"
	}
	if i.VNIC == "" {
		text += ", on another cell"
	}
	return text
}

func (g Group) text(b *strings.Builder) {
	scope := strings.Join(g.Scope, ", ")
	if scope == "" {
		scope = "applies nowhere"
	}
	fmt.Fprintf(b, "security group %s: %s\n", plain(g.Name), plain(scope))
	for _, r := range g.Rules {
		fmt.Fprintf(b, "  -> %s\n", plain(r.String()))
	}
}

func (r Rule) String() string {
	text := r.Protocol
	if r.Ports != "" {
		text += " " + r.Ports
	}
	text = r.Destination + " " + text
	if r.Log {
		text += " (logged)"
	}
	return text
}

// plain makes a name harmless for a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
