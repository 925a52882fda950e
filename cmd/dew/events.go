package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// eventsCmd is `dew events`.
type eventsCmd struct {
	App  string `arg:"" help:"Name of the app."`
	Most int    `short:"n" default:"50" help:"How many, the newest first."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type eventLine struct {
	Time  time.Time      `json:"time"`
	Type  string         `json:"type"`
	Actor string         `json:"actor"`
	Data  map[string]any `json:"data"`
}

func (e *eventsCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, e.App)
	if err != nil {
		return err
	}
	var page struct {
		Resources []client.Event `json:"resources"`
	}
	query := url.Values{"target_guids": {app.GUID}, "order_by": {"-created_at"}, "per_page": {strconv.Itoa(min(max(e.Most, 1), 5000))}}
	if err := s.Do(ctx, "GET", "/v3/audit_events?"+query.Encode(), nil, &page); err != nil {
		return err
	}
	lines := []eventLine{}
	for _, v := range page.Resources {
		lines = append(lines, eventLine{v.CreatedAt, v.Type, v.Actor.Name, v.Data})
	}
	if e.JSON {
		return s.json(lines)
	}
	var rows [][]cell
	for _, l := range lines {
		rows = append(rows, []cell{{l.Time.Local().Format(time.DateTime), faint}, {l.Type, cyan}, {text: l.Actor}, {text: brief(l.Data)}})
	}
	s.table([]string{"time", "event", "actor", "about"}, rows)
	return nil
}

// brief writes the plain values of an event's data, and of the request in it.
func brief(data map[string]any) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		switch v := data[name].(type) {
		case map[string]any:
			if inner := brief(v); inner != "" {
				list = append(list, inner)
			}
		case nil, []any:
		default:
			list = append(list, fmt.Sprintf("%s: %v", name, v))
		}
	}
	return strings.Join(list, ", ")
}
