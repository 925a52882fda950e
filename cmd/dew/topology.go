package main

import (
	"context"
	"io"

	"github.com/dewpaas/dew/firewall/drawing"
)

// topologyCmd is `dew topology`.
type topologyCmd struct {
	Dot  bool `xor:"form" help:"Print a graph for graphviz: dew topology --dot | dot -Tsvg."`
	JSON bool `name:"json" xor:"form" help:"Print JSON."`
	cellFlag
}

func (topologyCmd) Help() string {
	return "It is what the cell on this machine enforces now: apps with their instances, routes, network policies, security groups, and what they apply to. `dew reach` tells whether a connection is allowed by it."
}

// Run draws what is in force on the cell.
func (t *topologyCmd) Run(ctx context.Context, c *console) error {
	s, err := t.look(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	names, err := s.names(ctx)
	if err != nil {
		return err
	}
	d := drawing.Draw(&s.Topology, names)
	switch {
	case t.JSON:
		return c.json(d)
	case t.Dot:
		_, err = io.WriteString(c.out, d.Dot())
	default:
		_, err = io.WriteString(c.out, d.Text())
	}
	return err
}
