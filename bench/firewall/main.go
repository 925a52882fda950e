package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/alecthomas/kong"
)

// commands are what can be measured.
type commands struct {
	Change  change  `cmd:"" help:"compile, apply, and change a topology of 1,000 instances"`
	Path    path    `cmd:"" help:"throughput, requests and new connections through 10,000 rules and through none"`
	Frame   frame   `cmd:"" help:"CPU time of one frame from guest to guest"`
	Flood   flood   `cmd:"" help:"requests that a neighbour serves while two guests flood"`
	Kit     kit     `cmd:"" help:"write a rule set file for firewall.py --extra of the measuring kit"`
	Serve   serve   `cmd:"" hidden:"" help:"a server in the network namespace of descriptor 3"`
	Shout   shout   `cmd:"" hidden:"" help:"frames on the tap that is descriptor 3, as fast as it goes"`
	Request request `cmd:"" hidden:"" help:"requests from the network namespace of descriptor 3"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Name("firewall"), kong.BindTo(ctx, (*context.Context)(nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "firewall: error: %v\n", err)
		os.Exit(1)
	}
}
