package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/router"
)

// TestFiguresOfARole: a process without an API tells its own at the address it
// was given, to whoever asks.
func TestFiguresOfARole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &platform{setup: &setup{}, log: slog.New(slog.DiscardHandler), router: router.New(router.Config{Table: router.NewTable()})}
	defer f.router.Close()
	f.doors = &doors{log: f.log, figures: l}
	if err := f.openFigures(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.doors.serve() }()
	for path, status := range map[string]int{"/metrics": 200, "/": 404} {
		a, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != status {
			t.Errorf("%s: %d, %v", path, a.StatusCode, err)
		}
		if status == 200 && (!strings.Contains(string(text), "dew_router_requests_total") || !strings.Contains(string(text), "go_goroutines")) {
			t.Errorf("%s", text)
		}
	}
	f.doors.shutdown(context.WithoutCancel(t.Context()))
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestLimitedLinesAreCountedOn: what cells said stays in the sum when one begins
// anew or is gone.
func TestLimitedLinesAreCountedOn(t *testing.T) {
	f := &platform{setup: &setup{}}
	if f.limited() != 0 {
		t.Error("lines without a cell")
	}
	f.hearUsage()
	for _, step := range []struct {
		cell string
		says uint64
		want uint64
	}{{"a", 3, 3}, {"b", 10, 13}, {"a", 5, 15}, {"a", 5, 15}, {"a", 2, 17}} {
		f.usage.heard(bus.Used{Cell: step.cell, Limited: step.says})
		if n := f.limited(); n != step.want {
			t.Errorf("after %+v: %d", step, n)
		}
	}
}
