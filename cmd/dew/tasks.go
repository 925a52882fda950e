package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// tasksCmd is `dew tasks`.
type tasksCmd struct {
	App  string `arg:"" help:"Name of the app."`
	JSON bool   `name:"json" help:"Print JSON."`
}

type taskLine struct {
	ID      int       `json:"id"`
	GUID    string    `json:"guid"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Time    time.Time `json:"created_at"`
	Command string    `json:"command"`
	Reason  string    `json:"failure_reason,omitempty"`
}

func lineOfTask(t client.Task) taskLine {
	return taskLine{t.ID, t.GUID, t.Name, strings.ToLower(t.State), t.CreatedAt, t.Command, t.Result.Reason}
}

func (t *tasksCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, t.App)
	if err != nil {
		return err
	}
	tasks, err := client.List[client.Task](ctx, s.Client, "/v3/apps/"+app.GUID+"/tasks", url.Values{"order_by": {"-created_at"}})
	if err != nil {
		return err
	}
	lines := []taskLine{}
	for _, task := range tasks {
		lines = append(lines, lineOfTask(task))
	}
	if t.JSON {
		return s.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(s.err, "dew: app %s has had no tasks: `dew run-task %s COMMAND`\n", app.Name, app.Name)
		return nil
	}
	var rows [][]cell
	for _, l := range lines {
		rows = append(rows, []cell{{text: strconv.Itoa(l.ID)}, {l.Name, cyan}, stateCell(l.State), {l.Time.Local().Format(time.DateTime), faint}, {text: l.Command}, {text: l.Reason}})
	}
	s.table([]string{"id", "name", "state", "started", "command", "reason"}, rows)
	return nil
}

// runTaskCmd is `dew run-task`.
type runTaskCmd struct {
	App     string `arg:"" help:"Name of the app."`
	Command string `arg:"" optional:"" help:"What to run with the app's droplet; the command of --process unless given."`
	AsCF    string `name:"command" short:"c" placeholder:"COMMAND" help:"The same, as cf has it."`
	Name    string `help:"Name of the task."`
	Memory  size   `short:"m" help:"Limit of memory, with K, M or G."`
	Disk    size   `short:"k" help:"Limit of disk, with K, M or G."`
	Process string `help:"Process whose command and limits are the task's."`
	Wait    bool   `short:"w" help:"Wait for its end, and fail if it fails."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

func (r *runTaskCmd) Run(ctx context.Context, c *console) error {
	if r.AsCF != "" {
		if r.Command != "" {
			return errors.New("the command is said twice")
		}
		r.Command = r.AsCF
	}
	s, app, err := c.findApp(ctx, r.App)
	if err != nil {
		return err
	}
	body, err := r.body(ctx, s, app)
	if err != nil {
		return err
	}
	var task client.Task
	if err := s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/tasks", body, &task); err != nil {
		return err
	}
	if r.Wait {
		err = client.Poll(ctx, func() (bool, error) {
			err := s.Do(ctx, http.MethodGet, "/v3/tasks/"+task.GUID, nil, &task)
			return task.State == "SUCCEEDED" || task.State == "FAILED", err
		})
	}
	if err != nil {
		return err
	}
	line := lineOfTask(task)
	if r.JSON {
		err = s.json(line)
	} else {
		fmt.Fprintf(s.out, "task %d %s %s\n", line.ID, printable(line.Name), s.paint(stateCell(line.State).colour, line.State))
	}
	if r.Wait && task.State == "FAILED" {
		return withHint(fmt.Errorf("task %d failed: %s", task.ID, task.Result.Reason), "`dew logs "+app.Name+" --recent` has what it wrote")
	}
	return err
}

func (r *runTaskCmd) body(ctx context.Context, s *session, app *client.App) (map[string]any, error) {
	body := map[string]any{}
	for name, value := range map[string]string{"command": r.Command, "name": r.Name} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range map[string]size{"memory_in_mb": r.Memory, "disk_in_mb": r.Disk} {
		if value != 0 {
			body[name] = value.mebibytes()
		}
	}
	if r.Process == "" {
		return body, nil
	}
	var p client.Process
	if err := s.Do(ctx, http.MethodGet, "/v3/apps/"+app.GUID+"/processes/"+url.PathEscape(r.Process), nil, &p); err != nil {
		return nil, err
	}
	body["template"] = map[string]any{"process": map[string]any{"guid": p.GUID}}
	return body, nil
}

// mebibytes rounds up: less than what was asked for could be too little.
func (s size) mebibytes() int64 { return int64((s + 1<<20 - 1) >> 20) }
