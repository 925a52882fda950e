package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// options of one run.
type options struct {
	rounds    int
	duration  time.Duration
	cpus      int
	only      string
	hold      bool
	keep      string
	extraEnv  string
	linker    string
	measuring []measurement
}

// measurement is one kind of load.
type measurement struct {
	name        string
	path        string
	connections int
	upload      int64 // bytes of each request's body, 0: GET
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "interleaved rounds")
	flag.DurationVar(&o.duration, "dur", time.Second, "of one measurement")
	flag.IntVar(&o.cpus, "cpus", 2, "GOMAXPROCS of both")
	flag.StringVar(&o.only, "only", "", "names of measurements, separated by commas")
	flag.BoolVar(&o.hold, "hold", false, "run both and wait, to look at them")
	flag.StringVar(&o.keep, "keep", "", "folder for the two programs, for profiles")
	flag.StringVar(&o.linker, "ldflags", "-s -w", "of both; empty keeps symbols for perf")
	flag.StringVar(&o.extraEnv, "env", "", "one more K=V for both")
	flag.Parse()
	o.measuring = []measurement{
		{"1 connection", "/", 1, 0},
		{"64 connections", "/", 64, 0},
		{"10 MiB bodies, 1", "/big", 1, 0},
		{"10 MiB bodies, 8", "/big", 8, 0},
		{"10 MiB uploads, 1", "/upload", 1, 10 << 20},
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "guest: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	w, err := newYard(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	sides := []*side{w.native, w.guest}
	for _, s := range sides {
		if err := s.answers(ctx, w.network); err != nil {
			return err
		}
	}
	for _, s := range sides {
		fmt.Printf("%-8s idle PSS %.1f MiB\n", s.name, s.pss())
	}
	if o.hold {
		fmt.Printf("native %d at %s, guest %d at %s\n", w.native.pid, w.native.url, w.guest.pid, w.guest.url)
		<-ctx.Done()
		return nil
	}
	fmt.Printf("%-20s %12s %12s %6s  %10s %10s %6s\n", "", "native /s", "guest /s", "x", "native us", "guest us", "x")
	for _, m := range o.measuring {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), m.name) {
			continue
		}
		var speed, cost [2][]float64
		for range o.rounds {
			for i, s := range sides {
				r, err := s.load(ctx, m, o.duration)
				if err != nil {
					return err
				}
				speed[i] = append(speed[i], r.perSecond)
				cost[i] = append(cost[i], r.cpuMicros)
			}
		}
		fmt.Printf("%-20s %12.0f %12.0f %6.2f  %10.1f %10.1f %6.2f\n", m.name, median(speed[0]), median(speed[1]), paired(speed),
			median(cost[0]), median(cost[1]), paired(cost))
	}
	for _, s := range sides {
		fmt.Printf("%-8s PSS after load %.1f MiB\n", s.name, s.pss())
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// paired is the median ratio of the second to the first of the same round.
func paired(v [2][]float64) float64 {
	var r []float64
	for i := range v[0] {
		r = append(r, v[1][i]/v[0][i])
	}
	return median(r)
}
