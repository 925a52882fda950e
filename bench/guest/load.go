package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"

	"github.com/dewpaas/dew/vnet"
)

// side is one of the two programs.
type side struct {
	name   string
	pid    int
	url    string
	client netns.NsHandle
}

// result of one measurement.
type result struct {
	perSecond float64 // requests, or MiB where bodies are large
	cpuMicros float64 // of the side's process per request
}

// answers waits until the program serves.
func (s *side) answers(ctx context.Context, n *vnet.Network) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		return n.DialTCP(ctx, to)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	for {
		r, err := client.Get(s.url)
		if err == nil {
			return r.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

const uploadScript = `wrk.method = "POST"
wrk.body = string.rep("x", %d)
`

var (
	requests = regexp.MustCompile(`(\d+) requests in ([0-9.]+)(m?s)`)
	errors_  = regexp.MustCompile(`(Socket errors|Non-2xx).*`)
)

// load runs wrk against the side.
func (s *side) load(ctx context.Context, m measurement, d time.Duration) (result, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", m.connections), fmt.Sprintf("-d%dms", d.Milliseconds()), "--timeout=20s", s.url + m.path}
	args[2] = fmt.Sprintf("-d%d", max(int(d.Seconds()), 1))
	if m.upload > 0 {
		f, err := os.CreateTemp("", "bench-*.lua")
		if err != nil {
			return result{}, err
		}
		defer os.Remove(f.Name())
		fmt.Fprintf(f, uploadScript, m.upload)
		f.Close()
		args = append([]string{"-s", f.Name()}, args...)
	}
	cmd := exec.CommandContext(ctx, "wrk", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	before := s.cpu()
	if err := inside(s.client, cmd.Run); err != nil {
		return result{}, fmt.Errorf("wrk: %w\n%s", err, out.String())
	}
	used := s.cpu() - before
	f := requests.FindSubmatch(out.Bytes())
	if f == nil {
		return result{}, fmt.Errorf("wrk said\n%s", out.String())
	}
	if e := errors_.Find(out.Bytes()); e != nil {
		fmt.Printf("  %s, %s: %s\n", s.name, m.name, e)
	}
	n, _ := strconv.ParseFloat(string(f[1]), 64)
	t, _ := strconv.ParseFloat(string(f[2]), 64)
	if string(f[3]) == "ms" {
		t /= 1000
	}
	return result{n / t, used * 1e6 / max(n, 1)}, nil
}

// cpu is the process's CPU time so far, in seconds.
func (s *side) cpu() float64 {
	total := 0.0
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid))
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", s.pid, t.Name()))
		if err != nil {
			continue
		}
		ns, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
		total += ns / 1e9
	}
	return total
}

// pss is the process's share of memory in MiB.
func (s *side) pss() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}
