package drawing

import (
	"fmt"
	"slices"
	"strings"
)

// Dot is the drawing as a graph: apps in their spaces, the street at the left,
// security groups and what they open at the right.
func (d Drawing) Dot() string {
	g := &graph{}
	g.line("digraph topology {")
	g.line("\trankdir=LR;")
	g.line("\tnode [shape=box, fontname=\"sans-serif\"];")
	g.line("\tedge [fontname=\"sans-serif\", fontsize=10];")
	g.line("\tstreet [shape=house, label=\"router\"];")
	g.spaces(d.Apps)
	for _, a := range d.Apps {
		for _, r := range a.Routes {
			port := ""
			if r.Port != 0 {
				port = fmt.Sprintf(" tcp %d", r.Port)
			}
			g.edge("street", node("app", a.GUID), r.URL+port)
		}
		for _, p := range a.To {
			g.edge(node("app", a.GUID), node("app", p.PeerGUID), p.Protocol+" "+p.Ports)
		}
		for _, name := range a.Groups {
			g.edge(node("app", a.GUID), node("group", name), "")
		}
	}
	g.groups(d)
	g.line("}")
	return g.String()
}

// graph is dot that is being written.
type graph struct {
	strings.Builder
}

func (g *graph) line(format string, args ...any) { fmt.Fprintf(g, format+"\n", args...) }

func (g *graph) edge(from, to, label string) {
	if label == "" {
		g.line("\t%s -> %s;", from, to)
		return
	}
	g.line("\t%s -> %s [label=%s];", from, to, quoted(label))
}

// spaces draws the apps of each space in a box of its own.
func (g *graph) spaces(apps []App) {
	for first := 0; first < len(apps); {
		last := first
		for last < len(apps) && apps[last].Space == apps[first].Space {
			last++
		}
		g.line("\tsubgraph %s {", quoted(fmt.Sprintf("cluster_%d", first)))
		g.line("\t\tlabel=%s;", quoted("space "+orNone(apps[first].Space)))
		for i := first; i < last; i++ {
			a := &apps[i]
			g.line("\t\t%s [label=%s];", node("app", a.GUID), quoted(a.Name+"\n"+a.counts()))
		}
		g.line("\t}")
		first = last
	}
}

// groups draws security groups that apply to an app, and what they open.
func (g *graph) groups(d Drawing) {
	var seen []string
	for _, one := range d.Groups {
		if !slices.ContainsFunc(d.Apps, func(a App) bool { return slices.Contains(a.Groups, one.Name) }) {
			continue
		}
		g.line("\t%s [shape=diamond, label=%s];", node("group", one.Name), quoted(one.Name))
		for _, r := range one.Rules {
			to := node("net", r.Destination)
			if !slices.Contains(seen, to) {
				seen = append(seen, to)
				g.line("\t%s [shape=ellipse, label=%s];", to, quoted(r.Destination))
			}
			label := r.Protocol
			if r.Ports != "" {
				label += " " + r.Ports
			}
			if r.Log {
				label += ", logged"
			}
			g.edge(node("group", one.Name), to, label)
		}
	}
}

// node is the name of a node, of one kind and unique in it.
func node(kind, id string) string { return quoted(kind + " " + id) }

// quoted is a string of the DOT language. In one, a backslash also begins what
// layout understands: a new line is the only such thing that is let through.
func quoted(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(plain(l))
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}
