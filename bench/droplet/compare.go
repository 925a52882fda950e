package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"

	"github.com/dewpaas/dew/tender"
)

// native is the program as an ordinary process.
type native struct{ program, space, addr string }

// compare starts both in turn from this running process, as a cell starts
// guests, and prints how long each takes to its first answer with status 200.
func compare(ctx context.Context, kind string, s *tender.Spec, rounds int, n native) error {
	t, err := tenderOf(ctx, kind)
	if err != nil {
		return err
	}
	guest := fmt.Sprint(net.IP(s.Boot.NIC.Addr[:]))
	var ours, theirs, ratios []float64
	for round := range rounds + 1 {
		a, err := n.start(ctx)
		if err != nil {
			return err
		}
		s.Name = fmt.Sprintf("bench-%d-%d", os.Getpid(), round)
		b, err := startGuest(ctx, t, s, guest)
		if err != nil {
			return err
		}
		if round > 0 { // the first one warms up
			theirs, ours, ratios = append(theirs, a), append(ours, b), append(ratios, b/a)
		}
	}
	fmt.Printf("%-10s %8s %8s %8s\n", "ms", "min", "median", "p90")
	for _, row := range []struct {
		name string
		of   []float64
	}{{"native", theirs}, {kind, ours}, {"x", ratios}} {
		slices.Sort(row.of)
		fmt.Printf("%-10s %8.2f %8.2f %8.2f\n", row.name, row.of[0], row.of[len(row.of)/2], row.of[len(row.of)*9/10])
	}
	return nil
}

func startGuest(ctx context.Context, t tender.Tender, s *tender.Spec, addr string) (float64, error) {
	begun := time.Now()
	i, err := t.Start(ctx, s)
	if err != nil {
		return 0, err
	}
	ms, err := firstAnswer(ctx, addr, begun)
	i.Kill()
	i.Wait(ctx)
	return ms, err
}

// start runs the program in its namespace, entered before the clock starts.
func (n native) start(ctx context.Context) (float64, error) {
	cmd := exec.CommandContext(ctx, n.program)
	cmd.Env = []string{"PORT=8080"}
	begun := make(chan time.Time, 1)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the namespace
		space, err := netns.GetFromName(n.space)
		if err == nil {
			err = netns.Set(space)
			space.Close()
		}
		begun <- time.Now()
		if err == nil {
			err = cmd.Start()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		return 0, err
	}
	ms, err := firstAnswer(ctx, n.addr, <-begun)
	cmd.Process.Kill()
	cmd.Wait() // it was killed
	return ms, err
}

// firstAnswer asks every 200 us and returns the ms until the status was 200.
func firstAnswer(ctx context.Context, addr string, begun time.Time) (float64, error) {
	for time.Since(begun) < 30*time.Second && ctx.Err() == nil {
		if ask(addr + ":8080") {
			return float64(time.Since(begun)) / float64(time.Millisecond), nil
		}
		time.Sleep(200 * time.Microsecond)
	}
	return 0, fmt.Errorf("no answer from %s: %w", addr, context.Cause(ctx))
}

func ask(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")); err != nil {
		return false
	}
	b := make([]byte, 64)
	n, _ := c.Read(b)
	return strings.HasPrefix(string(b[:n]), "HTTP/1.1 200 ")
}
