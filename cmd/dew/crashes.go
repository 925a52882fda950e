package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// crashesCmd is `dew crashes`.
type crashesCmd struct {
	App  string `arg:"" help:"Name of the app."`
	Show string `arg:"" optional:"" name:"crash" help:"Which to print in full: the beginning of its GUID, or last."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (r *crashesCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, r.App)
	if err != nil {
		return err
	}
	var page struct {
		Resources []client.Crash `json:"resources"`
	}
	if err := s.Do(ctx, "GET", "/v3/apps/"+app.GUID+"/crashes?order_by=-created_at", nil, &page); err != nil {
		return err
	}
	if r.Show != "" {
		return r.print(ctx, s, page.Resources)
	}
	if r.JSON {
		return s.json(append([]client.Crash{}, page.Resources...))
	}
	if len(page.Resources) == 0 {
		fmt.Fprintf(s.err, "dew: no crash of %s is kept\n", app.Name)
		return nil
	}
	var rows [][]cell
	for _, k := range page.Resources {
		ran := "-"
		if !k.BeganAt.IsZero() {
			ran = k.EndedAt.Sub(k.BeganAt).String()
		}
		rows = append(rows, []cell{{k.EndedAt.Local().Format(time.DateTime), faint}, {k.GUID[:min(8, len(k.GUID))], cyan}, {text: k.Type + "/" + strconv.Itoa(k.Index)},
			{text: ran}, {k.Description, red}})
	}
	s.table([]string{"time", "crash", "instance", "ran", "why"}, rows)
	return nil
}

// print prints one of the list in full.
func (r *crashesCmd) print(ctx context.Context, s *session, list []client.Crash) error {
	for _, k := range list {
		if r.Show != "last" && !strings.HasPrefix(k.GUID, r.Show) {
			continue
		}
		if err := s.Do(ctx, "GET", "/v3/crashes/"+k.GUID, nil, &k); err != nil {
			return err
		}
		if r.JSON {
			return s.json(k)
		}
		writeCrash(s.out, &k)
		return nil
	}
	return withHint(fmt.Errorf("no crash %s is kept", r.Show), "`dew crashes "+r.App+"` lists those that are; only the newest few of an app stay")
}

func writeCrash(w io.Writer, k *client.Crash) {
	fmt.Fprintf(w, "instance  %s/%d %s\ntender    %s on %s\ndroplet   sha256:%s\nbegan     %s\nended     %s\nreason    %s\nstatus    %d\nwhy       %s\ncpu time  %.3fs\npeak mem  %s\n",
		k.Type, k.Index, k.GUID, k.Tender, k.CellID, k.Droplet, k.BeganAt.Format(time.RFC3339), k.EndedAt.Format(time.RFC3339), k.Reason, k.Status, printable(k.Description), k.CPUSeconds, bytesOf(k.PeakMemory))
	fmt.Fprintf(w, "\nboot, since it was placed\n")
	writeSteps(w, k.Boot)
	for _, part := range []struct {
		title string
		lines []string
	}{{"reports of the library OS", k.Reports}, {"what the Go runtime said", split(k.Stack)}, {"console, last lines", split(k.Console)}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(w, "\n%s\n", part.title)
		}
		for _, line := range part.lines {
			fmt.Fprintln(w, printable(line))
		}
	}
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func writeSteps(w io.Writer, steps []client.Step) {
	last := 0.0
	for _, s := range steps {
		fmt.Fprintf(w, "%9.2f ms  +%8.2f  %s\n", s.AfterMS, s.AfterMS-last, printable(s.Name))
		last = s.AfterMS
	}
}

// bootCmd is `dew boot`.
type bootCmd struct {
	App  string `arg:"" help:"Name of the app."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (r *bootCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, r.App)
	if err != nil {
		return err
	}
	var page struct {
		Resources []client.Boot `json:"resources"`
	}
	if err := s.Do(ctx, "GET", "/v3/apps/"+app.GUID+"/boot", nil, &page); err != nil {
		return err
	}
	if r.JSON {
		return s.json(append([]client.Boot{}, page.Resources...))
	}
	if len(page.Resources) == 0 {
		fmt.Fprintf(s.err, "dew: no instance of %s runs\n", app.Name)
	}
	for n, b := range page.Resources {
		if n > 0 {
			fmt.Fprintln(s.out)
		}
		fmt.Fprintf(s.out, "%s/%d %s on %s, since it was placed\n", b.Type, b.Index, b.GUID, b.CellID)
		writeSteps(s.out, b.Boot)
	}
	return nil
}
